"""A case: a file that is written, the options that it is loaded with, and the files beside it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fuzz.draws import Draw

ACTIVATIONS = (
    "tanh",
    "relu",
    "identity",
    "sigmoid",
    "softmax",
    "elu",
    "hard_sigmoid",
    "leaky_relu",
    "relu6",
    "gelu",
    "odd",
)
ROLES = ("readout", "encoder", "embedding", "ignore", "layers")


class Case(NamedTuple):
    """A file, by its suffix and content."""

    suffix: str
    data: bytes
    options: Mapping[str, Any]
    beside: Mapping[str, bytes] = {}


def options(draw: Draw, form: str, names: list[str], base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return options of one format, of which there are seldom many; names are of what is in the file."""
    found: dict[str, Any] = dict(base or {})
    for _ in range(draw.pick((0, 0, 1, 2, 3))):
        name = draw.pick(KNOWN[form] if draw.below(12) < 11 else KNOWN[draw.pick(list(KNOWN))])
        found[name] = _option(draw, name, names or ["rnn"])
        if draw.once(8):
            found.pop(name)
    return found


KNOWN: Mapping[str, tuple[str, ...]] = {
    "weights": (
        "activation", "readout_activation", "encoder_activation", "batch_first", "reads", "takes", "key", "roles", "names",
        "cell", "leak", "batch_norm_eps", "vocabulary",
    ),
    "flax": (
        "activation", "readout_activation", "encoder_activation", "batch_first", "reads", "takes", "key", "roles",
        "residual", "layers", "vocabulary",
    ),
    "keras": (
        "activation", "readout_activation", "encoder_activation", "batch_first", "reads", "takes", "go_backwards", "masking",
        "vocabulary",
    ),
    "onnx": ("readout_activation", "reads", "takes", "vocabulary", "external_data"),
}  # fmt: skip


SEVERAL: Mapping[str, tuple[Any, ...]] = {
    "reads": ("steps", "last", "final", "mean", "max"),
    "takes": ("features", "tokens"),
    "cell": ("Cell", "RateCell"),
    "leak": (0.25, 1, 0.0),
    "batch_norm_eps": (1e-5, 0.0, 1.0),
    "vocabulary": ("abc", "ab", "abcd", ["a", "bc", "d"], "aa"),
}
"""Values of the options that have a few."""


def _option(draw: Draw, name: str, names: list[str]) -> Any:
    if name == "activation":
        return draw.pick(ACTIVATIONS)
    if name in {"readout_activation", "encoder_activation"}:
        return tuple(draw.pick(ACTIVATIONS) for _ in range(draw.below(3))) if draw.once(2) else draw.pick(ACTIVATIONS)
    if name in {"batch_first", "residual", "go_backwards", "masking", "external_data"}:
        return draw.once(2)
    if name in SEVERAL:
        return draw.pick(SEVERAL[name])
    prefixes = [each.rpartition(draw.pick((".", "/")))[0] for each in names]
    if name == "key":
        return tuple(
            draw.pick(("state_dict", "model", "params", "a", "net", "ema", "rnn", *prefixes))
            for _ in range(1 + draw.below(2))
        )
    if name == "layers":
        if draw.once(12):
            return draw.pick(([], "a", [("a",)], [(None, None)], [5], {}))
        paths = [draw.pick(prefixes) for _ in range(1 + draw.below(3))]
        return [(path, draw.pick([None, *prefixes])) if draw.once(3) else path for path in paths]
    if name == "roles":
        return {draw.pick(prefixes): draw.pick(ROLES) for _ in range(1 + draw.below(3))}
    own = ("weight_ih_l0", "weight_hh_l0", "weight_hh_l0.T", "bias_l0", "readout.weight", "encoder.0.weight", "h_0")
    return {draw.pick(names): draw.pick(own) for _ in range(1 + draw.below(4))}
