"""One way to read a file: a descriptor that is opened once, and an account that is asked before memory is taken."""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, FileIO
from os import PathLike
from typing import Any, Self

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import MOST, fitted, short, shown_path
from rnn_backends.errors import FileMemoryError, FormatError, RNNBackendError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.changes import Seen
from rnn_backends.formats.regular import descriptor_of, unreadable

BLOCK = 2**18
_NAME = 60
"""The characters of a path that a long message leaves room for."""
_SHORTER = f"it became shorter while it was read; {way('again')}."
_DAMAGE = (zlib.error, struct.error, EOFError, ValueError, OverflowError)
"""Errors of zlib, struct and NumPy for data that is damaged."""


class ReadError(Exception):
    """An error of the system at reading, in a form that no library takes for its own, as zipfile does OSError."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.reason = reason


class Source:
    """A regular file, or bytes in memory, read by offset within its bounds.

    Made by `opened` or `Source.of`.  `part` gives a window on it, which shares its descriptor and its account.
    """

    def __init__(self, file: FileIO | BytesIO, base: int, size: int, account: Account) -> None:
        self._file, self._base = file, base
        self.size, self.account = size, account

    @classmethod
    def of(cls, data: bytes, account: Account | None = None) -> Self:
        """Return a source over bytes in memory; without an account, with one of its own for their size."""
        return cls(BytesIO(data), 0, len(data), account or Account(len(data)))

    def part(self, start: int, size: int) -> "Source":
        """Return a window on this source."""
        self._require(start, size)
        return Source(self._file, self._base + start, size, self.account)

    def read(self, start: int, size: int, what: str = "a part of it") -> bytes:
        """Return bytes; `what` names them in a refusal."""
        self._require(start, size)
        self.account.take(what, "bytes", size)
        return self.look(start, size)

    def look(self, start: int, size: int) -> bytes:
        """Return a few bytes that are looked at and not kept, so that they are not accounted."""
        self._require(start, size)
        held = bytearray(size)
        self.fill(start, memoryview(held))
        return bytes(held)

    def numbers(self, start: int, count: int, dtype: "np.dtype[Any] | str", what: str = "an array in it") -> Host:
        """Return numbers in a row, in a new array that can be written to."""
        stored = np.dtype(dtype)
        self._require(start, count * stored.itemsize)
        self.account.take(what, "bytes", count * stored.itemsize)
        return self.block(start, count, stored)

    def block(self, start: int, count: int, stored: "np.dtype[Any]") -> Host:
        """Return a few numbers in a row that are copied to what was accounted."""
        self._require(start, count * stored.itemsize)
        found = np.empty(count, stored)
        octets: Any = found.view(np.uint8)
        self.fill(start, octets.data)
        return found

    def blocks(self) -> Iterator[bytes]:
        """Yield all bytes, in blocks of which none is kept."""
        for start in range(0, self.size, BLOCK):
            yield self.look(start, min(BLOCK, self.size - start))

    def require_content(self) -> None:
        """Check that the file is not empty."""
        if self.size == 0:
            msg = f"it is empty; if it is just being written, {way('again')}."
            raise FormatError(msg)

    def fill(self, start: int, view: memoryview) -> None:
        """Read bytes into memory that was accounted."""
        self._require(start, view.nbytes)
        try:
            self._file.seek(self._base + start)
            while view.nbytes:  # a system call reads 2 GiB at most
                size = self._file.readinto(view)
                if not size:
                    raise FormatError(_SHORTER)
                view = view[size:]
        except OSError as error:
            raise ReadError(error) from error

    def _require(self, start: int, size: int) -> None:
        if start < 0 or size < 0 or start + size > self.size:
            first, last = (f"{place}" if abs(place) < 2**63 else "over 2**63" for place in (start, start + size))
            msg = f"it is cut short or damaged: it points to bytes {first} to {last} of {self.size}."
            raise FormatError(msg)


def suffix_of(path: str | PathLike[str]) -> str:
    """Return the suffix of a path, without pathlib, which a program that loads a network may else do without."""
    return os.path.splitext(path)[1]  # noqa: PTH122


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[Source]:
    """Open a regular file, which is closed at the end; an error about what it holds names it, in one sentence.

    Parameters
    ----------
    path : path

    Raises
    ------
    FormatError
        The path leads to something else than a regular file, the file is damaged, or it changed while it was read.
    FileMemoryError
        There is too little memory for it.
    RNNBackendError
        Any other is of the class that was raised.
    OSError
        The file cannot be opened or read; it is of the system's type and number.
    """
    with FileIO(descriptor_of(path)) as file:
        try:
            seen = Seen(file)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            yield Source(file, 0, seen.found.st_size, Account(seen.found.st_size))
        except ReadError as error:
            raise unreadable(path, error.reason) from error
        except (RNNBackendError, MemoryError, *_DAMAGE) as error:
            _require_same(path, seen)
            raise _named(path, error) from error
        _require_same(path, seen)


def _require_same(path: str | PathLike[str], seen: Seen) -> None:
    try:
        change = seen.change()
    except OSError as error:
        raise unreadable(path, error) from error
    if change is not None:
        msg = f"{shown_path(path)} {change} while it was read; {way('again')}."
        raise FormatError(msg)


def _named(path: str | PathLike[str], error: Exception) -> RNNBackendError:
    """Return an error that names the file."""
    if isinstance(error, RNNBackendError):
        is_named = not isinstance(error, FormatError) and shown_path(path) in str(error)
        return type(error)(fitted(str(error)) if is_named else _said(path, str(error)))
    why = short(error)
    if isinstance(error, MemoryError):
        return FileMemoryError(f"{shown_path(path)} takes more memory than there is{why and f': {why}'}.")
    return FormatError(f"{shown_path(path)} is no {shown_path(suffix_of(path))} file, or is damaged: {why}.")


def _said(path: str | PathLike[str], message: str) -> str:
    """Return a message after the path, of which no more than its end is kept where there is no room for both."""
    name, room = shown_path(path), max(_NAME, MOST - 2 - len(message))
    name = name if len(name) <= room else f"...{name[3 - room :]}"
    return f"{name}: {fitted(message, MOST - 2 - len(name))}"
