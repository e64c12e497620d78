"""safetensors: a JSON header, then the bytes of the arrays.

The format is read here and not by its package, which opens a file by its name, once for each array, and parses a
header of up to 100 MB before anything of it can be checked.  The package writes.
"""

from collections import Counter
from functools import cache
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rnn_backends.core.messages import shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import ARRAY
from rnn_backends.formats.assembly import from_described, pack
from rnn_backends.formats.description import KEY
from rnn_backends.formats.json_text import parse_json, require_keys
from rnn_backends.formats.made import Made, Place, declared_of, row_by_row, stored
from rnn_backends.formats.names import require_name
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Source

DTYPES = {
    "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1",
}  # fmt: skip
_NOTES = "__metadata__"
_MOST = 2**63


class Entry(NamedTuple):
    """An entry of a header: the dtype and shape of an array, and the range of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read(source: Source, options: LoadOptions, path: str) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    header, data = _read_header(source)
    notes = _notes(header.pop(_NOTES, None))
    entries = {name: _entry(name, held, data) for name, held in header.items()}
    _require_covered(entries, data.size)
    # Of tied weights safetensors.torch.save_model keeps one, and notes whose name the other has.
    entries |= {name: entries[of] for name, of in notes.items() if of in entries and name not in entries}
    source.account.take("the names of its arrays", "bytes", ARRAY * len(entries))
    shared = {entry for entry, count in Counter(entries.values()).items() if count > 1}

    def array(entry: Entry) -> Made:
        found = _array(entry, data)
        return found._replace(make=cache(found.make), is_new=False) if entry in shared else found

    once = {entry: array(entry) for entry in entries.values()}
    arrays = {name: once[entry] for name, entry in entries.items()}
    if KEY in notes:
        text = notes.pop(KEY)
        return from_described(declared_of(arrays), text, options, lambda name: arrays[name].make(), source.account)
    from rnn_backends.formats.weights import from_weights  # most files that programs load are described

    # The format's own writer sorts the arrays.
    return from_weights(arrays, options, source.account, ordered=False)


def _array(entry: Entry, data: Source) -> Made:
    def part() -> Source:
        return data.part(entry.begin, entry.end - entry.begin)

    kind, is_bfloat16 = np.dtype(DTYPES[entry.dtype]), entry.dtype == "BF16"
    place = Place(part, kind, row_by_row(entry.shape), is_bfloat16=is_bfloat16)
    return stored(entry.shape, place, "f4" if is_bfloat16 else kind.str[1:])


def write(network: Network, file: BinaryIO) -> None:
    """Write a network."""
    from safetensors.numpy import save

    arrays, description = pack(network)
    file.write(save(arrays, {KEY: description}))  # of two notes the order, and so the file, would be random


def _read_header(source: Source) -> tuple[dict[str, Any], Source]:
    """Return the header, a JSON object, and the data."""
    length = int.from_bytes(source.look(0, min(8, source.size)), "little")
    if source.size < 8 or length > source.size - 8:
        msg = (
            f"it is no safetensors file, or is cut short: it has {source.size} bytes and announces a header of "
            f"{length}."
        )
        raise FormatError(msg)
    source.account.take("the header", "text", length)
    header = parse_json(source.read(8, length, "the header"), "the header", source.account)
    return header, source.part(8 + length, source.size - 8 - length)


def _notes(held: Any) -> dict[str, str]:
    """Return the notes of a header; MLX writes null where there are none."""
    if held is None:
        return {}
    _require_object(_NOTES, held)
    if not all(isinstance(note, str) for note in held.values()):
        msg = f"{_NOTES} in the header must hold text by name."
        raise FormatError(msg)
    notes: dict[str, str] = held
    return notes


def _entry(name: str, held: Any, data: Source) -> Entry:
    """Return an entry of the header, whose bytes must be as many as its dtype and shape need."""
    require_name(name)
    _require_object(name, held)
    require_keys(shown(name), held, {"dtype", "shape", "data_offsets"})
    dtype, shape, offsets = held["dtype"], held["shape"], held["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        msg = f"{shown(name)} has dtype {shown(dtype)}; it must be one of {', '.join(DTYPES)}."
        raise FormatError(msg)
    for what, sizes in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(sizes, list) or not all(type(size) is int and 0 <= size < _MOST for size in sizes):
            msg = f"the {what} of {shown(name)} must be a list of sizes below 2**63; got {shown(sizes)}."
            raise FormatError(msg)
    data.account.take(shown(name), "axes", len(shape))
    needed = prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != needed or offsets[1] > data.size:
        found = f"its data_offsets are {shown(offsets)} in {data.size} bytes of data"
        msg = f"{shown(name)} is declared {dtype} of shape {shown(shape)}, but {found}."
        raise FormatError(msg)
    return Entry(dtype, tuple(shape), *offsets)


def _require_object(name: str, held: Any) -> None:
    if not isinstance(held, dict):
        msg = f"{shown(name)} in the header must be a JSON object; got {type(held).__name__}."
        raise FormatError(msg)


def _require_covered(entries: dict[str, Entry], size: int) -> None:
    """Check that the arrays lie one after another and fill the data, as the format demands."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != at:
            msg = f"{shown(name)} begins at byte {entry.begin} of the data, where the array before it ends at {at}."
            raise FormatError(msg)
        at = entry.end
    if at != size:
        msg = f"{size - at} bytes follow the last of its arrays."
        raise FormatError(msg)
