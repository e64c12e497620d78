"""Opening regular files, and nothing else."""

import os
import stat
from contextlib import suppress
from os import PathLike

from rnn_backends.core.messages import shown, shown_path
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way

_WRITTEN = {"saved_model.pb": "saved_model", "_CHECKPOINT_METADATA": "orbax", "_METADATA": "orbax"}
"""Ways out of folders that frameworks write, by a file in them."""
_NAMES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def descriptor_of(path: str | PathLike[str]) -> int:
    """Return a descriptor of a regular file, opened without waiting for anything, such as the writer of a FIFO."""
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):  # each system has some of them
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:
        msg = f"{shown(os.fspath(path))} is no name of a file: {error}."
        raise FormatError(msg) from error
    except OSError as error:
        # A socket is opened by no system, and a folder not by Windows.
        with suppress(OSError):
            _require_regular(path, os.stat(path))  # noqa: PTH116  # bytes are a path, too
        raise unreadable(path, error) from error
    try:
        _require_regular(path, os.fstat(descriptor))
    except FormatError:
        os.close(descriptor)
        raise
    return descriptor


def unreadable(path: str | PathLike[str], error: OSError) -> OSError:
    """Return an error of the system as one of the same type and number, whose message is a sentence."""
    found = type(error)(f"{shown_path(path)} cannot be read: {error.strerror or type(error).__name__}.")
    found.errno = error.errno
    return found


def _require_regular(path: str | PathLike[str], found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = _NAMES.get(stat.S_IFMT(found.st_mode), "a special file")
        advice = _way_into(path) if stat.S_ISDIR(found.st_mode) else way("copied")
        msg = f"{shown_path(path)} is {what}, not a regular file; {advice}."
        raise FormatError(msg)


def _way_into(folder: str | PathLike[str]) -> str:
    """Return what to do with a folder, by what writes such ones."""
    with suppress(OSError):
        held = {os.fsdecode(name) for name in os.listdir(folder)}  # noqa: PTH208  # bytes are a path, too
        for name, key in _WRITTEN.items():
            if name in held:
                return way(key)
    return way("file_in")
