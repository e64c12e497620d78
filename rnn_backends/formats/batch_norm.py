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


def with_norms(
    arrays: Mapping[str, Made],
    norms: Sequence[Module],
    held: Mapping[str, Made],
    neighbours: Mapping[str, Sequence[tuple[str, bool]]],
    eps: float | None,
) -> dict[str, Made]:
    """Return the arrays of a network with BatchNorms folded into them.

    Parameters
    ----------
    arrays : mapping of str to Made
        The arrays of the network by name.
    norms : sequence of Module
    held : mapping of str to Made
        The arrays of the file by name.
    neighbours : mapping of str to sequence of (str, bool)
        By prefix of a BatchNorm the Linears that it is folded into, each as the name of its weight, and whether the
        BatchNorm is applied after it; none where the place is not known.
    eps : float or None
    """
    found = dict(arrays)
    for norm in norms:
        places = neighbours[norm.prefix]
        if eps is None or not places:
            what = "its eps" if places else "its place in the network and its eps"
            msg = f"{shown(norm.prefix)} is a BatchNorm, and the weights do not record {what}; "
            advice = way("batch_norm_eps") if places else way("batch_norm")
            raise FormatError(msg + advice + ".")
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
