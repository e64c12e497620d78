"""The operators that rearrange: of constants and shapes with NumPy, of what depends on the input axis by axis."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from rnn_backends.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.flow import Axis, Flow, Result, Size, Source, Tokens, Zeros, regroup, size_of
from rnn_backends.formats.onnx.interpreter import FLOAT, FLOATS, INT, INTS, TENSOR, Call, Operator
from rnn_backends.formats.onnx.tensors import BFLOAT16, ELEMENTS

SMALL = 2**16
_FAR = 2**31 - 1  # exporters write it, or more, for "to the end"
_ORDER = ("int32", "int64")


def computed(call: Call, nbytes: int, function: Callable[..., Any], *arguments: Any) -> Host:
    """Return a constant that NumPy computes of others, if there is room for it."""
    call.graph.afford(nbytes)
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arguments))
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        msg = f"it cannot be computed: {error}."
        raise FormatError(msg) from error


def sizes(value: Any, what: str) -> list[Any]:
    """Return a constant of integers, and sizes that are not numbers yet, as a list."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iO" or value.ndim > 1:
        msg = f"its {what} must be constant integers."
        raise FormatError(msg)
    return list(value.reshape(-1).tolist())


def integers(value: Any, what: str) -> list[int]:
    """Return a constant of integers as a list."""
    found = sizes(value, what)
    if any(isinstance(size, Size) for size in found):
        msg = f"its {what} must be constant; got one that depends on the input's shape."
        raise FormatError(msg)
    return found


def places(axes: list[int], rank: int) -> list[int]:
    """Return axes counted from the front, each once."""
    found = [axis + rank if axis < 0 else axis for axis in axes]
    if not all(0 <= axis < rank for axis in found) or len(set(found)) != len(found):
        msg = f"the axes {axes} must be different ones of {rank}."
        raise FormatError(msg)
    return found


def transpose(call: Call, data: Any) -> Any:
    """Permute axes."""
    if isinstance(data, Zeros):
        return data
    rank = len(data.axes) if isinstance(data, Flow) else data.ndim
    order = call.get("perm", list(reversed(range(rank))))
    if sorted(order) != list(range(rank)):
        msg = f"`perm` must order the {rank} axes; got {order}."
        raise FormatError(msg)
    if isinstance(data, Flow):
        return Flow(data.content, tuple(data.axes[place] for place in order))
    return np.transpose(data, order)


def reshape(call: Call, data: Any, shape: Any) -> Any:
    """Merge and split axes."""
    target = sizes(shape, "shape")
    if isinstance(data, Zeros):
        return data
    if isinstance(data, np.ndarray):
        whole = integers(shape, "shape")
        if not call.get("allowzero", 0):
            whole = [data.shape[i] if size == 0 and i < data.ndim else size for i, size in enumerate(whole)]
        return computed(call, data.nbytes, np.reshape, data, whole)
    if 0 in target and (call.get("allowzero", 0) or target[len(data.axes) :].count(0)):
        msg = f"the shape {target} has a size of 0."
        raise FormatError(msg)
    wanted = [Size(data.axes[place]) if size == 0 else size for place, size in enumerate(target)]
    if any(not isinstance(size, Size) and size < -1 for size in wanted):
        msg = f"the shape {target} has a negative size."
        raise FormatError(msg)
    return Flow(data.content, regroup(data.axes, wanted))


def squeeze(call: Call, data: Any, axes: Any = None) -> Any:
    """Remove axes of size 1."""
    if isinstance(data, Zeros):
        return data
    given = call.get("axes") if axes is None else integers(axes, "axes")
    held = data.axes if isinstance(data, Flow) else data.shape
    known = [size_of(group) for group in data.axes] if isinstance(data, Flow) else list(data.shape)
    if given is None:
        if None in known:
            msg = "it names no axes, and not all sizes are known; export with axes."
            raise FormatError(msg)
        given = [place for place, size in enumerate(known) if size == 1]
    gone = places(given, len(held))
    if any(known[place] != 1 for place in gone):
        msg = f"the axes {given} must have size 1; the sizes are {known}."
        raise FormatError(msg)
    left = [place for place in range(len(held)) if place not in gone]
    if isinstance(data, Flow):
        return Flow(data.content, tuple(data.axes[place] for place in left))
    return data.reshape([data.shape[place] for place in left])


def unsqueeze(call: Call, data: Any, axes: Any = None) -> Any:
    """Insert axes of size 1."""
    if isinstance(data, Zeros):
        return data
    given = call.get("axes", []) if axes is None else integers(axes, "axes")
    held: list[Any] = list(data.axes if isinstance(data, Flow) else data.shape)
    for place in sorted(places(given, len(held) + len(given))):
        held.insert(place, () if isinstance(data, Flow) else 1)
    return Flow(data.content, tuple(held)) if isinstance(data, Flow) else computed(call, 0, np.reshape, data, held)


