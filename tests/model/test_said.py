"""Messages say what came in a few words: no data, on one line, whatever it is and wherever it is given."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends import plot
from rnn_backends.core.messages import MOST

SECRET = 0.123456789
TEXT = "secret\n\x1b[31m"


class Hostile:
    """An object that cannot be said at all."""

    def __repr__(self) -> NoReturn:
        raise RuntimeError

    __str__ = __repr__


class Long:
    """An object that says much."""

    def __repr__(self) -> str:
        return TEXT * 1000


def deep() -> Any:
    value: Any = SECRET
    for _ in range(5000):
        value = [value]
    return value


VALUES: dict[str, Any] = {
    "array": np.full((30, 30), SECRET), "many axes": np.full((1,) * 64, SECRET), "structured": np.zeros(3, [("secret" * 50, "f4"), ("b", "S900")]),
    "objects": np.array([TEXT, None], object), "texts": np.array([TEXT * 9] * 9), "list": [SECRET] * 10**5, "deep list": deep(),
    "huge integer": 10**5000, "huge integers": [10**5000], "long text": TEXT * 10**5, "bytes": b"secret" * 10**5, "surrogate": "\ud800" * 500,
    "tuple": (SECRET,) * 1000, "dict": {TEXT * 99: SECRET}, "set": {TEXT, SECRET}, "hostile": Hostile(), "list of hostile": [Hostile()] * 3,
    "long": Long(), "class": Hostile, "module": np, "array class": np.ndarray, "function": len, "complex": complex(SECRET, 1e300), "nan": float("nan"),
    "masked": np.ma.masked_array([SECRET] * 99, [True] * 99), "0-d": np.array(SECRET), "scalar": np.float16(SECRET), "datetime": np.zeros(99, "M8[s]"),
    "none": None, "empty": [], "range": range(10**3), "memoryview": memoryview(np.full((3, 3), SECRET).tobytes()), "negative": -(10**400),
}  # fmt: skip

ONE = {"complex", "scalar"}
"""Those that are no more than a number."""

X, W, H = np.ones((5, 2, 3), np.float32), np.ones((4, 3), np.float32), np.ones((4, 4), np.float32)
MODEL = rb.RNN.init(3, 4, output_size=3)
WORDS = rb.RNN(MODEL.layers, MODEL.readout, vocabulary=["a", "b", "c"])
UNEVEN = rb.RNN(
    [
        rb.Cell(W, H),
        *(rb.Cell(np.ones((4 + k % 2, 4 + (k + 1) % 2), "f4"), np.ones((4 + k % 2,) * 2, "f4")) for k in range(1, 300)),
    ]
)
PLACES: dict[str, Callable[[Any], Any]] = {
    "layers": rb.RNN, "readout": lambda value: rb.RNN(MODEL.layers, value), "encoder": lambda value: rb.RNN(MODEL.layers, encoder=value),
    "reads": lambda value: rb.RNN(MODEL.layers, reads=value), "takes": lambda value: rb.RNN(MODEL.layers, takes=value),
    "h_0": lambda value: rb.RNN(MODEL.layers, h_0=value), "batch_first": lambda value: rb.RNN(MODEL.layers, batch_first=value),
    "weight_ih": lambda value: rb.Cell(value, H), "weight_hh": lambda value: rb.Cell(W, value), "bias": lambda value: rb.Cell(W, H, value),
    "activation": lambda value: rb.Cell(W, H, activation=value), "clip": lambda value: rb.Cell(W, H, clip=value), "leak": lambda value: rb.Cell(W, H, leak=value),
    "alpha": lambda value: rb.Activation("elu", alpha=value), "no parameter": lambda value: rb.Activation("tanh", beta=value), "name": rb.Activation,
    "weight": rb.Linear, "forward": rb.Layer, "result of an activation": lambda value: rb.RNN([rb.Cell(W, H, activation=lambda _: value)])(X),
    "input_size": lambda value: rb.RNN.init(value, 4), "num_layers": lambda value: rb.RNN.init(3, 4, num_layers=value),
    "bias of init": lambda value: rb.RNN.init(3, 4, bias=value), "bidirectional": lambda value: rb.RNN.init(3, 4, bidirectional=value),
    "seed": lambda value: rb.RNN.init(3, 4, seed=value), "dtype": lambda value: MODEL.to(dtype=value), "backend": MODEL.to,
    "backend of init": lambda value: rb.RNN.init(3, 4, backend=value), "get_backend": rb.get_backend, "use_backend": lambda value: rb.use_backend(value).__enter__(),
    "register_backend": rb.register_backend, "name of a backend": lambda value: replace(rb.get_backend("numpy"), name=value),
    "protocol": lambda value: replace(rb.get_backend("numpy"), protocol_version=value), "owns": lambda value: replace(rb.get_backend("numpy"), owns=value),
    "x": MODEL, "h_0 of a call": lambda value: MODEL(X, value), "lengths": lambda value: MODEL(X, lengths=value), "mask": lambda value: MODEL(X, mask=value),
    "h_0 of many cells": lambda value: UNEVEN(X, value), "reads of a call": lambda value: MODEL.logits(X, reads=value), "targets": lambda value: MODEL.loss(X, value),
    "words": WORDS, "texts": lambda value: WORDS([value, "a"]), "prompt": lambda value: MODEL.generate(value, 3), "length": lambda value: MODEL.generate([0], value),
    "temperature": lambda value: MODEL.generate([0], 1, temperature=value), "top_k": lambda value: MODEL.generate([0], 1, top_k=value),
    "top_p": lambda value: MODEL.generate([0], 1, top_p=value), "batch_size": MODEL.stream, "chunk": MODEL.stream(),
    "reset": lambda value: MODEL.stream().reset(value), "pad": rb.pad, "pad one": lambda value: rb.pad([value]), "to_numpy": rb.to_numpy,
    "cross_entropy": lambda value: rb.cross_entropy(value, np.zeros(3, int)), "its targets": lambda value: rb.cross_entropy(X, value),
    "forward's x": lambda value: rb.forward(MODEL.layers, value), "forward's h_0": lambda value: rb.forward(MODEL.layers, X, value),
    "forward's layers": lambda value: rb.forward(value, X), "plotted": plot.network, "plotted steps": plot.trace,
}  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.parametrize("place", PLACES)
def test_what_came_is_said_in_a_few_words(place: str) -> None:
    for kind, value in VALUES.items():
        try:
            PLACES[place](value)
        except rb.RNNBackendError as error:
            message = str(error)
            assert len(message) <= MOST, (kind, len(message))
            assert "\n" not in message, kind
            assert "\x1b" not in message, kind
            assert message.isascii(), kind
            assert kind in ONE or "0.1234" not in message, kind
        # Any other error fails, and so does a warning; where a value is one, nothing is said.


@pytest.mark.parametrize(
    "call",
    [
        lambda: UNEVEN(X, [np.zeros((2, 3), "f4")] * 5000),
        lambda: UNEVEN(X, np.zeros((300, 2, 4), "f4")),
        lambda: UNEVEN(X, [np.zeros((2, 9), "f4")] * 300),
        lambda: rb.RNN(UNEVEN.layers, h_0=[np.zeros(9, "f4")] * 300),
        lambda: rb.RNN(UNEVEN.layers, h_0=np.zeros((300, 4), "f4")),
        lambda: rb.forward(UNEVEN.layers, X, [np.zeros((2, 3), "f4")] * 5000),
        lambda: MODEL(np.zeros((1,) * 64, "f4")),
        lambda: rb.Cell(np.zeros((0, *(2,) * 39), "f4"), H),
        lambda: MODEL.loss(X, np.zeros((1,) * 64, int)),
    ],
    ids=range(9),
)
def test_thousands_of_shapes(call: Callable[[], object]) -> None:
    with pytest.raises(rb.ShapeError) as caught:
        call()
    assert len(str(caught.value)) <= MOST
