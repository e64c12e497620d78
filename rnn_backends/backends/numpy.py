"""NumPy: arrays in host memory, computed on the CPU."""

from collections.abc import Sequence
from itertools import chain, count
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.cpu_kernels.choice import chosen, compiled
from rnn_backends.backends.cpu_kernels.threads import thread_count
from rnn_backends.backends.numpy_walk import walk_cell
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host, quiet
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer, RecurrentCell, named_arrays
from rnn_backends.core.network import hidden_sizes
from rnn_backends.core.recurrence import Run, each_direction
from rnn_backends.core.sparse import Sparse

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
        recurrence=Walk(),
    )


class Walk:
    """The recurrence: a layer by a kernel, or by NumPy; see `rnn_backends.core.recurrence.Recurrence`."""

    def __call__(
        self, layer: Layer, x: Host, h_0: Sequence[Host], lengths: Host | None
    ) -> tuple[Host, Sequence[Host]] | None:
        """Walk the cells of a layer through time."""
        dtype = h_0[0].dtype
        cells = [prepared(cell, dtype) for cell, _ in layer.cells]
        if None in cells:
            with quiet():
                return by_numpy(layer, x, h_0, lengths)
        batch, sizes = x.shape[1], [state.shape[1] for state in h_0]
        output, last = np.empty((len(x), batch, sum(sizes)), dtype), [np.empty((batch, size), dtype) for size in sizes]
        order = None
        if lengths is not None:
            order = np.argsort(-lengths, kind="stable").astype(np.int64)
            lengths = lengths[order].astype(np.int64)
        reverses = [reverse for _, reverse in layer.cells]
        walk(
            x,
            output,
            order,
            lengths,
            thread_count(),
            *chain(*zip(cells, map(in_order, h_0), last, reverses, strict=True)),
        )
        return output, last

    def prepared(self, layers: tuple[Layer, ...], shape: tuple[int, ...], dtype: Any) -> Run | None:
        """Return a function that walks layers over inputs of a shape and dtype; see `rnn_backends.model.prepared`."""
        first: Any = layers[0].cells[0][0]
        if type(first) is not Cell:
            return None
        own = first.weight_ih.dtype
        walked = [[(prepared(cell, own), reverse) for cell, reverse in layer.cells] for layer in layers]
        if any(cell is None for layer in walked for cell, _ in layer):
            return None
        sizes = [[size for size in hidden_sizes((layer,)) if size is not None] for layer in layers]
        if len(walked) == 1 and len(walked[0]) == 1:
            return one_cell(*walked[0][0], (*shape[:2], *sizes[0]), own)
        return stacked(walked, shape[:2], sizes, own)


def one_cell(cell: Any, reverse: bool, shape: tuple[int, ...], dtype: Any) -> Run:
    """Return a run of a single cell, of which nothing but the walk is left."""
    states, empty = (1, *shape[1:]), np.empty

    def run(x: Host, h_0: Host | None) -> tuple[Host, Host]:
        output, last = empty(shape, dtype), empty(states, dtype)
        walk(x, output, None, None, thread_count(), cell, h_0, last, reverse)
        return output, last

    return run


def stacked(layers: Any, shape: tuple[int, ...], sizes: list[list[int]], dtype: Any) -> Run:
    """Return a run of layers of cells, given as pairs (prepared, reverse)."""
    flat, places = [size for layer in sizes for size in layer], count()
    states = (len(flat), shape[1], flat[0]) if len(set(flat)) == 1 else None
    plan = [
        ((*shape, sum(widths)), [(cell, next(places), reverse) for cell, reverse in layer])
        for layer, widths in zip(layers, sizes, strict=True)
    ]

    def run(x: Host, h_0: Any) -> tuple[Host, Any]:
        last: Any = [np.empty((shape[1], size), dtype) for size in flat] if states is None else np.empty(states, dtype)
        for output_shape, cells in plan:
            output, each = np.empty(output_shape, dtype), list[Any]()
            for cell, place, reverse in cells:
                each += (cell, None if h_0 is None else h_0[place], last[place], reverse)
            walk(x, output, None, None, thread_count(), *each)
            x = output
        return x, tuple(last) if states is None else last

    return run


def walk(x: Host, *arguments: Any) -> None:
    """Walk a layer: x, output, order, lengths, threads, then prepared, h_0, last and reverse of each cell."""
    try:
        compiled().walk(x, *arguments)
    except BufferError:  # laid out as no kernel reads it
        shared, each = arguments[:4], list(arguments[4:])
        each[1::4] = [None if h_0 is None else in_order(h_0) for h_0 in each[1::4]]
        compiled().walk(in_order(x), *shared, *each)


def in_order(array: Host) -> Host:
    """Return an array as a kernel reads it: native, aligned, in order."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def prepared(cell: RecurrentCell, dtype: Any) -> Any:
    """Arrange the weights of a cell for a kernel, and keep those of a model, which cannot change, for as long as it is.

    None is for NumPy: there is no kernel, or it does not know the cell, or states of a dtype.
    """
    if type(cell) is not Cell or cell.weight_ih.dtype != dtype:
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
    kernel, activation, leak = chosen(), cell.activation, cell.leak
    if kernel is None or not isinstance(activation, Activation) or activation.name not in compiled().ACTIVATIONS:
        return None
    if cell.weight_ih.dtype.name not in {"float32", "float64"}:
        return None
    return compiled().Prepared(
        kernel,
        in_order(cell.weight_ih),
        entries(cell.weight_hh) if isinstance(cell.weight_hh, Sparse) else in_order(cell.weight_hh),
        None if cell.bias is None else in_order(cell.bias),
        activation.name,
        activation.alpha or 0.0,
        activation.beta or 0.0,
        inf if cell.clip is None else cell.clip,
        *((1.0, in_order(leak)) if isinstance(leak, np.ndarray) else (leak or 1.0, None)),
    )


def entries(matrix: Sparse) -> tuple[Host, Host, Host]:
    """Return the entries of a sparse matrix as a kernel takes them: row by row, places as numbers of 64 bits."""
    values, columns, starts = matrix.to_csr()
    return in_order(values), in_order(columns.astype(np.int64)), in_order(starts.astype(np.int64))
