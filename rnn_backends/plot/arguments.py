"""Checks of what is to be drawn, and its way to the host."""

from typing import Any

import numpy as np

from rnn_backends.backends.transfer import as_host, to_numpy
from rnn_backends.core.arrays import ArrayLike, Host, dtype_name, is_masked
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.init import require_integer

MOST_INCHES = 200
"""The most inches of a new figure, each way."""


def require_pyplot() -> Any:
    """Return matplotlib.pyplot."""
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        msg = "rnn_backends.plot needs matplotlib, which is not installed: pip install 'rnn-backends[plot]'."
        raise ModuleNotFoundError(msg, name=error.name) from error
    return plt


def held_there(name: str, array: ArrayLike) -> Any:
    """Return an array of any backend where it is, and nested lists as an array on the host."""
    if is_masked(array):
        msg = f"`{name}` must not be a masked array, whose mask would be lost; fill it before it is drawn."
        raise DTypeError(msg)
    return as_host(name, array)


def on_host(name: str, array: ArrayLike) -> Host:
    """Return an array of numbers of any backend, or nested lists, as float64 on the host."""
    held = to_numpy(held_there(name, array))
    if held.dtype.kind not in "fiu":
        msg = f"`{name}` must hold real numbers; got {dtype_name(held)}."
        raise DTypeError(msg)
    return held.astype(np.float64)


def of_sequence(name: str, array: Any, sequence: int, *, batch_first: bool, is_whole: bool = False) -> Host:
    """Return what is of one sequence, on the host; it is taken where the array is, so that no other is copied.

    Of (seq_len, batch, size), or (batch, seq_len, size), these are the steps (seq_len, size); of (batch, size), where
    outputs are of sequences as a whole, the one row.  An array of no batch is that of its only sequence.
    """
    axis = {2: 0 if is_whole else None, 3: 0 if batch_first else 1}.get(array.ndim)
    require_sequence(name, sequence, 1 if axis is None else array.shape[axis])
    if axis is not None:
        array = array[sequence, ...] if axis == 0 else array[:, sequence, ...]
    return on_host(name, array)


def require_sequence(name: str, sequence: int, batch: int) -> None:
    """Check that a batch has a sequence of some number."""
    require_integer("sequence", sequence, 0)
    if sequence >= batch:
        held = f"0 to {batch - 1}" if batch else "none"
        msg = f"`sequence` must be one of the {batch} that `{name}` holds, {held}; got {got(sequence)}."
        raise ArgumentError(msg)


def require_steps(name: str, array: Host) -> None:
    """Check that an array has steps and units."""
    if array.ndim != 2 or 0 in array.shape:
        shape = shown(array.shape)
        msg = f"`{name}` must have steps to draw, (seq_len, size) or (seq_len, batch, size); got shape {shape}."
        raise ShapeError(msg)
