"""NVIDIA's run-time compiler, which needs neither a GPU nor a driver, from the wheels that carry it."""

import ctypes
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FLAGS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
"""CuPy's."""


class Compiled(NamedTuple):
    registers: int
    spilled: int  # bytes


class CompileError(AssertionError):
    """The compiler's log."""


def libraries() -> list[Path]:
    """Return the compilers that are installed: nvidia-cuda-nvrtc's, nvidia-cuda-nvrtc-cu12's."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return sorted(path for folder in folders for path in folder.glob("*/lib/libnvrtc.so.*") if path.suffix != ".alt")


@cache
def architectures(path: Path) -> tuple[int, ...]:
    """Return what a compiler compiles for."""
    library, count = ctypes.CDLL(str(path)), ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    found = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(found)
    return tuple(found)


def compile_(path: Path, code: str, options: list[str]) -> Compiled:
    """Compile to machine code, or raise `CompileError`."""
    _, log = compiled(path, code, [*options, "--ptxas-options=-v"], "CUBIN")
    spilled, registers = re.search(r"(\d+) bytes spill stores.*?Used (\d+) registers", log, re.DOTALL).groups()  # type: ignore[union-attr]
    return Compiled(int(registers), int(spilled))


def ptx(code: str, options: Sequence[str]) -> str:
    """Return PTX by the newest compiler, or raise `CompileError`."""
    text, _ = compiled(max(libraries(), key=lambda path: int(path.suffix[1:])), code, options, "PTX")
    return text


def compiled(path: Path, code: str, options: Sequence[str], kind: str) -> tuple[str, str]:
    """Return what a compiler makes, and its log."""
    library, program = ctypes.CDLL(str(path)), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None)
    try:
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = library.nvrtcCompileProgram(program, len(options), given)
        log = fetched(library, program, "ProgramLog")
        if failed:
            raise CompileError(log)
        made = fetched(library, program, kind, "latin-1")
        assert made
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    return made, log


def fetched(library: Any, program: Any, kind: str, encoding: str = "utf-8") -> str:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{kind}")(program, text)
    return text.raw.decode(encoding).rstrip("\0")
