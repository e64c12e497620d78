"""Layers that scale and shift each feature, as BatchNormalization does where nothing is trained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.keras.activations import number
from rnn_backends.formats.keras.layers import Part
from rnn_backends.formats.keras.weights import Weights, own
from rnn_backends.formats.scaling import Scaling, of_batch_norm

KINDS = {"BatchNormalization", "Normalization", "Rescaling"}
_FUZZ = 1e-7
"""Keras's epsilon(), the least deviation that a Normalization divides by."""


class Affine(NamedTuple):
    """A scale and a shift of each feature, or of all: x becomes scale x + shift."""

    part: Part

    def paths(self, weights: Weights) -> list[str]:
        """Return the paths of its arrays, of which there must be as many as its options say."""
        wanted = names(self.part)
        return own(weights, self.part.path, len(wanted)) if wanted else []

    def read(self, weights: Weights, width: int) -> Scaling:
        """Return the factor and the shift of so many features."""
        held = dict(zip(names(self.part), self.paths(weights), strict=True))
        for name, path in held.items():
            shape = weights.declared(path)[1] if name != "count" else ()
            if shape not in ((width,), ()):
                what = f"{self.part.name}, a {self.part.kind}"
                msg = f"{what}, must have {width} features; its {name} has shape {shown(shape)}."
                raise FormatError(msg)
        with np.errstate(all="ignore"):
            numbers = {
                name: weights.made(path).make().astype(np.float64) for name, path in held.items() if name != "count"
            }
            return _MADE[self.part.kind](self.part, numbers)


def names(part: Part) -> list[str]:
    """Return the names of the arrays of a layer, in Keras's order."""
    if part.kind == "BatchNormalization":
        affine = [name for name, option in (("gamma", "scale"), ("beta", "center")) if part.flag(option)]
        return [*affine, "moving_mean", "moving_variance"]
    if part.kind == "Normalization" and part.config.get("mean") is None:
        return ["mean", "variance", "count"]
    return []


def require_last_axis(part: Part, rank: int) -> None:
    """Check that a layer scales the last of so many axes, or all alike."""
    if part.kind == "Rescaling":
        return
    axis = part.config.get("axis")
    axes = list(axis) if isinstance(axis, Sequence) and not isinstance(axis, str) else [axis]
    is_one_for_all = part.kind == "Normalization" and axes in ([None], [])
    if axes not in ([-1], [rank - 1]) and not is_one_for_all:
        msg = f"{part.name}, a {part.kind}, must be over the last axis, the features; its axis is {got(axis)}."
        raise FormatError(msg)


def _batch_normalization(part: Part, held: Mapping[str, Host]) -> Scaling:
    eps = number(part.name, part.config, "epsilon")
    mean, variance = held["moving_mean"], held["moving_variance"]
    return of_batch_norm(held.get("gamma", 1.0), held.get("beta", 0.0), mean, variance, eps)


def _normalization(part: Part, held: Mapping[str, Host]) -> Scaling:
    mean, variance = (held[name] if name in held else _numbers(part, name) for name in ("mean", "variance"))
    deviation = np.maximum(np.sqrt(variance), _FUZZ)
    if part.flag("invert", default=False):
        return Scaling(deviation, mean)
    return Scaling(1 / deviation, -mean / deviation)


def _rescaling(part: Part, _: Mapping[str, Host]) -> Scaling:
    return Scaling(_numbers(part, "scale"), _numbers(part, "offset"))


def _numbers(part: Part, option: str) -> Host:
    """Return an option that is a number, or a list of them with axes of one around it."""
    held = part.config.get(option)
    while isinstance(held, (list, tuple)) and len(held) == 1:
        (held,) = held
    items = held if isinstance(held, (list, tuple)) else [held]
    found: Host = np.asarray([number(part.name, {option: item}, option) for item in items])
    return found if isinstance(held, (list, tuple)) else found[0]


_MADE = {"BatchNormalization": _batch_normalization, "Normalization": _normalization, "Rescaling": _rescaling}
