"""Writing a file whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import copymode
from typing import BinaryIO


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` at the end; after an error there is no trace of it.

    The folder and the right to write to it are tried at once, before any work is done.
    """
    if path.exists() and not path.is_file():
        msg = f"{str(path)!r} is no ordinary file, and cannot be replaced by one; choose another name."
        raise OSError(msg)
    target = path.resolve()  # a link is followed, not replaced
    # Each writer has a name of its own, so that two that write one file do not undo each other's work.
    aside = target.with_name(f".{target.name}.{token_hex(8)}.part")
    try:
        file = aside.open("xb")
    except OSError as error:  # of a name that the user has not heard of
        msg = f"{str(path)!r} cannot be written: {error.strerror}."
        raise type(error)(msg) from error
    try:
        with file:
            yield file
        if target.exists():
            copymode(target, aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
