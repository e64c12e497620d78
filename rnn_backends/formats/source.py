"""One way to read a file: a descriptor that is opened once, and an account that is asked before memory is taken."""

import io
import mmap
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from os import PathLike
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import short, shown
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.advice import way

BLOCK = 2**18
_WRITTEN = {"saved_model.pb": "saved_model", "_CHECKPOINT_METADATA": "orbax", "_METADATA": "orbax"}
"""Ways out of folders that frameworks write, by a file in them."""
_SHORTER = f"it became shorter while it was read; {way('again')}."
_NAMES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_DAMAGE = (zlib.error, EOFError, ValueError, OverflowError)
"""Errors of zlib and NumPy for data that is damaged."""

Kind = Literal["bytes", "unpacked", "text", "items", "nodes", "fields", "axes", "depth"]


class Limit(NamedTuple):
    """The most that may be taken of one kind: `floor`, and `per_byte` for each byte of the file.

    A limit that is not `summed` holds for each request alone.
    """

    unit: str
    floor: int
    per_byte: float = 0.0
    summed: bool = True


LIMITS: dict[Kind, Limit] = {
    "bytes": Limit("bytes", 32 * 2**20, 8),
    "unpacked": Limit("bytes", 2**20, 200),
    "text": Limit("bytes of text", 8 * 2**20, summed=False),
    "items": Limit("items", 150_000, 1 / 64),
    "nodes": Limit("nodes", 50_000, 1 / 64),
    "fields": Limit("fields", 150_000, 1 / 256),
    "axes": Limit("axes", 32, summed=False),
    "depth": Limit("levels", 128, summed=False),
}
"""Limits by kind: bytes read, computed, repeated or kept; bytes unpacked; bytes of a text to parse; and counts."""


class Account:
    """The memory and work that reading one file may take, in proportion to its size.

    Every reader asks before it reads, decompresses, computes, repeats or keeps anything.

    Parameters
    ----------
    size : int or float
        Bytes of the file; `math.inf`, the default, for an object that the caller holds in memory already.
    """

    def __init__(self, size: float = inf) -> None:
        self.size = size
        self.taken: Counter[Kind] = Counter()

    def take(self, what: str, kind: Kind, amount: int) -> None:
        """Take an amount for something, or refuse it."""
        limit = LIMITS[kind]
        most = limit.floor + (limit.per_byte * self.size if limit.per_byte else 0)
        total = amount + (self.taken[kind] if limit.summed else 0)
        if total > most:
            number = f"{amount}" if amount < 2**63 else "over 2**63"
            before = f" after {total - amount}" if total > amount else ""
            whole = "an object" if self.size == inf else f"a file of {self.size} bytes"
            msg = (
                f"{what} would take {number} {limit.unit}{before}, more than the {int(most)} that {whole} may; "
                f"{way('weights_alone')}."
            )
            raise FormatError(msg)
        if limit.summed:
            self.taken[kind] = total


class Source:
    """A regular file, or bytes in memory, read by offset within its bounds.

    Made by `opened` or `Source.of`.  `part` gives a window on it, which shares its descriptor and its account.
    """

    def __init__(self, file: io.FileIO | io.BytesIO, base: int, size: int, account: Account) -> None:
        self._file, self._base = file, base
        self.size, self.account = size, account

    @classmethod
    def of(cls, data: bytes, account: Account | None = None) -> Self:
        """Return a source over bytes in memory; without an account, with one of its own for their size."""
        return cls(io.BytesIO(data), 0, len(data), account or Account(len(data)))

    def part(self, start: int, size: int) -> "Source":
        """Return a window on this source."""
        self._require(start, size)
        return Source(self._file, self._base + start, size, self.account)

    def read(self, start: int, size: int, what: str = "a part of it") -> bytes:
        """Return bytes; `what` names them in a refusal."""
        self._require(start, size)
        self.account.take(what, "bytes", size)
        self._file.seek(self._base + start)
        found = self._file.read(size) or b""
        while len(found) < size:  # a system call reads 2 GiB at most
            more = self._file.read(size - len(found))
            if not more:
                raise FormatError(_SHORTER)
            found += more
        return found

    def numbers(self, start: int, count: int, dtype: "np.dtype[Any] | str", what: str = "an array in it") -> Host:
        """Return numbers in a row, in a new array that can be written to."""
        stored = np.dtype(dtype)
        self._require(start, count * stored.itemsize)
        self.account.take(what, "bytes", count * stored.itemsize)
        found = np.empty(count, stored)
        octets: Any = found.view(np.uint8)
        view = memoryview(octets)
        self._file.seek(self._base + start)
        while view.nbytes:
            size = self._file.readinto(view)
            if not size:
                raise FormatError(_SHORTER)
            view = view[size:]
        return found

    def blocks(self, what: str = "a part of it") -> Iterator[bytes]:
        """Yield all bytes, in blocks that are accounted as one, as none of them is kept."""
        for start in range(0, self.size, BLOCK):
            yield self.read(start, min(BLOCK, self.size - start), what)

    def mapped(self, start: int, count: int, dtype: "np.dtype[Any] | str") -> Host:
        """Return numbers in a row that are read as they are used; they keep the file in use, and take no memory."""
        stored = np.dtype(dtype)
        self._require(start, count * stored.itemsize)
        if not count:
            return np.empty(0, stored)
        held = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(held, stored, count, self._base + start)

    def _require(self, start: int, size: int) -> None:
        if start < 0 or size < 0 or start + size > self.size:
            msg = f"it is cut short or damaged: it points to bytes {start} to {start + size} of {self.size}."
            raise FormatError(msg)


def suffix_of(path: str | PathLike[str]) -> str:
    """Return the suffix of a path, without pathlib, which a program that loads a network may else do without."""
    return os.path.splitext(path)[1]  # noqa: PTH122


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[Source]:
    """Open a regular file, which is closed at the end; errors about what it holds become a FormatError that names it.

    Parameters
    ----------
    path : path

    Raises
    ------
    FormatError
        The path leads to something else than a regular file, or the file changed while it was read.
    OSError
        The file cannot be opened.
    """
    with open(_descriptor(path), "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        try:
            yield Source(file, 0, before.st_size, Account(before.st_size))
        except FormatError as error:
            msg = f"{path}: {error}"
            raise FormatError(msg) from error
        except RNNBackendError:
            raise
        except _DAMAGE as error:
            msg = f"{path} is no {suffix_of(path)} file, or is damaged: {short(error)}."
            raise FormatError(msg) from error
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        msg = f"{path} was written to while it was read; {way('again')}."
        raise FormatError(msg)


def _descriptor(path: str | PathLike[str]) -> int:
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
        raise error from None
    try:
        _require_regular(path, os.fstat(descriptor))
    except FormatError:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(path: str | PathLike[str], found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = _NAMES.get(stat.S_IFMT(found.st_mode), "a special file")
        advice = _way_into(path) if stat.S_ISDIR(found.st_mode) else way("copied")
        msg = f"{str(path)!r} is {what}, not a regular file; {advice}."
        raise FormatError(msg)


def _way_into(folder: str | PathLike[str]) -> str:
    """Return what to do with a folder, by what writes such ones."""
    with suppress(OSError):
        held = {os.fsdecode(name) for name in os.listdir(folder)}  # noqa: PTH208  # bytes are a path, too
        for name, key in _WRITTEN.items():
            if name in held:
                return way(key)
    return way("file_in")
