"""The folder of the outputs: claimed by one command at a time, with a place in it for what is being made."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rnn_backends.core.messages import shown_path
from rnn_backends.errors import ArgumentError
from rnn_backends.formats.files import writing

WORK = ".rnn-backends"
"""The folder in it, which is there while a command is at work."""
_LOCK = "lock"
_PART = ".part"
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems say that have no locks."""


@contextmanager
def claimed(folder: Path, note: Callable[[str], None]) -> Iterator[Path]:
    """Make a folder, unless it is there, and keep other commands out of it; yield the place of what is being made.

    A command that was killed holds nothing: its lock ends with it, and what it had begun is removed by the next one.

    Raises
    ------
    ArgumentError
        Another command is at work in it.
    OSError
        It cannot be made, or written to.
    """
    if folder.exists() and not folder.is_dir():
        msg = f"'{shown_path(folder)}' is a file, and --output-dir names a folder; choose another name."
        raise ArgumentError(msg)
    work, is_new = folder / WORK, not folder.exists()
    lock = _locked(work / _LOCK, folder, note)
    try:
        _clear(work)
        yield work
    finally:
        _clear(work)
        # Who waits for this lock finds that the file has gone, and makes another.
        with suppress(OSError):
            (work / _LOCK).unlink()
            work.rmdir()
            if is_new:  # and nothing was made
                folder.rmdir()
        os.close(lock)


def new_part(work: Path) -> Path:
    """Return the name of a new file, at the place of what is being made."""
    return work / f"{os.urandom(8).hex()}{_PART}"


def ignores_case(work: Path) -> bool:
    """Return whether a folder takes names that differ in case for one, as those of macOS and Windows do."""
    return (work / _LOCK.upper()).exists()


def _locked(path: Path, folder: Path, note: Callable[[str], None]) -> int:
    while True:
        with writing(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # the one who was at work has removed the folder since
                continue
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError) as error:
            os.close(descriptor)
            msg = (
                f"another command is at work in '{shown_path(folder)}'; wait for its end, or give another --output-dir."
            )
            raise ArgumentError(msg) from error
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                os.close(descriptor)
                raise
            note(f"the file system of '{shown_path(folder)}' has no locks; start no other command on that folder.")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # the one who had it has removed it since


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _clear(work: Path) -> None:
    """Remove what was begun and is not whole."""
    for part in work.glob(f"*{_PART}"):
        with suppress(OSError):
            part.unlink()
