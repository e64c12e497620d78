"""Operators that rearrange: constants and shapes by NumPy, flows axis by axis."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import got, listed
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.flow import Axis, Flow, Group, Size, Zeros, moved, named, outlined, size_of, stated
from rnn_backends.formats.onnx.interpreter import INT, INTS, Call, Operator

_FAR = 2**63
"""Numbers of 64 bits are below it, and not below its negative."""
_PLACES = 256
"""The most sizes that a node may compute with: those of several shapes, of 32 axes each."""


def computed(call: Call, size: int, dtype: Any, function: Callable[..., Any], *arguments: Any) -> Host:
    """Return a constant that NumPy computes from others, once its size in its own dtype is accounted."""
    dtype = np.dtype(dtype)
    if dtype.kind == "O":
        require_few(size)
    what, nbytes = "the constants that the graph computes", size * dtype.itemsize
    call.graph.account.take(what, "bytes", nbytes)
    call.graph.kept.take(what, nbytes)
    with np.errstate(all="ignore"):
        found = call.graph.kept.hold(np.asarray(function(*arguments)))
    if found.dtype.kind == "O":
        _require_sizes(call, found)
    return found


def require_few(size: int) -> None:
    """Check how many sizes of a shape a node computes with, which are objects of Python's."""
    if size > _PLACES:
        msg = f"it computes with {got(size)} sizes of arrays at once, where a shape has 32 at most."
        raise FormatError(msg)


def dtype_of_all(arrays: Sequence[Host]) -> Any:
    """Return the one dtype of constants; integers beside sizes that are not numbers yet are objects."""
    dtypes = list(dict.fromkeys(array.dtype for array in arrays))
    if len(dtypes) > 1 and not (np.dtype(object) in dtypes and all(dtype.kind in "iO" for dtype in dtypes)):
        names = ("int64" if dtype.kind == "O" else dtype.name for dtype in dtypes)  # ONNX has sizes so
        msg = f"its constants must be of one dtype; they are of {listed(names)}."
        raise FormatError(msg)
    return dtypes[0] if len(dtypes) == 1 else np.dtype(object)


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that arrays of these shapes are repeated to."""
    rank = max(map(len, shapes))
    columns = [{shape[place] for shape in shapes if len(shape) >= -place} - {1} for place in range(-rank, 0)]
    if any(len(column) > 1 for column in columns):
        msg = f"its inputs, of the shapes {listed(map(tuple, shapes))}, do not fit to each other."
        raise FormatError(msg)
    return tuple(column.pop() if column else 1 for column in columns)


def _require_sizes(call: Call, found: Host) -> None:
    """Check that the integers among the sizes of an array of objects are as ONNX has them."""
    call.graph.account.take("the sizes that the graph computes", "items", found.size)
    for each in found.flat:
        if not isinstance(each, Size) and not -_FAR <= each < _FAR:
            msg = f"shapes are made of whole numbers of 64 bits; it gives {got(each)}."
            raise FormatError(msg)


def is_filled(call: Call, array: Host, value: int) -> bool:
    """Return whether a constant holds one value everywhere; looking is accounted, as any number of nodes may ask."""
    call.graph.account.take("looking through its constants", "bytes", array.nbytes + array.size)
    return bool((array == value).all())


def sizes(call: Call, value: Any, what: str) -> list[Any]:
    """Return a constant of integers, and of sizes that are not numbers yet, as a list."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iO" or value.ndim > 1:
        msg = f"its {what} must be constant integers, in one row."
        raise FormatError(msg)
    call.graph.account.take(f"its {what}", "axes", value.size)
    return list(value.reshape(-1).tolist())


def integers(call: Call, value: Any, what: str) -> list[int]:
    """Return a constant of integers as a list; None is the attribute of that name, or no integers."""
    if value is None:
        found = call.get(what, [])
        call.graph.account.take(f"its {what}", "axes", len(found))
        return list(found)
    found = sizes(call, value, what)
    if any(isinstance(size, Size) for size in found):
        msg = f"its {what} must be constant; got one that depends on the input's shape."
        raise FormatError(msg)
    return found


def places(axes: list[int], rank: int) -> list[int]:
    """Return axes counted from the front, each once."""
    found = [axis + rank if axis < 0 else axis for axis in axes]
    if not all(0 <= axis < rank for axis in found) or len(set(found)) != len(found):
        msg = f"the axes {stated(axes)} must be different ones of {rank}."
        raise FormatError(msg)
    return found


def transpose(call: Call, data: Any) -> Any:
    """Permute axes."""
    if isinstance(data, Zeros) and data.axes is None:
        return data
    rank = data.ndim if isinstance(data, np.ndarray) else len(data.axes)
    order = integers(call, None, "perm") if "perm" in call.attributes else [*reversed(range(rank))]
    if sorted(order) != list(range(rank)):
        msg = f"`perm` must order the {rank} axes; got {stated(order)}."
        raise FormatError(msg)
    if not isinstance(data, np.ndarray):
        return moved(data, tuple(data.axes[place] for place in order))
    return np.transpose(data, order)


