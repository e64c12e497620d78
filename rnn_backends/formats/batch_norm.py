"""BatchNorm of weights alone: where it is applied, and its product with the Linear or the layer beside it."""

from collections.abc import Mapping, Sequence

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.made import Made
from rnn_backends.formats.modules import Module
from rnn_backends.formats.scaling import Scaling, of_batch_norm, scaled


def require_place(norm: Module, places: Sequence[tuple[str, bool]], eps: float | None, *, ordered: bool) -> None:
    """Check that it is known where a BatchNorm is applied, and with which eps."""
    if places and eps is None:
        msg = f"{shown(norm.prefix)} is a BatchNorm, of which the weights do not record eps; {way('batch_norm_eps')}."
        raise FormatError(msg)
    if not places and ordered:
        msg = f"{shown(norm.prefix)} is a BatchNorm, and no Linear or layer follows it that it could be folded into."
        raise FormatError(msg)
    if not places:
        what = "is a BatchNorm, of which the weights do not record the place"
        msg = f"{shown(norm.prefix)} {what}; {way('batch_norm')}."
        raise FormatError(msg)


def with_norms(
    arrays: Mapping[str, Made],
    name: str,
    norms: Sequence[tuple[Module, bool]],
    held: Mapping[str, Made],
    eps: float,
    account: Account,
) -> dict[str, Made]:
    """Return a weight and its bias, by their names, with BatchNorms multiplied into them, rounded once.

    Parameters
    ----------
    arrays : mapping of str to Made
        The arrays of the network by name.
    name : str
        That of the weight.
    norms : sequence of (Module, bool)
        In the order in which they are applied, each with whether that is after the weight.
    held : mapping of str to Made
        The arrays of the file by name.
    eps : float
    account : Account
        Asked before the product is made.
    """
    bias_name = _bias_of(name, arrays)
    weight, bias = arrays[name], arrays.get(bias_name)
    if len(weight.shape) != 2:
        msg = f"{name}, beside a BatchNorm, must have two axes; its shape is {shown(weight.shape)}."
        raise FormatError(msg)
    for norm, is_after in norms:
        size, got = weight.shape[0 if is_after else 1], [held[each].shape for each in norm.arrays.values()]
        if any(shape != (size,) for shape in got):
            msg = f"{shown(norm.prefix)}, a BatchNorm, must have {size} features beside {name}; it has {got[0]}."
            raise FormatError(msg)

    def scalings() -> list[list[Scaling]]:
        sides = ([norm for norm, is_after in norms if is_after is side] for side in (False, True))
        return [[_scaling(norm, held, eps) for norm in side] for side in sides]

    made = scaled(weight, bias, scalings, name, account)
    return dict(zip((name, bias_name), made, strict=True))


def _scaling(norm: Module, held: Mapping[str, Made], eps: float) -> Scaling:
    return of_torch({local: held[name].make() for local, name in norm.arrays.items()}, eps)


def of_torch(arrays: Mapping[str, Host], eps: float) -> Scaling:
    """Return what a BatchNorm of torch does, of its arrays by their names in it."""
    wide = {local: array.astype(np.float64) for local, array in arrays.items()}
    mean, variance = wide["running_mean"], wide["running_var"]
    return of_batch_norm(wide.get("weight", 1.0), wide.get("bias", 0.0), mean, variance, eps)


def _bias_of(weight: str, arrays: Mapping[str, Made]) -> str:
    """Return the name of the bias that is added to the product of a weight."""
    if not weight.startswith("weight_ih_"):
        return f"{weight.removesuffix('weight')}bias"
    place = weight.removeprefix("weight_ih_")
    return f"bias_ih_{place}" if f"bias_ih_{place}" in arrays else f"bias_{place}"
