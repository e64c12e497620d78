"""Keras's activations, by the definitions of its version, as those of this package."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.values import Named

_MAX_DEPTH = 2


class Activated(NamedTuple):
    """An activation, and what it clips its argument to."""

    function: Callable[..., Any]
    clip: float | None = None


LINEAR = Activated(Activation("identity"))
_BOTH = {
    "linear": LINEAR,
    "tanh": Activated(Activation("tanh")),
    "sigmoid": Activated(Activation("sigmoid")),
    "relu": Activated(Activation("relu")),
    "relu6": Activated(Activation("clipped_relu", 6.0)),
    "leaky_relu": Activated(Activation("leaky_relu", 0.2)),
    "elu": Activated(Activation("elu", 1.0)),
    "softplus": Activated(Activation("softplus")),
    "softsign": Activated(Activation("softsign")),
    "softmax": Activated(Activation("softmax")),
    "log_softmax": Activated(Activation("log_softmax")),
}
_OF_2 = {"hard_sigmoid": Activated(Activation("hard_sigmoid", 0.2, 0.5))}
_OF_3 = {
    "celu": Activated(Activation("elu", 1.0)),  # where its alpha is 1, as by name it always is
    "hard_sigmoid": Activated(Activation("hard_sigmoid", 1 / 6, 0.5)),
    "hard_tanh": Activated(Activation("identity"), 1.0),
}
NAMES: Mapping[int, Mapping[str, Activated]] = {2: {**_BOTH, **_OF_2}, 3: {**_BOTH, **_OF_3}}
"""The activations by the version of Keras, and by name."""


def by_name(option: str, given: Callable[..., Any], version: int | None) -> Activated:
    """Return an activation that the caller gives, whose name means Keras's own.

    Parameters
    ----------
    option : str
    given : callable
        A `Named` if it is given by name; any other means itself.
    version : int, optional
        That of Keras, None where the source does not record it.
    """
    if not isinstance(given, Named):
        return Activated(given)
    name = "linear" if given.name == "identity" else given.name
    found = {NAMES[each][name] for each in NAMES if name in NAMES[each] and version in {each, None}}
    if len(found) == 1:
        return found.pop()
    if not found:
        known = ", ".join({name: None for each in NAMES if version in {each, None} for name in NAMES[each]})
        msg = f"`{option}` must be a callable or a name of Keras's, one of {known}; got {got(given.name)}."
        raise ArgumentError(msg)
    first, second = (NAMES[each][name].function for each in NAMES)
    msg = (
        f"the weights do not record of which Keras {shown(name)} is, as it is another function in Keras 2; "
        f"{way('keras_version', option=option, second=_shown(first), third=_shown(second))}."
    )
    raise FormatError(msg)


def _shown(function: Any) -> str:
    return f"rb.Activation({shown(function.name)}, {function.alpha:.16g}, {function.beta:.16g})"


def from_config(where: str, held: Any, version: int, depth: int = 0) -> Activated:
    """Return the activation that a configuration names, or holds as a layer; any other is refused by name."""
    known = NAMES[version]
    if isinstance(held, str) and held in known:
        return known[held]
    if held is None and version == 2:
        return LINEAR
    name = held
    if isinstance(held, Mapping):
        name = held.get("class_name")
        module = held.get("module", "keras.layers" if version == 2 else None)
        if module in ("keras.layers", "tf_keras.layers") and isinstance(name, str) and name in LAYERS:
            return from_layer(where, name, held.get("config"), version, depth + 1)
        # A function that is called by name has that name for a configuration; a layer has a class.
        name = held["config"] if isinstance(held.get("config"), str) else name
    msg = f"{where} has the activation {got(name)}; read are {', '.join(known)}, and {', '.join(LAYERS)}."
    raise FormatError(msg)


def from_layer(where: str, kind: str, config: Any, version: int, depth: int = 0) -> Activated:
    """Return the activation that a layer applies."""
    if not isinstance(config, Mapping):
        msg = f"the configuration of {where} must be an object; got {type(config).__name__}."
        raise FormatError(msg)
    if kind != "Activation":
        return _READ[kind](where, config, version)
    if depth > _MAX_DEPTH:
        msg = f"the activation of {where} is of Activation layers in each other, more than {_MAX_DEPTH}."
        raise FormatError(msg)
    return from_config(where, config.get("activation"), version, depth)


def _relu(where: str, config: Mapping[str, Any], _: int) -> Activated:
    slope, threshold = (number(where, config, option) for option in ("negative_slope", "threshold"))
    limit = None if config.get("max_value") is None else number(where, config, "max_value")
    if (limit is not None) + (slope != 0) + (threshold != 0) > 1 or (limit is not None and limit <= 0):
        msg = f"{where}, a ReLU, may have one of max_value, above 0, negative_slope and threshold."
        raise FormatError(msg)
    if limit is not None:
        return Activated(Activation("clipped_relu", limit))
    if slope:
        return Activated(Activation("leaky_relu", slope))
    return Activated(Activation("thresholded_relu", threshold) if threshold else Activation("relu"))


def _leaky_relu(where: str, config: Mapping[str, Any], version: int) -> Activated:
    return Activated(Activation("leaky_relu", number(where, config, "negative_slope" if version == 3 else "alpha")))


def _elu(where: str, config: Mapping[str, Any], _: int) -> Activated:
    return Activated(Activation("elu", number(where, config, "alpha")))


def _thresholded_relu(where: str, config: Mapping[str, Any], _: int) -> Activated:
    return Activated(Activation("thresholded_relu", number(where, config, "theta")))


def _softmax(where: str, config: Mapping[str, Any], version: int) -> Activated:
    if config.get("axis") not in (-1, [-1]):
        msg = f"{where} must be over the last axis, axis=-1; got {got(config.get('axis'))}."
        raise FormatError(msg)
    return NAMES[version]["softmax"]


def number(where: str, config: Mapping[str, Any], option: str) -> float:
    """Return an option that is a number; in a running Keras 2 some are arrays of NumPy without axes."""
    value = config.get(option)
    if (
        isinstance(value, Mapping)
        and value.get("class_name") == "__numpy__"
        and isinstance(value.get("config"), Mapping)
    ):
        value = value["config"].get("value")
    if getattr(value, "shape", None) == ():
        value = value.item()  # type: ignore[union-attr]  # it is an array, or a number of NumPy
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e30:
        msg = f"`{option}` of {where} must be a number; got {got(value)}."
        raise FormatError(msg)
    return float(value)


_READ: Mapping[str, Callable[[str, Mapping[str, Any], int], Activated]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "Softmax": _softmax,
    "ThresholdedReLU": _thresholded_relu,  # of Keras 2 alone
}
LAYERS = ("Activation", *_READ)
"""The layers that apply an activation, and nothing else."""
