"""Features that are scaled and shifted, and what becomes of the weight and the bias that a scale is folded into."""

from dataclasses import dataclass
from typing import Any

from rnn_backends.core.arrays import Host
from rnn_backends.formats.made import of_array
from rnn_backends.formats.onnx.flow import Group, Input, Product, Result, Tokens
from rnn_backends.formats.scaling import Scaling, multiplied_in


@dataclass(frozen=True, eq=False)
class Affine:
    """Features that are scaled and shifted before a Linear or a layer takes them."""

    under: Any
    scale: Scaling


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


def composed(first: Scaling | None, factor: Host, shift: Host) -> Scaling:
    """Return one scaling after another."""
    second = Scaling(factor, shift)
    return second if first is None else first.then(second)


def effective(product: Product) -> tuple[Host, Host | None]:
    """Return the weight of a Linear with what is before and after it multiplied in, and its bias in float64."""
    before, after = ([each] if each is not None else [] for each in (product.before, product.after))
    if not before and not after:
        return product.weight, product.bias
    return multiplied_in(of_array(product.weight), product.bias, before, after)
