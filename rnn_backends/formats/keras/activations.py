"""Keras's activations, by its own definitions, as those of this package."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rnn_backends.core.activations import Activation
from rnn_backends.errors import FormatError
from rnn_backends.formats.names import shown_value

_MAX_DEPTH = 2


class Activated(NamedTuple):
    """An activation, and what it clips its argument to."""

    function: Callable[..., Any]
    clip: float | None = None


LINEAR = Activated(Activation("identity"))
NAMES = {
    "linear": LINEAR,
    "tanh": Activated(Activation("tanh")),
    "sigmoid": Activated(Activation("sigmoid")),
    "relu": Activated(Activation("relu")),
    "relu6": Activated(Activation("relu"), 6.0),
    "leaky_relu": Activated(Activation("leaky_relu", 0.2)),
    "elu": Activated(Activation("elu", 1.0)),
    "celu": Activated(Activation("elu", 1.0)),  # where its alpha is 1, as by name it always is
    "hard_sigmoid": Activated(Activation("hard_sigmoid", 1 / 6, 0.5)),
    "hard_tanh": Activated(Activation("identity"), 1.0),
    "softplus": Activated(Activation("softplus")),
    "softsign": Activated(Activation("softsign")),
    "softmax": Activated(Activation("softmax")),
    "log_softmax": Activated(Activation("log_softmax")),
}


def from_config(where: str, held: Any, depth: int = 0) -> Activated:
    """Return the activation that a configuration names, or holds as a layer; any other is refused by name."""
    if isinstance(held, str) and held in NAMES:
        return NAMES[held]
    name = held
    if isinstance(held, Mapping):
        name = held.get("class_name")
        if held.get("module") == "keras.layers" and isinstance(name, str) and name in LAYERS:
            return from_layer(where, name, held.get("config"), depth + 1)
        # A function that is called by name has that name for a configuration; a layer has a class.
        name = held["config"] if isinstance(held.get("config"), str) else name
    known = f"{', '.join(NAMES)}, and the layers {', '.join(LAYERS)}"
    msg = f"{where} has the activation {shown_value(name)}; read are {known}."
    raise FormatError(msg)


def from_layer(where: str, kind: str, config: Any, depth: int = 0) -> Activated:
    """Return the activation that a layer applies."""
    if not isinstance(config, Mapping):
        msg = f"the configuration of {where} must be an object; got {type(config).__name__}."
        raise FormatError(msg)
    if kind != "Activation":
        return _READ[kind](where, config)
    if depth > _MAX_DEPTH:
        msg = f"the activation of {where} is of Activation layers in each other, more than {_MAX_DEPTH}."
        raise FormatError(msg)
    return from_config(where, config.get("activation"), depth)


def _relu(where: str, config: Mapping[str, Any]) -> Activated:
    slope, threshold = (_number(where, config, option) for option in ("negative_slope", "threshold"))
    limit = None if config.get("max_value") is None else _number(where, config, "max_value")
    if (limit is not None) + (slope != 0) + (threshold != 0) > 1 or limit == 0:
        msg = f"{where}, a ReLU, may have one of max_value, not 0, negative_slope and threshold."
        raise FormatError(msg)
    if slope:
        return Activated(Activation("leaky_relu", slope))
    return Activated(Activation("thresholded_relu", threshold) if threshold else Activation("relu"), limit)


def _leaky_relu(where: str, config: Mapping[str, Any]) -> Activated:
    return Activated(Activation("leaky_relu", _number(where, config, "negative_slope")))


def _elu(where: str, config: Mapping[str, Any]) -> Activated:
    return Activated(Activation("elu", _number(where, config, "alpha")))


def _softmax(where: str, config: Mapping[str, Any]) -> Activated:
    if config.get("axis") not in (-1, [-1]):
        msg = f"{where} must be over the last axis, axis=-1; got {shown_value(config.get('axis'))}."
        raise FormatError(msg)
    return NAMES["softmax"]


def _number(where: str, config: Mapping[str, Any], option: str) -> float:
    value = config.get(option)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e30:
        msg = f"`{option}` of {where} must be a number; got {shown_value(value)}."
        raise FormatError(msg)
    return float(value)


_READ: Mapping[str, Callable[[str, Mapping[str, Any]], Activated]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "Softmax": _softmax,
}
LAYERS = ("Activation", *_READ)
"""The layers that apply an activation, and nothing else."""
