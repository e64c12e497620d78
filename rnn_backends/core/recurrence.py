"""The walk of a cell, and from that of a layer, through time, where no backend brings a faster one."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeAlias

from rnn_backends.core.arrays import (
    Array,
    Host,
    array_namespace,
    cast,
    device,
    is_array,
    is_integer,
    where_valid,
    widen,
)
from rnn_backends.core.layers import Layer, RecurrentCell, outputs_of
from rnn_backends.core.masking import zero_padding
from rnn_backends.core.messages import shown
from rnn_backends.errors import ShapeError


class Recurrence(Protocol):
    """A walk of a layer through time: ``scan_layer`` of ``rnn_backends.core.recurrence``, or that of a backend.

    Where nothing is gained by walking both directions at once, `each_direction` makes one of a
    `rnn_backends.core.recurrence.CellRecurrence`.

    For arrays of NumPy it may have an attribute ``prepared``, which spares each call what a dtype and shape decide:
    ``prepared(layers, shape, dtype)`` returns a function ``run(x, h_0)`` of all layers, or None where it has none.  The
    input is of that dtype and shape, (seq_len, batch, input_size) or (seq_len, batch), and in any memory layout;
    ``seq_len`` and ``batch`` are at least 1.  `h_0` is None for zeros.  ``run`` returns the output of the last layer
    and the last states of all cells, in memory of their own.  These, as `h_0`, are one array (num_cells, batch,
    hidden_size), or where sizes differ a tuple of one (batch, hidden_size) for each cell.  Threads may share it.

    Parameters
    ----------
    layer : Layer
        ``layer.cells`` are pairs (cell, reverse), forward before backward; a cell walks from the last step to the
        first if `reverse` is true.  Its arrays are float32 or float64, in which the recurrence computes.  Where
        those of `h_0` are float16 or bfloat16, so were these, and they hold numbers of that dtype.
    x : array, shape (seq_len, batch, input_size) or, token ids, (seq_len, batch)
        The input: features of the dtype of `h_0`, or ids, which on NumPy are known to be in range.  Beyond a
        length it may hold anything, NaN and ids of -1 included.
    h_0 : sequence of array, shape (batch, hidden_size) each
        The state of each cell before its first step.  The states are rounded to this dtype after every step.
    lengths : integer array, shape (batch,), optional
        At steps t >= lengths[b] the state of sequence b is held.  On NumPy they are known to be in range;
        elsewhere one that is not makes its sequence NaN; see ``rnn_backends.core.masking.zero_padding``.

    Returns
    -------
    output : array, shape (seq_len, batch, width)
        What the cells give after each step, at that step's own place, forward before backward on the last axis: their
        states, or of a cell with a method ``output`` what that makes of them.  0 at steps t >= lengths[b].
    last : array, shape (num_directions, batch, hidden_size), or a sequence of array, shape (batch, hidden_size) each
        The state of each cell after the last step that it took.  Parts may be parts of the output, or of `h_0`; an
        array must be memory of its own.
        None instead of both declines, and ``scan_layer`` takes over.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import rnn_backends as rb
    >>> def decline(layer, x, h_0, lengths):
    ...     print(x.shape)
    >>> mine = replace(rb.get_backend("numpy"), name="mine", recurrence=decline)
    >>> with rb.register_backend(mine):
    ...     output, h_n = rb.RNN.init(3, 4).to("mine")([[1.0, 2.0, 3.0]])
    (1, 1, 3)
    """

    def __call__(
        self, layer: Layer, x: Array, h_0: Sequence[Array], lengths: Array | None
    ) -> tuple[Array, Sequence[Array]] | None:
        """Walk the cells of the layer through time."""


Run: TypeAlias = Callable[[Host, Any], tuple[Host, Any]]
"""A function of an input, time first and with a batch axis, and of initial states, None for its own."""


class CellRecurrence(Protocol):
    """A walk of one cell through time, of which `each_direction` makes a `Recurrence`.

    Parameters
    ----------
    cell : RecurrentCell
        The cell.
    x, lengths : array
        As of a `Recurrence`.
    h_0 : array, shape (batch, hidden_size)
        The state before the first step.
    reverse : bool
        Whether to walk from the last step to the first.

    Returns
    -------
    output : array, shape (seq_len, batch, hidden_size)
        What the cell gives after each step, at that step's own place: its state, or ``cell.output`` of it where the
        cell has such a method.  0 at steps t >= lengths[b].
    last : array, shape (batch, hidden_size)
        The state after the last step that was taken; it may be a part of the output, or `h_0`.  None instead of
        both declines, and ``rnn_backends.core.recurrence.scan`` takes over.
    """

    def __call__(
        self, cell: RecurrentCell, x: Array, h_0: Array, lengths: Array | None, reverse: bool
    ) -> tuple[Array, Array] | None:
        """Walk the cell through time."""


def scan(cell: RecurrentCell, x: Array, h_0: Array, lengths: Array | None, reverse: bool) -> tuple[Array, Array]:
    """Walk a cell through time, one step after another: the `CellRecurrence` that defines what is right."""
    x, h, valid = zero_padding(x, h_0, lengths)
    xp, seq_len = array_namespace(x), x.shape[0]
    if seq_len == 0:
        return xp.zeros((0, *h.shape), dtype=h.dtype, device=device(h)), h
    projected, states = project(cell, x), [h] * seq_len
    for t in reversed(range(seq_len)) if reverse else range(seq_len):
        new = cell.step(projected[t, ...], widen(h))
        if getattr(new, "shape", None) != h.shape:
            _refuse_result("step", new, shown(tuple(h.shape)))
        new = cast(new, h.dtype)
        h = new if valid is None else cast(xp.where(valid[t, ...], new, h), h.dtype)
        states[t] = h
    return where_valid(outputs_of(cell, xp.stack(states)), valid), h


def project(cell: RecurrentCell, x: Array) -> Array:
    """Project a whole sequence as rows of one matrix: (seq_len, batch, ...) -> (seq_len, batch, K)."""
    xp = array_namespace(x)
    seq_len, batch, *features = x.shape
    rows = xp.reshape(x, (seq_len * batch, *features))
    projected = cell.project(rows if is_integer(x) else widen(rows))
    if getattr(projected, "ndim", None) != 2 or projected.shape[0] != seq_len * batch:
        _refuse_result("project", projected, f"({seq_len * batch}, K)")
    return xp.reshape(projected, (seq_len, batch, projected.shape[-1]))


def _refuse_result(method: str, result: Any, wanted: str) -> NoReturn:
    """Refuse what a method of a cell, which may be the user's own, returned."""
    other = f"one of shape {shown(tuple(result.shape))}" if is_array(result) else f"a {type(result).__name__}"
    msg = f"{method} of the cell must return an array of shape {wanted}; got {other}."
    raise ShapeError(msg)


def last_states(last: Any) -> Sequence[Array]:
    """Return the state of each cell, all of which may be one array."""
    return [last[k, ...] for k in range(last.shape[0])] if is_array(last) else last


def each_direction(walk: CellRecurrence) -> Callable[..., tuple[Array, Sequence[Array]]]:
    """Make a recurrence of layers of one of cells, which walks one direction after the other.

    Parameters
    ----------
    walk : callable
        ``walk(cell, x, h_0, lengths, reverse)`` walks a cell through time, or returns None and leaves the cell to the
        default walk; see `rnn_backends.core.recurrence.CellRecurrence`.

    Returns
    -------
    callable
        A `Recurrence`, which declines no layer.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> def walk(cell, x, h_0, lengths, reverse):
    ...     return None
    >>> recurrence = rb.each_direction(walk)
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
"""The `Recurrence` of every backend that brings none, and of the layers that another declines."""
