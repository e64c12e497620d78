"""Checks of the arguments of a call, each with its one clear sentence."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, NoReturn

import numpy as np

from rnn_backends.core.arrays import (
    FLOATING,
    Array,
    Host,
    array_namespace,
    device,
    dtype_name,
    is_array,
    is_integer,
)
from rnn_backends.core.layers import Layer, first_array
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.network import Network, hidden_sizes, is_one_each, is_uneven
from rnn_backends.core.parameters import require_unmasked
from rnn_backends.core.stored import Stored, steps_of
from rnn_backends.errors import (
    ArgumentError,
    BackendMismatchError,
    DeviceError,
    DTypeError,
    ShapeError,
)

BLOCK = 2**18  # ids that are looked at together


def require_together(arrays: Iterable[tuple[str, Array]]) -> None:
    """Check that all values are arrays, of one library and on one device."""
    seen: list[tuple[str, Any, Any]] = []
    for name, array in arrays:
        if not is_array(array):
            msg = f"`{name}` must be an array; got {type(array).__name__}. A model (RNN) takes lists too."
            raise DTypeError(msg)
        require_unmasked(name, array)
        try:
            seen.append((name, array_namespace(array), device(array)))
        except TypeError as error:  # by what has a shape and a dtype, and is of no library: a Series of pandas
            kind = type(array).__name__
            msg = f"`{name}` must be an array of a library; got {kind}. Convert it, e.g. with numpy.asarray."
            raise DTypeError(msg) from error
    first, library, place = seen[0]
    for name, other, elsewhere in seen[1:]:
        if other is not library:
            msg = (
                f"all arrays must belong to one library; `{first}` is of {library_name(library)} and `{name}` of "
                f"{library_name(other)}. Nothing is moved implicitly: convert one of them."
            )
            raise BackendMismatchError(msg)
        if place != elsewhere and None not in (place, elsewhere):  # a tracer of JAX is on none
            msg = (
                f"all arrays must be on one device; `{first}` is on {place} and `{name}` on {elsewhere}. "
                "Nothing is moved implicitly: move one of them."
            )
            raise DeviceError(msg)


def library_name(namespace: Any) -> str:
    """Return the name by which users know an array library."""
    return str(namespace.__name__).removeprefix("array_api_compat.")


def require_call(
    network: Network,
    x: Array,
    h_0: Array | Sequence[Array] | None,
    lengths: Array | None,
    mask: Array | None = None,
) -> None:
    """Check the shapes and dtypes of the arguments of a call against a network."""
    batch = require_input(network, x)
    if h_0 is not None:
        require_state(network.layers, h_0, () if batch is None else (batch,))
    if mask is not None:
        require_mask(mask, tuple(x.shape) if is_integer(x) else tuple(x.shape[:-1]), network.batch_first)
    if lengths is None:
        return
    if batch is None:
        msg = "`lengths` needs a batch of sequences; for a single one, pass x[:length] instead."
        raise ShapeError(msg)
    if not is_integer(lengths):
        msg = f"`lengths` must be integers; got {dtype_name(lengths)}. Convert them to int64."
        raise DTypeError(msg)
    if tuple(lengths.shape) != (batch,):
        axes = "(batch, seq_len, ...)" if network.batch_first else "(seq_len, batch, ...)"
        msg = f"`lengths` must have shape (batch,) = ({batch},), as x is {axes}; got {shown(tuple(lengths.shape))}."
        raise ShapeError(msg)


def require_mask(mask: Array, steps: tuple[int, ...], batch_first: bool) -> None:
    """Check a mask against the axes of an input."""
    if dtype_name(mask) != "bool":
        msg = f"`mask` must be boolean, True for the steps to take; got {dtype_name(mask)}. Write mask != 0."
        raise DTypeError(msg)
    if tuple(mask.shape) != steps:
        axes = "(seq_len,)" if len(steps) == 1 else "(batch, seq_len)" if batch_first else "(seq_len, batch)"
        msg = f"`mask` must have shape {axes} = {shown(steps)}, as `x`; got {shown(tuple(mask.shape))}."
        raise ShapeError(msg)


def require_input(network: Network, x: Array) -> int | None:
    """Check an input; return its batch size, None where it has no batch axis."""
    shape, batch_first, input_size = tuple(x.shape), network.batch_first, network.input_size
    axes = "(batch, seq_len" if batch_first else "(seq_len, batch"
    if is_integer(x):
        if len(shape) not in {1, 2}:
            msg = (
                f"token ids in `x` must have shape {axes}) or (seq_len,); got {shown(shape)}. "
                "Convert integers that are features to floating point."
            )
            raise ShapeError(msg)
        batched = len(shape) == 2
    else:
        if network.takes == "tokens":
            msg = f"`x` must hold token ids, integers, which this model takes; got {dtype_name(x)}."
            raise DTypeError(msg)
        require_dtype(network.layers, "x", x)
        if len(shape) not in {2, 3}:
            msg = f"`x` must have shape {axes}, input_size) or (seq_len, input_size); got {shown(shape)}."
            raise ShapeError(msg)
        if input_size is not None and shape[-1] != input_size:
            ids = (
                "Token ids must be integers."
                if network.takes is None
                else "For token ids, take tokens: takes='tokens'."
            )
            msg = f"the last axis of `x` must be input_size = {input_size}; got shape {shown(shape)}. {ids}"
            raise ShapeError(msg)
        batched = len(shape) == 3
    return (shape[0] if batch_first else shape[1]) if batched else None


def require_dtype(layers: tuple[Layer, ...], name: str, array: Array) -> None:
    """Check that an array has the dtype of the network's parameters."""
    dtype, parameter = dtype_name(array), first_array(layers)
    wanted = dtype if parameter is None else dtype_name(parameter)
    if dtype != wanted or dtype not in FLOATING:
        to = wanted if wanted in FLOATING else "float32"
        msg = f"`{name}` must be {wanted}, as the parameters are; got {dtype}. Convert it to {to}."
        raise DTypeError(msg)


