"""Operators of constants: given, filled and converted."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx import rolled
from rnn_backends.formats.onnx.flow import Axis, Flow, Input, Result, Size, Tokens, Zeros, size_of, stated
from rnn_backends.formats.onnx.interpreter import FLOAT, FLOATS, INT, INTS, TENSOR, Call, Operator
from rnn_backends.formats.onnx.packed import Order
from rnn_backends.formats.onnx.rounding import converted
from rnn_backends.formats.onnx.shapes import broadcast, computed, integers, sizes
from rnn_backends.formats.onnx.tensors import BFLOAT16, ELEMENTS

SMALL = 2**16
_WHOLE = {6, 7}  # int32 and int64


def constant_of_shape(call: Call, shape: Any) -> Any:
    """Return a constant of one value."""
    value, wanted = call.get("value", np.zeros(1, np.float32)), sizes(call, shape, "shape")
    if value.size != 1:
        msg = f"`value` must be one number; got {value.size}."
        raise FormatError(msg)
    known = not any(isinstance(size, Size) for size in wanted)
    if not value.any() and value.dtype.kind in "fi" and not (known and 0 <= prod(wanted) <= SMALL):
        return zeros_of(wanted)
    return filled(call, value.reshape(()), integers(call, shape, "shape"))


def zeros_of(wanted: Sequence[int | Size]) -> Zeros:
    """Return zeros of a shape, some of whose sizes are those of the input."""
    if any(not isinstance(size, Size) and size < 0 for size in wanted):
        msg = f"the shape {stated(wanted)} is impossible."
        raise FormatError(msg)
    sizes = (size.group if isinstance(size, Size) else size for size in wanted)
    return Zeros(
        tuple(() if size == 1 else size if isinstance(size, tuple) else (Axis("zeros", size),) for size in sizes)
    )


def fewer(data: Zeros, axis: int, taken: slice) -> Zeros:
    """Return a part of zeros."""
    axes = data.axes or ()
    size = size_of(axes[axis])
    if size is None:
        return Zeros()
    length = len(range(*taken.indices(size)))
    return Zeros((*axes[:axis], () if length == 1 else (Axis("zeros", length),), *axes[axis + 1 :]))


def filled(call: Call, value: Host, wanted: list[int]) -> Host:
    """Return a constant repeated to a shape."""
    if min(wanted, default=0) < 0:
        msg = f"the shape {stated(wanted)} is impossible."
        raise FormatError(msg)
    shape = broadcast(value.shape, wanted)
    return computed(call, prod(shape), value.dtype, lambda: np.broadcast_to(value, shape).copy())


def identity(call: Call, data: Any) -> Any:
    """Return the input."""
    return data


def cast(call: Call, data: Any) -> Any:
    """Convert a constant or one-hot vectors, ids and lengths to another integer type, or the input to its own."""
    code = call.get("to")
    whole = code in _WHOLE
    if isinstance(data, Zeros) and code in ELEMENTS and not whole:
        return data
    if isinstance(data, np.ndarray) and data.dtype == object and whole:
        return data
    if isinstance(data, np.ndarray) and code in ELEMENTS and code != BFLOAT16 and data.dtype != object:
        dtype = np.dtype(ELEMENTS[code])
        return computed(call, data.size, dtype, data.astype, dtype)
    data = rolled.result_of(call, data)
    source = data.content if isinstance(data, Flow) else None
    if isinstance(source, Order) and whole:
        return data
    if isinstance(source, (Input, Result)) and code in ELEMENTS and not whole and code != BFLOAT16:
        return converted(data, np.dtype(ELEMENTS[code]).name)
    if isinstance(source, Tokens) and code in ELEMENTS and not whole:
        return data  # one-hot vectors, which every floating-point type holds
    if isinstance(source, Input) and code in ELEMENTS:
        own = np.dtype(ELEMENTS[code]).name
        if own == source.dtype or (whole and source.dtype in {"int32", "int64"}):
            return data
    msg = f"it converts to the element type {code}, where only constants, ids and lengths can change theirs."
    raise FormatError(msg)


def constant(call: Call) -> Any:
    """Return the value of a node that has no input."""
    if len(call.attributes) != 1:
        msg = f"it must have one attribute; got {listed(sorted(call.attributes))}."
        raise FormatError(msg)
    ((name, value),) = call.attributes.items()
    if name == "value":
        return value
    return np.array(value, np.float32 if "float" in name else np.int64)


OPERATORS = {
    "ConstantOfShape": Operator(constant_of_shape, {"value": TENSOR}),
    "Identity": Operator(identity, {}),
    "Cast": Operator(cast, {"to": INT, "saturate": INT}),
    "Constant": Operator(
        constant, {"value": TENSOR, "value_float": FLOAT, "value_floats": FLOATS, "value_int": INT, "value_ints": INTS}
    ),
}
