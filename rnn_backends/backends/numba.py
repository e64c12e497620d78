"""Numba: the arrays of NumPy, walked through time by compiled code."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import inf
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba import config

from rnn_backends.backends import numpy
from rnn_backends.backends.backend import Backend
from rnn_backends.backends.compiled.activate import NUMBERS
from rnn_backends.backends.compiled.product import panels
from rnn_backends.backends.compiled.walk import kernel
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host, dtype_name, is_array
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import RecurrentCell, named_arrays
from rnn_backends.core.recurrence import each_direction

PARALLEL = 1 << 25
"""The multiplications from which on another thread, which takes 100 us to start, is worth it."""

FEWEST = 4
"""The sequences that a thread walks at least: fewer would load the weights too often."""

PART = 16
"""The sequences of a batch with lengths that are walked together: padding costs the less, the fewer they are."""

LEAST_PARTS = 4
"""The parts from which on they save more than taking the batch apart costs."""

NO_LENGTHS = np.empty(0, np.int64)


class Prepared(NamedTuple):
    """What the compiled function is called with for a cell."""

    takes_ids: bool
    walk: Callable[..., None]
    weights: tuple[Host, Host, Host]
    no_input: Host
    options: tuple[float, ...]


_prepared: WeakKeyDictionary[Cell, Prepared] = WeakKeyDictionary()


def make() -> Backend:
    """Return the backend."""
    return replace(numpy.make(), name="numba", recurrence=each_direction(walk_cell))


def walk_cell(cell: RecurrentCell, x: Host, h_0: Host, lengths: Host | None, reverse: bool) -> tuple[Host, Host] | None:
    """Walk a `Cell` through time in compiled code; see `rnn_backends.core.recurrence.CellRecurrence`."""
    if type(cell) is not Cell or h_0.dtype != cell.weight_hh.dtype:
        return None
    prepared, takes_ids = _prepared.get(cell), x.ndim == 2
    if prepared is None or prepared.takes_ids != takes_ids:
        prepared = prepare(cell, takes_ids)
    if prepared is None or is_faster_by_blas(cell, h_0):
        return numpy.walk_cell(cell, x, h_0, lengths, reverse)
    if lengths is not None and (parts := parts_by_length(lengths, h_0)):
        return walk_parts(prepared, cell, x, h_0, lengths, reverse, parts)
    return walk(prepared, cell, x, h_0, lengths, reverse, shares(len(x), *h_0.shape))


def walk_parts(
    prepared: Prepared, cell: Cell, x: Host, h_0: Host, lengths: Host, reverse: bool, parts: Sequence[Host]
) -> tuple[Host, Host]:
    """Walk some sequences at a time, each time as far as the longest of them goes."""
    states, last = np.zeros((len(x), *h_0.shape), h_0.dtype), np.empty_like(h_0)

    def walk_part(part: Host) -> None:
        steps, share = lengths[part[0]], [(0, len(part))]
        inputs = x[:steps].take(part, axis=1)
        states[:steps, part], last[part] = walk(prepared, cell, inputs, h_0[part], lengths[part], reverse, share)

    in_parallel([partial(walk_part, part) for part in parts])
    return states, last


def walk(
    prepared: Prepared,
    cell: Cell,
    x: Host,
    h_0: Host,
    lengths: Host | None,
    reverse: bool,
    shares: Sequence[tuple[int, int]],
) -> tuple[Host, Host]:
    """Walk sequences side by side, each thread its share of them."""
    states = np.empty((len(x) + 1, *h_0.shape), h_0.dtype)
    states[-1 if reverse else 0] = h_0
    output = states[:-1] if reverse else states[1:]
    if prepared.takes_ids:
        numpy.project(cell, x, output)
    arguments = (
        states,
        prepared.no_input if prepared.takes_ids else np.ascontiguousarray(x).reshape(-1),
        *prepared.weights,
        NO_LENGTHS if lengths is None else lengths.astype(np.int64),
        reverse,
        *prepared.options,
    )
    if len(shares) == 1:
        prepared.walk(*arguments, *shares[0])
    else:
        in_parallel([partial(prepared.walk, *arguments, *share) for share in shares])
    return finished(states, lengths, reverse)


def finished(states: Host, lengths: Host | None, reverse: bool) -> tuple[Host, Host]:
    """Return the states without the initial one, 0 beyond a length instead of held, and the last ones."""
    output, last = states[:-1] if reverse else states[1:], states[0 if reverse else -1]
    if lengths is None:
        return output, last
    last = last.copy()
    for b in np.flatnonzero(lengths < len(output)):
        output[lengths[b] :, b] = 0
    return output, last


def is_faster_by_blas(cell: Cell, h_0: Host) -> bool:
    """Tell whether BLAS is faster with several threads, for one sequence whose weights no cache of a core holds."""
    return len(h_0) == 1 and cell.weight_hh.nbytes > numpy.CACHE and config.NUMBA_NUM_THREADS > 1


def prepare(cell: Cell, takes_ids: bool) -> Prepared | None:
    """Arrange the weights of a cell, and keep those of a model, which cannot change, for as long as it is."""
    activation = cell.activation
    if not isinstance(activation, Activation) or activation.name not in NUMBERS or is_array(cell.leak):
        return None
    dtype, numbers = cell.weight_hh.dtype, (activation.alpha, activation.beta)
    bias = np.zeros(cell.hidden_size, dtype) if cell.bias is None else np.ascontiguousarray(cell.bias)
    weight_ih = cell.weight_ih[:, :0] if takes_ids else cell.weight_ih  # rows for ids are taken as they are
    prepared = Prepared(
        takes_ids,
        kernel(dtype_name(cell.weight_hh)),
        (panels(weight_ih), bias, panels(cell.weight_hh)),
        np.empty(0, dtype),
        (
            NUMBERS[activation.name],
            *(0.0 if number is None else number for number in numbers),
            inf if cell.clip is None else cell.clip,
            1.0 if cell.leak is None else cell.leak,
        ),
    )
    if not any(array.flags.writeable for _, array in named_arrays(cell)):
        _prepared[cell] = prepared
    return prepared


def shares(seq_len: int, batch: int, size: int) -> list[tuple[int, int]]:
    """Return the sequences that each thread walks, from the first to before the last.

    They are cut where groups of sequences end: of a batch of whole groups, threads change no bit.
    """
    multiplications = seq_len * batch * size * size
    if multiplications < 2 * PARALLEL:
        return [(0, batch)]
    count = max(1, min(config.NUMBA_NUM_THREADS, batch // FEWEST, multiplications // PARALLEL))
    cuts = [batch // FEWEST * part // count * FEWEST for part in range(count)]
    return list(pairwise([*cuts, batch]))


def parts_by_length(lengths: Host, h_0: Host) -> list[Host]:
    """Return the sequences in parts, the longest together; none where there is too little to gain."""
    count, size = len(lengths) // PART, h_0.shape[-1]
    if count < LEAST_PARTS or int(lengths.sum()) * size * size < PARALLEL:
        return []
    order = np.argsort(-lengths, kind="stable")
    return np.split(order, range(PART, count * PART, PART))


def in_parallel(works: Sequence[Callable[[], None]]) -> None:
    """Do some works, as many at a time as there are threads."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(config.NUMBA_NUM_THREADS) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()
