"""Features that are scaled and shifted, and what becomes of the weight and the bias that a scale is folded into."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.formats.onnx.flow import Group, Input, Product, Result, Scale, Tokens


@dataclass(frozen=True, eq=False)
class Affine:
    """Features that are scaled and shifted before a Linear or a layer takes them."""

    under: Any
    scale: Scale


def features_of(content: Any) -> Group | None:
    """Return the axes of one row of what can be multiplied; None of anything else."""
    if isinstance(content, Affine):
        return features_of(content.under)
    if isinstance(content, Input):
        return content.atoms[-1:] if content.start is None and "float" in content.dtype else None
    if isinstance(content, Tokens):
        return (content.features,)
    if isinstance(content, Result):
        return content.features
    linears = getattr(content, "linears", ())
    return (linears[-1].output,) if linears else None


def composed(first: Scale | None, factor: Host, shift: Host) -> Scale:
    """Return one scale after another."""
    with np.errstate(all="ignore"):
        return Scale(factor, shift) if first is None else Scale(first.factor * factor, first.shift * factor + shift)


def effective(product: Product) -> tuple[Host, Host | None]:
    """Return the weight of a Linear with what is before and after it folded in, and its bias in float64."""
    if product.before is None and product.after is None:
        return product.weight, product.bias
    weight, bias = folded_in(product.weight, product.bias, product.before)
    with np.errstate(all="ignore"):
        if product.after is not None:
            outputs = np.broadcast_to(product.after.factor, weight.shape[:1])
            weight, bias = weight * outputs[:, None], bias * outputs + product.after.shift
    return weight.astype(product.weight.dtype), bias


def folded_in(weight: Host, bias: Host | None, before: Scale | None) -> tuple[Host, Host]:
    """Return a weight that takes features as they are before they are scaled, and its bias, both in float64."""
    with np.errstate(all="ignore"):
        exact = weight.astype(np.float64)
        total = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
        if before is None:
            return exact, total
        return exact * before.factor, total + exact @ np.broadcast_to(before.shift, weight.shape[1:])
