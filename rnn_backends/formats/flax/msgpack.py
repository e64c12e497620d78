"""flax.serialization.to_bytes: a tree of maps in MessagePack, whose arrays are extensions of type 1.

The msgpack package decodes an item at a time; decoding the whole would take many times the file's size where maps are
nested, and copy every array twice.
"""

from functools import partial
from math import prod
from sys import getsizeof
from typing import Any

import numpy as np

from rnn_backends.core.messages import short, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.flax.tree import from_tree
from rnn_backends.formats.made import Made, Place, row_by_row, stored
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Source

ARRAY = 1
DTYPES = {
    "float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8", "bool": "|b1",
    **{f"{sign}int{8 * size}": f"<{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)},
}  # fmt: skip
MAX_NAME = 1000
"""The most bytes of a name."""
ENTRY = 3
"""Items that an entry of a map counts as, for its name and its value."""
_ENTRY, _ARRAY = 200, 1500
"""Bytes of memory of an entry of a map beside its name, and of an array beside its numbers, with all that is noted."""
_MAPS, _LISTS = {0xDE: 2, 0xDF: 4}, {0xDC: 2, 0xDD: 4}
"""The first bytes of maps and lists, of binary, extensions and texts, and the bytes of the length after them."""
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_FIXED = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
"""Extensions of a length of their own, by their first byte."""
_NUMBERS = {0xCA: 4, 0xCB: 8, **{base + k: 2**k for base in (0xCC, 0xD0) for k in range(4)}}
"""Numbers of floating point and integers, and the bytes after the first."""
_SCALARS = {2, 3}
"""Extensions for complex numbers and scalars of NumPy, which are no parameters."""


def read(source: Source, options: LoadOptions, path: str) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    return from_tree(_Reader(source).tree(), options, lambda array: array, source.account)


class _Reader:
    """Reads items one after another; what Flax does not write is refused."""

    def __init__(self, source: Source) -> None:
        try:
            import msgpack
        except ImportError as error:
            msg = f"this format needs the package msgpack; {way('install', extra='flax')}."
            raise FormatError(msg) from error
        self.msgpack, self.source, self.at = msgpack, source, 0

    def tree(self) -> Any:
        """Return all that the file holds."""
        found = self.value(0)
        if self.at != self.source.size:
            msg = f"{self.source.size - self.at} bytes follow the end of its tree."
            raise FormatError(msg)
        return found

    def value(self, depth: int) -> Any:
        code = self.byte(self.at)
        if code & 0xF0 == 0x80 or code in _MAPS:
            return self.map(depth)
        if code in _EXTENSIONS or code in _FIXED:
            return self.array(code)
        if code & 0xF0 == 0x90 or code in _LISTS:
            return self.passed_over()
        return self.skipped(self.size(code))

    def skipped(self, size: int) -> None:
        """Pass over bytes that hold no parameter, as a text or a scalar beside them does not."""
        if self.at + size > self.source.size:
            msg = f"it is cut short: {size} bytes are announced at byte {self.at} of {self.source.size}."
            raise FormatError(msg)
        self.at += size

    def passed_over(self) -> list[Any]:
        """Pass over a list with all in it, which is none of Flax's, and return an empty one for it."""
        left = 1
        while left:
            self.source.account.take("its tree", "items", 1)
            code, left = self.byte(self.at), left - 1
            if code & 0xE0 == 0x80 or code in _MAPS or code in _LISTS:
                left += self.count() * (2 if code & 0xF0 == 0x80 or code in _MAPS else 1)
            else:
                self.skipped(self.size(code))
        return []

    def map(self, depth: int) -> dict[str, Any]:
        account, count = self.source.account, self.count()
        account.take("its tree", "items", ENTRY * (count + 1))
        account.take("its tree", "depth", depth + 1)
        account.take("its tree", "bytes", _ENTRY * (count + 1))
        found: dict[str, Any] = {}
        for _ in range(count):
            name = self.item()
            if not isinstance(name, str) or name in found:
                msg = f"the key {shown(name)} stands in a map twice, or is no text."
                raise FormatError(msg)
            account.take("its tree", "bytes", getsizeof(name))
            found[name] = self.value(depth + 1)
        return found

    def array(self, code: int) -> Made | None:
        """Return an array that is read later; None of another extension that Flax writes.

        It is of a shape, the name of a dtype, and bytes.
        """
        width = _EXTENSIONS.get(code, 0)
        size = self.length(self.at, width) if width else _FIXED[code]
        kind = self.byte(self.at + 1 + width)
        if kind in _SCALARS:
            self.skipped(2 + width + size)
            return None
        if kind != ARRAY:
            msg = f"it holds a MessagePack extension of type {kind}; parameters of Flax are arrays, of type {ARRAY}."
            raise FormatError(msg)
        self.at += 2 + width
        end = self.at + size
        if self.byte(self.at) & 0xF0 != 0x90 or self.count() != 3:
            why = "an array in it is no tuple of its shape, its dtype and its bytes"
            raise _damaged(why)
        shape, dtype = self.shape(), self.item()
        if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
            msg = f"an array in it must have a shape of integers; got {shown(shape)}."
            raise FormatError(msg)
        if not isinstance(dtype, str) or dtype not in DTYPES:
            msg = f"an array in it has dtype {shown(dtype)}; it must be one of {', '.join(DTYPES)}."
            raise FormatError(msg)
        octets, numbers = _BINARY.get(self.byte(self.at), 0), np.dtype(DTYPES[dtype])
        begin = self.at + 1 + octets
        held = self.length(self.at, octets) if octets else -1
        self.source.account.take("an array in it", "bytes", _ARRAY)
        if held != prod(shape) * numbers.itemsize or begin + held != end or end > self.source.size:
            msg = f"an array in it is declared {dtype} of shape {shown(shape)}, but holds {end - begin} bytes."
            raise FormatError(msg)
        self.at = end
        is_bfloat16, sizes = dtype == "bfloat16", tuple(shape)
        place = Place(partial(self.source.part, begin, held), numbers, row_by_row(sizes), is_bfloat16=is_bfloat16)
        return stored(sizes, place, "float32" if is_bfloat16 else dtype)

    def shape(self) -> Any:
        """Return the lengths of the axes of an array, or what stands in their place."""
        code = self.byte(self.at)
        if not (code & 0xF0 == 0x90 or code in _LISTS):
            return self.item()
        axes = self.count()
        self.source.account.take("an array in it", "axes", axes)
        return tuple(self.item() for _ in range(axes))

    def count(self) -> int:
        """Return how many entries a map has, or how many items a list, and pass over its header."""
        code = self.byte(self.at)
        width = _MAPS.get(code) or _LISTS.get(code, 0)
        found = self.length(self.at, width) if width else code & 0xF
        self.at += 1 + width
        return found

    def item(self) -> Any:
        """Return a number or a text."""
        size = self.size(self.byte(self.at))
        try:
            if size > MAX_NAME:
                msg = f"a name of {size} bytes"
                raise ValueError(msg)
            found = self.msgpack.unpackb(self.source.read(self.at, size))
        except (ValueError, self.msgpack.exceptions.UnpackException) as error:  # the package documents both
            raise _damaged(short(error) or type(error).__name__) from error
        self.at += size
        return found

    def size(self, code: int) -> int:
        """Return how many bytes an item takes that begins with a byte, and holds no others."""
        if code in _NUMBERS or code in _FIXED:
            return 1 + (_NUMBERS.get(code) or 1 + _FIXED[code])
        if width := _BINARY.get(code) or _TEXTS.get(code) or _EXTENSIONS.get(code):
            return 1 + width + self.length(self.at, width) + (code in _EXTENSIONS)
        if 0x80 <= code < 0xA0 or code in {0xC1, *_MAPS, *_LISTS}:
            why = f"it has the byte {code} where a number or a text must be"
            raise _damaged(why)
        return 1 + (code & 0x1F if code & 0xE0 == 0xA0 else 0)

    def length(self, at: int, width: int) -> int:
        return int.from_bytes(self.source.read(at + 1, width), "big")

    def byte(self, at: int) -> int:
        return self.source.read(at, 1)[0]


def _damaged(why: str) -> FormatError:
    msg = f"it is not of flax.serialization.to_bytes, or is damaged: {why}."
    return FormatError(msg)
