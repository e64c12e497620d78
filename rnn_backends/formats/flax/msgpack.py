"""flax.serialization.to_bytes: a tree of maps in MessagePack, whose arrays are extensions of type 1.

The msgpack package decodes an item at a time, from a file that is mapped into memory; decoding the whole
would take many times the file's size where maps are nested, and copy every array twice.
"""

import mmap
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.flax.tree import Layers, from_tree
from rnn_backends.formats.names import short, shown
from rnn_backends.formats.native.description import LoadOptions
from rnn_backends.formats.native.records import widened
from rnn_backends.formats.transposed import MAX_FOLDED

ARRAY = 1
DTYPES = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}
MAX_ENTRIES = 50_000
MAX_DEPTH = 64
MAX_ITEM = 1024
# The first byte of an extension, or of binary, and how many bytes then tell its length.
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}


def read(path: Path, told: LoadOptions, residual: Any, layers: Layers | None = None) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    try:
        return from_tree(_Reader(path).tree(), told, residual, layers, MAX_FOLDED)
    except FormatError as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from error


class _Reader:
    """Reads items one after another; what Flax does not write is refused."""

    def __init__(self, path: Path) -> None:
        try:
            import msgpack
        except ImportError as error:
            msg = "this format needs the package msgpack; install it: pip install 'rnn-backends[flax]'."
            raise FormatError(msg) from error
        self.msgpack, self.at, self.entries = msgpack, 0, 0
        with path.open("rb") as file:
            if not file.read(1):
                msg = "the file is empty."
                raise FormatError(msg)
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def tree(self) -> Any:
        """Return all that the file holds."""
        found = self.value(0)
        if self.at != len(self.data):
            msg = f"{len(self.data) - self.at} bytes follow the end of its tree."
            raise FormatError(msg)
        return found

    def value(self, depth: int) -> Any:
        code = self.byte(self.at)
        if code & 0xF0 == 0x80 or code in {0xDE, 0xDF}:
            return self.map(depth)
        if code in _EXTENSIONS:
            return self.array(code)
        return self.item("unpack")

    def map(self, depth: int) -> dict[str, Any]:
        count = self.item("read_map_header")
        self.entries += count + 1
        if self.entries > MAX_ENTRIES or depth == MAX_DEPTH:
            msg = f"it has more than {MAX_ENTRIES} entries, or {MAX_DEPTH} maps in each other, as no network has."
            raise FormatError(msg)
        found: dict[str, Any] = {}
        for _ in range(count):
            name = self.item("unpack")
            if not isinstance(name, str) or name in found:
                msg = f"the key {shown(name)} stands in a map twice, or is no text."
                raise FormatError(msg)
            found[name] = self.value(depth + 1)
        return found

    def array(self, code: int) -> Host:
        """Return an array: (shape, name of the dtype, bytes)."""
        size, kind = self.length(self.at, _EXTENSIONS[code]), self.byte(self.at + 1 + _EXTENSIONS[code])
        if kind != ARRAY:
            msg = f"it holds a MessagePack extension of type {kind}; parameters of Flax are arrays, of type {ARRAY}."
            raise FormatError(msg)
        self.at += 2 + _EXTENSIONS[code]
        end = self.at + size
        count, shape, dtype = self.item("read_array_header"), self.item("unpack"), self.item("unpack")
        if count != 3 or type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
            msg = f"an array in it must have a shape of integers; got {shown(shape)}."
            raise FormatError(msg)
        if not isinstance(dtype, str) or dtype not in DTYPES:
            msg = f"an array in it has dtype {shown(dtype)}; it must be one of {', '.join(DTYPES)}."
            raise FormatError(msg)
        width, stored = _BINARY.get(self.byte(self.at), 0), np.dtype(DTYPES[dtype])
        begin = self.at + 1 + width
        held = self.length(self.at, width) if width else -1
        if held != prod(shape) * stored.itemsize or begin + held != end or end > len(self.data):
            msg = f"an array in it is declared {dtype} of shape {shown(shape)}, but holds {end - begin} bytes."
            raise FormatError(msg)
        self.at = end
        flat: Host = np.ndarray((prod(shape),), stored, self.data, begin).astype(stored.newbyteorder("="))
        flat = widened(flat) if dtype == "bfloat16" else flat
        flat.flags.writeable = False  # so that the model makes no other copy
        return flat.reshape(shape)

    def item(self, method: str) -> Any:
        """Return a number, a text or a header."""
        unpacker = self.msgpack.Unpacker(max_buffer_size=MAX_ITEM, max_bin_len=0, max_ext_len=0, max_map_len=0)
        unpacker.feed(self.data[self.at : self.at + MAX_ITEM])
        try:
            found = getattr(unpacker, method)()
        except (ValueError, self.msgpack.exceptions.UnpackException) as error:  # the package documents both
            msg = f"it is not of flax.serialization.to_bytes, or is damaged: {short(error) or type(error).__name__}."
            raise FormatError(msg) from error
        self.at += unpacker.tell()
        return found

    def length(self, at: int, width: int) -> int:
        return int.from_bytes(self.data[at + 1 : at + 1 + width], "big")

    def byte(self, at: int) -> int:
        if at >= len(self.data):
            msg = "it is cut short."
            raise FormatError(msg)
        return self.data[at]
