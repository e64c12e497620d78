"""The inputs that words name, files and patterns of files, and the names of their outputs."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from glob import iglob
from pathlib import Path, PurePath
from typing import NamedTuple
from unicodedata import normalize

from rnn_backends.cli.paths import is_there
from rnn_backends.core.messages import shown_path
from rnn_backends.errors import ArgumentError

MAGIC = frozenset("*?[")
"""The characters that make a word a pattern."""


class Input(NamedTuple):
    """A file, and its path below the folder that all inputs are in, with slashes between."""

    path: Path
    name: str


class Word:
    """A word of the command line: the name of a file, or a pattern of names.

    Parameters
    ----------
    path : Path
        The word; one that is the name of something is no pattern, whatever characters are in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def is_pattern(self) -> bool:
        """Whether the word is a pattern."""
        return is_pattern(self._path)

    @cached_property
    def root(self) -> Path:
        """The folder of the file; of a pattern what stands before its first part that is one, whatever it matches."""
        if not self.is_pattern:
            return Path(os.path.abspath(self._path)).parent  # noqa: PTH100  # pathlib keeps `..`
        return Path(os.path.abspath(self._fixed))  # noqa: PTH100

    @cached_property
    def _real_root(self) -> Path:
        return Path(os.path.realpath(self.root))

    @cached_property
    def _fixed(self) -> Path:
        """The folder before the first part that is a pattern, as it was typed."""
        return Path(*self._path.parts[: len(self._path.parts) - len(self._parts)])

    @cached_property
    def _parts(self) -> tuple[str, ...]:
        """The parts of a pattern from the first one on that is no plain name."""
        parts = self._path.parts
        return parts[next(index for index, part in enumerate(parts) if MAGIC & {*part}) :]

    def files(self) -> list[Path]:
        """Return the file, or those that a pattern matches, sorted."""
        if not self.is_pattern:
            if not is_there(str(self._path)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._path))
            if self._path.is_dir():
                pattern = shown_path(self._path / "*.txt")
                msg = f"'{shown_path(self._path)}' is a folder; name the files in it by a pattern, as '{pattern}'."
                raise ArgumentError(msg)
            return [self._path]
        matched = map(Path, iglob(str(self._path), recursive=True))  # noqa: PTH207  # Path.glob takes hidden files
        found = sorted(path for path in matched if not path.is_dir())
        if not found:
            reason = "" if self.root.is_dir() else f"; there is no folder '{shown_path(self._fixed)}'"
            msg = f"no file matches the pattern '{shown_path(self._path)}'{reason}."
            raise ArgumentError(msg)
        return found

    def matches(self, path: Path) -> bool:
        """Return whether this pattern, which the word must be, would match an absolute path, if a file were there."""
        root = self._real_root
        return path.is_relative_to(root) and _fits(path.relative_to(root).parts, self._parts)

    def __str__(self) -> str:
        return f"'{shown_path(self._path)}'"


def is_pattern(path: Path) -> bool:
    """Return whether a word is a pattern, and not the name of something."""
    return bool(MAGIC & {*str(path)}) and not is_there(str(path))


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path fit those of a pattern, as the module glob has it."""
    if not pattern:
        return not names
    if pattern[0] == "**" and (_fits(names, pattern[1:]) or (len(pattern) == 1 and not names)):
        return True
    if not names or (names[0][0] == "." and pattern[0][0] != "."):  # which no wildcard stands for
        return False
    if pattern[0] == "**":
        return _fits(names[1:], pattern)
    return fnmatchcase(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


def inputs_of(words: Iterable[Word]) -> list[Input]:
    """Return the files that words name, each once, sorted by their names below the folder that they share."""
    words = list(words)
    found = {Path(os.path.abspath(path)): path for word in reversed(words) for path in word.files()}  # noqa: PTH100
    try:
        common = Path(os.path.commonpath([word.root for word in words]))
    except ValueError as error:  # of drives of Windows
        msg = "the inputs are on several drives; run the command once for each, with a folder of outputs of its own."
        raise ArgumentError(msg) from error
    named = [Input(path, place.relative_to(common).as_posix()) for place, path in found.items()]
    return sorted(named, key=lambda each: each.name)


def require_apart(names: Mapping[str, Path], taken: Iterable[str], *, ignores_case: bool) -> None:
    """Check that no two outputs are one file, or one of them the folder of another.

    Parameters
    ----------
    names : mapping of str to Path
        The inputs by the names of their outputs.
    taken : iterable of str
        Names in the folder of the outputs that are no outputs.
    ignores_case : bool
        Whether the folder takes names that differ in case, or in how their accents are spelled, for one.
    """

    def key(name: str) -> str:
        return normalize("NFC", name).casefold() if ignores_case else name

    own = {key(name): "a file of the command itself" for name in taken}
    seen: dict[str, str] = {}
    for name, path in names.items():
        if key(name) in seen:
            _refuse_clash(name, path, seen[key(name)])
        seen[key(name)] = f"that of '{shown_path(path)}'"
    for name, path in names.items():
        for folder in _folders(key(name)):
            if other := seen.get(folder) or own.get(folder):
                _refuse_clash(name, path, other)


def _folders(name: str) -> Iterator[str]:
    yield from (parent.as_posix() for parent in PurePath(name).parents[:-1])


def _refuse_clash(name: str, path: Path, other: str) -> None:
    msg = (
        f"the output of '{shown_path(path)}', '{shown_path(name)}', would take the place of {other}; rename the input, "
        "or give it an --output-dir of its own."
    )
    raise ArgumentError(msg)


def require_outside(words: Iterable[Word], inputs: Iterable[Input], outputs: Iterable[str], folder: Path) -> None:
    """Check that no output, of this command or an earlier one in the folder, is among its inputs, now or the next time.

    Parameters
    ----------
    words : iterable of Word
    inputs : iterable of Input
        What the words name.
    outputs : iterable of str
        The names of the outputs in the folder.
    folder : Path
    """
    place = Path(os.path.realpath(folder))
    found = {place / name for name in outputs}
    for each in inputs:
        if Path(os.path.realpath(each.path)) in found:
            msg = (
                f"the input '{shown_path(each.path)}' is an output in '{shown_path(folder)}'; choose a pattern without "
                "outputs, or another --output-dir."
            )
            raise ArgumentError(msg)
    for word in words:
        if word.is_pattern and any(map(word.matches, found)):
            msg = (
                f"the outputs in '{shown_path(folder)}' would be among {word} the next time; choose an --output-dir "
                "that the pattern does not reach."
            )
            raise ArgumentError(msg)
