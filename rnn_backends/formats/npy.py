"""Arrays of NumPy's .npy and .npz files, read without pickle and without trust in the sizes they declare."""

import re
from collections.abc import Callable, Collection
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.archive import Archive
from rnn_backends.formats.source import Source

MAX_HEADER = 10_000
HEAD = MAX_HEADER + 12
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

    def array(self, flat: Host) -> Host:
        """Return the array of elements in a row, in the machine's byte order."""
        flat = flat if flat.flags.aligned else flat.copy()  # other writers than NumPy pad no header
        array = flat.reshape(self.shape, order="F" if self.fortran_order else "C")
        return array.astype(array.dtype.newbyteorder("="), copy=False)


def parse_header(source: Source, head: bytes, size: int, name: str, allowed: Collection[str]) -> Header:
    """Return the header at the beginning of an array of `size` bytes, checked against that size."""
    magic, version = head[:6], head[6:8]
    if magic != npy.MAGIC_PREFIX or version not in _LENGTH_BYTES:
        msg = f"{shown(name)} must be in version 1.0 or 2.0 of the .npy format; got {magic + version!r}."
        raise FormatError(msg)
    begin = 8 + _LENGTH_BYTES[version]
    length = int.from_bytes(head[8:begin], "little")
    text = head[begin : begin + length] if length <= MAX_HEADER else b""
    match = _HEADER.fullmatch(text)
    if match is None or None in match.groups():
        msg = f"the header of {shown(name)} is not that of an array of numbers: {text[:200]!r}."
        raise FormatError(msg)
    dtype, order, numbers = match.groups()
    sizes = re.findall(rb"[0-9]+", numbers)
    source.account.take(shown(name), "axes", len(sizes))
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

    def header(self, name: str) -> Header:
        """Return the header of an array."""
        member = self.members[name]
        head, size = self.archive.head(member, HEAD), self.archive.members[member].size
        return parse_header(self.source, head, size, member, self.allowed(name))

    def is_of_numbers(self, name: str) -> bool:
        """Return whether an array is not of texts, objects or records, as far as the beginning of its header says."""
        found = re.search(_DTYPE, self.archive.head(self.members[name], HEAD)[:HEAD])
        return found is None or found[1][1:2] not in _NO_NUMBERS

    def read(self, name: str) -> Host:
        """Return an array, read-only so that a model makes no copy of it."""
        header, octets = self.header(name), self.archive.unpacked(self.members[name])
        octets.flags.writeable = False
        return header.array(octets[header.start :].view(header.dtype))
