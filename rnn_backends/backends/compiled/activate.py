"""Elementwise activations of `rnn_backends.core.activations`, as functions of z, alpha and beta, all of one type."""

from typing import Any

from numba import njit

from rnn_backends.backends.compiled.functions import COMPILED, INLINED, exp, expm1
from rnn_backends.backends.compiled.functions import tanh as tanh_


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def identity(z: Any, alpha: Any, beta: Any) -> Any:
    """Z."""
    return z


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def tanh(z: Any, alpha: Any, beta: Any) -> Any:
    """tanh(z)."""
    return tanh_(z)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def sigmoid(z: Any, alpha: Any, beta: Any) -> Any:
    """1 / (1 + exp(-z)), with the exponential of -abs(z) alone."""
    e, one = exp(-abs(z)), type(z)(1)
    return (e if z < 0 else one) / (one + e)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def relu(z: Any, alpha: Any, beta: Any) -> Any:
    """max(0, z)."""
    return type(z)(0) if z <= 0 else z


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def affine(z: Any, alpha: Any, beta: Any) -> Any:
    """Alpha z + beta."""
    return alpha * z + beta


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def leaky_relu(z: Any, alpha: Any, beta: Any) -> Any:
    """Z where z >= 0, alpha z elsewhere."""
    return alpha * z if z < 0 else z


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def thresholded_relu(z: Any, alpha: Any, beta: Any) -> Any:
    """Z where z > alpha, 0 elsewhere."""
    return type(z)(0) if z <= alpha else z


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def scaled_tanh(z: Any, alpha: Any, beta: Any) -> Any:
    """Alpha tanh(beta z)."""
    return alpha * tanh_(beta * z)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def hard_sigmoid(z: Any, alpha: Any, beta: Any) -> Any:
    """min(max(alpha z + beta, 0), 1)."""
    a = alpha * z + beta
    a = type(z)(0) if a < 0 else a
    return type(z)(1) if a > 1 else a


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def elu(z: Any, alpha: Any, beta: Any) -> Any:
    """Z where z >= 0, alpha (exp(z) - 1) elsewhere."""
    return z if z > 0 else alpha * expm1(z)


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def softsign(z: Any, alpha: Any, beta: Any) -> Any:
    """Z / (1 + abs(z)), as sign(z) / (1 + 1 / abs(z)) where abs(z) > 1."""
    a, one = abs(z), type(z)(1)
    return (one if z > 0 else -one) / (one + one / a) if a > 1 else z / (one + a)


FUNCTIONS = (
    identity, tanh, sigmoid, relu, affine, leaky_relu, thresholded_relu, scaled_tanh, hard_sigmoid, elu, softsign,
)  # fmt: skip

NUMBERS = {function.__name__: number for number, function in enumerate(FUNCTIONS)}


def in_place(number: int = 0) -> Any:
    """Return ``f(k, alpha, beta, z, first, size)``, which puts function k, from `number` on, of some z in their place.

    The indices are unsigned: negative ones count from the end, and what tells them apart is no vector code.
    """
    function = FUNCTIONS[number]
    others = in_place(number + 1) if number + 1 < len(FUNCTIONS) else None

    @njit(**INLINED)  # type: ignore[untyped-decorator]
    def activate(k: Any, alpha: Any, beta: Any, z: Any, first: Any, size: Any) -> None:
        if k == number:
            for i in range(size):
                z[first + i] = function(z[first + i], alpha, beta)
        elif others is not None:
            others(k, alpha, beta, z, first, size)

    return activate


activate = in_place()
