"""The GPU kernels on a CPU: compiled by g++ against tests/kernels/shim.h, each CUDA thread a fiber."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parents[1] / "kernels"
COMPILER = shutil.which("g++")
FLAGS = ("-O1", "-std=c++17", "-fPIC", "-U_FORTIFY_SOURCE", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function")
OUTCOMES = (
    "finished",
    "deadlock",
    "a store outside of shared memory",
    "a store outside of an array",
    "plain and relaxed stores to one word, in no order",
)
WAITS = 100_000  # of a thread, for what another block writes


CACHE = "RNN_SHIM_CACHE"
"""The environment's name of a folder that processes share what they compile in."""


class ShimError(AssertionError):
    """A kernel that did not end as it should."""


class CompileError(Exception):
    """A kernel that is no C++."""


@cache
def work() -> Path:
    """Return the folder of this process's libraries, which holds the compiled runtime."""
    folder = Path(mkdtemp(prefix="shim-"))
    compile_(FOLDER / "shim.cpp", folder / "shim.o", "-c")
    return folder


def compile_(source: Path, target: Path, *flags: str) -> None:
    """Compile a file, or take what was made of the same text before, where the environment names a folder for that."""
    assert COMPILER is not None, "g++ is needed"
    kept = None
    if CACHE in os.environ:
        texts = (file.read_bytes() for file in (source, *sorted(FOLDER.glob("*.h"))))
        kept = Path(os.environ[CACHE], sha256(b"\0".join([repr((FLAGS, flags[0])).encode(), *texts])).hexdigest())
        if kept.exists():
            shutil.copyfile(kept, target)
            return
    done = subprocess.run(
        [COMPILER, *FLAGS, *flags, str(source), "-o", str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CompileError(done.stderr)
    if kept is not None:
        aside = kept.with_name(f"{kept.name}.{os.getpid()}")
        shutil.copyfile(target, aside)
        aside.replace(kept)


@cache
def library(body: str, name: str, macros: tuple[tuple[str, Any], ...]) -> Any:
    """Return a kernel as a function of grid, block, shared memory, seed and arguments."""
    text = f"""
{"".join(f"#define {macro} {value}" + chr(10) for macro, value in macros)}
#include "shim.h"
{body}
extern "C" int run(int grid, int block, shim::Bits shared, shim::Bits seed, void** arguments,
                   const shim::Size* sizes, const shim::Size* pointers, int count) {{
  return shim::run(grid, block, shared, seed, {name}, [](void** a) {{ shim::call({name}, a); }}, arguments, sizes,
                   pointers, count);
}}
"""
    stem = work() / sha256(text.encode()).hexdigest()[:16]
    stem.with_suffix(".cpp").write_text(text)
    compile_(stem.with_suffix(".cpp"), stem.with_suffix(".so"), "-shared", "-I", str(FOLDER), str(work() / "shim.o"))
    return ctypes.CDLL(str(stem.with_suffix(".so"))).run


class Struct(NamedTuple):
    """A struct that a kernel is given, the arrays that its pointers lead to, by field, those that are written, and others."""

    value: Any
    arrays: Mapping[str, Any]
    written: Sequence[str]
    weights: Sequence[Any] = ()


def run(
    body: str,
    name: str,
    macros: Mapping[str, Any],
    launch: tuple[int, int, int],
    arguments: Sequence[Any],
    seed: int = 0,
) -> None:
    """Run a kernel, launched with so many blocks, threads and bytes of shared memory, to its end, or raise `ShimError`."""
    blocks, threads, shared = launch
    macros = {"WAITS": WAITS, **macros}
    values = [as_argument(argument) for argument in arguments]
    places = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
    sizes = np.array([value.nbytes for value in values], np.uint64)
    pointers = np.array([row for i, argument in enumerate(arguments) for row in pointers_in(i, argument)], np.uint64)
    outcome = library(body, name, tuple(sorted(macros.items())))(
        blocks, threads, ctypes.c_ulonglong(shared), ctypes.c_ulonglong(seed), places,
        ctypes.c_void_p(sizes.ctypes.data), ctypes.c_void_p(pointers.ctypes.data), len(pointers),
    )  # fmt: skip
    if outcome:
        msg = f"{name} with {macros} and seed {seed}: {OUTCOMES[outcome]}"
        raise ShimError(msg)


def as_argument(argument: Any) -> Any:
    """Return an array that holds an argument, as the kernel is to find it: a number, a struct, or where an array is."""
    if isinstance(argument, Struct):
        return argument.value
    return np.array(argument.ctypes.data if isinstance(argument, np.ndarray) else argument)


def pointers_in(number: int, argument: Any) -> list[tuple[int, int, int, int]]:
    """Return the pointers in an argument: its number, the offset, the bytes of the array, and whether it is written."""
    if isinstance(argument, Struct):
        fields = argument.value.dtype.fields
        return [
            (number, fields[name][1], array.nbytes, name in argument.written) for name, array in argument.arrays.items()
        ]
    return [(number, 0, argument.nbytes, 0)] if isinstance(argument, np.ndarray) else []


def clear() -> None:
    """Remove what was compiled."""
    if work.cache_info().currsize:
        shutil.rmtree(work(), ignore_errors=True)
        work.cache_clear()
        library.cache_clear()
