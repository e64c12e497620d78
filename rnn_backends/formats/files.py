"""Writing a file whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from secrets import token_hex
from shutil import copymode
from tempfile import TemporaryDirectory
from typing import BinaryIO

from rnn_backends.formats.advice import way


@contextmanager
def replaced(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` at the end; after an error there is no trace of it.

    The folder and the right to write to it are tried at once, before any work is done.
    """
    path = Path(path)
    target = _target(path)
    # Each writer has a name of its own, so that two that write one file do not undo each other's work.
    aside = target.with_name(f".{target.name}.{token_hex(8)}.part")
    try:
        with _created(path, aside) as file:
            yield file
        _take_place(aside, target)
    finally:
        with suppress(OSError):  # of a folder that there is not, say; what was raised before says so
            aside.unlink(missing_ok=True)


@contextmanager
def tried(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write and look at, which takes the place of `path` at the end, as by `replaced`.

    It has the name of `path`, and so its suffix, in a folder of its own.
    """
    target = _target(path)
    try:
        folder = TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    with folder:
        aside = Path(folder.name, path.name)
        yield aside
        _take_place(aside, target)


def _created(path: Path, aside: Path) -> BinaryIO:
    try:
        return aside.open("xb")
    except OSError as error:
        raise _unwritable(path, error) from error


def _target(path: Path) -> Path:
    """Return the file that a path means, if it is one that can be replaced: a link is followed, not replaced."""
    if path.exists() and not path.is_file():
        msg = f"{str(path)!r} is no ordinary file, and cannot be replaced by one; {way('other_name')}."
        raise OSError(msg)
    return path.resolve()


def _unwritable(path: Path, error: OSError) -> OSError:
    """Return an error of a name that the user has heard of."""
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return FileNotFoundError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}.")
    return type(error)(f"{str(path)!r} cannot be written: {error.strerror}.")


def _take_place(aside: Path, target: Path) -> None:
    if target.exists():
        copymode(target, aside)
    aside.replace(target)