def reshape(call: Call, data: Any, shape: Any) -> Any:
    """Merge and split axes."""
    target = sizes(call, shape, "shape")
    if isinstance(data, Zeros):
        return Zeros()
    if isinstance(data, np.ndarray):
        whole = integers(call, shape, "shape")
        if not call.get("allowzero", 0):
            whole = [data.shape[i] if size == 0 and i < data.ndim else size for i, size in enumerate(whole)]
        return computed(call, data.size, data.dtype, np.reshape, data, whole)
    if 0 in target and (call.get("allowzero", 0) or target[len(data.axes) :].count(0)):
        msg = f"the shape {stated(target)} has a size of 0."
        raise FormatError(msg)
    wanted = [Size(data.axes[place]) if size == 0 else size for place, size in enumerate(target)]
    if any(not isinstance(size, Size) and size < -1 for size in wanted):
        msg = f"the shape {stated(target)} has a negative size."
        raise FormatError(msg)
    return Flow(data.content, regroup(data.axes, wanted))


def regroup(axes: Sequence[Group], target: Sequence[int | Size]) -> tuple[Group, ...]:
    """Return the axes after a reshape to sizes, of which one may be -1."""
    atoms = [axis for group in axes for axis in group]
    free = [place for place, size in enumerate(target) if size == -1]
    if len(free) > 1:
        msg = f"the shape {stated(target)} leaves more than one size open."
        raise FormatError(msg)
    cut = free[0] if free else len(target)
    front = [_take(atoms, size, 0) for size in target[:cut]]
    back = [_take(atoms, size, -1) for size in reversed(target[cut + 1 :])]
    if free:
        return (*front, tuple(atoms), *reversed(back))
    if any(axis.size != 1 for axis in atoms):
        raise FormatError(_unfit(atoms, "nothing"))
    return (*front[:-1], (*front[-1], *atoms)) if front else ()


def _take(atoms: list[Axis], size: int | Size, end: int) -> Group:
    """Take axes from an end of a list until they have a size."""
    taken: list[Axis] = []
    if isinstance(size, Size):
        count = len(size.group)
        place = slice(0, count) if end == 0 else slice(max(len(atoms) - count, 0), len(atoms))
        if tuple(atoms[place]) != size.group:
            raise FormatError(_unfit(atoms, f"({named(size.group)})" if size.group else "size 1"))
        del atoms[place]
        return size.group
    while prod(axis.size or 0 for axis in taken) < size or (size == 1 and not taken and atoms and atoms[end].size == 1):
        if not atoms or not atoms[end].size:
            raise FormatError(_unfit(atoms, f"size {size}"))
        taken.insert(len(taken) if end == 0 else 0, atoms.pop(end))
    if prod(axis.size or 0 for axis in taken) != size:
        raise FormatError(_unfit(taken, f"size {size}"))
    return tuple(taken)


def _unfit(atoms: Sequence[Axis], wanted: str) -> str:
    names = outlined([(axis,) for axis in atoms]) or "no axis"
    return f"it would tear axes apart: {names} cannot be read as {wanted}."


def squeeze(call: Call, data: Any, axes: Any = None) -> Any:
    """Remove axes of size 1."""
    if isinstance(data, Zeros) and data.axes is None:
        return data
    given = None if axes is None and "axes" not in call.attributes else integers(call, axes, "axes")
    constant = isinstance(data, np.ndarray)
    held = data.shape if constant else data.axes
    known = list(data.shape) if constant else [size_of(group) for group in data.axes]
    if given is None:
        if None in known:
            msg = f"it names no axes, and not all sizes are known; {way('onnx_sizes')}."
            raise FormatError(msg)
        given = [place for place, size in enumerate(known) if size == 1]
    gone = places(given, len(held))
    if any(known[place] != 1 for place in gone):
        msg = f"the axes {stated(given)} must have size 1; the sizes are {stated(known)}."
        raise FormatError(msg)
    left = [place for place in range(len(held)) if place not in gone]
    if not constant:
        return moved(data, tuple(data.axes[place] for place in left))
    return np.squeeze(data, tuple(gone))


def unsqueeze(call: Call, data: Any, axes: Any = None) -> Any:
    """Insert axes of size 1."""
    if isinstance(data, Zeros) and data.axes is None:
        return data
    given = integers(call, axes, "axes")
    constant = isinstance(data, np.ndarray)
    held: list[Any] = list(data.shape if constant else data.axes)
    for place in sorted(places(given, len(held) + len(given))):
        held.insert(place, 1 if constant else ())
    return np.reshape(data, held) if constant else moved(data, tuple(held))


def shape(call: Call, data: Any) -> Any:
    """Return the sizes of an array."""
    if isinstance(data, Zeros):
        msg = "the shape of zeros that take the input's is not followed."
        raise FormatError(msg)
    held = [Size(group) if group else 1 for group in data.axes] if isinstance(data, Flow) else list(data.shape)
    found = np.empty(len(held), dtype=object)
    found[:] = held
    return found[call.get("start", 0) : call.get("end")]


OPERATORS = {
    "Transpose": Operator(transpose, {"perm": INTS}),
    "Reshape": Operator(reshape, {"allowzero": INT}),
    "Squeeze": Operator(squeeze, {"axes": INTS}),
    "Unsqueeze": Operator(unsqueeze, {"axes": INTS}),
    "Shape": Operator(shape, {"start": INT, "end": INT}),
}
