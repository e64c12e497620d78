"""Flax's activations by their names, with its own constants, as those of this package."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import got
from rnn_backends.errors import ArgumentError
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.values import Named

NAMES: Mapping[str, Activation] = {
    "identity": Activation("identity"),
    "tanh": Activation("tanh"),
    "relu": Activation("relu"),
    "relu6": Activation("clipped_relu", 6.0),
    "sigmoid": Activation("sigmoid"),
    "hard_sigmoid": Activation("hard_sigmoid", 1 / 6, 0.5),
    "leaky_relu": Activation("leaky_relu", 0.01),
    "elu": Activation("elu", 1.0),
    "celu": Activation("elu", 1.0),
    "softplus": Activation("softplus"),
    "soft_sign": Activation("softsign"),
    "softmax": Activation("softmax"),
    "log_softmax": Activation("log_softmax"),
}
"""Those that are not here, such as ``gelu``, are given as functions."""
_OPTIONS = ("activation", "readout_activation", "encoder_activation")


def looked_up(options: LoadOptions) -> LoadOptions:
    """Return the options with what the names in them mean in Flax."""
    found: dict[str, Any] = {}
    for option in _OPTIONS:
        given = getattr(options, option)
        found[option] = (
            tuple(_function(option, each) for each in given) if isinstance(given, tuple) else _function(option, given)
        )
    return replace(options, **found)


def _function(option: str, given: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if not isinstance(given, Named):
        return given
    if given.name not in NAMES:
        known = ", ".join(NAMES)
        msg = f"`{option}` must be a callable or a name of Flax's, one of {known}; got {got(given.name)}."
        raise ArgumentError(msg)
    return NAMES[given.name]
