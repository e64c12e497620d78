"""`Cell`: the equation of the vanilla (Elman) recurrent network, in operations of the array API standard (2022.12).

    a<t> = g1(W_aa a<t-1> + W_ax x<t> + b_a)

Nothing here depends on the values of an array, so all of it can be traced and differentiated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_backends.core.activations import Activation, applied, as_activation, clamp, finite_float
from rnn_backends.core.arrays import Array, ArrayArgument, is_array, is_integer, rows_of_ids
from rnn_backends.core.parameters import require_floating, require_matrix, require_shape, require_sizes
from rnn_backends.core.sparse import Sparse, as_sparse, is_sparse
from rnn_backends.errors import ArgumentError, ShapeError


@dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """The vanilla (Elman) recurrent cell: one layer of a network in one direction.

    Parameters
    ----------
    weight_ih : array, shape (hidden_size, input_size)
        W_ax, applied to the input x<t>.
    weight_hh : array or sparse matrix of scipy or cupyx, shape (hidden_size, hidden_size)
        W_aa, applied to the state a<t-1>.  A sparse one is held as a ``rnn_backends.core.sparse.Sparse``, and never
        made dense.
    bias : array, shape (hidden_size,), optional
        b_a.  For weights with two biases (torch, ONNX, cuDNN) give their sum.
    activation : str, Activation or callable, default "tanh"
        g1.  A callable must be written in operations of the array API standard.
    clip : float, optional
        Bound on the argument of g1, bias included: g1(min(max(z, -clip), clip)), as in ONNX.
    leak : float or array, shape (hidden_size,), optional
        The leaky integrator (1 - leak) a<t-1> + leak g1(z), 0 < leak <= 1: one number, or one for each unit.

    Raises
    ------
    ShapeError, DTypeError
        An array has another shape, or is not floating point.
    ArgumentError
        The activation is unknown, or `clip` or `leak` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> cell = rb.Cell(np.array([[0.5]]), np.array([[-0.25]]), np.array([0.1]))
    >>> cell.input_size, cell.hidden_size
    (1, 1)
    >>> h = cell.step(cell.project(np.array([[1.0]])), np.array([[0.4]]))
    >>> h.round(4)  # tanh(0.5 * 1 - 0.25 * 0.4 + 0.1)
    array([[0.4621]])
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None = None
    activation: Activation | Callable[[Array], Array] | str = "tanh"
    clip: float | None = None
    leak: float | Array | None = None

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(
            self,
            weight_ih: ArrayArgument,
            weight_hh: ArrayArgument,
            bias: ArrayArgument | None = None,
            activation: Activation | Callable[[Array], Array] | str = "tanh",
            clip: float | None = None,
            leak: float | ArrayArgument | None = None,
        ) -> None: ...

    def __repr__(self) -> str:
        names = ("input_size", "hidden_size", "activation", "clip", "leak")
        held = {name: getattr(self, name) for name in names}
        if is_array(self.leak):
            held["leak"] = "one a unit"
        return f"Cell({', '.join(f'{name}={value!r}' for name, value in held.items())})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", as_activation(self.activation))
        size, columns = require_matrix("weight_ih", self.weight_ih)
        if is_sparse(self.weight_hh):
            object.__setattr__(self, "weight_hh", as_sparse("weight_hh", self.weight_hh))
        if getattr(self.weight_hh, "shape", None) == (columns, columns) and size != columns:
            msg = f"`weight_ih` must have shape (hidden_size, input_size) = ({columns}, {size}); it is transposed."
            raise ShapeError(msg)
        if isinstance(self.weight_hh, Sparse):
            require_sizes("weight_hh", self.weight_hh.shape, "(hidden_size, hidden_size)", (size, size))
        else:
            require_shape("weight_hh", self.weight_hh, "(hidden_size, hidden_size)", (size, size))
        if self.bias is not None:
            require_shape("bias", self.bias, "(hidden_size,)", (size,))
        if self.clip is not None:
            object.__setattr__(self, "clip", _number("clip", self.clip))
        if self.leak is not None:
            object.__setattr__(self, "leak", _leak(self.leak, size))

    @property
    def input_size(self) -> int:
        """The number of features of x<t>, or of token ids."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """The width of the state a<t>."""
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
        """Return W_aa a<t-1>.

        Parameters
        ----------
        h : array, shape (..., hidden_size)
            The states a<t-1>.

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
            The argument of g1, clipped where the cell clips it.

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

    def step(self, projected: Array, h: Array) -> Array:
        """Take one step of time by THE equation: g1(W_aa a<t-1> + W_ax x<t> + b_a).

        Parameters
        ----------
        projected : array, shape (batch, hidden_size)
            The result of `project` for this step.
        h : array, shape (batch, hidden_size)
            The state a<t-1>.

        Returns
        -------
        array, shape (batch, hidden_size)
            The state a<t>, with clip and leak where the cell has them.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> cell = rb.Cell(np.ones((1, 1)), np.ones((1, 1)), activation="relu", leak=0.5)
        >>> cell.step(np.array([[3.0]]), np.array([[1.0]]))  # 0.5 * 1 + 0.5 * (1 + 3)
        array([[2.5]])
        """
        z = self.recurrent_product(h) + projected
        if self.clip is not None:
            z = clamp(z, -self.clip, self.clip)
        a = self.activate(z)
        return a if self.leak is None else (1.0 - self.leak) * h + self.leak * a


def _number(name: str, value: object, highest: float = inf) -> float:
    """Return an option as a number of Python's: a scalar of NumPy would promote the arrays."""
    number = finite_float(name, value)
    if not 0 < number <= highest:
        bound = "positive" if highest == inf else f"in 0 < {name} <= {highest:g}"
        msg = f"`{name}` must be {bound}; got {number}."
        raise ArgumentError(msg)
    return number


def _leak(value: Any, hidden_size: int) -> float | Array:
    """Return a leak as a number, or as an array of one for each unit, whose values are looked at on NumPy alone."""
    if isinstance(value, (list, tuple)):
        require_floating("leak", value)
    if not is_array(value) or len(value.shape) == 0:
        return _number("leak", value, 1)
    require_shape("leak", value, "(hidden_size,)", (hidden_size,))
    if isinstance(value, np.ndarray) and not ((value > 0) & (value <= 1)).all():
        msg = f"every `leak` must be in 0 < leak <= 1; got {value[~((value > 0) & (value <= 1))][0]}."
        raise ArgumentError(msg)
    return value
