"""`Cell`: the equation of the vanilla (Elman) recurrent network, in operations of the array API standard (2022.12).

    a<t> = g1(W_aa a<t-1> + W_ax x<t> + b_a)

Nothing here depends on the values of an array, so all of it can be traced and differentiated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from rnn_backends.core.activations import Activation, applied, as_activation, clamp, finite_float
from rnn_backends.core.arrays import Array, ArrayArgument, array_namespace, is_integer
from rnn_backends.core.parameters import require_matrix, require_shape
from rnn_backends.errors import ArgumentError, ShapeError


@dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """The vanilla (Elman) recurrent cell: one layer of a network in one direction.

    Parameters
    ----------
    weight_ih : array, shape (hidden_size, input_size)
        W_ax, applied to the input x<t>.
    weight_hh : array, shape (hidden_size, hidden_size)
        W_aa, applied to the state a<t-1>.
    bias : array, shape (hidden_size,), optional
        b_a.  For weights with two biases (torch, ONNX, cuDNN) give their sum.
    activation : str, Activation or callable, default "tanh"
        g1.  A callable must be written in operations of the array API standard.
    clip : float, optional
        Bound on the argument of g1, bias included: g1(min(max(z, -clip), clip)), as in ONNX.
    leak : float, optional
        The leaky integrator (1 - leak) a<t-1> + leak g1(z), 0 < leak <= 1.

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
    leak: float | None = None

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(
            self,
            weight_ih: ArrayArgument,
            weight_hh: ArrayArgument,
            bias: ArrayArgument | None = None,
            activation: Activation | Callable[[Array], Array] | str = "tanh",
            clip: float | None = None,
            leak: float | None = None,
        ) -> None: ...

    def __repr__(self) -> str:
        parts = (
            f"{name}={getattr(self, name)!r}" for name in ("input_size", "hidden_size", "activation", "clip", "leak")
        )
        return f"Cell({', '.join(parts)})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", as_activation(self.activation))
        size, columns = require_matrix("weight_ih", self.weight_ih)
        if getattr(self.weight_hh, "shape", None) == (columns, columns) and size != columns:
            msg = f"`weight_ih` must have shape (hidden_size, input_size) = ({columns}, {size}); it is transposed."
            raise ShapeError(msg)
        require_shape("weight_hh", self.weight_hh, "(hidden_size, hidden_size)", (size, size))
        if self.bias is not None:
            require_shape("bias", self.bias, "(hidden_size,)", (size,))
        for name, highest in (("clip", float("inf")), ("leak", 1.0)):
            value = getattr(self, name)
            if value is None:
                continue
            number = finite_float(name, value)
            if not 0 < number <= highest:
                bound = "positive" if name == "clip" else "in 0 < leak <= 1"
                msg = f"`{name}` must be {bound}; got {number}."
                raise ArgumentError(msg)
            object.__setattr__(self, name, number)  # of a NumPy scalar, which would promote the arrays

    @property
    def input_size(self) -> int:
        """The number of features of x<t>, or of token ids."""
        return int(self.weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """The width of the state a<t>."""
        return int(self.weight_ih.shape[0])

    def input_product(self, x: Array) -> Array:
        """Return W_ax x<t> for rows of features (N, input_size), or for token ids (N,): a row of W_ax^T each."""
        if not is_integer(x):
            return x @ self.weight_ih.T
        xp = array_namespace(x)
        missing = xp.full_like(self.weight_ih[:, :1].T, nan)
        rows = xp.concat([self.weight_ih.T, missing])
        inside = (x >= 0) & (x < self.input_size)
        return xp.take(rows, xp.where(inside, x, xp.full_like(x, self.input_size)), axis=0)

    def recurrent_product(self, h: Array) -> Array:
        """Return W_aa a<t-1>, (..., hidden_size) -> (..., hidden_size)."""
        return h @ self.weight_hh.T

    def project(self, x: Array) -> Array:
        """Return W_ax x<t> + b_a, what needs no state: (N, input_size) or ids (N,) -> (N, hidden_size)."""
        product = self.input_product(x)
        return product if self.bias is None else product + self.bias

    def activate(self, z: Array) -> Array:
        """Return g1(z), of the shape of z."""
        return applied(self.activation, z)  # type: ignore[arg-type]  # a name became a callable

    def step(self, projected: Array, h: Array) -> Array:
        """Take one step of time by THE equation: (B, hidden_size), (B, hidden_size) -> (B, hidden_size)."""
        z = self.recurrent_product(h) + projected
        if self.clip is not None:
            z = clamp(z, -self.clip, self.clip)
        a = self.activate(z)
        return a if self.leak is None else (1.0 - self.leak) * h + self.leak * a
