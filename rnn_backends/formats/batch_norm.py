"""BatchNorm of weights alone, folded into the Linear or the layer beside it, in float64 and rounded once."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.made import Made
from rnn_backends.formats.modules import Module
from rnn_backends.formats.names import listed, shown


class Affine(NamedTuple):
    """A scale and a shift of features, in float64."""

    scale: Host
    shift: Host

    def after(self, weight: Host, bias: Host | None) -> tuple[Host, Host]:
        """Return the weight and the bias of a Linear whose result is scaled and shifted."""
        moved = self.shift if bias is None else bias.astype(np.float64) * self.scale + self.shift
        return (weight.astype(np.float64) * self.scale[:, None]).astype(weight.dtype), moved.astype(weight.dtype)

    def before(self, weight: Host, bias: Host | None) -> tuple[Host, Host]:
        """Return the weight and the bias of a Linear whose input is scaled and shifted."""
        wide = weight.astype(np.float64)
        moved = wide @ self.shift
        moved = moved if bias is None else moved + bias
        return (wide * self.scale).astype(weight.dtype), moved.astype(weight.dtype)


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


def with_norm(
    arrays: Mapping[str, Made], norm: Module, held: Mapping[str, Made], places: Sequence[tuple[str, bool]], eps: float
) -> dict[str, Made]:
    """Return the arrays of a network with a BatchNorm folded into them.

    Parameters
    ----------
    arrays : mapping of str to Made
        The arrays of the network by name.
    norm : Module
    held : mapping of str to Made
        The arrays of the file by name.
    places : sequence of (str, bool)
        The weights that it is folded into, and whether it is applied after each.
    eps : float
    """
    found = dict(arrays)
    for name, is_after in places:
        _fold(found, name, {local: held[own] for local, own in norm.arrays.items()}, eps, is_after=is_after)
    return found


def _fold(found: dict[str, Made], name: str, norm: Mapping[str, Made], eps: float, *, is_after: bool) -> None:
    bias_name = _bias_of(name, found)
    weight, bias = found[name], found.get(bias_name)
    size = weight.shape[0 if is_after else 1]
    if any(array.shape != (size,) for array in norm.values()):
        got = norm["running_mean"].shape
        msg = f"a BatchNorm of {listed(norm)} must have {size} features beside {name}; it has {got}."
        raise FormatError(msg)

    def folded() -> tuple[Host, Host]:
        scaling = affine({local: array.make() for local, array in norm.items()}, eps)
        fold = scaling.after if is_after else scaling.before
        return fold(weight.make(), None if bias is None else bias.make())

    found[name] = Made(weight.dtype, weight.shape, lambda: folded()[0])
    found[bias_name] = Made(weight.dtype, weight.shape[:1], lambda: folded()[1])


def _bias_of(weight: str, arrays: Mapping[str, Made]) -> str:
    """Return the name of the bias that is added to the product of a weight."""
    if not weight.startswith("weight_ih_"):
        return f"{weight.removesuffix('weight')}bias"
    place = weight.removeprefix("weight_ih_")
    return f"bias_ih_{place}" if f"bias_ih_{place}" in arrays else f"bias_{place}"


def affine(norm: Mapping[str, Host], eps: float) -> Affine:
    """Return what a BatchNorm does where nothing is trained, of its arrays by their names in it."""
    wide = {local: array.astype(np.float64) for local, array in norm.items()}
    with np.errstate(all="ignore"):
        scale = wide.get("weight", 1.0) / np.sqrt(wide["running_var"] + eps)
        return Affine(scale, wide.get("bias", 0.0) - wide["running_mean"] * scale)
