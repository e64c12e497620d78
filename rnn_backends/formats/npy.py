"""Arrays of NumPy's .npy and .npz files, read without pickle and without trust in the sizes they declare."""

import re
from collections.abc import Callable, Collection, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import ARRAY, Kind
from rnn_backends.formats.archive import Archive
from rnn_backends.formats.source import BLOCK, Source

MAX_HEADER = 10_000
HEAD = MAX_HEADER + 12
_DIGITS = 18
"""The most digits of a size: as many nines are below 2**63."""
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4}
# NumPy's own reader evaluates any Python literal here, and fails on odd ones with errors of many types.
_DTYPE, _ORDER = rb"'descr': *'([^']*)'", rb"'fortran_order': *(True|False)"
_SHAPE = rb"'shape': *\(((?:[0-9]+, *)*[0-9]*)\)"
_NO_NUMBERS = {b"U", b"S", b"O", b"V", b"M", b"m"}
_HEADER = re.compile(rb"\{(?:(?:%b|%b|%b),? *){3}\}\s*" % (_DTYPE, _ORDER, _SHAPE))


class Header(NamedTuple):
    """The dtype, shape and order that a header declares, and where the array begins."""

    dtype: str
    shape: tuple[int, ...]
    fortran_order: bool
    start: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return prod(self.shape)


def parse_header(source: Source, head: bytes, size: int, name: str, allowed: Collection[str]) -> Header:
    """Return the header at the beginning of an array of `size` bytes, checked against that size."""
    magic, version = head[:6], head[6:8]
    if magic != npy.MAGIC_PREFIX or version not in _LENGTH_BYTES:
        msg = f"{shown(name)} must be in version 1.0 or 2.0 of the .npy format; got {shown(head[:8])}."
        raise FormatError(msg)
    begin = 8 + _LENGTH_BYTES[version]
    length = int.from_bytes(head[8:begin], "little")
    text = head[begin : begin + length] if length <= MAX_HEADER else b""
    match = _HEADER.fullmatch(text)
    if match is None or None in match.groups():
        msg = f"the header of {shown(name)} is not that of an array of numbers: {shown(text)}."
        raise FormatError(msg)
    dtype, order, numbers = match.groups()
    sizes = re.findall(rb"[0-9]+", numbers)
    source.account.take(shown(name), "axes", len(sizes))
    if any(len(each) > _DIGITS for each in sizes):
        msg = f"{shown(name)} has a size of {max(map(len, sizes))} digits, which no array has."
        raise FormatError(msg)
    found = Header(dtype.decode("latin1"), tuple(map(int, sizes)), order == b"True", begin + length)
    if found.dtype not in allowed:
        msg = f"{shown(name)} has dtype {shown(found.dtype)}; it must be one of {', '.join(allowed)}."
        raise FormatError(msg)
    held = size - found.start
    if found.elements * np.dtype(found.dtype).itemsize != held:
        msg = f"{shown(name)} declares {found.dtype} of shape {shown(found.shape)}, but holds {held} bytes."
        raise FormatError(msg)
    return found


class Npz:
    """The arrays of an .npz file by name; their headers are read first.

    Parameters
    ----------
    source : Source
    allowed : callable
        Returns the dtypes that an array of this name may have.
    """

    def __init__(self, source: Source, allowed: Callable[[str], Collection[str]]) -> None:
        self.source, self.allowed = source, allowed
        self.archive = Archive(source, "numpy.savez", deflated=True)
        self.members = {name.removesuffix(".npy"): name for name in self.archive.members}
        if len(self.members) != len(self.archive.members):
            msg = "an array stands in the file twice."
            raise FormatError(msg)
        source.account.take("the names of its arrays", "bytes", ARRAY * len(self.members))

    def header(self, name: str) -> Header:
        """Return the header of an array."""
        member = self.members[name]
        head, size = self.archive.head(member, HEAD), self.archive.members[member].size
        return parse_header(self.source, head, size, member, self.allowed(name))

    def is_of_numbers(self, name: str) -> bool:
        """Return whether an array is not of texts, objects or records, as far as the beginning of its header says."""
        found = re.search(_DTYPE, self.archive.head(self.members[name], HEAD)[:HEAD])
        return found is None or found[1][1:2] not in _NO_NUMBERS

    def read(self, name: str, *, as_stored: bool = False) -> Host:
        """Return an array, read-only and column by column, as a model keeps it, which then makes no copy.

        Parameters
        ----------
        name : str
        as_stored : bool, default False
            Whether it stays row by row where it is so in the file.
        """
        member, header = self.members[name], self.header(name)
        kind: Kind = "unpacked" if self.archive.members[member].deflated else "bytes"
        stored = np.dtype(header.dtype)
        self.source.account.take(shown(name), kind, header.elements * stored.itemsize)
        shape, native = header.shape or (1,), stored.newbyteorder("=")
        by_rows = as_stored and not header.fortran_order
        held: Host = np.empty(shape, native) if by_rows else np.empty(shape, native, order="F")
        stream = _Stream(self.archive.stream(member))
        stream.take(header.start)
        _fill(held.T if header.fortran_order else held, stream, stored)
        stream.require_end()
        held.flags.writeable = False
        return held.reshape(header.shape, order="A")  # a view, which cannot be made writable


class _Stream:
    """The bytes of a member, taken one part after the other."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._left = blocks, memoryview(b"")

    def take(self, size: int) -> bytes:
        """Return the next bytes; the member has as many, or is refused at its end."""
        pieces = []
        while size:
            if not self._left:
                self._left = memoryview(next(self._blocks))
            pieces.append(self._left[:size])
            self._left = self._left[size:]
            size -= len(pieces[-1])
        return b"".join(pieces)

    def require_end(self) -> None:
        """Read what follows, of which there is nothing if the member is as it must be."""
        for _ in self._blocks:
            pass


def _fill(part: Host, stream: _Stream, stored: "np.dtype[Any]") -> None:
    """Fill an array, row by row, with the elements of a stream, a few of which are held at a time."""
    row = part[:1].size
    if part.ndim > 1 and row * stored.itemsize > BLOCK:
        for each in part:
            _fill(each, stream, stored)
        return
    step = max(1, BLOCK // max(1, row * stored.itemsize))
    for begin in range(0, len(part) if part.size else 0, step):
        block = part[begin : begin + step]
        block[...] = np.frombuffer(stream.take(block.size * stored.itemsize), stored).reshape(block.shape)
