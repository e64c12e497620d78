"""Operators that repeat constants, along axes of the input or to a known shape, and choose among sizes."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.constants import filled, zeros_of
from rnn_backends.formats.onnx.flow import Axis, Fixed, Flow, Group, Size, Zeros, named, size_of, stated
from rnn_backends.formats.onnx.interpreter import Call, Operator
from rnn_backends.formats.onnx.shapes import (
    broadcast,
    computed,
    dtype_of_all,
    integers,
    is_filled,
    require_few,
    sizes,
)


def expand(call: Call, data: Any, shape: Any) -> Any:
    """Repeat a constant; zeros of a shape that depends on the input stay zeros."""
    if isinstance(data, Zeros):
        return Zeros()
    _require_constant(data)
    wanted = _numbers(sizes(call, shape, "shape"))
    if data.dtype.kind == "f" and any(isinstance(size, Size) for size in wanted):
        return _along_input(call, data, wanted)
    if data.dtype.kind == "f" and is_filled(call, data, 0):
        return Zeros()
    return filled(call, data, integers(call, np.array(wanted, object), "shape"))


def tile(call: Call, data: Any, repeats: Any) -> Any:
    """Repeat a constant so many times along each axis."""
    if isinstance(data, Zeros):
        return Zeros()
    _require_constant(data)
    wanted = _numbers(sizes(call, repeats, "repeats"))
    if len(wanted) != data.ndim:
        msg = f"`repeats` must have a number for each of the {data.ndim} axes of its input; got {len(wanted)}."
        raise FormatError(msg)
    if any(isinstance(count, Size) for count in wanted):
        ones = [size if count == 1 else count for size, count in zip(data.shape, wanted, strict=True)]
        return _along_input(call, data, ones)
    counts = [int(count) for count in wanted]
    if min(counts, default=0) < 0:
        msg = f"`repeats` must not be negative; got {stated(counts)}."
        raise FormatError(msg)
    size = data.size * prod(max(count, 1) for count in counts)
    call.graph.account.take("what it repeats axis by axis", "bytes", size * data.itemsize)
    return computed(call, size, data.dtype, np.tile, data, counts)


def _numbers(wanted: Sequence[Any]) -> list[Any]:
    """Return sizes as numbers where the input states them."""
    known = [size_of(size.group) if isinstance(size, Size) else size for size in wanted]
    return [size if number is None else number for size, number in zip(wanted, known, strict=True)]


def _require_constant(data: Any) -> None:
    if not isinstance(data, np.ndarray):
        msg = "only constants can be repeated, not arrays that depend on the input."
        raise FormatError(msg)


def _along_input(call: Call, data: Host, wanted: Sequence[int | Size]) -> Flow | Zeros:
    """Return a constant that is repeated along axes of the input, whose sizes are among those wanted."""
    held = data.reshape((1,) * (len(wanted) - data.ndim) + data.shape) if data.ndim < len(wanted) else data
    known = [1 if isinstance(size, Size) else size for size in wanted]
    fits = held.ndim == len(wanted) and all(
        own == 1 or not isinstance(size, Size) for size, own in zip(wanted, held.shape, strict=True)
    )
    grows = fits and any(size not in {1, own} for size, own in zip(known, held.shape, strict=True))
    if (grows or not fits) and is_filled(call, held, 0):
        return zeros_of(wanted) if held.ndim == len(wanted) else Zeros()
    if not fits:
        msg = (
            f"a constant of shape {shown(data.shape)} cannot be repeated to ({stated(wanted)[1:-1]}), where ? is a "
            "size of the input."
        )
        raise FormatError(msg)
    held = filled(call, held, known) if grows else held
    axes: list[Group] = []
    for size, own in zip(wanted, held.shape, strict=True):
        axes.append(size.group if isinstance(size, Size) else (Axis("constant", own),))
    own_axes = tuple(group[0] for size, group in zip(wanted, axes, strict=True) if not isinstance(size, Size))
    return Flow(Fixed(held.reshape([axis.size or 0 for axis in own_axes]), own_axes), tuple(axes))


def mul(call: Call, a: Any, b: Any) -> Host:
    """Multiply constants."""
    return elementwise(call, "multiplied", _product, a, b)


def _product(a: Host, b: Host) -> Any:
    # Integers of Python's, of which shapes are made, would grow without end.
    a, b = (each.astype(np.int64) if each.dtype.kind == "O" else each for each in (a, b))
    return np.multiply(a, b)


def equal(call: Call, a: Any, b: Any) -> Host:
    """Compare constants; a size that is not a number yet equals itself, and no negative number."""
    return elementwise(call, "compared", _compared, a, b)


def _compared(a: Host, b: Host) -> Any:
    return np.vectorize(_same, otypes=[bool])(a, b) if "O" in {a.dtype.kind, b.dtype.kind} else np.equal(a, b)


def _same(one: Any, other: Any) -> bool:
    one, other = _numbers([one, other])
    unknown = [each for each in (one, other) if isinstance(each, Size)]
    if len(unknown) == 1 and min(each for each in (one, other) if not isinstance(each, Size)) >= 0:
        msg = f"whether {named(unknown[0].group)} is {got(other if one is unknown[0] else one)} depends on the input."
        raise FormatError(msg)
    if len(unknown) == 2 and one != other:
        msg = f"whether {named(one.group)} is {named(other.group)} depends on the input."
        raise FormatError(msg)
    return bool(one == other)


def where(call: Call, condition: Any, a: Any, b: Any) -> Host:
    """Choose among constants, and sizes that are not numbers yet."""
    return elementwise(call, "chosen from", np.where, condition, a, b)


def elementwise(call: Call, what: str, function: Callable[..., Any], *given: Any) -> Host:
    """Return what a function gives of constants."""
    if not all(isinstance(each, np.ndarray) for each in given):
        msg = f"only constants can be {what}, not arrays that depend on the input."
        raise FormatError(msg)
    size = prod(broadcast(*(each.shape for each in given)))
    dtype = dtype_of_all(given[-2:])  # what comes before them chooses between them
    if any(each.dtype == object for each in given):
        require_few(size)
    return computed(call, size, dtype, function, *given)


OPERATORS = {
    "Expand": Operator(expand, {}),
    "Tile": Operator(tile, {}),
    "Equal": Operator(equal, {}),
    "Where": Operator(where, {}),
}
