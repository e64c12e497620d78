"""safetensors: a JSON header, then the bytes of the arrays."""

from pathlib import Path
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.native.description import LoadOptions, parse_json, require_keys
from rnn_backends.formats.native.records import KEY, pack, unpack, widened

DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
MAX_HEADER = 100_000_000


def read(path: Path, told: LoadOptions) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    header, start = _read_header(path)
    _validate(path, header)
    notes = header.pop("__metadata__", {})

    def read_array(name: str) -> Host:
        entry = header[name]
        begin, end = entry["data_offsets"]
        stored = np.dtype(DTYPES[entry["dtype"]])
        held = np.fromfile(path, stored, (end - begin) // stored.itemsize, offset=start + begin)
        if entry["dtype"] == "BF16":
            held = widened(held)
        return held.astype(held.dtype.newbyteorder("="), copy=False).reshape(entry["shape"])

    declared = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            msg = f"{path}: {name!r} has dtype {entry['dtype']}; it must be one of {', '.join(DTYPES)}."
            raise FormatError(msg)
        declared[name] = ("f4" if entry["dtype"] == "BF16" else DTYPES[entry["dtype"]][1:], tuple(entry["shape"]))
    try:
        return unpack(declared, notes.get(KEY), told, read_array)
    except FormatError as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from error


def write(network: Network, path: Path) -> None:
    """Write a network."""
    from safetensors.numpy import save

    from rnn_backends.formats.files import replaced  # most programs write no file, and its imports take their time

    arrays, description = pack(network)
    data = save(arrays, {KEY: description})  # of two notes the order, and so the file, would be random
    with replaced(path) as file:
        file.write(data)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header, a JSON object, and where the data start."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            problem = f"it has {size} bytes and announces a header of {length}"
            msg = f"{path} is no safetensors file, or is cut short: {problem}."
            raise FormatError(msg)
        return parse_json(file.read(length), f"{path}: the header"), 8 + length


def _validate(path: Path, header: dict[str, Any]) -> None:
    """Check the header against the file; types, offsets and full coverage by the safetensors package."""
    from safetensors import SafetensorError, safe_open

    _require_objects(path, header)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        msg = f"{path} is damaged: {error}."
        raise FormatError(msg) from error


def _require_objects(path: Path, header: dict[str, Any]) -> None:
    """Check what the safetensors package lets pass: null, lists for objects, fields it does not know."""
    for name, entry in header.items():
        if not isinstance(entry, dict):
            msg = f"{path}: {name!r} in the header must be a JSON object; got {type(entry).__name__}."
            raise FormatError(msg)
        if name != "__metadata__":
            require_keys(f"{path}: {name!r}", entry, {"dtype", "shape", "data_offsets"})
            if not isinstance(entry["dtype"], str):
                msg = f"{path}: the dtype of {name!r} must be a string; got {type(entry['dtype']).__name__}."
                raise FormatError(msg)
