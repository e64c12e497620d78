"""The walk of a cell through time, one compiled function for each float type.

A few rows are multiplied with a panel of weights at a time; while their sums are in the cache, they become
the new state, in its place: bounded, activated, leaked, held.  Nothing is allocated on the way.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from rnn_backends.backends.compiled.activate import activate
from rnn_backends.backends.compiled.functions import COMPILED, INLINED
from rnn_backends.backends.compiled.product import GROUPS, product

BLOCK = 1 << 17
"""The numbers of the states that are projected before they are walked: they stay in the cache meanwhile."""

multiply_1, multiply_2, multiply_4, multiply_8, multiply_12 = (product(rows) for rows in (1, 2, 4, 8, 12))
multiply_1_by_2 = product(1, at_once=2)


@cache
def kernel(dtype: str) -> Any:
    """Return `walk` for a float type, compiled now or, by an earlier process, on disk."""
    of = types.float32 if dtype == "float32" else types.float64
    vector, panels = types.Array(of, 1, "C", readonly=True), types.Array(of, 3, "C", readonly=True)
    arrays = types.Array(of, 3, "C"), vector, panels, vector, panels, types.Array(types.int64, 1, "C", readonly=True)
    signature = types.void(*arrays, types.boolean, types.int64, *[of] * 4, types.int64, types.int64)
    try:
        return njit(signature, cache=True, nogil=True, **COMPILED)(walk)
    except RuntimeError:  # there is no folder that can be written to
        return njit(signature, nogil=True, **COMPILED)(walk)


def walk(
    states: Any, x: Any, weight_ih: Any, bias: Any, weight_hh: Any, lengths: Any, reverse: Any,
    activation: Any, alpha: Any, beta: Any, clip: Any, leak: Any, first: Any, last: Any,
) -> None:  # fmt: skip
    """Compute a<t> for the sequences first .. last - 1.

    Parameters
    ----------
    states : array, shape (1 + seq_len, batch, hidden_size)
        Before the others lies the initial state, which with `reverse` is the last.
    x : array, shape (seq_len * batch * input_size,) or (0,)
        None: the states hold W_ax x<t> + b_a already.
    weight_ih, weight_hh : array
        W_ax and W_aa, from `rnn_backends.backends.compiled.product.panels`.
    bias : array, shape (hidden_size,)
    lengths : int64 array, shape (batch,) or (0,)
        None: all steps are valid.
    reverse : bool
    activation : int
        The number of g1.
    alpha, beta, clip, leak : float
        A clip of infinity bounds nothing, a leak of 1 is none.
    first, last : int
    """
    seq_len, batch, size = states.shape[0] - 1, states.shape[1], states.shape[2]
    flat = states.reshape(-1)
    row = batch * size
    offset, back = (0, row) if reverse else (row, -row)  # from a step to its state, and on to the state before
    block = max(1, BLOCK // max(1, (last - first) * size))
    for done in range(0, seq_len, block):
        steps = min(block, seq_len - done)
        start = seq_len - done - steps if reverse else done
        if x.size == 0:
            pass
        elif last - first == batch:
            project(x, start * batch, steps * batch, weight_ih, bias, flat, offset, size)
        else:
            for t in range(start, start + steps):
                project(x, t * batch + first, last - first, weight_ih, bias, flat, offset, size)
        for step in range(done, done + steps):
            t = seq_len - 1 - step if reverse else step
            now = t * row + offset
            recur(flat, now + first * size, back, last - first, weight_hh, size, step % 2)
            if lengths.size == 0:
                at, count = now + first * size, (last - first) * size
                finish(flat, at, count, back, False, activation, alpha, beta, clip, leak)
            else:
                for b in range(first, last):
                    at, held = now + b * size, t >= lengths[b]
                    finish(flat, at, size, back, held, activation, alpha, beta, clip, leak)


@njit(**INLINED)  # type: ignore[untyped-decorator]
def project(x: Any, first: Any, rows: Any, panels: Any, bias: Any, flat: Any, offset: Any, size: Any) -> None:
    """Write W_ax x<t> + b_a, for rows of x from the first on, to where the states will be."""
    for p in range(panels.shape[0]):
        n = first
        while n < first + rows:
            few = group(first + rows - n)
            multiply(x, n * panels.shape[1], few, panels, p, 1, 0, size, bias, 0, 0, flat, offset + n * size)
            n += few


@njit(**INLINED)  # type: ignore[untyped-decorator]
def recur(flat: Any, now: Any, back: Any, rows: Any, panels: Any, size: Any, backward: Any) -> None:
    """Add W_aa a<t-1> to rows of W_ax x<t> + b_a, with the panels from last to first if `backward`.

    Which way changes from step to step: the panels that were used last are used first, being in the cache still.
    """
    count = panels.shape[0]
    at_once = count if rows <= GROUPS[0] else 1  # else a panel serves all rows while it is in the cache
    for turn in range(0, count, at_once):
        p = count - at_once - turn if backward else turn
        b = 0
        while b < rows:
            few = group(rows - b)
            at = now + b * size
            multiply(flat, at + back, few, panels, p, at_once, backward, size, flat, at, size, flat, at)
            b += few


@njit(**INLINED)  # type: ignore[untyped-decorator]
def group(left: Any) -> Any:
    """Return how many of the rows that are left to multiply together."""
    for rows in GROUPS:
        if rows <= left:
            return rows
    return 1


@njit(**INLINED)  # type: ignore[untyped-decorator]
def multiply(
    x: Any, at: Any, rows: Any, panels: Any, p: Any, at_once: Any, backward: Any, size: Any,
    begin: Any, begin_at: Any, step: Any, end: Any, end_at: Any,
) -> None:  # fmt: skip
    """Write the products of a group of rows with some panels, from last to first if `backward`, as sums."""
    pair = 2 if rows == 1 else 1
    for turn in range(0, at_once, pair):
        q = p + ((at_once - 1) // pair * pair - turn if backward else turn)
        if rows == 1 and q + 1 < p + at_once:
            multiply_1_by_2(x, at, panels, q, size, begin, begin_at, step, end, end_at, size)
        elif rows == 1:
            multiply_1(x, at, panels, q, size, begin, begin_at, step, end, end_at, size)
        elif rows == 2:
            multiply_2(x, at, panels, q, size, begin, begin_at, step, end, end_at, size)
        elif rows == 4:
            multiply_4(x, at, panels, q, size, begin, begin_at, step, end, end_at, size)
        elif rows == 8:
            multiply_8(x, at, panels, q, size, begin, begin_at, step, end, end_at, size)
        else:
            multiply_12(x, at, panels, q, size, begin, begin_at, step, end, end_at, size)


@njit(**INLINED)  # type: ignore[untyped-decorator]
def finish(
    flat: Any, at: Any, count: Any, back: Any, held: Any, activation: Any, alpha: Any, beta: Any, clip: Any, leak: Any
) -> None:
    """Turn z = W_aa a<t-1> + W_ax x<t> + b_a into a<t>, from an index on; a<t-1> lies `back` further."""
    before, now, size = np.uintp(at + back), np.uintp(at), np.uintp(count)
    if held:
        for i in range(size):
            flat[now + i] = flat[before + i]
        return
    if clip < np.inf:
        for i in range(size):
            bounded = -clip if flat[now + i] < -clip else flat[now + i]
            flat[now + i] = clip if bounded > clip else bounded
    activate(activation, alpha, beta, flat, now, size)
    if leak < 1:
        kept = type(leak)(1) - leak
        for i in range(size):
            flat[now + i] = kept * flat[before + i] + leak * flat[now + i]
