"""Features that are scaled and shifted beside a Linear, as by a BatchNorm, and multiplied into its weight and bias."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.formats.account import Account
from rnn_backends.formats.made import Index, Made


class Scaling(NamedTuple):
    """What x becomes, factor x + shift, in float64: one number for all features, or one for each."""

    factor: Host
    shift: Host

    def then(self, other: "Scaling") -> "Scaling":
        """Return this scaling and another after it as one."""
        with np.errstate(all="ignore"):
            return Scaling(self.factor * other.factor, self.shift * other.factor + other.shift)


def of_batch_norm(gamma: Any, beta: Any, mean: Host, variance: Host, eps: float) -> Scaling:
    """Return what a BatchNorm does where nothing is trained, of float64; gamma may be 1 and beta 0."""
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + eps)
        return Scaling(factor, beta - mean * factor)


def multiplied_in(
    weight: Made, bias: Host | None, before: Iterable[Scaling], after: Iterable[Scaling]
) -> tuple[Host, Host]:
    """Return the weight of a Linear whose input and result are scaled, rounded once, and its bias in float64.

    Parameters
    ----------
    weight : Made
        Of shape (output_size, input_size).
    bias : array of shape (output_size,), optional
    before, after : iterable of Scaling
        In the order in which they are applied.
    """
    height, width = weight.shape
    outer = [*after]
    inner = [[np.broadcast_to(each, (width,)) for each in scaling] for scaling in reversed([*before])]
    factors = [np.broadcast_to(scaling.factor, (height,)) for scaling in outer]
    with np.errstate(all="ignore"):
        total = np.zeros(height) if bias is None else bias.astype(np.float64)

        def product(index: Index, exact: Host) -> Host:
            rows, columns = index
            for factor, shift in inner:
                total[rows] += exact @ shift[columns]
                exact *= factor[columns]
            for factor in factors:
                exact *= factor[rows, None]
            return exact

        made = weight.changed(product)
        for scaling in outer:
            total = total * scaling.factor + scaling.shift
        return made, total


def scaled(
    weight: Made, bias: Made | None, scalings: Callable[[], Sequence[Iterable[Scaling]]], name: str, account: Account
) -> tuple[Made, Made]:
    """Return a weight and its bias with scalings multiplied into both: once, in float64, and rounded once.

    Parameters
    ----------
    weight : Made
        Of shape (output_size, input_size).
    bias : Made, optional
    scalings : callable
        Returns those of the input and those of the result, each in the order in which they are applied.
    name : str
        What the account calls the product.
    account : Account
        Asked before the product is made.
    """

    @cache
    def product() -> tuple[Host, Host]:
        if weight.place is None and not weight.is_new:  # else it is accounted as it is read, or is overwritten
            nbytes = prod(weight.shape) * np.dtype(weight.dtype).itemsize
            account.take(f"{name}, multiplied by what is beside it,", "bytes", nbytes)
        before, after = scalings()
        made, exact = multiplied_in(weight, None if bias is None else bias.make(), before, after)
        with np.errstate(all="ignore"):
            return made, exact.astype(weight.dtype)

    made = Made(weight.dtype, weight.shape, lambda: product()[0])
    return made, Made(weight.dtype, weight.shape[:1], lambda: product()[1])
