"""Tensors of an ONNX file as NumPy arrays, none larger than the bytes that the file has for it."""

from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.arrays import widened
from rnn_backends.formats.onnx.external import External
from rnn_backends.formats.onnx.kept import Kept
from rnn_backends.formats.onnx.proto import PLACE
from rnn_backends.formats.source import Source

EXTERNAL = 1
BFLOAT16 = 16
ELEMENTS = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8", BFLOAT16: "<u2"}
"""The dtypes of tensors by ONNX's numbers for them: those of weights, and of lengths, ids and shapes."""
TYPES = ", ".join(map(str, sorted(ELEMENTS)))
FIELDS = {
    1: "float_data",
    6: "int32_data",
    7: "int64_data",
    10: "int32_data",
    11: "double_data",
    BFLOAT16: "int32_data",
}
_ALL_FIELDS = sorted({*FIELDS.values(), "string_data", "uint64_data"})


class Tensors:
    """The tensors of a model as arrays, each accounted before it is read.

    Parameters
    ----------
    account : Account
    source : Source, optional
        The file of the model, which `read_model` left raw data in; without it, the model holds them.
    external : External, optional
        The files beside it; None refuses them.
    """

    def __init__(self, account: Account, source: Source | None = None, external: External | None = None) -> None:
        self.account, self.source, self.external = account, source, external
        self.kept = Kept(account)

    def read(self, tensor: Any) -> Host:
        """Return a TensorProto as an array; bfloat16 becomes float32, exactly."""
        code, name = tensor.data_type, shown(tensor.name)
        if code not in ELEMENTS:
            msg = f"the tensor {name} has element type {code}; it must be one of {TYPES}."
            raise FormatError(msg)
        self.account.take(f"the shape of the tensor {name}", "axes", len(tensor.dims))
        shape = tuple(tensor.dims)
        if min(shape, default=0) < 0:
            msg = f"the tensor {name} has the impossible shape {shown(shape)}."
            raise FormatError(msg)
        if tensor.HasField("segment"):
            msg = f"the tensor {name} is a segment of another, which is not read."
            raise FormatError(msg)
        flat = self._flat(tensor, np.dtype(ELEMENTS[code]), prod(shape))
        if code == BFLOAT16:
            self.account.take(f"the tensor {name} in float32", "bytes", 2 * flat.nbytes)
            self.kept.widened += flat.nbytes
            flat = widened(flat)
        flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
        flat.flags.writeable = False  # before a view of it is made, so that the model makes no copy
        return self.kept.hold(flat).reshape(shape)

    def _flat(self, tensor: Any, dtype: Any, count: int) -> Host:
        """Return the elements, which must be as many as the shape has."""
        filled = [name for name in _ALL_FIELDS if len(getattr(tensor, name))]
        inside = tensor.HasField("raw_data")
        if tensor.data_location == EXTERNAL:
            if filled or inside:
                msg = f"the tensor {shown(tensor.name)} has its data both in the file and in an external one."
                raise FormatError(msg)
            return self._external(tensor, dtype, count)
        own = FIELDS[tensor.data_type]
        raw = tensor.raw_data if inside else b""
        start, nbytes = (0, len(raw)) if self.source is None or not inside else PLACE.unpack(raw)
        held = nbytes / dtype.itemsize if inside else len(getattr(tensor, own))
        filled += ["raw_data"] * inside
        if held != count or len(filled) > 1 or (filled and filled[0] not in {"raw_data", own}):
            has = f"{held:g} elements in {' and '.join(filled) or 'no field'}"
            msg = f"the tensor {shown(tensor.name)} declares the shape {shown(tuple(tensor.dims))}, but has {has}."
            raise FormatError(msg)
        self.kept.take(f"the tensor {shown(tensor.name)}", nbytes if inside else count * dtype.itemsize)
        if not inside:
            return self._listed(tensor, dtype, count)
        if self.source is not None:
            return self.source.numbers(start, count, dtype, f"the tensor {shown(tensor.name)}")
        return np.frombuffer(raw, dtype)

    def _external(self, tensor: Any, dtype: Any, count: int) -> Host:
        if self.external is None:
            msg = f"the tensor {shown(tensor.name)} has its data in another file; {way('onnx_external')}."
            raise FormatError(msg)
        return self.external.numbers(tensor, count, dtype, self.kept)

    def _listed(self, tensor: Any, dtype: Any, count: int) -> Host:
        """Return the elements of a typed field; of float16 and bfloat16 it holds the bits, as integers."""
        field = getattr(tensor, FIELDS[tensor.data_type])
        self.account.take(f"the tensor {shown(tensor.name)}", "bytes", count * max(dtype.itemsize, 4))
        if dtype.itemsize != 2:
            return np.fromiter(field, dtype, count)
        bits = np.fromiter(field, np.int32, count)
        if ((bits < 0) | (bits > 0xFFFF)).any():
            msg = f"the tensor {shown(tensor.name)} holds bits of 16-bit floats that are no 16-bit numbers."
            raise FormatError(msg)
        return bits.astype("<u2").view(dtype)
