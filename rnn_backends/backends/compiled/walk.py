"""The walk of a cell through time, one compiled function for each float type.

A few rows of the state are multiplied with a panel of W_aa at a time; while their sums are in the cache,
they become the new state: bounded, activated, leaked, held.  Nothing is allocated on the way.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from rnn_backends.backends.compiled.activate import activate
from rnn_backends.backends.compiled.functions import COMPILED
from rnn_backends.backends.compiled.product import GROUPS, product

multiply_1, multiply_2, multiply_4, multiply_8, multiply_12 = (product(rows) for rows in (1, 2, 4, 8, 12))
multiply_1_by_2 = product(1, at_once=2)


@cache
def kernel(dtype: str) -> Any:
    """Return `walk` for a float type, compiled now or, by an earlier process, on disk."""
    of = types.float32 if dtype == "float32" else types.float64
    arrays = (
        types.Array(of, 3, "C"),
        types.Array(of, 3, "C", readonly=True),
        types.Array(of, 2, "C", readonly=True),
        types.Array(types.int64, 1, "C", readonly=True),
    )
    signature = types.void(*arrays, *[types.int64] * 3, types.boolean, types.int64, *[of] * 4)
    try:
        return njit(signature, cache=True, nogil=True, **COMPILED)(walk)
    except RuntimeError:  # there is no folder that can be written to
        return njit(signature, nogil=True, **COMPILED)(walk)


def walk(
    states: Any, panels: Any, h_0: Any, lengths: Any, start: Any, first: Any, last: Any, reverse: Any,
    activation: Any, alpha: Any, beta: Any, clip: Any, leak: Any,
) -> None:  # fmt: skip
    """Turn W_ax x<t> + b_a into a<t>, in place, for the sequences first .. last - 1.

    Parameters
    ----------
    states : array, shape (seq_len, batch, hidden_size)
    panels : array
        W_aa, from `rnn_backends.backends.compiled.product.panels`.
    h_0 : array, shape (batch, hidden_size)
    lengths : int64 array, shape (batch,) or (0,)
        None of them: all steps are valid.
    start : int
        The step that ``states[0]`` is of the whole sequence.
    first, last : int
    reverse : bool
    activation : int
        The number of g1.
    alpha, beta, clip, leak : float
        A clip of infinity bounds nothing, a leak of 1 is none.
    """
    seq_len, _, size = states.shape
    count, _, width = panels.shape
    at_once = count if last - first <= GROUPS[0] else 1  # else a panel serves all rows while it is in the cache
    sums = np.empty((GROUPS[0], at_once * width), states.dtype)
    z = sums.reshape(-1)
    before = -1
    for step in range(seq_len):
        t = seq_len - 1 - step if reverse else step
        backward = step % 2  # what was used last is used first, for it is still in the cache
        for turn in range(0, count, at_once):
            p = count - at_once - turn if backward else turn
            b = first
            while b < last:
                rows = group(last - b)
                multiply(states, h_0, before, t, b, rows, panels, p, at_once, backward, sums)
                finish(z, rows * at_once * width, activation, alpha, beta, clip)
                for r in range(b, b + rows):
                    held = lengths.size > 0 and start + t >= lengths[r]
                    column = p * width
                    end = min(column + at_once * width, size)
                    if held or leak < 1:
                        for j in range(column, end):
                            h = h_0[r, j] if before < 0 else states[before, r, j]
                            states[t, r, j] = h if held else (1 - leak) * h + leak * sums[r - b, j - column]
                    else:
                        for j in range(column, end):
                            states[t, r, j] = sums[r - b, j - column]
                b += rows
        before = t


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def group(left: Any) -> Any:
    """Return how many of the rows that are left to multiply together."""
    for rows in GROUPS:
        if rows <= left:
            return rows
    return 1


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def multiply(
    states: Any, h_0: Any, before: Any, t: Any, b: Any, rows: Any, panels: Any, p: Any, at_once: Any, backward: Any,
    sums: Any,
) -> None:  # fmt: skip
    """Write the sums W_aa a<t-1> + W_ax x<t> + b_a of a group of rows for some panels."""
    width = panels.shape[2]
    pair = 2 if rows == 1 else 1
    for turn in range(0, at_once, pair):
        q = (at_once - 1) // pair * pair - turn if backward else turn
        if rows == 1 and q + 1 < at_once:
            multiply_1_by_2(states, h_0, before, t, b, panels, p + q, sums, q * width)
        elif rows == 1:
            multiply_1(states, h_0, before, t, b, panels, p + q, sums, q * width)
        elif rows == 2:
            multiply_2(states, h_0, before, t, b, panels, p + q, sums, q * width)
        elif rows == 4:
            multiply_4(states, h_0, before, t, b, panels, p + q, sums, q * width)
        elif rows == 8:
            multiply_8(states, h_0, before, t, b, panels, p + q, sums, q * width)
        else:
            multiply_12(states, h_0, before, t, b, panels, p + q, sums, q * width)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def finish(z: Any, size: Any, activation: Any, alpha: Any, beta: Any, clip: Any) -> None:
    """Put g1(min(max(z, -clip), clip)) in the place of z."""
    if clip < np.inf:
        for i in range(size):
            bounded = -clip if z[i] < -clip else z[i]
            z[i] = clip if bounded > clip else bounded
    activate(activation, alpha, beta, z, size)
