"""The activation functions g1 and g2, in operations of the array API standard (2022.12) only.

`ACTIVATIONS` is the one table of names; the parameters of a function and their defaults are those of
its signature.  A function of the table runs on every backend; a kernel that has it too lists it by name.
Those that ONNX's RNN operator allows have the defaults of the ONNX operators of the same names (ScaledTanh has
none there, so none here).  None overflows or loses a NaN: a comparison with NaN is false, so every ``where``
takes its argument unchanged in the branch that a false condition selects.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from rnn_backends.core.arrays import Array, array_namespace, cast, is_array, widen
from rnn_backends.core.messages import got, shown
from rnn_backends.core.numbers import finite_float, positive_number
from rnn_backends.errors import ArgumentError, ShapeError

Positive = Annotated[float, "positive"]
"""A parameter of a function that would be a constant, were it 0 or less."""


def identity(z: Array) -> Array:
    """Return z."""
    return z


def tanh(z: Array) -> Array:
    """Return tanh(z)."""
    return array_namespace(z).tanh(z)


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), with the exponential of -abs(z) alone."""
    xp = array_namespace(z)
    negative = z < 0
    e = xp.exp(xp.where(negative, z, -z))
    return xp.where(negative, e, xp.ones_like(z)) / (1.0 + e)


def relu(z: Array) -> Array:
    """Return max(0, z)."""
    xp = array_namespace(z)
    return xp.where(z <= 0, xp.zeros_like(z), z)


def affine(z: Array, alpha: float = 1.0, beta: float = 0.0) -> Array:
    """Return alpha z + beta."""
    return alpha * z + beta


def leaky_relu(z: Array, alpha: float = 0.01) -> Array:
    """Return z where z >= 0, alpha z elsewhere."""
    return array_namespace(z).where(z < 0, alpha * z, z)


def thresholded_relu(z: Array, alpha: float = 1.0) -> Array:
    """Return z where z > alpha, 0 elsewhere (at z = alpha too, as the ONNX operator has it)."""
    xp = array_namespace(z)
    return xp.where(z <= alpha, xp.zeros_like(z), z)


def clipped_relu(z: Array, alpha: Positive) -> Array:
    """Return min(max(z, 0), alpha)."""
    return clamp(z, 0.0, alpha)


def scaled_tanh(z: Array, alpha: float, beta: float) -> Array:
    """Return alpha tanh(beta z)."""
    return alpha * tanh(beta * z)


