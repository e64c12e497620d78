"""flax.serialization.to_bytes: a tree of maps in MessagePack, whose arrays are extensions of type 1."""

import mmap
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from rnn_backends.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.description import Told
from rnn_backends.formats.flax import Layers, from_tree
from rnn_backends.formats.names import short, shown
from rnn_backends.formats.native import widened
from rnn_backends.parameters import Network

ARRAY = 1
DTYPES = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8"}
MAX_ENTRIES = 50_000  # of all maps together: an entry takes up to 250 bytes of memory, and two of the file
MAX_ENTRIES_OF_ONE = 200
MAX_TEXT = 1000
MAX_HEADER = 256
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # the first byte of a binary, and how many bytes tell its length


def read(path: Path, told: Told, residual: Any, layers: Layers | None = None) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    try:
        return from_tree(_tree(path), told, residual, layers)
    except FormatError as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from error


def _tree(path: Path) -> Any:
    """Return the maps and arrays of a file; whatever else MessagePack can hold is refused."""
    try:
        import msgpack
    except ImportError as error:
        msg = "this format needs the package msgpack; install it: pip install 'rnn-backends[flax]'."
        raise FormatError(msg) from error
    entries = 0

    def count(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        nonlocal entries
        entries += len(pairs) + 1
        if entries > MAX_ENTRIES:
            msg = f"it has more than {MAX_ENTRIES} entries, which no network has."
            raise FormatError(msg)
        found = dict(pairs)
        if len(found) != len(pairs):
            msg = "a key stands in it twice."
            raise FormatError(msg)
        return found

    with path.open("rb") as file:
        if not file.read(1):
            msg = "the file is empty."
            raise FormatError(msg)
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    limits = {"max_map_len": MAX_ENTRIES_OF_ONE, "max_str_len": MAX_TEXT, "max_array_len": 0, "max_bin_len": 0}
    try:
        return msgpack.unpackb(data, ext_hook=_array, object_pairs_hook=count, strict_map_key=True, **limits)
    except FormatError:
        raise
    except (ValueError, msgpack.exceptions.UnpackException) as error:  # the package documents both
        msg = f"it is no MessagePack of flax.serialization.to_bytes, or is damaged: {short(error)}."
        raise FormatError(msg) from error


def _array(code: int, data: bytes) -> Host:
    """Return the array of an extension: (shape, name of the dtype, bytes), the bytes read where they lie."""
    import msgpack

    if code != ARRAY:
        msg = f"it holds a MessagePack extension of type {code}; parameters of Flax are arrays, of type {ARRAY}."
        raise FormatError(msg)
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_HEADER, max_array_len=8, max_str_len=32, max_map_len=0)
    unpacker.feed(data[:MAX_HEADER])
    try:
        count, shape, dtype = unpacker.read_array_header(), unpacker.unpack(), unpacker.unpack()
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        msg = f"an array in it is damaged: {short(error)}."
        raise FormatError(msg) from error
    start = unpacker.tell()
    if count != 3 or type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
        msg = "an array in it has no shape of integers."
        raise FormatError(msg)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        msg = f"an array in it has dtype {shown(dtype)}; it must be one of {', '.join(DTYPES)}."
        raise FormatError(msg)
    width = _BYTES.get(data[start] if start < len(data) else 0, 0)
    length = int.from_bytes(data[start + 1 : start + 1 + width], "big")
    begin, stored = start + 1 + width, np.dtype(DTYPES[dtype])
    if not width or length != len(data) - begin or length != prod(shape) * stored.itemsize:
        msg = f"an array in it is declared {dtype} of shape {shown(shape)}, but holds {len(data) - begin} bytes."
        raise FormatError(msg)
    flat = np.frombuffer(data, stored, offset=begin).astype(stored.newbyteorder("="))
    held = (widened(flat) if dtype == "bfloat16" else flat).reshape(shape)
    held.flags.writeable = False  # so that the model makes no other copy
    return held
