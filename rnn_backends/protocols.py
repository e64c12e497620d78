"""What can be put in the place of this package's own: a cell by its users, a recurrence by a backend."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rnn_backends.arrays import Array

if TYPE_CHECKING:
    from rnn_backends.parameters import Layer


class RecurrentCell(Protocol):
    """What a layer runs: any object with these two methods can stand in for a `Cell`.

    Write them in operations of the array API standard and the cell runs on every backend.  Make it a
    dataclass and its arrays move with the model.  A cell whose state is wider or narrower than what
    `project` returns states its width as an attribute ``hidden_size``.
    """

    def project(self, x: Array) -> Array:
        """Do what needs no state, for all steps at once: rows (N, input_size) or ids (N,) -> (N, K)."""

    def step(self, projected: Array, h: Array) -> Array:
        """Take one step of time: (B, K) and the state (B, hidden_size) -> the state (B, hidden_size)."""


class Recurrence(Protocol):
    """How a layer is walked through time: `scan_layer`, or what a backend puts in its place.

    Where nothing is gained by walking both directions at once, `each_direction` makes one of a `CellRecurrence`.
    Both functions are in `rnn_backends.scan`.

    Parameters
    ----------
    layer : Layer
        ``layer.cells`` are pairs (cell, reverse), forward before backward; a cell walks from the last step to the
        first if `reverse` is true.  Its arrays are float32 or float64, in which the recurrence computes.
    x : array, shape (seq_len, batch, input_size) or, token ids, (seq_len, batch)
        The input: features of the dtype of `h_0`, or ids, which on NumPy are known to be in range.  Beyond a
        length it may hold anything, NaN and ids of -1 included.
    h_0 : sequence of array, shape (batch, hidden_size) each
        The state of each cell before its first step.  The states are rounded to this dtype after every step.
    lengths : integer array, shape (batch,), optional
        At steps t >= lengths[b] the state of sequence b is held.  On NumPy they are known to be in range;
        elsewhere one that is not makes its sequence NaN; see `rnn_backends.steps.guarded`.

    Returns
    -------
    output : array, shape (seq_len, batch, num_directions * hidden_size)
        The states after each step, at that step's own place, forward before backward on the last axis; 0 at
        steps t >= lengths[b].
    last : array, shape (num_directions, batch, hidden_size), or a sequence of its parts
        The state of each cell after the last step that it took.  Parts may be parts of the output, or of `h_0`; an
        array must be memory of its own.
        None instead of both declines, and `scan_layer` takes over.
    """

    def __call__(
        self, layer: "Layer", x: Array, h_0: Sequence[Array], lengths: Array | None
    ) -> tuple[Array, Sequence[Array]] | None:
        """Walk the cells of the layer through time."""


class CellRecurrence(Protocol):
    """How one cell is walked through time, of which `rnn_backends.scan.each_direction` makes a `Recurrence`.

    Parameters
    ----------
    cell : RecurrentCell
    x, lengths : array
        As of a `Recurrence`.
    h_0 : array, shape (batch, hidden_size)
        The state before the first step.
    reverse : bool
        Whether to walk from the last step to the first.

    Returns
    -------
    states : array, shape (seq_len, batch, hidden_size)
        The state after each step, at that step's own place; 0 at steps t >= lengths[b].
    last : array, shape (batch, hidden_size)
        The state after the last step that was taken; it may be a part of the states, or `h_0`.  None instead of
        both declines, and `rnn_backends.scan.scan` takes over.
    """

    def __call__(
        self, cell: RecurrentCell, x: Array, h_0: Array, lengths: Array | None, reverse: bool
    ) -> tuple[Array, Array] | None:
        """Walk the cell through time."""
