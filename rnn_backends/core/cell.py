"""`Cell`: the equation of the vanilla (Elman) recurrent network, in operations of the array API standard (2022.12).

    a<t> = g1(W_aa a<t-1> + W_ax x<t> + b_a)

Nothing here depends on the values of an array, so all of it can be traced and differentiated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnn_backends.core.activations import Activation, clamp
from rnn_backends.core.affine import AffineCell, as_leak
from rnn_backends.core.arrays import Array, ArrayArgument, is_array
from rnn_backends.core.numbers import positive_number
from rnn_backends.core.sparse import Sparse


@dataclass(frozen=True, eq=False, repr=False)
class Cell(AffineCell):
    """The vanilla (Elman) recurrent cell: one layer of a network in one direction.

    Parameters
    ----------
    weight_ih : array, shape (hidden_size, input_size)
        W_ax, applied to the input x<t>.
    weight_hh : array or sparse matrix of scipy or cupyx, shape (hidden_size, hidden_size)
        W_aa, applied to the state a<t-1>.  A sparse one is held as a `Sparse`, and never made dense; it stays on its
        device.
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

    clip: float | None = None
    leak: float | Array | None = None

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(
            self,
            weight_ih: ArrayArgument,
            weight_hh: ArrayArgument | Sparse,
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
        super().__post_init__()
        if self.clip is not None:
            object.__setattr__(self, "clip", positive_number("clip", self.clip))
        if self.leak is not None:
            object.__setattr__(self, "leak", as_leak(self.leak, self.hidden_size))

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
