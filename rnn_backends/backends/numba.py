"""Numba: the arrays of NumPy, walked through time by compiled code."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numba import config

from rnn_backends.activations import Activation
from rnn_backends.arrays import Host, dtype_name
from rnn_backends.backends import numpy
from rnn_backends.backends.compiled.activate import NUMBERS
from rnn_backends.backends.compiled.product import panels
from rnn_backends.backends.compiled.walk import kernel
from rnn_backends.backends.record import Backend
from rnn_backends.forward import Cell
from rnn_backends.protocols import RecurrentCell

PARALLEL = 1 << 25
"""The multiplications from which on another thread, which takes 100 us to start, is worth it."""

FEWEST = 4
"""The sequences that a thread walks at least: fewer would load the weights too often."""

_arranged: WeakKeyDictionary[Cell, Host] = WeakKeyDictionary()


def make() -> Backend:
    """Return the backend."""
    return replace(numpy.make(), name="numba", recurrence=recurrence)


def recurrence(cell: RecurrentCell, x: Host, h_0: Host, lengths: Host | None, reverse: bool) -> Host | None:
    """Walk a `Cell` through time in compiled code; see `rnn_backends.protocols.Recurrence`."""
    if type(cell) is not Cell or h_0.dtype != cell.weight_hh.dtype:
        return None
    activation = cell.activation
    if not isinstance(activation, Activation) or activation.name not in NUMBERS:
        return numpy.recurrence(cell, x, h_0, lengths, reverse)
    walk, weights = kernel(dtype_name(h_0)), arranged(cell)
    ends = np.empty(0, np.int64) if lengths is None else lengths.astype(np.int64)
    options = (
        reverse,
        NUMBERS[activation.name],
        *(0.0 if value is None else value for value in (activation.alpha, activation.beta)),
        inf if cell.clip is None else cell.clip,
        1.0 if cell.leak is None else cell.leak,
    )
    states = np.empty((len(x), *h_0.shape), h_0.dtype)
    parts = slices(states)
    h = np.ascontiguousarray(h_0)
    for steps in numpy.blocks(states, reverse) if len(parts) == 1 else [slice(0, len(x))]:
        block = states[steps]
        numpy.project(cell, x[steps], block)
        in_parallel(partial(walk_part, walk, (block, weights, h, ends, steps.start), options), parts)
        h = block[0 if reverse else -1]
    return states


def walk_part(walk: Callable[..., None], arrays: tuple[Any, ...], options: tuple[Any, ...], part: slice) -> None:
    """Walk some of the sequences."""
    walk(*arrays, part.start, part.stop, *options)


def arranged(cell: Cell) -> Host:
    """Return W_aa in panels; those of a model, whose weights cannot change, are kept for as long as it is."""
    if cell.weight_hh.flags.writeable:
        return panels(cell.weight_hh)
    if cell not in _arranged:
        _arranged[cell] = panels(cell.weight_hh)
    return _arranged[cell]


def slices(states: Host) -> list[slice]:
    """Return which sequences each thread walks."""
    _, batch, size = states.shape
    threads = min(config.NUMBA_NUM_THREADS, batch // FEWEST, states.size * size // PARALLEL)
    count = max(1, threads)
    return [slice(batch * part // count, batch * (part + 1) // count) for part in range(count)]


def in_parallel(work: Callable[[slice], None], parts: list[slice]) -> None:
    """Do the work of each part, in threads of their own if there is more than one."""
    if len(parts) == 1:
        work(parts[0])
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(work, parts))
