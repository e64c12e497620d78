"""NumPy: arrays in host memory, computed on the CPU."""

import os
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.packed import Packed
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import RecurrentCell
from rnn_backends.core.recurrence import each_direction

BLOCK = 1 << 19
"""The bytes of states that are projected at once: a good product, and they are still in the cache when walked."""


CACHE = 1 << 20
"""The bytes of weights that stay in the second-level cache of a core."""


IN_PLACE: dict[str, Callable[[Host, Host], object]] = {
    "tanh": np.tanh,
    "relu": lambda z, out: np.maximum(z, 0.0, out=out),
}
"""The activations that NumPy has as functions of its own; every other allocates its result."""


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
        recurrence=each_direction(walk_cell),
    )


def walk_cell(cell: RecurrentCell, x: Host, h_0: Host, lengths: Host | None, reverse: bool) -> tuple[Host, Host] | None:
    """Walk a `Cell` through time in place: each state is made where the result has it, without a copy."""
    if type(cell) is not Cell or h_0.dtype != cell.weight_hh.dtype:
        return None
    if lengths is not None:
        return walk_packed(cell, x, h_0, lengths, reverse)
    if is_cheaper_joined(cell, x):
        states = walk_joined(cell, x[::-1] if reverse else x, h_0)[:: -1 if reverse else 1]
        return states, states[0 if reverse else -1]
    states, h = np.empty((len(x), *h_0.shape), h_0.dtype), h_0
    is_vector = len(h_0) == 1 and isinstance(cell.activation, Activation)  # a user's function expects a batch
    multiply = multiplication(cell.weight_hh, is_vector=is_vector)
    for steps in blocks(len(states), states.nbytes, reverse):
        project(cell, x[steps], states[steps])
        block = states[steps, 0] if is_vector else states[steps]  # of vectors, BLAS has a quicker product
        h = walk(cell, multiply, block[::-1] if reverse else block, h[0] if is_vector else h)
        h = h.reshape(h_0.shape)
    return states, h


def walk_packed(cell: Cell, x: Host, h_0: Host, lengths: Host, reverse: bool) -> tuple[Host, Host]:
    """Walk sequences of different lengths, of each as far as it goes."""
    packed = Packed.of(lengths)
    inputs, first, starts = packed.rows(x), h_0[packed.order], packed.starts
    rows, h = np.empty((len(inputs), h_0.shape[-1]), h_0.dtype), first
    multiply = multiplication(cell.weight_hh, is_vector=False)
    for steps in blocks(len(starts) - 1, rows.nbytes, reverse):
        project(cell, inputs[starts[steps.start] : starts[steps.stop]], rows[starts[steps.start] : starts[steps.stop]])
        block = [rows[start:end] for start, end in pairwise(starts[steps.start : steps.stop + 1])]
        h = walk(cell, multiply, block[::-1] if reverse else block, h, first)
    return packed.padded(rows, len(x)), packed.last(rows, h_0, reverse)


def blocks(count: int, nbytes: int, reverse: bool) -> list[slice]:
    """Return steps, whose states are so large, in blocks, in the order in which they are walked."""
    if nbytes <= BLOCK:
        return [slice(0, count)]
    size = max(1, BLOCK * count // nbytes)
    found = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    return found[::-1] if reverse else found


def project(cell: Cell, x: Host, states: Host) -> None:
    """Write W_ax x<t> + b_a to where the states of the steps will be."""
    rows, weight = states.reshape(-1, states.shape[-1]), cell.weight_ih.T
    if x.dtype.kind in "iu":
        np.take(weight, x.reshape(-1), axis=0, out=rows, mode="clip")  # "raise" would copy
    else:
        x.reshape(-1, x.shape[-1]).dot(weight, rows)
    if cell.bias is not None:
        np.add(rows, cell.bias, rows)


def walk(
    cell: Cell, multiply: Callable[[Host, Host], object], steps: Iterable[Host], h: Host, first: Host | None = None
) -> Host:
    """Turn W_ax x<t> + b_a into a<t>, step by step, in place; return the last state.

    A step may have fewer sequences than the one before, whose last ones have ended, or more, which begin with
    their rows of `first`.
    """
    clip, leak, activate, add = cell.clip, cell.leak, in_place(cell), np.add
    kept = None if leak is None else 1.0 - leak
    product = np.empty(h.shape, h.dtype)  # as `dot` wants it, whatever the order of `h`
    for z in steps:
        if len(z) != len(h):
            h = h[: len(z)] if first is None or len(z) < len(h) else np.concatenate([h, first[len(h) : len(z)]])
            product = np.empty(h.shape, h.dtype)
        multiply(h, product)
        add(z, product, z)
        if clip is not None:
            np.clip(z, -clip, clip, out=z)
        activate(z, z)
        if leak is not None:
            add(leak * z, kept * h, z)
        h = z
    return h


def multiplication(weight: Host, is_vector: bool) -> Callable[[Host, Host], object]:
    """Return a function that writes W_aa a<t-1> for its first argument to the second."""
    if not is_vector or weight.nbytes <= CACHE:
        transposed = np.ascontiguousarray(weight.T)
        return lambda h, product: h.dot(transposed, product)
    size, columns = weight.shape
    # OpenBLAS multiplies a vector with several threads if there are 460800 weights or more.
    rows = -(-500_000 // columns) if threads() > 1 else max(1, CACHE // 2 // (columns * weight.itemsize))
    weight = np.ascontiguousarray(weight)
    parts = [(weight[row : row + rows], slice(row, row + rows)) for row in range(0, size, rows)]

    def multiply(h: Host, product: Host) -> None:
        for part, place in parts:
            part.dot(h, product[place])
        parts.reverse()  # the part that was read last is still in the cache

    return multiply


def threads() -> int:
    """Return how many threads BLAS may use by its settings, or the number of cores."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if (value := os.environ.get(name, "")).isdigit():
            return int(value)
    return os.cpu_count() or 1


def is_cheaper_joined(cell: Cell, x: Host) -> bool:
    """Return whether `walk_joined` supports a call, and beats another call of NumPy at each step."""
    is_one_sequence = x.ndim == 3 and x.shape[1] == 1 and len(x) > 50
    is_known = isinstance(cell.activation, Activation)
    return is_one_sequence and is_known and cell.clip is None and cell.leak is None and cell.weight_ih.size < 10_000


def walk_joined(cell: Cell, x: Host, h_0: Host) -> Host:
    """Compute a<t> of one sequence with the weights as one matrix: g1([a<t-1> x<t> 1] [W_aa W_ax b_a]^T)."""
    size, bias = cell.hidden_size, np.zeros_like(h_0[0]) if cell.bias is None else cell.bias
    weight = np.concatenate([cell.weight_hh.T, cell.weight_ih.T, bias[None]])
    rows = np.ones((len(x) + 1, len(weight)), h_0.dtype)
    rows[:-1, size:-1] = x[:, 0]
    rows[0, :size] = h_0[0]
    states, activate, z = rows[:, :size], in_place(cell), np.empty_like(h_0[0])
    for row, a in zip(rows, states[1:], strict=False):
        row.dot(weight, z)
        activate(z, a)
    return np.ascontiguousarray(states[1:, None])


def in_place(cell: Cell) -> Callable[[Host, Host], object]:
    """Return g1 as a function of its argument and of where the result is to be."""
    if isinstance(cell.activation, Activation) and cell.activation.name in IN_PLACE:
        return IN_PLACE[cell.activation.name]
    return lambda z, out: np.copyto(out, cell.activate(z))
