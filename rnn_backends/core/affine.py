"""`AffineCell`: the parts of a cell that are linear in its input and in its state, and the checks of its parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation, applied, as_activation
from rnn_backends.core.arrays import Array, is_array, is_integer, rows_of_ids
from rnn_backends.core.numbers import positive_number
from rnn_backends.core.parameters import require_floating, require_matrix, require_shape, require_sizes
from rnn_backends.core.sparse import Sparse, as_sparse, is_sparse, require_known_layout
from rnn_backends.errors import ArgumentError, ShapeError


@dataclass(frozen=True, eq=False, repr=False)
class AffineCell:
    """The base of `rnn_backends.Cell` and `rnn_backends.RateCell`, which say what is made of W_aa a + W_ax x + b_a.

    Parameters
    ----------
    weight_ih : array, shape (hidden_size, input_size)
        W_ax, applied to the input x<t>.
    weight_hh : array or sparse matrix of scipy or cupyx, shape (hidden_size, hidden_size)
        W_aa.
    bias : array, shape (hidden_size,), optional
        b_a.
    activation : str, Activation or callable, default "tanh"
        g1.
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None = None
    activation: Activation | Callable[[Array], Array] | str = "tanh"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", as_activation(self.activation))
        size, columns = require_matrix("weight_ih", self.weight_ih)
        if is_sparse(self.weight_hh):
            object.__setattr__(self, "weight_hh", as_sparse("weight_hh", self.weight_hh))
        else:
            require_known_layout("weight_hh", self.weight_hh)
        if getattr(self.weight_hh, "shape", None) == (columns, columns) and size != columns:
            msg = f"`weight_ih` must have shape (hidden_size, input_size) = ({columns}, {size}); it is transposed."
            raise ShapeError(msg)
        if isinstance(self.weight_hh, Sparse):
            require_sizes("weight_hh", self.weight_hh.shape, "(hidden_size, hidden_size)", (size, size))
        else:
            require_shape("weight_hh", self.weight_hh, "(hidden_size, hidden_size)", (size, size))
        if self.bias is not None:
            require_shape("bias", self.bias, "(hidden_size,)", (size,))

    @property
    def input_size(self) -> int:
        """The number of features of x<t>, or of token ids."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """The width of the state."""
        return int(self.weight_ih.shape[0])

    def input_product(self, x: Array) -> Array:
        """Return W_ax x<t>.

        Parameters
        ----------
        x : array, shape (N, input_size), or token ids, shape (N,)
            Rows of features; an id takes its column of W_ax.

        Returns
        -------
        array, shape (N, hidden_size)
        """
        return rows_of_ids(self.weight_ih.T, x) if is_integer(x) else x @ self.weight_ih.T

    def recurrent_product(self, h: Array) -> Array:
        """Return W_aa a<t-1>, or of rates W_aa g1(x<t-1>).

        Parameters
        ----------
        h : array, shape (..., hidden_size)
            The states a<t-1>, or the rates g1(x<t-1>).

        Returns
        -------
        array, shape (..., hidden_size)
        """
        return self.weight_hh.product(h) if isinstance(self.weight_hh, Sparse) else h @ self.weight_hh.T

    def project(self, x: Array) -> Array:
        """Return W_ax x<t> + b_a, what needs no state.

        Parameters
        ----------
        x : array, shape (N, input_size), or token ids, shape (N,)
            The input of all steps and sequences.

        Returns
        -------
        array, shape (N, hidden_size)
        """
        product = self.input_product(x)
        return product if self.bias is None else product + self.bias

    def activate(self, z: Array) -> Array:
        """Return g1(z).

        Parameters
        ----------
        z : array
            The argument of g1, clipped where a `Cell` clips it.

        Returns
        -------
        array
            Of the shape of `z`.

        Raises
        ------
        ShapeError
            A function of one's own returned something else.
        """
        return applied(self.activation, z)  # type: ignore[arg-type]  # a name became a callable


def as_leak(value: Any, hidden_size: int) -> float | Array:
    """Return a leak as a number, or as an array of one for each unit, whose values are looked at on NumPy alone."""
    if isinstance(value, (list, tuple)):
        require_floating("leak", value)
    if not is_array(value) or len(value.shape) == 0:
        return positive_number("leak", value, 1)
    require_shape("leak", value, "(hidden_size,)", (hidden_size,))
    if isinstance(value, np.ndarray) and not ((value > 0) & (value <= 1)).all():
        msg = f"every `leak` must be in 0 < leak <= 1; got {value[~((value > 0) & (value <= 1))][0]}."
        raise ArgumentError(msg)
    return value
