"""`dale_signs`: whether each unit of a cell excites all others or inhibits all others."""

from typing import Any

import numpy as np

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.affine import AffineCell
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import map_arrays
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import ArgumentError, DTypeError


def dale_signs(cell: AffineCell) -> Host:
    """Return the sign of the recurrent weights that go out of each unit; refuse a cell that breaks Dale's law.

    By Dale's law a neuron excites all that it acts on, or inhibits all of it: no column of W_aa has weights of both
    signs.  Weights of another device are copied to the host.

    Parameters
    ----------
    cell : Cell or RateCell
        ``rnn.layers[0].forward`` of a model; its ``weight_hh`` may be sparse.

    Returns
    -------
    numpy.ndarray of int8, shape (hidden_size,)
        1 for a unit that excites, -1 for one that inhibits, 0 for one without outgoing weights.

    Raises
    ------
    ArgumentError
        A unit has weights of both signs, or weights that are no numbers; the first such unit is named.
    DTypeError
        `cell` is of another class.

    Notes
    -----
    The law is of rates: with an activation that is negative somewhere, such as tanh, the sign of a weight is not that
    of its effect.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> weight_hh = np.array([[0.5, -1.0, 0.0], [0.25, -0.5, 0.0], [0.0, -2.0, 0.0]])
    >>> rb.dale_signs(rb.RateCell(np.ones((3, 1)), weight_hh, activation="relu", leak=0.1))
    array([ 1, -1,  0], dtype=int8)
    """
    if not isinstance(cell, AffineCell):
        msg = f"`cell` must be a Cell or a RateCell, such as rnn.layers[0].forward of a model; got {got(cell)}."
        raise DTypeError(msg)
    rows, columns, values = _weights(cell.weight_hh)
    size, is_wrong = cell.hidden_size, ~np.isfinite(values)
    excites, inhibits, unknown = (
        np.bincount(columns[chosen], minlength=size) > 0 for chosen in (values > 0, values < 0, is_wrong)
    )
    both = np.flatnonzero((excites & inhibits) | unknown)
    if both.size:
        raise ArgumentError(_refusal(int(both[0]), rows, columns, values))
    return excites.astype(np.int8) - inhibits.astype(np.int8)


def _weights(weight: Any) -> tuple[Host, Host, Host]:
    """Return rows, columns and values of a matrix, of a sparse one those of its entries."""
    if isinstance(weight, Sparse):
        from rnn_backends.model.coordinates import coordinates  # most programs ask for no signs

        return coordinates(map_arrays(to_numpy, weight))
    host = to_numpy(weight)
    rows, columns = np.indices(host.shape)
    return rows.ravel(), columns.ravel(), host.ravel()


def _refusal(unit: int, rows: Host, columns: Host, values: Host) -> str:
    """Return what is wrong with a unit, by the first of its weights that show it."""
    own = columns == unit
    held, to = values[own], rows[own]
    if not np.isfinite(held).all():
        place = int(np.flatnonzero(~np.isfinite(held))[0])
        return f"`weight_hh` must hold finite numbers; that of unit {unit} to unit {to[place]} is {shown(held[place])}."
    up, down = (int(np.flatnonzero(chosen)[0]) for chosen in (held > 0, held < 0))
    return (
        f"unit {unit} breaks Dale's law: its weight to unit {to[up]} is {held[up]:.4g} and that to unit {to[down]} "
        f"{held[down]:.4g}. Train with signs that stay, or take this model without the law."
    )
