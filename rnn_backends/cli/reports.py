"""Text that the commands print: aligned rows and errors of one line."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TypeGuard

from rnn_backends.core.messages import shown_path
from rnn_backends.errors import RNNBackendError

PROG = "rnn-backends"
STDOUT = "stdout"
"""The name that errors have for it."""

MOST_NAMES = 1000
"""The most names of a folder that are compared with that of a file that there is not."""

# RuntimeError is what CUDA, torch and JAX raise when a device is lost or its memory is full.
FAILURES = (RNNBackendError, OSError, UnicodeError, MemoryError, RuntimeError)
"""What ends a command, or what it makes of one input, by a message."""

Row = tuple[str, str]


def aligned(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each label and value, the values below one another."""
    rows = list(rows)
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        yield f"{label:{width}}  {visible(value)}"


def visible(text: str, kept: str = "") -> str:
    """Return a text without control characters, which are escaped, but those that are `kept`.

    Names in a model or of a file would otherwise change what a terminal shows.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in kept else repr(each)[1:-1] for each in text)


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each row of a table, its columns as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks, in the command line's words; its type where it has none."""
    from rnn_backends.cli.wording import spelled  # not for --help

    error = _of_system(error)
    if is_of_file(error):
        return f"cannot use '{shown_path(error.filename2 or error.filename)}': {reason_of(error)}"
    return spelled(" ".join(str(error).split())) or type(error).__name__


def reason_of(error: BaseException) -> str:
    """Return the same without the name of a file that the system refuses, which stands before it."""
    error = _of_system(error)
    if not is_of_file(error):
        return one_line(error)
    hint = near_file(error.filename) if isinstance(error, FileNotFoundError) else ""
    return f"{error.strerror}.{hint}"


def _of_system(error: BaseException) -> BaseException:
    """Return the error of the system that a reader has made a sentence of, which has the name of the file apart."""
    cause = error.__cause__ if isinstance(error, OSError) else None
    is_said = cause is not None and is_of_file(cause) and str(error).startswith(f"{shown_path(cause.filename)} cannot")
    return cause if is_said and cause is not None else error


def is_of_file(error: BaseException) -> TypeGuard[OSError]:
    """Return whether an error is one of the system about a file."""
    return isinstance(error, OSError) and error.filename is not None and bool(error.strerror)


def near_file(path: str | bytes | PathLike[str]) -> str:
    """Return a question after the file that was meant by the name of none, with a space before it, if one is near."""
    from rnn_backends.core.near import nearest  # not for --help

    given = Path(os.fsdecode(path))
    try:
        names = [each.name for each in islice(given.parent.iterdir(), MOST_NAMES) if each.is_file()]
    except OSError:
        return ""
    stem = nearest(given.stem, (Path(name).stem for name in names))  # suffixes are alike without any meaning
    alike = [name for name in names if Path(name).stem == stem and (stem == given.stem or _is_same_kind(name, given))]
    guess = (nearest(given.name, alike) or alike[0]) if alike else None
    return "" if guess is None else f" Did you mean '{shown_path(given.with_name(guess))}'?"


def _is_same_kind(name: str, given: Path) -> bool:
    """Return whether a name has the suffix of another, but for its case, or the other has none."""
    return Path(name).suffix.lower() == given.suffix.lower() or not given.suffix
