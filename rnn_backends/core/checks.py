"""What must hold of the arguments of a call, each with its one clear sentence."""

from collections.abc import Iterable
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
    is_masked,
)
from rnn_backends.core.layers import Layer, first_array
from rnn_backends.errors import (
    ArgumentError,
    BackendMismatchError,
    DeviceError,
    DTypeError,
    ShapeError,
)

BLOCK = 2**18  # ids that are looked at together


def require_unmasked(name: str, value: object) -> None:
    """Check that a value is no masked array."""
    if is_masked(value):
        msg = f"`{name}` must not be a masked array, whose mask would be lost; fill it, and give `lengths` or `mask`."
        raise DTypeError(msg)


def require_together(arrays: Iterable[tuple[str, Array]]) -> None:
    """Check that all arrays are some, belong to one library and lie on one device."""
    seen: list[tuple[str, Any, Any]] = []
    for name, array in arrays:
        if not is_array(array):
            msg = f"`{name}` must be an array; got {type(array).__name__}. A model (RNN) takes lists too."
            raise DTypeError(msg)
        require_unmasked(name, array)
        seen.append((name, array_namespace(array), device(array)))
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
                f"all arrays must lie on one device; `{first}` is on {place} and `{name}` on {elsewhere}. "
                "Nothing is moved implicitly: move one of them."
            )
            raise DeviceError(msg)


def library_name(namespace: Any) -> str:
    """Return the name by which users know an array library."""
    return str(namespace.__name__).removeprefix("array_api_compat.")


def require_call(
    layers: tuple[Layer, ...],
    x: Array,
    h_0: Array | None,
    lengths: Array | None,
    mask: Array | None = None,
    batch_first: bool = False,
) -> None:
    """Check the shapes and dtypes of the arguments of a call against the layers."""
    batch = require_input(layers, x, batch_first)
    if h_0 is not None:
        require_state(layers, h_0, () if batch is None else (batch,))
    if mask is not None:
        require_mask(mask, tuple(x.shape) if is_integer(x) else tuple(x.shape[:-1]), batch_first)
    if lengths is None:
        return
    if batch is None:
        msg = "`lengths` needs a batch of sequences; for a single one, pass x[:length] instead."
        raise ShapeError(msg)
    if not is_integer(lengths):
        msg = f"`lengths` must be integers; got {dtype_name(lengths)}. Convert them with astype."
        raise DTypeError(msg)
    if tuple(lengths.shape) != (batch,):
        msg = f"`lengths` must have shape (batch,) = ({batch},); got {tuple(lengths.shape)}."
        raise ShapeError(msg)


def require_mask(mask: Array, steps: tuple[int, ...], batch_first: bool) -> None:
    """Check a mask against the axes of an input."""
    if dtype_name(mask) != "bool":
        msg = f"`mask` must be boolean, True for the steps to take; got {dtype_name(mask)}. Write mask != 0."
        raise DTypeError(msg)
    if tuple(mask.shape) != steps:
        axes = "(seq_len,)" if len(steps) == 1 else "(batch, seq_len)" if batch_first else "(seq_len, batch)"
        msg = f"`mask` must have shape {axes} = {steps}, as `x`; got {tuple(mask.shape)}."
        raise ShapeError(msg)


def require_input(layers: tuple[Layer, ...], x: Array, batch_first: bool) -> int | None:
    """Check an input; return its batch size, None where it has no batch axis."""
    shape = tuple(x.shape)
    axes = "(batch, seq_len" if batch_first else "(seq_len, batch"
    input_size = getattr(layers[0].cells[0][0], "input_size", None)
    if is_integer(x):
        if len(shape) not in {1, 2}:
            msg = (
                f"token ids in `x` must have shape {axes}) or (seq_len,); got {shape}. "
                "Convert integers that are features to floating point."
            )
            raise ShapeError(msg)
        batched = len(shape) == 2
    else:
        require_dtype(layers, "x", x)
        if len(shape) not in {2, 3}:
            msg = f"`x` must have shape {axes}, input_size) or (seq_len, input_size); got {shape}."
            raise ShapeError(msg)
        if input_size is not None and shape[-1] != input_size:
            msg = f"the last axis of `x` must be input_size = {input_size}; got shape {shape}."
            raise ShapeError(msg)
        batched = len(shape) == 3
    return (shape[0] if batch_first else shape[1]) if batched else None


def require_dtype(layers: tuple[Layer, ...], name: str, array: Array) -> None:
    """Check that an array has the dtype of the network's parameters."""
    got, parameter = dtype_name(array), first_array(layers)
    wanted = got if parameter is None else dtype_name(parameter)
    if got != wanted or got not in FLOATING:
        msg = f"`{name}` must be {wanted}, as the parameters are; got {got}. Convert it with astype."
        raise DTypeError(msg)


def require_state(layers: tuple[Layer, ...], h_0: Array, batch: tuple[int, ...]) -> None:
    """Check an initial state."""
    cells = [cell for layer in layers for cell, _ in layer.cells]
    size = getattr(cells[0], "hidden_size", h_0.shape[-1] if len(h_0.shape) else 0)
    wanted = (len(cells), *batch, size)
    if tuple(h_0.shape) != wanted:
        axes = "(num_cells, batch, hidden_size)" if batch else "(num_cells, hidden_size)"
        msg = f"`h_0` must have shape {axes} = {wanted}; got {tuple(h_0.shape)}."
        raise ShapeError(msg)
    require_dtype(layers, "h_0", h_0)


def require_values(
    layers: tuple[Layer, ...], x: Array, lengths: Array | None, mask: Array | None = None, batch_first: bool = False
) -> None:
    """Check token ids and lengths where they are NumPy arrays; no other array is read."""
    seq_len = x.shape[1] if batch_first and len(x.shape) > 1 else x.shape[0]
    if isinstance(lengths, np.ndarray):
        require_range("lengths", lengths, seq_len + 1, "length")
    size = getattr(layers[0].cells[0][0], "input_size", None)
    if is_integer(x) and size is not None:
        require_ids("x", x, size, "token id", lengths, mask, batch_first)


def require_ids(
    name: str, ids: Array, end: int, what: str, lengths: Array | None, mask: Array | None, batch_first: bool
) -> None:
    """Check the ids (seq_len, batch) or (seq_len,) of all steps to take where all three arrays are NumPy's.

    They may be more than the memory holds (np.memmap), and so are looked at a block of time at a time.
    """
    if not isinstance(ids, np.ndarray) or not all(isinstance(each, np.ndarray | None) for each in (lengths, mask)):
        return
    steps, first = ids.T if batch_first else ids, []
    kept = None if mask is None else mask.T if batch_first else mask
    block = max(1, BLOCK // max(1, prod(steps.shape[1:])))
    for start in range(0, len(steps), block):
        part = steps[start : start + block]
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


def require_range(name: str, values: Array, end: int, what: str) -> None:
    """Check that the integers of a NumPy array lie in 0..end - 1, and name the first that does not."""
    if not isinstance(values, np.ndarray):
        return
    outside = (values < 0) | (values >= end)
    if outside.any():
        refuse(name, values, end, what, tuple(np.argwhere(outside)[0].tolist()))


def refuse(name: str, values: Host, end: int, what: str, place: tuple[int, ...]) -> NoReturn:
    """Tell which of the values is out of range."""
    msg = f"every {what} in `{name}` must be in 0..{end - 1}; got {values[place]} at {list(place)}."
    raise ArgumentError(msg)
