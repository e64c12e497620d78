"""Operators around packed sequences that were not sorted: sequences in the order of their lengths, and back.

A layer treats each sequence alone, so a graph that sorts them, and their results back, computes what one does that
leaves them where they are.  The axis of sorted sequences is another than that of the sequences as they came, and an
output must have the latter.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.flow import (
    Axis,
    Encoded,
    Flow,
    Group,
    Input,
    Result,
    Size,
    Tokens,
    Zeros,
    named,
    order_of,
    size_of,
)
from rnn_backends.formats.onnx.interpreter import INT, INTS, Call, Operator
from rnn_backends.formats.onnx.scales import Affine
from rnn_backends.formats.onnx.shapes import computed, integers, places

_WHOLE = {"int32", "int64"}


@dataclass(frozen=True, eq=False)
class Order:
    """The order of sequences by their lengths, longest first, or where each is in it."""

    lengths: Input
    is_inverse: bool = False


@dataclass(frozen=True, eq=False)
class Count:
    """The numbers from 0 to a size of the input."""

    group: Group


def top_k(call: Call, data: Any, k: Any) -> tuple[Flow, Flow]:
    """Sort lengths."""
    source: Any = data.content if isinstance(data, Flow) else None
    is_lengths = isinstance(source, Input) and source.dtype in _WHOLE and data.axes == (source.atoms,)
    is_lengths = is_lengths and source.start is None and order_of(source.atoms) == (None,)
    whole = isinstance(k, np.ndarray) and k.size == 1 and is_lengths and k.reshape(-1)[0] in _sizes(data.axes[0])
    if not whole or not call.get("largest", 1) or not call.get("sorted", 1) or call.get("axis", -1) not in {0, -1}:
        msg = "it must sort all lengths of the sequences, the longest first."
        raise FormatError(msg)
    axis = call.graph.shared.sorted_axis(source.atoms[0], source.name)
    return Flow(replace(source, atoms=(axis,)), ((axis,),)), Flow(Order(source), data.axes)


def _sizes(group: Group) -> list[Any]:
    return [Size(group), *([] if (size := size_of(group)) is None else [size])]


def by_order(call: Call, data: Any, order: Flow, place: int) -> Flow:
    """Return sequences in the order of their lengths, or as they came."""
    held: Order = order.content
    group = data.axes[place] if isinstance(data, Flow) and place < len(data.axes) else ()
    wanted: Axis | None = None
    if len(group) == 1 and held.is_inverse and order_of(group) == (held.lengths.name,):
        wanted = group[0].sorted_from
    elif len(group) == 1 and not held.is_inverse and group[0].sorted_from is None:
        wanted = call.graph.shared.sorted_axis(group[0], held.lengths.name)
    sizes = {size for axes in (group, held.lengths.atoms) if (size := size_of(axes)) is not None}
    if wanted is None or len(sizes) > 1:
        own = f"{named(group)}, sorted by {shown(group[0].sorted_by)}" if any(order_of(group)) else named(group)
        msg = (
            "only whole sequences can be sorted by their lengths, and back by the same; its axis is "
            f"{own}, and its order that of {shown(held.lengths.name)}."
        )
        raise FormatError(msg)
    content = _exchanged(data.content, group[0], wanted)
    return Flow(content, (*data.axes[:place], (wanted,), *data.axes[place + 1 :]))


def _exchanged(content: Any, old: Axis, new: Axis) -> Any:
    """Return the content of a flow with another axis in the place of one."""
    if isinstance(content, Encoded):
        return replace(content, source=_exchanged(content.source, old, new))
    if isinstance(content, Affine):
        return replace(content, under=_exchanged(content.under, old, new))
    if isinstance(content, Tokens):
        axes = tuple(tuple(new if axis is old else axis for axis in group) for group in content.ids.axes)
        return replace(content, ids=Flow(_exchanged(content.ids.content, old, new), axes))
    others: Group = () if isinstance(content, Input) and content.dtype in _WHOLE else getattr(content, "atoms", ())[-1:]
    if isinstance(content, Result):
        steps = () if content.stage is None else (content.stage.seq,)
        others = (*others, *content.features, *content.several, *steps)
    if not isinstance(content, (Input, Result)) or old not in content.atoms or old in others:
        msg = "only sequences of the input, and results of a layer, can be sorted by their lengths."
        raise FormatError(msg)
    return replace(content, atoms=tuple(new if axis is old else axis for axis in content.atoms))


def range_(call: Call, start: Any, limit: Any, delta: Any) -> Any:
    """Count from one constant to another, or to a size of the input."""
    given = (start, limit, delta)
    if not all(isinstance(each, np.ndarray) and each.size == 1 for each in given):
        msg = "it must count between constants, or to a size of the input."
        raise FormatError(msg)
    numbers = [each.reshape(-1)[0] for each in given]
    if isinstance(numbers[1], Size) and numbers[0] == 0 and numbers[2] == 1:
        return Flow(Count(numbers[1].group), (numbers[1].group,))
    if any(isinstance(each, Size) or each != int(each) for each in numbers) or int(numbers[2]) == 0:
        msg = "it must count in whole numbers."
        raise FormatError(msg)
    counted = range(*(int(each) for each in numbers))
    return computed(call, len(counted), np.int64, np.arange, counted.start, counted.stop, counted.step, "int64")


def reduce_prod(call: Call, data: Any, axes: Any = None) -> Any:
    """Return the product of the sizes of a shape."""
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "iO" or data.ndim != 1 or call.get("keepdims", 1):
        msg = "it must multiply the sizes of a shape, without keepdims."
        raise FormatError(msg)
    if axes is not None or "axes" in call.attributes:
        places(integers(call, axes, "axes"), 1)
    call.graph.account.take("the sizes that it multiplies", "axes", data.size)
    if data.size == 1:
        return data.reshape(())
    if any(isinstance(each, Size) for each in data):
        msg = "it multiplies several sizes of the input."
        raise FormatError(msg)
    return computed(call, 1, object, lambda: np.asarray(prod(int(each) for each in data), dtype=object))


def scatter(call: Call, data: Any, indices: Any, updates: Any) -> Flow:
    """Return where each sequence is in the order of lengths."""
    order = indices.content if isinstance(indices, Flow) else None
    numbers = updates.content if isinstance(updates, Flow) else None
    if isinstance(updates, np.ndarray) and updates.dtype.kind == "i" and isinstance(order, Order):
        size = size_of(order.lengths.atoms)
        call.graph.account.take("looking through its numbers", "bytes", updates.nbytes)
        is_count = updates.shape == (size,) and bool((updates == np.arange(size or 0)).all())
    else:
        is_count = isinstance(numbers, Count) and isinstance(order, Order) and numbers.group == order.lengths.atoms
    whole = isinstance(data, Zeros) or (
        isinstance(data, np.ndarray) and isinstance(order, Order) and data.shape == (size_of(order.lengths.atoms),)
    )
    if (
        not is_count
        or not whole
        or order is None
        or order.is_inverse
        or call.get("axis", 0) != 0
        or call.get("reduction", "none") != "none"
    ):
        msg = "it must number the sequences in the order of their lengths."
        raise FormatError(msg)
    return Flow(Order(order.lengths, True), indices.axes)


OPERATORS = {
    "TopK": Operator(top_k, {"axis": INT, "largest": INT, "sorted": INT}),
    "Range": Operator(range_, {}),
    "ReduceProd": Operator(reduce_prod, {"axes": INTS, "keepdims": INT, "noop_with_empty_axes": INT}),
    "ScatterElements": Operator(scatter, {"axis": INT, "reduction": "s"}),
}
