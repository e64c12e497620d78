"""flax.serialization.to_bytes: a tree of maps in MessagePack, whose arrays are extensions of type 1.

The msgpack package decodes an item at a time; decoding the whole would take many times the file's size where maps are
nested, and copy every array twice.
"""

from functools import partial
from math import prod
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
MAX_ITEM = 1024
ENTRY = 3
"""Items that an entry of a map counts as, for its name and its value."""
# The first byte of an extension, or of binary, and the number of bytes of the length after it.
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_FIXED = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
"""Extensions of a length of their own, by their first byte."""
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
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
        if code & 0xF0 == 0x80 or code in {0xDE, 0xDF}:
            return self.map(depth)
        if code in _EXTENSIONS or code in _FIXED:
            return self.array(code)
        if code in _BINARY or code in _TEXTS:
            width = _BINARY.get(code) or _TEXTS[code]
            return self.skipped(1 + width + self.length(self.at, width))
        return self.item("unpack")

    def skipped(self, size: int) -> None:
        """Pass over bytes that hold no parameter, as a text or a scalar beside them does not."""
        if self.at + size > self.source.size:
            msg = f"it is cut short: {size} bytes are announced at byte {self.at} of {self.source.size}."
            raise FormatError(msg)
        self.at += size

    def map(self, depth: int) -> dict[str, Any]:
        count = self.item("read_map_header")
        self.source.account.take("its tree", "items", ENTRY * (count + 1))
        self.source.account.take("its tree", "depth", depth + 1)
        found: dict[str, Any] = {}
        for _ in range(count):
            name = self.item("unpack")
            if not isinstance(name, str) or name in found:
                msg = f"the key {shown(name)} stands in a map twice, or is no text."
                raise FormatError(msg)
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
        count, shape, dtype = self.item("read_array_header"), self.item("unpack"), self.item("unpack")
        if count != 3 or type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
            msg = f"an array in it must have a shape of integers; got {shown(shape)}."
            raise FormatError(msg)
        if not isinstance(dtype, str) or dtype not in DTYPES:
            msg = f"an array in it has dtype {shown(dtype)}; it must be one of {', '.join(DTYPES)}."
            raise FormatError(msg)
        octets, numbers = _BINARY.get(self.byte(self.at), 0), np.dtype(DTYPES[dtype])
        begin = self.at + 1 + octets
        held = self.length(self.at, octets) if octets else -1
        self.source.account.take("an array in it", "axes", len(shape))
        if held != prod(shape) * numbers.itemsize or begin + held != end or end > self.source.size:
            msg = f"an array in it is declared {dtype} of shape {shown(shape)}, but holds {end - begin} bytes."
            raise FormatError(msg)
        self.at = end
        is_bfloat16, sizes = dtype == "bfloat16", tuple(shape)
        place = Place(partial(self.source.part, begin, held), numbers, row_by_row(sizes), is_bfloat16=is_bfloat16)
        return stored(sizes, place, "float32" if is_bfloat16 else dtype)

    def item(self, method: str) -> Any:
        """Return a number, a text or a header."""
        unpacker = self.msgpack.Unpacker(max_buffer_size=MAX_ITEM, max_bin_len=0, max_ext_len=0, max_map_len=0)
        unpacker.feed(self.source.look(self.at, min(MAX_ITEM, self.source.size - self.at)))
        try:
            found = getattr(unpacker, method)()
        except (ValueError, self.msgpack.exceptions.UnpackException) as error:  # the package documents both
            msg = f"it is not of flax.serialization.to_bytes, or is damaged: {short(error) or type(error).__name__}."
            raise FormatError(msg) from error
        self.at += unpacker.tell()
        return found

    def length(self, at: int, width: int) -> int:
        return int.from_bytes(self.source.read(at + 1, width), "big")

    def byte(self, at: int) -> int:
        return self.source.read(at, 1)[0]
