"""NumPy: arrays in host memory, computed on the CPU."""

from collections.abc import Iterable, Sequence
from itertools import chain
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.cpu_kernels.choice import chosen, compiled
from rnn_backends.backends.cpu_kernels.threads import thread_count
from rnn_backends.backends.numpy_walk import walk_cell
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host, is_array
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer, RecurrentCell, named_arrays
from rnn_backends.core.recurrence import each_direction

_prepared: WeakKeyDictionary[Cell, Any] = WeakKeyDictionary()

by_numpy = each_direction(walk_cell)
"""The recurrence of the cells that no kernel walks."""


def make() -> Backend:
    """Return the backend."""
    return Backend(
        name="numpy",
        xp=np,  # which follows the standard from 2.0 on
        owns=lambda array: isinstance(array, (np.ndarray, np.generic)),
        to_numpy=np.asarray,
        asarray=lambda host, dtype, _: np.asarray(host, dtype=dtype),
        devices=lambda: {"cpu": "cpu"},
        dtypes=lambda: ("float16", "float32", "float64"),
        recurrence=walk_layer,
    )


def walk_layer(
    layer: Layer, x: Host, h_0: Sequence[Host], lengths: Host | None
) -> tuple[Host, Host | Sequence[Host]] | None:
    """Walk the cells of a layer by a kernel, or by NumPy; see `rnn_backends.core.recurrence.Recurrence`."""
    dtype = h_0[0].dtype
    cells = [prepared(cell, dtype) for cell, _ in layer.cells]
    if None in cells:
        return by_numpy(layer, x, h_0, lengths)
    batch, sizes = x.shape[1], [state.shape[1] for state in h_0]
    last = [np.empty((batch, size), dtype) for size in sizes]
    states = [
        (cell, in_order(h), end, reverse)
        for cell, h, end, (_, reverse) in zip(cells, h_0, last, layer.cells, strict=True)
    ]
    return walk(x, np.empty((len(x), batch, sum(sizes)), dtype), lengths, states), last


def walk(x: Host, output: Host, lengths: Host | None, states: Iterable[tuple[Any, ...]]) -> Host:
    """Write the states of all steps to an output, and return it."""
    order = None
    if lengths is not None:
        order = np.argsort(-lengths, kind="stable").astype(np.int64)
        lengths = lengths[order].astype(np.int64)
    arguments = (output, order, lengths, thread_count(), *chain.from_iterable(states))
    try:
        compiled().walk(x, *arguments)
    except BufferError:  # laid out as no kernel reads it
        compiled().walk(in_order(x), *arguments)
    return output


def in_order(array: Host) -> Host:
    """Return an array as a kernel reads it: native, aligned, in order."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def prepared(cell: RecurrentCell, dtype: Any) -> Any:
    """Arrange the weights of a cell for a kernel, and keep those of a model, which cannot change, for as long as it is.

    None is for NumPy: there is no kernel, or it does not know the cell, or states of a dtype.
    """
    if type(cell) is not Cell or cell.weight_hh.dtype != dtype:
        return None
    known = _prepared.get(cell, cell)
    if known is not cell:
        return known
    made = prepare(cell)
    if not any(array.flags.writeable for _, array in named_arrays(cell)):
        _prepared[cell] = made
    return made


def prepare(cell: Cell) -> Any:
    """Return the cell as a kernel takes it, None if none does."""
    kernel, activation = chosen(), cell.activation
    if kernel is None or not isinstance(activation, Activation) or activation.name not in compiled().ACTIVATIONS:
        return None
    if cell.weight_hh.dtype.name not in {"float32", "float64"}:
        return None
    return compiled().Prepared(
        kernel,
        in_order(cell.weight_ih),
        in_order(cell.weight_hh),
        None if cell.bias is None else in_order(cell.bias),
        activation.name,
        activation.alpha or 0.0,
        activation.beta or 0.0,
        inf if cell.clip is None else cell.clip,
        1.0 if cell.leak is None or is_array(cell.leak) else cell.leak,
        in_order(cell.leak) if is_array(cell.leak) else None,
    )