def hard_sigmoid(z: Array, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """Return min(max(alpha z + beta, 0), 1)."""
    return clamp(alpha * z + beta, 0.0, 1.0)


def elu(z: Array, alpha: float = 1.0) -> Array:
    """Return z where z >= 0, alpha (exp(z) - 1) elsewhere."""
    xp = array_namespace(z)
    positive = z > 0
    return xp.where(positive, z, alpha * xp.expm1(xp.where(positive, xp.zeros_like(z), z)))


def softsign(z: Array) -> Array:
    """Return z / (1 + abs(z)), as sign(z) / (1 + 1 / abs(z)) where abs(z) > 1."""
    xp = array_namespace(z)
    large = xp.abs(z) > 1
    small_z = xp.where(large, xp.zeros_like(z), z)
    large_z = xp.where(large, z, xp.ones_like(z))
    return xp.where(large, xp.sign(large_z) / (1.0 + 1.0 / xp.abs(large_z)), small_z / (1.0 + xp.abs(small_z)))


def softplus(z: Array) -> Array:
    """Return log(1 + exp(z)), with the exponential of -abs(z) alone."""
    xp = array_namespace(z)
    positive = z > 0
    return xp.where(positive, z, xp.zeros_like(z)) + xp.log1p(xp.exp(xp.where(positive, -z, z)))


def softmax(z: Array) -> Array:
    """Return exp(z) / sum(exp(z)) over the last axis, after the maximum is subtracted."""
    e = array_namespace(z).exp(_below_maximum(z))
    return cast(e / array_namespace(z).sum(e, axis=-1, keepdims=True), z.dtype)


def log_softmax(z: Array) -> Array:
    """Return z - log(sum(exp(z))) over the last axis, after the maximum is subtracted."""
    xp = array_namespace(z)
    below = _below_maximum(z)
    return cast(below - xp.log(xp.sum(xp.exp(below), axis=-1, keepdims=True)), z.dtype)


def clamp(z: Array, low: float, high: float) -> Array:
    """Return min(max(z, low), high); the standard has ``clip`` from 2023.12 on only."""
    xp = array_namespace(z)
    z = xp.where(z < low, xp.full_like(z, low), z)
    return xp.where(z > high, xp.full_like(z, high), z)


def _below_maximum(z: Array) -> Array:
    z = widen(z)
    return z - array_namespace(z).max(z, axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    function.__name__: function
    for function in (
        identity, tanh, sigmoid, relu, affine, leaky_relu, thresholded_relu, clipped_relu, scaled_tanh,
        hard_sigmoid, elu, softsign, softplus, softmax, log_softmax,
    )
}  # fmt: skip


_OTHERS = ("celu", "gelu", "hard_tanh", "hardtanh", "prelu", "rrelu", "selu", "silu", "swish")
"""Functions of other libraries whose names are no misspellings of those in the table."""
_HERE = {"relu6": 'Activation("clipped_relu", alpha=6)'}
"""Functions of other libraries that are in the table under another name."""


@dataclass(frozen=True)
class Activation:
    """An activation of the table, with its parameters.

    Parameters
    ----------
    name : str
        A name in the table, such as ``"tanh"``; an unknown one is refused with a list of all.
    alpha, beta : float, optional
        The parameters of the functions that have them.  Left out, they are the defaults of the ONNX
        operator of that name; ``scaled_tanh`` has no defaults and must be given both, and ``clipped_relu`` must be
        given `alpha`, its ceiling, which is positive.

    Raises
    ------
    ArgumentError
        The name is not in the table, a parameter is one the function does not have or is not a finite
        number or, of ``clipped_relu``, not positive, or one without a default is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> rb.Activation("leaky_relu", alpha=0.5)(np.asarray([-1.0, 2.0]))
    array([-0.5,  2. ])
    >>> rb.Activation("hard_sigmoid")
    Activation(name='hard_sigmoid', alpha=0.2, beta=0.5)
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in ACTIVATIONS:
            from rnn_backends.core.near import did_you_mean  # where a message needs it

            name = self.name.lower() if isinstance(self.name, str) else ""
            meant = "identity" if name == "linear" else name
            hint = "" if name in _OTHERS else did_you_mean(meant, ACTIVATIONS)
            hint = f" Here it is {_HERE[name]}." if name in _HERE else hint
            msg = f"`activation` must be a callable or one of {', '.join(ACTIVATIONS)}; got {got(self.name)}.{hint}"
            raise ArgumentError(msg)
        wanted = list(inspect.signature(ACTIVATIONS[self.name]).parameters.values())[1:]
        for name in {"alpha", "beta"} - {parameter.name for parameter in wanted}:
            if getattr(self, name) is not None:
                msg = f"the activation {shown(self.name)} has no parameter `{name}`; leave it out."
                raise ArgumentError(msg)
        for parameter in wanted:
            object.__setattr__(self, parameter.name, self._value(parameter))

    def _value(self, parameter: inspect.Parameter) -> float:
        value = getattr(self, parameter.name)
        value = parameter.default if value is None else value
        if value is parameter.empty:
            msg = f"the activation {shown(self.name)} needs `{parameter.name}`, which has no default."
            raise ArgumentError(msg)
        checked = positive_number if parameter.annotation is Positive else finite_float
        return checked(f"{parameter.name}` of the activation `{self.name}", value)

    def __call__(self, z: Array) -> Array:
        """Apply the function, elementwise or, for the softmaxes, over the last axis.

        Parameters
        ----------
        z : array
            Of any library.

        Returns
        -------
        array
            Of the shape and dtype of `z`.
        """
        return ACTIVATIONS[self.name](z, *(value for value in (self.alpha, self.beta) if value is not None))


def applied(activation: Callable[[Array], Array], z: Array) -> Array:
    """Apply an activation, which must keep the shape."""
    a = activation(z)
    if not is_array(a) or a.shape != z.shape:
        wanted = shown(tuple(z.shape))
        msg = f"`activation` must return an array of the shape that it is given, {wanted}; got {got(a)}."
        raise ShapeError(msg)
    return a


def as_activation(activation: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a callable as it is and a name as an `Activation`."""
    return activation if callable(activation) else Activation(activation)
