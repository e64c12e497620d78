"""Tensors of an ONNX file as NumPy arrays, none larger than the bytes that the file has for it."""

import hashlib
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.proto import quoted

EXTERNAL = 1
MAX_AXES = 8
BFLOAT16 = 16
ELEMENTS = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8", BFLOAT16: "<u2"}
"""The dtypes of tensors by ONNX's numbers for them: those of weights, and of lengths, ids and shapes."""
FIELDS = {
    1: "float_data",
    6: "int32_data",
    7: "int64_data",
    10: "int32_data",
    11: "double_data",
    BFLOAT16: "int32_data",
}
_ALL_FIELDS = {*FIELDS.values(), "string_data", "uint64_data"}


class Tensors(NamedTuple):
    """How tensors are read.

    Parameters
    ----------
    folder : Path, optional
        The folder of the model, where external data files may lie; None refuses them.
    """

    folder: Path | None

    def read(self, tensor: Any) -> Host:
        """Return a TensorProto as an array; bfloat16 becomes float32, exactly."""
        code, shape = tensor.data_type, tuple(tensor.dims)
        if code not in ELEMENTS:
            msg = f"the tensor {quoted(tensor.name)} has element type {code}; it must be one of {sorted(ELEMENTS)}."
            raise FormatError(msg)
        if len(shape) > MAX_AXES or min(shape, default=0) < 0:
            msg = f"the tensor {quoted(tensor.name)} has the impossible shape {shape}."
            raise FormatError(msg)
        if tensor.HasField("segment"):
            msg = f"the tensor {quoted(tensor.name)} is a segment of another; save the model in one piece."
            raise FormatError(msg)
        dtype = np.dtype(ELEMENTS[code])
        flat = self._flat(tensor, dtype, prod(shape))
        if code == BFLOAT16:
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        array = flat.astype(flat.dtype.newbyteorder("="), copy=False).reshape(shape)
        array.flags.writeable = False
        return array

    def _flat(self, tensor: Any, dtype: Any, count: int) -> Host:
        """Return the elements, which must be as many as the shape says."""
        filled = [name for name in sorted(_ALL_FIELDS) if len(getattr(tensor, name))]
        if tensor.data_location == EXTERNAL:
            if filled or tensor.HasField("raw_data"):
                msg = f"the tensor {quoted(tensor.name)} has its data both in the file and in an external one."
                raise FormatError(msg)
            return self._external(tensor, dtype, count)
        if tensor.HasField("raw_data"):
            raw, held = tensor.raw_data, len(tensor.raw_data) / dtype.itemsize
            filled = [*filled, "raw_data"]
        else:
            raw, held = None, len(getattr(tensor, FIELDS[tensor.data_type]))
        if held != count or len(filled) > 1 or (filled and filled[0] not in {"raw_data", FIELDS[tensor.data_type]}):
            has = f"{held:g} elements in {' and '.join(filled) or 'no field'}"
            msg = f"the tensor {quoted(tensor.name)} declares the shape {tuple(tensor.dims)}, but has {has}."
            raise FormatError(msg)
        if raw is not None:
            return np.frombuffer(raw, dtype)
        return _listed(tensor, dtype, count)

    def _external(self, tensor: Any, dtype: Any, count: int) -> Host:
        if self.folder is None:
            msg = (
                f"the tensor {quoted(tensor.name)} has its data in another file; allow that with "
                "rnn_backends.from_onnx(path, external_data=True)."
            )
            raise FormatError(msg)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        unknown = entries.keys() - {"location", "offset", "length", "checksum"}
        if unknown or len(entries) != len(tensor.external_data) or not entries.get("location"):
            known = "a location, and at most offset, length and checksum"
            msg = f"the external data of {quoted(tensor.name)} must have {known}; got {quoted(', '.join(entries))}."
            raise FormatError(msg)
        path = _contained(self.folder, entries["location"])
        offset = _whole(tensor.name, entries.get("offset", "0"))
        length = _whole(tensor.name, entries.get("length", str(count * dtype.itemsize)))
        size = path.stat().st_size
        if length != count * dtype.itemsize or offset + length > size:
            msg = (
                f"the tensor {quoted(tensor.name)} needs {count * dtype.itemsize} bytes; "
                f"its external data are {length} from {offset} on in a file of {size}."
            )
            raise FormatError(msg)
        with path.open("rb") as file:
            if "checksum" in entries and hashlib.file_digest(file, "sha1").hexdigest() != entries["checksum"].lower():
                msg = f"the external data of {quoted(tensor.name)} do not have the checksum that the model states."
                raise FormatError(msg)
            file.seek(offset)
            return np.frombuffer(file.read(length), dtype)


def _listed(tensor: Any, dtype: Any, count: int) -> Host:
    """Return the elements of a typed field; float16 and bfloat16 stand there as the integers of their bits."""
    field = getattr(tensor, FIELDS[tensor.data_type])
    if dtype.itemsize != 2:
        return np.fromiter(field, dtype, count)
    bits = np.fromiter(field, np.int32, count)
    if ((bits < 0) | (bits > 0xFFFF)).any():
        msg = f"the tensor {quoted(tensor.name)} holds bits of 16-bit floats that are no 16-bit numbers."
        raise FormatError(msg)
    return bits.astype("<u2").view(dtype)


def _contained(folder: Path, location: str) -> Path:
    """Return the path of an external data file, which must lie in the model's folder, as itself."""
    inner = Path(location)
    path = folder / inner
    inside = not inner.is_absolute() and "\\" not in location and "\0" not in location and ".." not in inner.parts
    steps = [folder.joinpath(*inner.parts[: n + 1]) for n in range(len(inner.parts))] if inside else []
    if not inside or any(step.is_symlink() for step in steps) or not path.is_file():
        msg = (
            f"the external data file {quoted(location)} must be an ordinary file in the model's folder: no '..', no "
            "absolute path, no symbolic link."
        )
        raise FormatError(msg)
    return path


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        msg = f"offset and length of the external data of {quoted(name)} must be whole numbers; got {quoted(text)}."
        raise FormatError(msg)
    return int(text)
