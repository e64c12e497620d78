"""`Linear`: a product, a bias and an activation, of which an encoder and a readout are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from rnn_backends.core.activations import applied, as_activation
from rnn_backends.core.arrays import Array, ArrayArgument, array_namespace, cast, is_integer, rows_of_ids, widen
from rnn_backends.core.parameters import require_matrix, require_shape
from rnn_backends.errors import ArgumentError


@dataclass(frozen=True, eq=False, repr=False)
class Linear:
    """A product, a bias and an activation: the readout y<t> = g2(W_ya a<t> + b_y), or one of several in a row.

    Parameters
    ----------
    weight : array, shape (output_size, input_size)
        W_ya of a readout.  As the first of an encoder over token ids it is the transposed table of an embedding:
        the column i is what stands for the id i.
    bias : array, shape (output_size,), optional
        b_y.
    activation : str, Activation or callable, optional
        g2, from logits to probabilities, over the last axis; default: ``"softmax"`` of the last one of a readout,
        ``"identity"`` of any other.

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
    activation: Callable[[Array], Array] | str | None = None

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(
            self,
            weight: ArrayArgument,
            bias: ArrayArgument | None = None,
            activation: Callable[[Array], Array] | str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.activation is not None:
            object.__setattr__(self, "activation", as_activation(self.activation))
        outputs, _ = require_matrix("weight` of a `Linear", self.weight)
        if self.bias is not None:
            require_shape("bias` of a `Linear", self.bias, "(output_size,)", (outputs,))
        if outputs == 1 and getattr(self.activation, "name", None) in {"softmax", "log_softmax"}:
            msg = "a softmax over one output is 1 whatever the input; its activation can be 'sigmoid' or 'identity'."
            raise ArgumentError(msg)

    def __repr__(self) -> str:
        activation = getattr(self.activation, "name", self.activation)
        return f"Linear(input_size={self.input_size}, output_size={self.output_size}, activation={activation!r})"

    @property
    def input_size(self) -> int:
        """The number of features that it takes, or of token ids."""
        return int(self.weight.shape[1])

    @property
    def output_size(self) -> int:
        """The number of outputs: features, classes or characters."""
        return int(self.weight.shape[0])

    def __call__(self, x: Array) -> Array:
        """Return the logits W_ya a + b_y.

        Parameters
        ----------
        x : array, shape (..., input_size), or token ids, shape (...)
            States or features.  An id takes its column of the weight; one that is out of range becomes NaN.

        Returns
        -------
        array, shape (..., output_size)
            In the dtype of the states; of ids, in that of the weight.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> table = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])  # an embedding of three ids
        >>> rb.Linear(table.T)(np.array([2, 0]))
        array([[4., 5.],
               [0., 1.]])
        """
        xp = array_namespace(x)
        if is_integer(x):
            leading, dtype = tuple(x.shape), self.weight.dtype
            logits = widen(rows_of_ids(self.weight.T, xp.reshape(x, (prod(leading),))))
        else:
            (*leading_axes, size), dtype = x.shape, x.dtype
            leading = tuple(leading_axes)
            logits = xp.reshape(widen(x), (prod(leading), size)) @ widen(self.weight).T
        if self.bias is not None:
            logits = logits + widen(self.bias)
        return cast(xp.reshape(logits, (*leading, self.output_size)), dtype)

    def activate(self, logits: Array) -> Array:
        """Return g2 of the logits, the probabilities; the logits themselves where it has no activation.

        Parameters
        ----------
        logits : array, shape (..., output_size)
            The results of a call.

        Returns
        -------
        array, shape (..., output_size)
            The probabilities, where g2 is a softmax or sigmoid.

        Raises
        ------
        ShapeError
            A function of one's own returned another shape.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> rb.Linear(np.eye(2), activation="softmax").activate(np.zeros(2))
        array([0.5, 0.5])
        """
        return logits if self.activation is None else applied(self.activation, logits)  # type: ignore[arg-type]


def as_linears(name: str, given: Linear | Sequence[Linear] | None, last: str) -> tuple[Linear, ...]:
    """Return one or several Linear in a row as a tuple, with the activations of those that state none."""
    linears = (given,) if isinstance(given, Linear) else () if given is None else given
    if not isinstance(linears, (list, tuple)) or not all(isinstance(each, Linear) for each in linears):
        found = type(given).__name__ if not isinstance(given, (list, tuple)) else "a sequence of other things"
        msg = f"`{name}` must be a Linear or a sequence of them; got {found}. Write {name}=Linear(weight, bias)."
        raise ArgumentError(msg)
    defaults = ["identity"] * (len(linears) - 1) + [last]
    return tuple(
        _with_activation(each, activation) for each, activation in zip(linears, defaults[: len(linears)], strict=True)
    )


def _with_activation(linear: Linear, activation: str) -> Linear:
    return linear if linear.activation is not None else replace(linear, activation=activation)


def logits_of(linears: Sequence[Linear], x: Array) -> Array:
    """Return what the last of several Linear gives before its activation."""
    for linear in linears[:-1]:
        x = linear.activate(linear(x))
    return linears[-1](x)


def activated_by(linears: Sequence[Linear], x: Array) -> Array:
    """Return what the last of several Linear gives; the input itself where there is none."""
    return linears[-1].activate(logits_of(linears, x)) if linears else x
