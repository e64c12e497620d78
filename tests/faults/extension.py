"""The extension module that pyproject.toml names, built in a copy of its sources: only what a fault changes is compiled again."""

import os
import shlex
import subprocess
import tomllib
from collections.abc import Sequence
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from sysconfig import get_config_var, get_path
from typing import NamedTuple, Self

SUFFIXES = (".c", ".h")


class CompileError(Exception):
    """A source that is no C, or a compiler that is not there."""


class Extension(NamedTuple):
    """The module's path without a suffix, its sources and the compiler's arguments; paths are the checkout's or a copy's."""

    module: Path
    sources: tuple[Path, ...]
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, checkout: Path) -> Self | None:
        """Return the first that a project names, if any."""
        project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
        for each in project["tool"].get("setuptools", {}).get("ext-modules", ()):
            return cls(
                Path(*each["name"].split(".")), tuple(map(Path, each["sources"])), tuple(each["extra-compile-args"])
            )
        return None

    def holds(self, path: Path, checkout: Path) -> bool:
        """Return whether a file of the checkout is one of its sources or headers."""
        return path.suffix in SUFFIXES and path.is_relative_to(checkout / self.module.parent)

    def build(self, copy: Path, installed: Path, kept: Path) -> None:
        """Build from the sources of a copy into a folder of packages; objects of the same text are kept in another."""
        objects = [self._compiled(source, copy, kept) for source in self.sources]
        module = installed / self.module
        for old in module.parent.glob(f"{module.name}.*"):
            if old.name.endswith(tuple(EXTENSION_SUFFIXES)):
                old.unlink()  # a link to what others load
        target = module.with_name(module.name + EXTENSION_SUFFIXES[0])
        _run([*shlex.split(get_config_var("LDSHARED")), *map(str, objects), "-o", str(target)], copy)

    def _compiled(self, source: Path, copy: Path, kept: Path) -> Path:
        """Return the object of a source, which what the preprocessor makes of it decides; at -O1, for most run once."""
        flags = shlex.split(f"{get_config_var('CFLAGS')} {get_config_var('CCSHARED')}")
        command = [*shlex.split(get_config_var("CC")), *flags, f"-I{get_path('include')}", *self.arguments, "-O1", "-w"]
        text = _run([*command, "-E", "-P", str(source)], copy)
        held = kept / f"{sha256(text + repr(command).encode()).hexdigest()}.o"
        if not held.exists():
            aside = held.with_name(f"{held.stem}.{os.getpid()}.o")
            _run([*command, "-c", str(source), "-o", str(aside)], copy)
            aside.replace(held)
        return held


def _run(command: Sequence[str], copy: Path) -> bytes:
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, check=False)
    except OSError as error:
        msg = f"{command[0]} cannot be run: {error}"
        raise CompileError(msg) from error
    if done.returncode:
        raise CompileError(done.stderr.decode(errors="replace"))
    return done.stdout