def require_state(layers: tuple[Layer, ...], h_0: Any, batch: tuple[int, ...]) -> None:
    """Check initial states: one array, or a tuple of one for each cell where these are of several sizes."""
    sizes, axes = hidden_sizes(layers), "(batch, hidden_size)" if batch else "(hidden_size,)"
    if is_one_each(layers, h_0) != isinstance(h_0, (list, tuple)) or (is_uneven(layers) and is_array(h_0)):
        wanted = f"a tuple of one array {axes} for each cell" if is_uneven(layers) else "one array of all cells"
        msg = f"`h_0` must be {wanted}, whose sizes are {listed(sizes)}; got a {type(h_0).__name__}."
        raise ShapeError(msg)
    if isinstance(h_0, (list, tuple)):
        shapes = [tuple(part.shape) for part in h_0]
        fits = [shape == (*batch, size or shape[-1]) for size, shape in zip(sizes, shapes, strict=False) if shape]
        if len(fits) != len(sizes) or len(shapes) != len(sizes) or not all(fits):
            each = listed((*batch, size) for size in sizes)
            msg = f"`h_0` must hold arrays of shape {axes} = {each}; got {listed(shapes)}."
            raise ShapeError(msg)
        for part in h_0:
            require_dtype(layers, "h_0", part)
        return
    size = sizes[0] or (h_0.shape[-1] if len(h_0.shape) else 0)
    wanted_shape = (len(sizes), *batch, size)
    if tuple(h_0.shape) != wanted_shape:
        axes = "(num_cells, batch, hidden_size)" if batch else "(num_cells, hidden_size)"
        msg = f"`h_0` must have shape {axes} = {wanted_shape}; got {shown(tuple(h_0.shape))}."
        raise ShapeError(msg)
    require_dtype(layers, "h_0", h_0)


def require_values(network: Network, x: Array, lengths: Array | None, mask: Array | None = None) -> None:
    """Check token ids and lengths where they are NumPy arrays; no other array is read."""
    batch_first = network.batch_first
    seq_len = x.shape[1] if batch_first and len(x.shape) > 1 else x.shape[0]
    if isinstance(lengths, np.ndarray):
        require_range("lengths", lengths, seq_len + 1, "length")
    size = network.input_size
    if is_integer(x) and size is not None and network.takes != "features":
        require_ids("x", x, size, "token id", lengths, mask, batch_first)


def require_ids(
    name: str, ids: Array, end: int, what: str, lengths: Array | None, mask: Array | None, batch_first: bool
) -> None:
    """Check the ids (seq_len, batch) or (seq_len,) of all steps to take where all three arrays are NumPy's.

    They may be more than the memory holds (np.memmap, Stored), and so are looked at a block of time at a time.
    """
    others = all(isinstance(each, np.ndarray | None) for each in (lengths, mask))
    if not others or not isinstance(ids, np.ndarray | Stored):
        return
    axis = 1 if batch_first and len(ids.shape) > 1 else 0
    count, first = ids.shape[axis], []
    kept = None if mask is None else mask.T if batch_first else mask
    block = max(1, BLOCK * count // max(1, prod(ids.shape)))
    for start in range(0, count, block):
        part = steps_of(ids, start, min(start + block, count), axis)
        part = part.T if batch_first else part
        outside = (part < 0) | (part >= end)
        if lengths is not None:
            outside &= np.arange(start, start + len(part))[:, None] < lengths
        if kept is not None:
            outside &= kept[start : start + block]
        if outside.any():
            place = np.argwhere(outside.T if batch_first else outside)[0]
            place[-1 if batch_first else 0] += start
            first.append(tuple(place.tolist()))
    if first:
        refuse(name, ids, end, what, min(first))


def require_one_each(
    name: str, ids: Array, end: int, what: str, lengths: Array | None, mask: Array | None, axis: int, seq_len: int
) -> None:
    """Check the ids (batch,) or () of the sequences that have a step where all three arrays are NumPy's."""
    if not all(isinstance(each, np.ndarray) for each in (ids, lengths, mask) if each is not None):
        return
    counted = np.full(ids.shape, seq_len > 0) if lengths is None else lengths > 0
    if mask is not None:
        steps = mask.T if axis else mask
        if lengths is not None:
            steps = steps & (np.arange(len(steps))[:, None] < lengths)
        counted = counted & steps.any(axis=0)
    require_range(name, np.where(counted, ids, 0), end, what)


def require_range(name: str, values: Array, end: int, what: str) -> None:
    """Check that the integers of a NumPy array are in 0..end - 1, and name the first that is not."""
    if not isinstance(values, np.ndarray):
        return
    outside = (values < 0) | (values >= end)
    if outside.any():
        refuse(name, values, end, what, tuple(np.argwhere(outside)[0].tolist()))


def refuse(name: str, values: Host | Stored, end: int, what: str, place: tuple[int, ...]) -> NoReturn:
    """Raise an error that names a value out of range and its place."""
    where = f" at {shown(list(place))}" if place else ""
    msg = f"every {what} in `{name}` must be in 0..{end - 1}; got {values[place]}{where}."
    raise ArgumentError(msg)
