"""What walks a cell, and from that a layer, through time where no backend brings anything faster."""

from collections.abc import Callable, Sequence
from typing import Any

from rnn_backends.arrays import Array, array_namespace, cast, device, is_array, is_integer, where_valid, widen
from rnn_backends.errors import ShapeError
from rnn_backends.parameters import Layer
from rnn_backends.protocols import CellRecurrence, RecurrentCell
from rnn_backends.steps import guarded


def scan(cell: RecurrentCell, x: Array, h_0: Array, lengths: Array | None, reverse: bool) -> tuple[Array, Array]:
    """Walk a cell through time, one step after another: the `CellRecurrence` that defines what is right."""
    x, h, valid = guarded(x, h_0, lengths)
    xp, seq_len = array_namespace(x), x.shape[0]
    if seq_len == 0:
        return xp.zeros((0, *h.shape), dtype=h.dtype, device=device(h)), h
    projected, states = project(cell, x), [h] * seq_len
    for t in reversed(range(seq_len)) if reverse else range(seq_len):
        new = cast(cell.step(projected[t, ...], widen(h)), h.dtype)
        if new.shape != h.shape:
            msg = f"step of the cell must return the state's shape, {tuple(h.shape)}; got {tuple(new.shape)}."
            raise ShapeError(msg)
        h = new if valid is None else cast(xp.where(valid[t, ...], new, h), h.dtype)
        states[t] = h
    return where_valid(xp.stack(states), valid), h


def project(cell: RecurrentCell, x: Array) -> Array:
    """Project a whole sequence as rows of one matrix: (seq_len, batch, ...) -> (seq_len, batch, K)."""
    xp = array_namespace(x)
    seq_len, batch, *features = x.shape
    rows = xp.reshape(x, (seq_len * batch, *features))
    projected = cell.project(rows if is_integer(x) else widen(rows))
    return xp.reshape(projected, (seq_len, batch, projected.shape[-1]))


def parts(last: Any) -> Sequence[Array]:
    """Return the last state of each cell, of which a `Recurrence` may have made one array."""
    return [last[k, ...] for k in range(last.shape[0])] if is_array(last) else last


def each_direction(walk: CellRecurrence) -> Callable[..., tuple[Array, Sequence[Array]]]:
    """Make a `Recurrence`, which declines no layer, of what walks a cell: one direction after another.

    A cell that `walk` declines is left to `scan`.
    """

    def recurrence(
        layer: Layer, x: Array, h_0: Sequence[Array], lengths: Array | None
    ) -> tuple[Array, Sequence[Array]]:
        # Written out, for a loop over one cell would take 0.5 us at each step of a stream.
        cell, reverse = layer.cells[0]
        states, last = walk(cell, x, h_0[0], lengths, reverse) or scan(cell, x, h_0[0], lengths, reverse)
        if len(layer.cells) == 1:
            return states, (last,)
        cell, reverse = layer.cells[1]
        others, end = walk(cell, x, h_0[1], lengths, reverse) or scan(cell, x, h_0[1], lengths, reverse)
        return array_namespace(states).concat([states, others], axis=-1), (last, end)

    return recurrence


scan_layer = each_direction(scan)
"""The `Recurrence` of every backend that brings none, and for what another declines."""
