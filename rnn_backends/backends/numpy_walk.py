"""The walk of a `Cell` or a `RateCell`, with noise or without, by NumPy, where no kernel does it: in place."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from rnn_backends.backends.packed import Packed
from rnn_backends.core.activations import Activation
from rnn_backends.core.affine import AffineCell
from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import RecurrentCell
from rnn_backends.core.noise import NoisyCell
from rnn_backends.core.rate import RateCell
from rnn_backends.core.sparse import Sparse

BLOCK = 1 << 19
"""The bytes of states that are projected at once: a good product, and they are still in the cache when walked."""

BY_ROWS = 3
"""The sequences up to which BLAS multiplies one after the other faster than together."""

PART = 400_000
"""The weights that BLAS multiplies a vector with at once: from 460,800 on, OpenBLAS wakes its threads for each step."""

IN_PLACE: dict[str, Callable[[Host, Host], object]] = {
    "tanh": np.tanh,
    "relu": lambda z, out: np.maximum(z, 0.0, out=out),
}
"""The activations that NumPy has as functions of its own; every other allocates its result."""


def walk_cell(cell: RecurrentCell, x: Host, h_0: Host, lengths: Host | None, reverse: bool) -> tuple[Host, Host] | None:
    """Walk a cell through time in place: what it gives is made where the result has it, without a copy."""
    cell, noise = (cell.cell, cell.numbers) if isinstance(cell, NoisyCell) else (cell, None)
    if type(cell) is not Cell and type(cell) is not RateCell:
        return None
    if h_0.dtype != cell.weight_ih.dtype:
        return None
    if lengths is not None:
        return walk_packed(cell, x, h_0, lengths, reverse, noise)
    output, h = np.empty((len(x), *h_0.shape), h_0.dtype), h_0
    multiply = multiplication(cell.weight_hh, len(h_0))
    for steps in blocks(len(output), output.nbytes, reverse):
        project(cell, x[steps], output[steps], None if noise is None else noise[steps])
        h = walk(cell, multiply, output[steps][:: -1 if reverse else 1], h)
    return output, h


def walk_packed(
    cell: Cell | RateCell, x: Host, h_0: Host, lengths: Host, reverse: bool, noise: Host | None
) -> tuple[Host, Host]:
    """Walk sequences of different lengths, of each as far as it goes."""
    packed = Packed.of(lengths)
    inputs, first, starts = packed.rows(x), h_0[packed.order], packed.starts
    drawn = None if noise is None else packed.rows(noise)
    rows, h = np.empty((len(inputs), h_0.shape[-1]), h_0.dtype), first
    multiply, ends = multiplication(cell.weight_hh, len(h_0)), first.copy() if isinstance(cell, RateCell) else None
    for steps in blocks(len(starts) - 1, rows.nbytes, reverse):
        held = slice(starts[steps.start], starts[steps.stop])
        project(cell, inputs[held], rows[held], None if drawn is None else drawn[held])
        block = [rows[start:end] for start, end in pairwise(starts[steps.start : steps.stop + 1])]
        h = walk(cell, multiply, block[::-1] if reverse else block, h, first, ends)
    if ends is None:
        return packed.padded(rows, len(x)), packed.last(rows, h_0, reverse)
    ends[: len(h)] = h
    last = np.empty_like(ends)
    last[packed.order] = ends
    return packed.padded(rows, len(x)), last


def blocks(count: int, nbytes: int, reverse: bool) -> list[slice]:
    """Return steps, whose states are so large, in blocks, in the order in which they are walked."""
    if nbytes <= BLOCK:
        return [slice(0, count)]
    size = max(1, BLOCK * count // nbytes)
    found = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    return found[::-1] if reverse else found


def project(cell: AffineCell, x: Host, states: Host, noise: Host | None) -> None:
    """Write W_ax x<t> + b_a + n<t> to where the states of the steps will be."""
    rows, weight = states.reshape(-1, states.shape[-1]), cell.weight_ih.T
    if x.dtype.kind in "iu":
        np.take(weight, x.reshape(-1), axis=0, out=rows, mode="clip")  # "raise" would copy
    else:
        x.reshape(-1, x.shape[-1]).dot(weight, rows)
    if cell.bias is not None:
        np.add(rows, cell.bias, rows)
    if noise is not None:
        np.add(states, noise, states)


def walk(
    cell: Cell | RateCell,
    multiply: Callable[[Host, Host], object],
    steps: Iterable[Host],
    h: Host,
    first: Host | None = None,
    ends: Host | None = None,
) -> Host:
    """Turn W_ax x<t> + b_a into what the cell gives, step by step, in place; return the last state.

    A step may have fewer sequences than the one before, whose last ones have ended, or more, which begin with
    their rows of `first`.  Where the output is not the state, `ends` takes the states of those that have ended.
    """
    if isinstance(cell, RateCell):
        return walk_rates(cell, multiply, steps, h, first, ends)
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


def walk_rates(
    cell: RateCell,
    multiply: Callable[[Host, Host], object],
    steps: Iterable[Host],
    h: Host,
    first: Host | None,
    ends: Host | None,
) -> Host:
    """Turn W_ax u<t> + b_a into the rates g1(x<t>), which the next step needs, as `walk` does."""
    leak, kept, activate, add = cell.leak, 1.0 - cell.leak, in_place(cell), np.add
    rates, product = np.empty(h.shape, h.dtype), np.empty(h.shape, h.dtype)
    activate(h, rates)
    for z in steps:
        if len(z) != len(h):
            if ends is not None:
                ends[len(z) : len(h)] = h[len(z) :]
            h = h[: len(z)] if first is None or len(z) < len(h) else np.concatenate([h, first[len(h) : len(z)]])
            rates, product = np.empty(h.shape, h.dtype), np.empty(h.shape, h.dtype)
            activate(h, rates)
        multiply(rates, product)
        add(z, product, z)
        h = add(kept * h, leak * z)
        activate(h, z)
        rates = z
    return h


def multiplication(weight: Host | Sparse, batch: int) -> Callable[[Host, Host], object]:
    """Return a function that writes W_aa a<t-1> for its first argument, (batch, hidden_size), to the second.

    The first argument has no more rows than `batch`.
    """
    if isinstance(weight, Sparse):
        return sparse_multiplication(weight)
    transposed, weight = weight.T, np.ascontiguousarray(weight)
    if batch > BY_ROWS:
        transposed = np.ascontiguousarray(transposed)
    rows = max(1, PART // max(1, weight.shape[1]))
    parts = [(weight[row : row + rows], slice(row, row + rows)) for row in range(0, len(weight), rows)]

    def multiply(h: Host, product: Host) -> None:
        if len(h) > BY_ROWS:
            h.dot(transposed, product)
            return
        for vector, result in zip(h, product, strict=True):
            for part, place in parts:
                part.dot(vector, result[place])

    return multiply


def sparse_multiplication(matrix: Sparse) -> Callable[[Host, Host], object]:
    """Return `multiplication` of a sparse matrix, of which NumPy takes the columns without converting them first."""
    wide = replace(matrix, columns=matrix.columns.astype(np.intp))
    return lambda h, product: np.copyto(product, wide.product(h))


def in_place(cell: AffineCell) -> Callable[[Host, Host], object]:
    """Return g1 as a function of its argument and of where the result is to be."""
    if isinstance(cell.activation, Activation) and cell.activation.name in IN_PLACE:
        return IN_PLACE[cell.activation.name]
    return lambda z, out: np.copyto(out, cell.activate(z))
