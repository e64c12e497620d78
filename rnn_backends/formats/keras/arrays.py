"""The arrays of an HDF5 file as Keras writes them: floats in one piece; any other is refused, by its path."""

import struct
from functools import partial
from math import prod
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.hdf5 import UNDEFINED, File, fields
from rnn_backends.formats.made import Made, Place, row_by_row, stored

MAX_AXES = 4
_SPACE, _TYPE, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE = 0x1, 0x3, 0x7, 0x8, 0xB, 0xC
_FLOAT, _OPAQUE = 1, 5
_CONTIGUOUS = (3, 1)


def _ieee(size: int, exponent: int, bias: int, order: int) -> bytes:
    """Return the description of an IEEE float in HDF5: the places of its parts, in bits."""
    bits, mantissa = 8 * size, 8 * size - exponent - 1
    head = struct.pack("<BBBI", 0x20 | order, bits - 1, 0, size)
    return head + struct.pack("<HHBBBBI", 0, bits, mantissa, exponent, 0, mantissa, bias)


_DTYPES = {
    _ieee(size, exponent, bias, order): f"{mark}f{size}"
    for size, exponent, bias in ((2, 5, 15), (4, 8, 127), (8, 11, 1023))
    for order, mark in enumerate("<>")
}
_TWO_BYTES = struct.pack("<BBBI", 0, 0, 0, 2)


class Dataset(NamedTuple):
    """The place of an array in the file.

    Parameters
    ----------
    dtype : str
        As NumPy spells it; ``"bfloat16"`` for integers of its bits.
    shape : tuple of int
    start : int
        The place of its first byte in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int = 0

    @property
    def stored(self) -> "np.dtype[Any]":
        """The dtype of the bytes."""
        return np.dtype("<u2" if self.dtype == "bfloat16" else self.dtype)

    @property
    def size(self) -> int:
        """The number of its bytes."""
        return prod(self.shape) * self.stored.itemsize


class Arrays:
    """The arrays of a file: looked up, then read."""

    def __init__(self, file: File) -> None:
        self.file, self.found = file, dict[str, Dataset]()
        self.in_use: dict[Dataset, WeakValueDictionary[Any, Host]] = {}

    def count(self, path: str) -> int:
        """Return how many arrays a layer has of its own, which must be named 0, 1, 2."""
        names = self.file.group(f"{path}/vars").keys()
        if names != {str(number) for number in range(len(names))}:
            msg = f"the arrays of {shown(path)} must be named 0, 1, ...; they are {listed(sorted(names))}."
            raise FormatError(msg)
        return len(names)

    def declared(self, path: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype and the shape that an array is read in; bfloat16 becomes float32, exactly."""
        if path not in self.found:
            self.found[path] = dataset(self.file, path)
        dtype, shape, _ = self.found[path]
        return ("float32" if dtype == "bfloat16" else self.found[path].stored.name), shape

    def made(self, path: str) -> Made:
        """Return an array, which is read in the machine's byte order when it is asked for.

        One that is in use is returned again, as many paths may lead to it.
        """
        dtype, shape = self.declared(path)
        found = self.found[path]
        part = partial(self.file.source.part, found.start, found.size)
        in_use = self.in_use.setdefault(found, WeakValueDictionary())
        place = Place(part, found.stored, row_by_row(shape), 0, found.dtype == "bfloat16", shown(path), in_use)
        return stored(shape, place, dtype)


def dataset(file: File, path: str) -> Dataset:
    """Return the place of an array, which must be one that Keras writes."""
    held: dict[int, bytes] = {}
    attributes = []
    for kind, body in file.header(path):
        if kind in {_EXTERNAL, _FILTERS}:
            what = "is stored in another file" if kind == _EXTERNAL else "is compressed, or filtered otherwise"
            msg = f"{shown(path)} {what}, which Keras does not do; {way('hdf5_plain')}."
            raise FormatError(msg)
        if kind == _ATTRIBUTE:
            attributes.append(body)
        elif kind in held and kind in {_SPACE, _TYPE, _LAYOUT}:
            msg = f"{shown(path)} is declared twice."
            raise FormatError(msg)
        held[kind] = body
    if {_SPACE, _TYPE, _LAYOUT} - held.keys():
        msg = f"{shown(path)} is no array."
        raise FormatError(msg)
    found = Dataset(_dtype(path, held[_TYPE], attributes), _shape(path, held[_SPACE]))
    return found._replace(start=_start(file, path, held[_LAYOUT], found.size))


def _shape(path: str, body: bytes) -> tuple[int, ...]:
    version, rank, flags = fields("<BBB", body)
    start = {1: 8, 2: 4}.get(version)
    if start is None or rank > MAX_AXES or flags > 1:
        msg = f"{shown(path)} has {rank} axes of version {version}; a weight has at most {MAX_AXES}."
        raise FormatError(msg)
    return fields(f"<{rank}Q", body, start)


def _dtype(path: str, body: bytes, attributes: list[bytes]) -> str:
    (kind,) = fields("<B", body)
    dtype = _DTYPES.get(body[1:20]) if kind & 0xF == _FLOAT else None
    # Keras writes the bits of bfloat16 as bytes without a meaning, and adds this attribute for it alone.
    named = any(each[8:14] == b"dtype\0" for each in attributes)
    if dtype is None and not (kind & 0xF == _OPAQUE and body[1:8] == _TWO_BYTES and named):
        msg = f"{shown(path)} holds no floats; weights are float16, bfloat16, float32 or float64."
        raise FormatError(msg)
    return dtype or "bfloat16"


def _start(file: File, path: str, body: bytes, size: int) -> int:
    """Return the place of the first byte of an array, whose bytes must be as many as its shape has."""
    if fields("<BB", body) != _CONTIGUOUS:
        msg = f"{shown(path)} is not stored in one piece, as Keras writes it; {way('hdf5_plain')}."
        raise FormatError(msg)
    start, held = fields("<QQ", body, 2)
    if start == UNDEFINED and size:
        msg = f"{shown(path)} was never written."
        raise FormatError(msg)
    start = 0 if start == UNDEFINED else start
    if held != size or start + size > file.source.size:
        msg = f"{shown(path)} declares {size} bytes, but has {held} from byte {start} on, of {file.source.size}."
        raise FormatError(msg)
    return int(start)
