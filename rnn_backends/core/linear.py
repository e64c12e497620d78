"""`Linear`: a product, a bias and an activation, which is how a network is read out."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from rnn_backends.core.activations import applied, as_activation
from rnn_backends.core.arrays import Array, ArrayArgument, array_namespace, cast, widen
from rnn_backends.core.parameters import require_matrix, require_shape
from rnn_backends.errors import ArgumentError


@dataclass(frozen=True, eq=False, repr=False)
class Linear:
    """The readout y<t> = g2(W_ya a<t> + b_y).

    Parameters
    ----------
    weight : array, shape (output_size, num_directions * hidden_size)
        W_ya.
    bias : array, shape (output_size,), optional
        b_y.
    activation : str, Activation or callable, default "softmax"
        g2, from logits to probabilities, over the last axis.

    Raises
    ------
    ShapeError, DTypeError
        An array has another shape, or is not floating point.
    ArgumentError
        The activation is unknown, or is a softmax over one output.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> readout = rb.Linear(np.ones((1, 4)), activation="sigmoid")
    >>> readout
    Linear(input_size=4, output_size=1, activation='sigmoid')
    >>> readout(np.ones((5, 2, 4))).shape
    (5, 2, 1)
    """

    weight: Array
    bias: Array | None = None
    activation: Callable[[Array], Array] | str = "softmax"

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(
            self,
            weight: ArrayArgument,
            bias: ArrayArgument | None = None,
            activation: Callable[[Array], Array] | str = "softmax",
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", as_activation(self.activation))
        outputs, _ = require_matrix("weight` of the readout `Linear", self.weight)
        if self.bias is not None:
            require_shape("bias` of the readout `Linear", self.bias, "(output_size,)", (outputs,))
        if outputs == 1 and getattr(self.activation, "name", None) in {"softmax", "log_softmax"}:
            msg = "a softmax over one output is 1 whatever the input; give Linear activation='sigmoid' or 'identity'."
            raise ArgumentError(msg)

    def __repr__(self) -> str:
        activation = getattr(self.activation, "name", self.activation)
        return f"Linear(input_size={self.input_size}, output_size={self.output_size}, activation={activation!r})"

    @property
    def input_size(self) -> int:
        """The number of inputs, the width of the states that are read."""
        return int(self.weight.shape[1])

    @property
    def output_size(self) -> int:
        """The number of outputs, classes or characters."""
        return int(self.weight.shape[0])

    def __call__(self, hidden: Array) -> Array:
        """Return the logits W_ya a + b_y.

        Parameters
        ----------
        hidden : array, shape (..., num_directions * hidden_size)
            States.

        Returns
        -------
        array, shape (..., output_size)
            In the dtype of the states.
        """
        *leading, size = hidden.shape
        xp = array_namespace(hidden)
        logits = xp.reshape(widen(hidden), (prod(leading), size)) @ widen(self.weight).T
        if self.bias is not None:
            logits = logits + widen(self.bias)
        return cast(xp.reshape(logits, (*leading, self.output_size)), hidden.dtype)

    def activate(self, logits: Array) -> Array:
        """Return g2 of the logits, the probabilities.

        Parameters
        ----------
        logits : array, shape (..., output_size)
            The results of a call.

        Returns
        -------
        array, shape (..., output_size)
            The probabilities, where g2 is a softmax or sigmoid.
        """
        return applied(self.activation, logits)  # type: ignore[arg-type]  # a name became a callable
