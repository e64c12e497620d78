"""Models as people make them with Keras 2 and 3, with what each is run on, and what is read of it here."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # it is used with NumPy 1, too
    import rnn_backends as rb

Array = NDArray[Any]
B, T, FEATURES, IDS = 3, 5, 3, 9


class Made(NamedTuple):
    """A model, its input, the options that it is read with, those of a call, and the method that is called."""

    model: Any
    x: Array
    given: Mapping[str, Any]
    call: Mapping[str, Any]
    method: str

    def result(self, rnn: "rb.RNN") -> Array:
        """Return what the network gives."""
        found = getattr(rnn, self.method)(self.x, **self.call)
        return np.asarray(found[0] if self.method == "__call__" else found)


def features(seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(B, T, FEATURES)).astype("f4")


def ids() -> Array:
    return np.random.default_rng(1).integers(0, IDS, (B, T))


def redraw(model: Any, seed: int = 2) -> None:
    """Give a model weights with which no error grows with time, and variances that are positive."""
    draw, held = np.random.default_rng(seed), []
    for variable in model.weights:
        name = variable.name.rpartition("/")[2].partition(":")[0]
        array = draw.normal(size=variable.shape)
        if name == "recurrent_kernel":
            array *= 0.8 / abs(array).sum(axis=0)
        if name in {"moving_variance", "variance", "gamma"}:
            array = 0.5 + abs(array)
        held.append(np.asarray(array if name != "count" else 1, str(np.asarray(variable).dtype)))
    model.set_weights(held)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # which else is done where weights are loaded
            layer.finalize_state()


def made(keras: Any, name: str) -> Made:
    """Return a model by its name."""
    build, method, given = MODELS[name]
    parts = list(build(keras.layers))
    is_tokens = type(parts[0]).__name__ == "Embedding"
    x: Array = ids() if is_tokens else features()
    call: dict[str, Any] = {}
    if given.get("masking"):
        if not is_tokens:
            x = np.where(np.random.default_rng(4).random((B, T, 1)) < 0.6, x, 0)
            x[:, 0] = 1
        call["mask"] = x != 0 if is_tokens else (x != 0).any(axis=-1)
    first = keras.Input((T,), dtype="int32") if is_tokens else keras.Input((T, FEATURES))
    if name.startswith("nested"):
        parts[1].trainable = False
        parts = [keras.Sequential(parts[:-1]), parts[-1]]
    if name.startswith(("functional", "nested functional")):
        output = first
        for part in parts:
            output = part(output)
        model = keras.Model(first, output)
    else:
        model = keras.Sequential([first, *parts])
    redraw(model)
    return Made(model, x, given, call, method)


def _rnn(kl: Any, units: int = 4, **options: Any) -> Any:
    return kl.SimpleRNN(units, **{"return_sequences": True, **options})


def _both(kl: Any, units: int = 4, **options: Any) -> Any:
    return kl.Bidirectional(_rnn(kl, units, **options))


_Parts = Callable[[Any], Sequence[Any]]
MASKING: Mapping[str, Any] = {"masking": True}
MODELS: dict[str, tuple[_Parts, str, Mapping[str, Any]]] = {
    "many to one": (lambda kl: [kl.SimpleRNN(4), kl.Dense(2, activation="sigmoid")], "probabilities", {}),
    "the last step": (lambda kl: [kl.SimpleRNN(4)], "last", {}),
    "every step": (lambda kl: [_rnn(kl), kl.TimeDistributed(kl.Dense(2)), kl.Softmax()], "probabilities", {}),
    "no readout": (lambda kl: [_rnn(kl, activation="hard_sigmoid"), _both(kl, 3)], "__call__", {}),
    "a head": (
        lambda kl: [
            kl.SimpleRNN(4), kl.Dropout(0.5), kl.Dense(6, activation="relu"), kl.Dense(5, use_bias=False),
            kl.LeakyReLU(), kl.Dense(3), kl.Activation("softmax"),
        ],
        "probabilities", {},
    ),
    "logits": (lambda kl: [kl.SimpleRNN(4, use_bias=False), kl.Dense(3)], "logits", {}),
    "both directions": (lambda kl: [kl.Bidirectional(kl.SimpleRNN(4)), kl.Dense(2, activation="tanh")], "probabilities", {}),
    "backwards": (lambda kl: [kl.SimpleRNN(4, go_backwards=True), kl.Dense(2)], "logits", {}),
    "sigmoids": (
        lambda kl: [_rnn(kl, 5, activation="hard_sigmoid"), _rnn(kl, 4, activation="hard_sigmoid"), kl.Dense(3, activation="relu"), kl.Dense(2)],
        "logits", {},
    ),
    "backwards twice": (
        lambda kl: [_rnn(kl, 5, go_backwards=True), kl.SimpleRNN(4, go_backwards=True), kl.Dense(2)], "logits", {},
    ),
    "unequal": (lambda kl: [_rnn(kl, 5), _both(kl, 2), kl.SimpleRNN(3, activation="relu"), kl.Dense(2)], "logits", {}),
    "cells": (
        lambda kl: [kl.RNN([kl.SimpleRNNCell(4), kl.SimpleRNNCell(3, activation=kl.LeakyReLU())]), kl.Dense(2)],
        "logits", {},
    ),
    "an embedding": (lambda kl: [kl.Embedding(IDS, 2), kl.SimpleRNN(4), kl.Dense(2)], "logits", {}),
    "an embedding that masks": (
        lambda kl: [kl.Embedding(IDS, 2, mask_zero=True), _both(kl), kl.SimpleRNN(4), kl.Dense(2)], "logits", MASKING,
    ),
    "functional": (
        lambda kl: [kl.Dense(5, activation="relu"), _rnn(kl), kl.GlobalAveragePooling1D(), kl.Dense(2)], "logits", {},
    ),
    "functional that masks": (lambda kl: [kl.Masking(0.0), _rnn(kl), kl.SimpleRNN(3), kl.Dense(2)], "logits", MASKING),
    "functional that masks and pools": (
        lambda kl: [kl.Embedding(IDS, 6, mask_zero=True), _both(kl), kl.GlobalAveragePooling1D(), kl.Dense(2)],
        "logits", MASKING,
    ),
    "an encoder": (
        lambda kl: [kl.Dense(6, activation="relu"), kl.TimeDistributed(kl.Dense(2)), _rnn(kl), kl.Dense(2)], "logits", {},
    ),
    "nested": (
        lambda kl: [_rnn(kl), kl.BatchNormalization(), _rnn(kl, 5), kl.BatchNormalization(), kl.SimpleRNN(4), kl.Dense(2)],
        "logits", {},
    ),
    "nested functional that masks": (lambda kl: [kl.Masking(0.0), _both(kl), kl.SimpleRNN(4), kl.Dense(2)], "logits", MASKING),
    "a maximum": (lambda kl: [_both(kl), kl.GlobalMaxPooling1D(), kl.Dense(2)], "logits", {}),
    "a mean": (lambda kl: [_rnn(kl, go_backwards=True), kl.GlobalAveragePooling1D(), kl.Dense(2)], "logits", {}),
    "normalized": (
        lambda kl: [kl.Rescaling(0.5, 0.25), kl.Normalization(), _rnn(kl), kl.Dense(2)], "logits", {},
    ),
    "batch norms": (
        lambda kl: [
            kl.BatchNormalization(), kl.Dense(4), kl.BatchNormalization(), kl.ReLU(), _both(kl, 3), kl.BatchNormalization(),
            kl.SimpleRNN(4), kl.BatchNormalization(scale=False), kl.Dense(5, use_bias=False),
            kl.BatchNormalization(center=False, epsilon=0.1), kl.Activation("relu"), kl.BatchNormalization(), kl.Dense(2),
        ],
        "logits", {},
    ),
    "a batch norm of an embedding": (
        lambda kl: [kl.Embedding(IDS, 7), kl.BatchNormalization(), _rnn(kl), kl.TimeDistributed(kl.BatchNormalization()),
                    kl.Dense(2)],
        "logits", {},
    ),
}  # fmt: skip
"""The layers of each, the method that gives what the model gives, and the options that it is read with."""
_TANH: Mapping[str, Any] = {"activation": "tanh", "go_backwards": False}
ALONE: dict[str, Mapping[str, Any]] = {
    "many to one": {**_TANH, "reads": "last", "readout_activation": "sigmoid"},
    "the last step": {**_TANH, "reads": "last"},
    "logits": {**_TANH, "reads": "last", "readout_activation": "identity"},
    "both directions": {**_TANH, "reads": "final", "readout_activation": "tanh"},
    "backwards": {**_TANH, "go_backwards": True, "reads": "final", "readout_activation": "linear"},
    "backwards twice": {**_TANH, "go_backwards": True, "reads": "last", "readout_activation": "linear"},
    "sigmoids": {**_TANH, "activation": "hard_sigmoid", "readout_activation": ("relu", "linear")},
    "an embedding": {**_TANH, "masking": False, "reads": "last", "readout_activation": "linear"},
    "an embedding that masks": {**_TANH, "masking": True, "reads": "last", "readout_activation": "linear"},
    "an encoder": {**_TANH, "encoder_activation": ("relu", "linear"), "readout_activation": "linear"},
}
"""The options that the weights alone of some are read with."""
