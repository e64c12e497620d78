"""Readings of each sequence as a whole: its last step, its final states, or the mean or the maximum of its steps.

A sequence may come in chunks of time, in the order in which a cell walks them; no more of a chunk is kept than what is
read of it.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from rnn_backends.core.arrays import Array, array_namespace, cast, device, quiet, where_valid, widen
from rnn_backends.core.layers import Layer, RecurrentCell, has_output, outputs_of
from rnn_backends.core.masking import nan_if_impossible, rows, steps_taken


def read_whole(
    layer: Layer, reads: str, states: Array, last: Sequence[Array], lengths: Array | None, mask: Array | None
) -> Array:
    """Return what is read of the states of a layer at all steps, (seq_len, batch, width): (batch, width)."""
    readings = readings_of(layer, reads)
    add_states(readings, states, last, steps_taken(lengths, mask, states.shape[0]))
    return joined(layer, readings, last, lengths, states.shape[0])


def readings_of(layer: Layer, reads: str) -> list["Reading"]:
    """Return a reading for each cell of a layer."""
    return [Reading(reads, reverse, has_output=has_output(cell)) for cell, reverse in layer.cells]


def joined(
    layer: Layer, readings: Sequence["Reading"], last: Sequence[Array], lengths: Array | None, seq_len: int
) -> Array:
    """Return what is read of all cells of a layer, side by side; NaN where a length is impossible."""
    of_cells = zip(readings, layer.cells, last, strict=True)
    parts = [reading.result(cell, state) for reading, (cell, _), state in of_cells]
    read = parts[0] if len(parts) == 1 else array_namespace(parts[0]).concat(parts, axis=-1)
    return read if lengths is None else nan_if_impossible(read, lengths, seq_len)


def add_states(readings: Sequence["Reading"], states: Array, last: Sequence[Array], valid: Array | None) -> None:
    """Give the states of some steps to the readings of their cells, side by side as wide as their last states."""
    begin = 0
    for reading, state in zip(readings, last, strict=True):
        end = begin + state.shape[-1]
        reading.add(states[..., begin:end], valid)
        begin = end


class Reading:
    """What is read of what one cell gives; it holds no array but that, and so may go from process to process.

    A sequence without a step reads its state; 0 of mean and max, and of a cell whose output is not its state.

    Parameters
    ----------
    reads : {"last", "final", "mean", "max"}
    reverse : bool
        Whether the cell walks from the last step to the first, and the chunks come in this order.
    has_output : bool
        Whether what the cell gives is not its state.
    """

    def __init__(self, reads: str, reverse: bool, *, has_output: bool) -> None:
        # Functions and no bound methods, so that a copy adds to itself; None where the last state is what is read.
        self._add: Callable[[Reading, Array, Array | None, Any], None] | None = None
        if reads in {"mean", "max"}:
            self._add = Reading._add_to_sum if reads == "mean" else Reading._add_to_largest
        elif reads == "last" and reverse:
            self._add = Reading._add_last
        elif has_output:
            self._add = Reading._add_none
        self._reads, self._is_state = reads, not has_output
        self._value: Any = None
        self._count: Any = 0.0

    def add(self, states: Array, valid: Array | None) -> None:
        """Take a chunk of outputs, (seq_len, batch, hidden_size), and which steps are taken, (seq_len, batch)."""
        if self._add is None or states.shape[0] == 0:
            return
        xp = array_namespace(states)
        count: Any = float(states.shape[0])
        if valid is not None:
            dtype = widen(states[:0, ...]).dtype
            count = xp.sum(xp.astype(valid, dtype), axis=0)[:, None]
        with quiet():
            self._add(self, states, None if valid is None else valid[..., None], count)
        self._count = self._count + count

    def result(self, cell: RecurrentCell, state: Array) -> Array:
        """Return what is read, (batch, hidden_size), of sequences whose cell has this state in the end."""
        if self._add is None:
            return state
        value, is_state = self._value, self._reads in {"last", "final"} and self._is_state
        none = state if is_state else array_namespace(state).zeros_like(state)
        if self._add is Reading._add_none:
            value = None if isinstance(self._count, float) and not self._count else outputs_of(cell, state)
        if value is None:
            return none
        if self._reads == "mean":
            count = self._count
            value = value / (count if isinstance(count, float) else where_valid(count, count > 0, 1))
        value = cast(value, state.dtype)
        if isinstance(self._count, float):
            return value
        return cast(array_namespace(state).where(self._count > 0, value, none), state.dtype)

    def move(self, moved: Callable[[Array], Array]) -> None:
        """Move what is read to where a function moves arrays; what is added from then on is there, too."""
        self._value = None if self._value is None else moved(self._value)
        self._count = self._count if isinstance(self._count, float) else moved(self._count)

    def _add_none(self, states: Array, valid: Array | None, _: Any) -> None:
        """Add nothing: what is read is made of the last state, and the steps are counted alone."""

    def _add_to_sum(self, states: Array, valid: Array | None, _: Any) -> None:
        total = array_namespace(states).sum(where_valid(widen(states), valid), axis=0)
        self._value = total if self._value is None else self._value + total

    def _add_to_largest(self, states: Array, valid: Array | None, _: Any) -> None:
        xp = array_namespace(states)
        largest = xp.max(where_valid(states, valid, -inf), axis=0)
        self._value = largest if self._value is None else xp.max(xp.stack([self._value, largest]), axis=0)

    def _add_last(self, states: Array, valid: Array | None, count: Any) -> None:
        if valid is None:
            self._value = states[-1, ...] if self._value is None else self._value
            return
        xp, seq_len = array_namespace(states), states.shape[0]
        steps = xp.arange(seq_len, dtype=xp.int32, device=device(states))[:, None]
        at = xp.max(where_valid(xp.broadcast_to(steps, valid.shape[:2]), valid[..., 0], -1), axis=0)
        found = rows(states, where_valid(at, at >= 0)[None, :])[0, ...]
        if self._value is not None:
            found = cast(xp.where(self._count > 0, self._value, found), states.dtype)
        self._value = found