def slice_(call: Call, data: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    """Take parts of axes."""
    if isinstance(data, Zeros):
        return data
    first, last = (
        call.get(name, []) if given is None else integers(given, name)
        for name, given in (("starts", starts), ("ends", ends))
    )
    which = call.get("axes", list(range(len(first)))) if axes is None else integers(axes, "axes")
    strides = [1] * len(first) if steps is None else integers(steps, "steps")
    if not len(first) == len(last) == len(which) == len(strides) or 0 in strides:
        msg = "it must have as many starts as ends, axes and steps, and no step of 0."
        raise FormatError(msg)
    rank = len(data.axes) if isinstance(data, Flow) else data.ndim
    for axis, start, end, step in zip(places(which, rank), first, last, strides, strict=True):
        if isinstance(data, np.ndarray):
            index = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
            data = data[(slice(None),) * axis + (index,)]
        elif step == 1:
            data = part(data, axis, start, None if end >= _FAR else end)
        else:
            msg = f"it takes every {step}-th step of what depends on the input; only parts without gaps are known."
            raise FormatError(msg)
    return data


def part(flow: Flow, axis: int, start: int, stop: int | None) -> Flow:
    """Take a part of an axis: the first or the last step, some cells' states, some of the given states."""
    group, content = flow.axes[axis], flow.content
    size = size_of(group)
    if size is not None:
        start, stop, _ = slice(start, stop).indices(size)
    if start == 0 and stop in {None, size}:
        return flow
    length = None if stop is None else stop - start
    if isinstance(content, Source) and group == content.atoms[:1] and content.start is None:
        if start < 0 or length is None or length < 1:
            msg = f"the part {start}:{stop} of the input {content.name!r} is not known to hold anything."
            raise FormatError(msg)
        atoms = (Axis(f"{content.name}[0]", length), *content.atoms[1:])
        held: Any = Source(content.name, atoms, content.dtype, start, stop)
        return _exchanged(flow, axis, held, atoms[:1])
    if isinstance(content, Result) and content.stage is not None and group == (content.stage.seq,):
        ends = {(0, 1): 0, (-1, None): -1, (None if size is None else size - 1, size): -1}
        if (start, stop) in ends:
            held = _replaced(content, content.atoms[1:], step=ends[start, stop])
            return _exchanged(flow, axis, held, ())
    if isinstance(content, Result) and len(content.cells) > 1 and group == content.atoms[:1] and length and length > 0:
        cells = content.cells[start:stop]
        atoms = (Axis("cells", length),) if length > 1 else ()
        held = _replaced(content, (*atoms, *content.atoms[1:]), cells=cells)
        return _exchanged(flow, axis, held, atoms)
    msg = (
        f"the part {start}:{'' if stop is None else stop} of {', '.join(held.name for held in group) or 'an axis'} is "
        "none that the model gives: those are the first and the last step, and the states of single cells."
    )
    raise FormatError(msg)


def _replaced(content: Result, atoms: tuple[Axis, ...], **changes: Any) -> Result:
    held = {"stage": content.stage, "cells": content.cells, "step": content.step, "readout": content.readout}
    return Result(atoms, **{**held, **changes})


def _exchanged(flow: Flow, axis: int, content: Any, group: tuple[Axis, ...]) -> Flow:
    return Flow(content, (*flow.axes[:axis], group, *flow.axes[axis + 1 :]))


def gather(call: Call, data: Any, indices: Any) -> Any:
    """Take entries: rows of a table for token ids, or one place on an axis."""
    axis = call.get("axis", 0)
    if isinstance(indices, Flow):
        return _embedded(data, indices, axis)
    if not isinstance(indices, np.ndarray) or indices.dtype.kind != "i":
        msg = "its indices must be constant integers, or an input of token ids."
        raise FormatError(msg)
    if isinstance(data, Zeros):
        return data
    (place,) = places([axis], len(data.axes) if isinstance(data, Flow) else data.ndim)
    if isinstance(data, np.ndarray):
        row = prod(size for other, size in enumerate(data.shape) if other != place)
        return computed(call, row * indices.size * data.itemsize, np.take, data, indices, place)
    if indices.size != 1 or indices.ndim > 1:
        msg = "it takes several entries of what depends on the input; only one is known."
        raise FormatError(msg)
    index = int(indices.reshape(-1)[0])
    found = part(data, place, index, None if index == -1 else index + 1)
    if size_of(found.axes[place]) != 1:
        msg = f"there is no entry {index}."
        raise FormatError(msg)
    if indices.ndim:
        return found
    return Flow(found.content, (*found.axes[:place], *found.axes[place + 1 :]))


def _embedded(table: Any, ids: Flow, axis: int) -> Flow:
    if not isinstance(table, np.ndarray) or table.ndim != 2 or axis not in {0, -2} or table.dtype.kind != "f":
        msg = "token ids must pick rows of a constant matrix, on its axis 0."
        raise FormatError(msg)
    require_ids(ids)
    features = Axis("features", table.shape[1])
    return Flow(Tokens(ids, features, table), (*ids.axes, (features,)))


def require_ids(ids: Any) -> None:
    """Check that a value is an input of token ids."""
    if not isinstance(ids, Flow) or not isinstance(ids.content, Source) or ids.content.dtype not in _ORDER:
        msg = "token ids must be an input of int32 or int64."
        raise FormatError(msg)


def shape(call: Call, data: Any) -> Any:
    """Return the sizes of an array."""
    if isinstance(data, Zeros):
        msg = "the shape of zeros that take the input's is not followed."
        raise FormatError(msg)
    held = [Size(group) if group else 1 for group in data.axes] if isinstance(data, Flow) else list(data.shape)
    found = np.empty(len(held), dtype=object)
    found[:] = held
    return found[call.get("start", 0) : call.get("end")]


def expand(call: Call, data: Any, shape: Any) -> Any:
    """Repeat a constant; zeros stay zeros."""
    if isinstance(data, Zeros) or (isinstance(data, np.ndarray) and data.dtype.kind == "f" and not data.any()):
        return Zeros()
    if not isinstance(data, np.ndarray):
        msg = "what depends on the input is repeated; only constants can be."
        raise FormatError(msg)
    return _filled(call, data, integers(shape, "shape"))


def constant_of_shape(call: Call, shape: Any) -> Any:
    """Return one value over and over."""
    value, wanted = call.get("value", np.zeros(1, np.float32)), sizes(shape, "shape")
    if value.size != 1:
        msg = f"`value` must be one number; got {value.size}."
        raise FormatError(msg)
    known = not any(isinstance(size, Size) for size in wanted)
    if not value.any() and value.dtype.kind == "f" and not (known and 0 <= prod(wanted) <= SMALL):
        return Zeros()
    return _filled(call, value.reshape(()), integers(shape, "shape"))


def _filled(call: Call, value: Host, wanted: list[int]) -> Host:
    if min(wanted, default=0) < 0 or len(wanted) > 8:
        msg = f"the shape {wanted} is impossible."
        raise FormatError(msg)
    nbytes = max(prod(wanted), 1) * max(value.nbytes, 1)
    full = computed(call, nbytes, np.broadcast_shapes, value.shape, tuple(wanted))
    return np.broadcast_to(value, tuple(full.tolist())).copy()


def identity(call: Call, data: Any) -> Any:
    """Return what is given."""
    return data


def cast(call: Call, data: Any) -> Any:
    """Convert a constant, or ids and lengths to another integer type."""
    code = call.get("to")
    whole = code in {6, 7}
    if isinstance(data, Zeros) and code in ELEMENTS and not whole:
        return data
    if isinstance(data, np.ndarray) and data.dtype == object and whole:
        return data
    if isinstance(data, np.ndarray) and code in ELEMENTS and code != BFLOAT16 and data.dtype != object:
        dtype = np.dtype(ELEMENTS[code])
        return computed(call, data.size * dtype.itemsize, data.astype, dtype)
    if isinstance(data, Flow) and isinstance(data.content, Source) and data.content.dtype in _ORDER and whole:
        return data
    msg = f"it converts to the element type {code} what can only keep its own."
    raise FormatError(msg)


def constant(call: Call) -> Any:
    """Return a constant."""
    if len(call.attributes) != 1:
        msg = f"it must have one attribute; got {sorted(call.attributes)}."
        raise FormatError(msg)
    ((name, value),) = call.attributes.items()
    if name == "value":
        return value
    try:
        return np.array(value, np.float32 if "float" in name else np.int64)
    except OverflowError as error:
        msg = f"its value is out of range: {error}."
        raise FormatError(msg) from error


OPERATORS = {
    "Transpose": Operator(transpose, {"perm": INTS}),
    "Reshape": Operator(reshape, {"allowzero": INT}),
    "Squeeze": Operator(squeeze, {"axes": INTS}),
    "Unsqueeze": Operator(unsqueeze, {"axes": INTS}),
    "Slice": Operator(slice_, {"starts": INTS, "ends": INTS, "axes": INTS}),
    "Gather": Operator(gather, {"axis": INT}),
    "Shape": Operator(shape, {"start": INT, "end": INT}),
    "Expand": Operator(expand, {}),
    "ConstantOfShape": Operator(constant_of_shape, {"value": TENSOR}),
    "Identity": Operator(identity, {}),
    "Cast": Operator(cast, {"to": INT, "saturate": INT}),
    "Constant": Operator(
        constant, {"value": TENSOR, "value_float": FLOAT, "value_floats": FLOATS, "value_int": INT, "value_ints": INTS}
    ),
}
