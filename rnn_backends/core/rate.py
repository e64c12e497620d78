"""`RateCell`: the rate network of neuroscience whose activation is outside of the leak.

    x<t> = (1 - leak) x<t-1> + leak (W_aa g1(x<t-1>) + W_ax u<t> + b_a)

Nothing here depends on the values of an array, so all of it can be traced and differentiated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnn_backends.core.activations import Activation
from rnn_backends.core.affine import AffineCell, as_leak
from rnn_backends.core.arrays import Array, ArrayArgument, is_array
from rnn_backends.core.sparse import Sparse


@dataclass(frozen=True, eq=False, repr=False)
class RateCell(AffineCell):
    """The cell of a rate network: its state is a current x<t>, and it gives the rates g1(x<t>).

    Parameters
    ----------
    weight_ih : array, shape (hidden_size, input_size)
        W_ax, applied to the input u<t>.
    weight_hh : array or sparse matrix of scipy or cupyx, shape (hidden_size, hidden_size)
        W_aa, applied to the rates g1(x<t-1>); held as a `Cell` holds one.
    bias : array, shape (hidden_size,), optional
        b_a.
    activation : str, Activation or callable, default "tanh"
        g1, from currents to rates.  A callable must be written in operations of the array API standard.
    leak : float or array, shape (hidden_size,)
        dt / tau, 0 < leak <= 1: the step of time in units of the time constant, one for all units or one for each.

    Raises
    ------
    ShapeError, DTypeError
        An array has another shape, or is not floating point.
    ArgumentError
        The activation is unknown, or `leak` is out of range.

    See Also
    --------
    Cell : With ``leak=dt / tau`` the other rate network, whose activation is inside: its state is the rates.

    Notes
    -----
    This is Euler's method with steps dt for tau dx/dt = -x + W_aa g1(x) + W_ax u + b_a [1]_.  The states of a model,
    `h_0`, ``h_n`` and those of a stream, are the currents x; its output and what its readout reads are the rates.

    References
    ----------
    .. [1] H. Sompolinsky, A. Crisanti and H. J. Sommers, "Chaos in random neural networks", Physical Review Letters
       61 (1988), 259-262.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> cell = rb.RateCell(np.array([[2.0]]), np.array([[1.0]]), activation="relu", leak=0.5)
    >>> output, h_n = rb.RNN([cell])([[1.0], [-4.0]])
    >>> output.tolist(), h_n.tolist()  # 0.5 * 2, then 0.5 * 1 + 0.5 * (1 - 8)
    ([[1.0], [0.0]], [[-3.0]])
    """

    leak: float | Array = field(kw_only=True)

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(
            self,
            weight_ih: ArrayArgument,
            weight_hh: ArrayArgument | Sparse,
            bias: ArrayArgument | None = None,
            activation: Activation | Callable[[Array], Array] | str = "tanh",
            *,
            leak: float | ArrayArgument,
        ) -> None: ...

    def __repr__(self) -> str:
        leak = "one a unit" if is_array(self.leak) else self.leak
        sizes = f"input_size={self.input_size}, hidden_size={self.hidden_size}"
        return f"RateCell({sizes}, activation={self.activation!r}, leak={leak!r})"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "leak", as_leak(self.leak, self.hidden_size))

    def step(self, projected: Array, h: Array) -> Array:
        """Take one step of time: (1 - leak) x<t-1> + leak (W_aa g1(x<t-1>) + W_ax u<t> + b_a).

        Parameters
        ----------
        projected : array, shape (batch, hidden_size)
            The result of `project` for this step.
        h : array, shape (batch, hidden_size)
            The state x<t-1>.

        Returns
        -------
        array, shape (batch, hidden_size)
            The state x<t>.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> cell = rb.RateCell(np.ones((1, 1)), np.ones((1, 1)), activation="relu", leak=0.25)
        >>> cell.step(np.array([[3.0]]), np.array([[-4.0]]))  # 0.75 * -4 + 0.25 * (0 + 3)
        array([[-2.25]])
        """
        return (1.0 - self.leak) * h + self.leak * (self.recurrent_product(self.output(h)) + projected)

    def output(self, states: Array) -> Array:
        """Return the rates g1(x<t>), which the layer gives.

        Parameters
        ----------
        states : array, shape (..., hidden_size)
            The states x<t>.

        Returns
        -------
        array, shape (..., hidden_size)

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> cell = rb.RateCell(np.ones((2, 1)), np.zeros((2, 2)), activation="relu", leak=0.25)
        >>> cell.output(np.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
        """
        return self.activate(states)
