"""Writing a file whole or not at all."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedRandom, FileIO
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from rnn_backends.core.messages import short, shown, shown_path
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way

TEMPORARY = "a temporary file"
"""The name that errors have for it."""
BLOCK = 2**20
Opener = Callable[[str, int], int]


@contextmanager
def replaced(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` at the end; after an error there is no trace of it.

    The folder and the right to write to it are tried at once, before any work is done.  Where the system has files
    without a name, the new one is such a file until it is whole, of which even a process that is killed leaves nothing.
    What takes the place is on the disk by then, so that the file is whole after a crash of the system, too.
    """
    given = Path(path)
    with writing(given):
        target = _target(os.fspath(path))
    # Each writer has a name of its own, so that two that write one file do not undo each other's work.  The target's is
    # no part of it, as that may be as long as names can be.
    aside = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with _begun(aside, given) as raw:
            file = BufferedRandom(raw)
            yield file
            file.flush()
            with writing(given):
                os.fsync(raw.fileno())
                if not os.fstat(raw.fileno()).st_nlink:
                    _give_name(raw, aside)
        with writing(given):
            if target.exists():
                aside.chmod(stat.S_IMODE(target.stat().st_mode))
            aside.replace(target)
    finally:
        with suppress(OSError):  # mostly there is none by now; what was raised before says what went wrong
            aside.unlink()


@contextmanager
def temporary() -> Iterator[BinaryIO]:
    """Open a file that is gone at the end, in the system's folder for such files."""
    from tempfile import TemporaryFile  # not for --help

    with TemporaryFile(buffering=0) as held, File(os.dup(held.fileno()), "r+", TEMPORARY) as raw:
        yield BufferedRandom(raw)


@contextmanager
def writing(what: Path | str) -> Iterator[None]:
    """Have errors of the system say what cannot be written: a path, or what a text calls it."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # a sentence already
            raise
        raise _unwritable(what, error) from error


class File(FileIO):
    """A file without a buffer, whose errors say what cannot be written.

    Parameters
    ----------
    file, mode, opener
        As `io.FileIO` takes them.
    what : Path or str
        The path that the user knows, or what to call it.
    """

    def __init__(self, file: Path | int, mode: str, what: Path | str, opener: Opener | None = None) -> None:
        self._what = what
        with writing(what):
            super().__init__(file, mode, opener=opener)

    def write(self, data: Any) -> int:
        """Write bytes, and return how many were written."""
        with writing(self._what):
            return super().write(data)

    def close(self) -> None:
        """Close the file, as which some file systems tell of a full disk."""
        with writing(self._what):
            super().close()


def _target(path: str) -> Path:
    """Return the file that a path means, if it is one that can be replaced: a link is followed, not replaced."""
    try:
        found = os.stat(path)  # noqa: PTH116  # of paths that are none, pathlib says other things in each Python
    except FileNotFoundError as error:  # nothing, or a link to nothing
        if os.path.basename(path) in {"", os.curdir, os.pardir}:  # noqa: PTH119  # pathlib leaves out the last ones
            msg = f"{shown(path)} does not end with the name of a file; {way('other_name')}."
            raise FormatError(msg) from error
    except ValueError as error:
        msg = f"{shown(path)} is no name of a file: {short(error)}."
        raise FormatError(msg) from error
    else:
        if not stat.S_ISREG(found.st_mode):
            msg = f"'{shown_path(path)}' is no ordinary file, and cannot be replaced by one; {way('other_name')}."
            raise OSError(msg)
    return Path(os.path.realpath(path))


def _begun(aside: Path, what: Path) -> File:
    """Return a new file: one without a name where the system has such files, else of the name `aside`."""
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):  # not all file systems have them; what else is wrong is so in a file with a name, too
            return File(aside.parent, "r+", what, lambda path, flags: os.open(path, flags | os.O_TMPFILE, 0o666))
    return File(aside, "x+", what)


def _give_name(raw: File, aside: Path) -> None:
    """Give a file without a name this one; where the system does not, to a copy of it."""
    try:
        # Python follows the link where a folder's descriptor is given, which absolute paths have no use for.
        os.link(f"/proc/self/fd/{raw.fileno()}", aside, src_dir_fd=0, follow_symlinks=True)
    except OSError:
        with aside.open("xb") as copy:
            raw.seek(0)
            for block in iter(partial(raw.read, BLOCK), b""):
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())


def _unwritable(what: Path | str, error: OSError) -> OSError:
    """Return an error of the same type and number, with a sentence."""
    name, reason = (what, error.strerror) if isinstance(what, str) else (f"'{shown_path(what)}'", _reason(what, error))
    found = type(error)(f"{name} cannot be written: {reason}.")
    found.errno = error.errno
    return found


def _reason(path: Path, error: OSError) -> str:
    """Return why a path cannot be written, and what to do where that lies in its folder."""
    folder = path.parent
    if isinstance(error, FileNotFoundError) and not folder.exists():
        return f"there is no folder '{shown_path(folder)}'"
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return f"it is a link to '{shown_path(os.path.realpath(path))}', whose folder is not there"
    if isinstance(error, PermissionError) and folder.is_dir() and not os.access(folder, os.W_OK):
        return f"{error.strerror} in its folder, where a new file is made first; {way('other_folder')}"
    return f"{error.strerror}"
