"""Operators that take parts: of constants by NumPy; of flows steps, cells and rows of an embedding."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.constants import fewer
from rnn_backends.formats.onnx.flow import (
    Axis,
    Encoded,
    Fixed,
    Flow,
    Input,
    Product,
    Result,
    Tokens,
    Zeros,
    named,
    order_of,
    size_of,
)  # fmt: skip
from rnn_backends.formats.onnx.interpreter import INT, INTS, Call, Operator
from rnn_backends.formats.onnx.linears import appended
from rnn_backends.formats.onnx.moments import features_of, moment_of
from rnn_backends.formats.onnx.packed import Order, by_order
from rnn_backends.formats.onnx.rounding import is_rounded
from rnn_backends.formats.onnx.scales import Affine
from rnn_backends.formats.onnx.shapes import computed, integers, places
from rnn_backends.formats.onnx.steps import Flipped, Moment
from rnn_backends.formats.onnx.unrolled import multiplied

_FAR = 2**31 - 1  # exporters write it, or more, for "to the end"
_IDS = ("int32", "int64")


def slice_(call: Call, data: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    """Take parts of axes."""
    if isinstance(data, Zeros) and data.axes is None:
        return data
    first, last = integers(call, starts, "starts"), integers(call, ends, "ends")
    every = axes is None and "axes" not in call.attributes
    which = list(range(len(first))) if every else integers(call, axes, "axes")
    strides = [1] * len(first) if steps is None else integers(call, steps, "steps")
    if not len(first) == len(last) == len(which) == len(strides) or 0 in strides:
        msg = "it must have as many starts as ends, axes and steps, and no step of 0."
        raise FormatError(msg)
    rank = data.ndim if isinstance(data, np.ndarray) else len(data.axes)
    for axis, start, end, step in zip(places(which, rank), first, last, strides, strict=True):
        if isinstance(data, np.ndarray):
            index = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
            data = data[(slice(None),) * axis + (index,)]
        elif step == -1 and isinstance(data, Flow):
            data = flipped(data, axis, start, end)
        elif isinstance(data, Zeros):
            data = fewer(data, axis, slice(start, end, step))
        elif step == 1:
            data = part(call, data, axis, start, None if end >= _FAR else end)
        else:
            what = "an array that depends on the input"
            msg = f"it takes every {step}-th entry of {what}; only parts without gaps are known."
            raise FormatError(msg)
    return data


def part(call: Call, flow: Flow, axis: int, start: int, stop: int | None) -> Flow:
    """Take a part of an axis: the first or the last step, the states of some cells, or some of the given states."""
    group, content = flow.axes[axis], flow.content
    size = size_of(group)
    if size is not None:
        start, stop, _ = slice(start, stop).indices(size)
    if start == 0 and stop in {None, size}:
        return flow
    length = None if stop is None else stop - start
    if isinstance(content, Flipped) and group == (content.seq,) and length == 1 and size is not None:
        return part(call, Flow(content.flow.content, flow.axes), axis, size - 1 - start, size - start)
    if isinstance(content, Affine):
        return _of_affine(call, flow, axis, start, stop)
    if isinstance(content, Input) and group == content.atoms[:1] and content.start is None:
        return _of_input(flow, axis, start, stop)
    if isinstance(content, Fixed) and len(group) == 1 and group[0] in content.atoms and length and length > 0:
        place, own = content.atoms.index(group[0]), Axis("constant", length)
        atoms = (*content.atoms[:place], own, *content.atoms[place + 1 :])
        value = content.value[(slice(None),) * place + (slice(start, stop),)]
        return _exchanged(flow, axis, Fixed(value, atoms), (own,))
    if isinstance(content, Result) and content.stage is not None and group == (content.stage.seq,):
        ends = {(0, 1): 0, (-1, None): -1, (None if size is None else size - 1, size): -1}
        if (start, stop) in ends:
            return _exchanged(flow, axis, replace(content, atoms=content.atoms[1:], step=ends[start, stop]), ())
    if isinstance(content, Result) and content.several and group == content.several and length and length > 0:
        call.graph.account.take("the last states that it takes", "items", length)
        cells = content.cells[start:stop]
        atoms = (Axis("cells", length),) if length > 1 else ()
        held: Any = replace(content, atoms=(*atoms, *content.atoms[1:]), cells=cells, several=atoms)
        return _exchanged(flow, axis, held, atoms)
    if length == 1 and size is not None and (found := _step(call, flow, axis, start)) is not None:
        return found
    if length == 1 and size is None and isinstance(content, (Input, Tokens, Encoded, Affine)):
        msg = f"it takes step {start} alone of an axis whose size is not known, {named(group)}; {way('onnx_sizes')}."
        raise FormatError(msg)
    msg = (
        f"the part {start}:{'' if stop is None else stop} of {named(group) if group else 'an axis'} is "
        "none that a model gives: those are the first and the last step, and the states of single cells."
    )
    raise FormatError(msg)


def _of_input(flow: Flow, axis: int, start: int, stop: int | None) -> Flow:
    """Return a part of the first axis of an input."""
    content: Input = flow.content
    if start < 0 or stop is None or stop <= start:
        msg = f"the part {start}:{stop} of the input {shown(content.name)} is not known to hold anything."
        raise FormatError(msg)
    if any(order_of(content.atoms[:1])):
        msg = f"it takes a part of the input {shown(content.name)} on the axis that is sorted by lengths."
        raise FormatError(msg)
    atoms = (Axis(f"{shown(content.name)[1:-1]}[0]", stop - start), *content.atoms[1:])
    held = Input(content.name, atoms, content.dtype, start, stop, content, content.computed)
    return _exchanged(flow, axis, held, atoms[:1])


def _of_affine(call: Call, flow: Flow, axis: int, start: int, stop: int | None) -> Flow:
    """Return a part of what is scaled and shifted."""
    content: Affine = flow.content
    found = part(call, Flow(content.under, flow.axes), axis, start, stop)
    step = moment_of(call, found)
    if isinstance(found.content, Result) or step is None:
        return Flow(Affine(found.content, content.scale), found.axes)
    if step.content.link is not None:
        msg = "single steps of what is scaled after an activation are none that a model takes."
        raise FormatError(msg)
    return Flow(Moment(content, step.content.seq, step.content.place), step.axes)


def _step(call: Call, flow: Flow, axis: int, place: int) -> Flow | None:
    """Return one step of a sequence; None of another axis."""
    group, content = flow.axes[axis], flow.content
    linears = getattr(content, "linears", ())
    root: Any = content.source if isinstance(content, Encoded) else content
    if isinstance(content, Result):
        root = content.stage if content.step is None and content.pooled is None else None
        root = None if is_rounded(content) else root
        if root is None or group != (root.seq,):
            return None
    elif isinstance(root, Input) and root.dtype in _IDS and len(group) == 1:
        return Flow(Moment(root, group[0], place), (*flow.axes[:axis], (), *flow.axes[axis + 1 :]))
    elif not isinstance(root, (Input, Tokens)) or len(group) != 1 or axis == len(flow.axes) - 1:
        return None
    found = Moment(root, group[0], place, call.graph.shared.links_of(root, linears))
    if len(flow.axes) < 2 or flow.axes[-1] != (
        features_of(Moment(root, group[0], place)) if not linears else (linears[-1].output,)
    ):
        return None
    return Flow(found, (*flow.axes[:axis], (), *flow.axes[axis + 1 : -1], features_of(found)))


def flipped(flow: Flow, axis: int, start: int, end: int) -> Flow:
    """Return a sequence from its last step to its first."""
    group, size = flow.axes[axis], size_of(flow.axes[axis])
    if size == 1:
        return flow
    if size is None or len(group) != 1 or start not in {-1, size - 1} or end >= -size:
        msg = "only a whole axis of steps, of known size, can be reversed."
        raise FormatError(msg)
    if isinstance(flow.content, Flipped):
        if flow.content.seq is not group[0]:
            msg = "it reverses a second axis; only that of steps can be reversed."
            raise FormatError(msg)
        return Flow(flow.content.flow.content, flow.axes)
    return Flow(Flipped(flow, group[0]), flow.axes)


def _exchanged(flow: Flow, axis: int, content: Any, group: tuple[Axis, ...]) -> Flow:
    return Flow(content, (*flow.axes[:axis], group, *flow.axes[axis + 1 :]))


def gather(call: Call, data: Any, indices: Any) -> Any:
    """Take entries: rows of a table for token ids, or one place on an axis."""
    axis = call.get("axis", 0)
    if isinstance(indices, Flow) and isinstance(indices.content, Order):
        return by_order(call, data, indices, *places([axis], len(getattr(data, "axes", None) or ())))
    if isinstance(indices, Flow):
        return _embedded(call, data, indices, axis)
    if not isinstance(indices, np.ndarray) or indices.dtype.kind != "i":
        msg = "its indices must be constant integers, or an input of token ids."
        raise FormatError(msg)
    if isinstance(data, Zeros) and (data.axes is None or indices.size != 1):
        return Zeros()
    (place,) = places([axis], data.ndim if isinstance(data, np.ndarray) else len(data.axes))
    if isinstance(data, Zeros):
        kept = ((),) * indices.ndim
        return Zeros((*data.axes[:place], *kept, *data.axes[place + 1 :]))  # type: ignore[index]  # they are known
    if isinstance(data, np.ndarray):
        row = prod(size for other, size in enumerate(data.shape) if other != place)
        call.graph.account.take("the numbers of the entries that it takes", "bytes", 8 * indices.size)
        return computed(call, row * indices.size, data.dtype, np.take, data, indices, place)
    if indices.size != 1 or indices.ndim > 1:
        msg = "it takes several entries of an array that depends on the input; a model gives one."
        raise FormatError(msg)
    index = int(indices.reshape(-1)[0])
    found = part(call, data, place, index, None if index == -1 else index + 1)
    if indices.ndim:
        return found
    return Flow(found.content, (*found.axes[:place], *found.axes[place + 1 :]))


def _embedded(call: Call, table: Any, ids: Flow, axis: int) -> Flow:
    """Return the rows of a table for token ids: what its transpose gives of one-hot vectors."""
    if not isinstance(table, np.ndarray) or table.ndim != 2 or axis not in {0, -2} or table.dtype.kind != "f":
        msg = "token ids must pick rows of a constant matrix, on its axis 0."
        raise FormatError(msg)
    step = moment_of(call, ids)
    if step is not None and isinstance(step.content.root, Input):
        require_ids(Flow(step.content.root, ()))
        tokens = call.graph.shared.tokens(step.content.root, table.shape[0])
        hot = Flow(replace(step.content, root=tokens), (*step.axes, (tokens.features,)))
        return multiplied(call, hot, table, transposed=False)  # type: ignore[return-value]  # it is a step
    require_ids(ids)
    tokens = Tokens(ids, Axis("features", table.shape[0]))
    hot = Flow(tokens, (*ids.axes, (tokens.features,)))
    return appended(call, hot, Product(table.T, Axis("features", table.shape[1])))


def require_ids(ids: Any) -> None:
    """Check that a value is an input of token ids."""
    if not isinstance(ids, Flow) or not isinstance(ids.content, Input) or ids.content.dtype not in _IDS:
        msg = "token ids must be an input of int32 or int64."
        raise FormatError(msg)


def one_hot(call: Call, indices: Any, depth: Any, values: Any) -> Flow:
    """Return one-hot vectors of token ids."""
    require_ids(indices)
    (place,) = places([call.get("axis", -1)], len(indices.axes) + 1)
    ordinary = isinstance(values, np.ndarray) and values.shape == (2,) and values.tolist() == [0, 1]
    whole = isinstance(depth, np.ndarray) and depth.size == 1 and depth.dtype.kind == "i"
    if not whole or not ordinary or place != len(indices.axes):
        msg = "it must put ones among zeros (values [0, 1]) on a last axis of constant depth."
        raise FormatError(msg)
    features = Axis("features", int(depth.reshape(())))
    return Flow(Tokens(indices, features), (*indices.axes, (features,)))


OPERATORS = {
    "Slice": Operator(slice_, {"starts": INTS, "ends": INTS, "axes": INTS}),
    "Gather": Operator(gather, {"axis": INT}),
    "OneHot": Operator(one_hot, {"axis": INT}),
}
