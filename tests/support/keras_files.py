"""Files as Keras writes them, made without Keras, and the numbers that Keras computes, by a plain loop."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb

Array = NDArray[Any]

VERSION = {"keras_version": "3.15.1"}
RUN: dict[str, Any] = {
    "return_sequences": True, "return_state": False, "go_backwards": False, "stateful": False, "unroll": False,
    "zero_output_for_mask": False,
}  # fmt: skip
_CELL: dict[str, Any] = {"units": 4, "activation": "tanh", "use_bias": True, "dropout": 0.0, "recurrent_dropout": 0.0}


def layer(kind: str, module: str = "keras.layers", **config: Any) -> dict[str, Any]:
    """Return the configuration of a layer, as a model holds it."""
    return {"module": module, "class_name": kind, "config": {"name": kind.lower(), **config}, "registered_name": None}


def simple_rnn(**options: Any) -> dict[str, Any]:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    zeros = layer("Zeros", "keras.initializers")
    training = {"kernel_initializer": zeros, "bias_regularizer": None, "trainable": True, "dtype": policy}
    return layer("SimpleRNN", **(_CELL | RUN | training | options))


def simple_cell(**options: Any) -> dict[str, Any]:
    return layer("SimpleRNNCell", **(_CELL | options))


def bidirectional(merge_mode: Any = "concat", **options: Any) -> dict[str, Any]:
    forward, backward = simple_rnn(**options), simple_rnn(go_backwards=True, **options)
    return layer("Bidirectional", merge_mode=merge_mode, layer=forward, backward_layer=backward)


def dense(activation: Any = "linear", **options: Any) -> dict[str, Any]:
    return layer("Dense", units=2, activation=activation, use_bias=True, quantization_config=None, **options)


def embedding(mask_zero: bool = False) -> dict[str, Any]:
    return layer("Embedding", input_dim=7, output_dim=3, mask_zero=mask_zero)


def batch_normalization(**options: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "axis": -1,
        "momentum": 0.99,
        "epsilon": 1e-3,
        "center": True,
        "scale": True,
        "synchronized": False,
    }
    return layer("BatchNormalization", **(known | options))


def normalization(**options: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"axis": [-1], "invert": False, "mean": None, "variance": None}
    return layer("Normalization", **(known | options))


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return layer("Sequential", "keras", layers=[layer("InputLayer"), *layers])


def functional(*layers: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return the configuration of a functional model, a chain of layers."""
    held: list[dict[str, Any]] = []
    for number, each in enumerate((layer("InputLayer"), *layers)):
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [f"layer {number - 1}", 0, 0]}}
        nodes = [{"args": [tensor], "kwargs": {"training": False, "mask": None}}] if number else []
        held.append({**each, "name": f"layer {number}", "inbound_nodes": nodes})
    ends = {"layers": held, "input_layers": ["layer 0", 0, 0], "output_layers": [f"layer {len(layers)}", 0, 0]}
    model = layer("Functional", "keras.src.models.functional", **(ends | options))
    return {**model, "registered_name": "Functional"}


def cell_arrays(
    path: str, features: int = 3, size: int = 4, seed: int = 0, dtype: str = "f4", bias: bool = True
) -> dict[str, Array]:
    draw = np.random.default_rng([seed, *path.encode()])
    recurrent = draw.normal(size=(size, size))
    recurrent *= 0.8 / abs(recurrent).sum(axis=0)  # no error grows with time
    arrays = (draw.normal(size=(features, size)), recurrent, *([draw.normal(size=size)] if bias else []))
    return {f"{path}/cell/vars/{number}": array.astype(dtype) for number, array in enumerate(arrays)}


def dense_arrays(path: str, size: int = 4, outputs: int = 2, dtype: str = "f4") -> dict[str, Array]:
    draw = np.random.default_rng([size, *path.encode()])
    return {
        f"{path}/vars/0": draw.normal(size=(size, outputs)).astype(dtype),
        f"{path}/vars/1": np.ones(outputs, dtype),
    }


def hdf5(arrays: Mapping[str, Array], change: Callable[[Any], object] | None = None, **options: Any) -> bytes:
    """Return an HDF5 file of arrays by path, changed by a function of it."""
    h5py = pytest.importorskip("h5py")
    file = io.BytesIO()
    with h5py.File(file, "w", **options) as held:
        held.create_group("layers")
        for path, array in arrays.items():
            held[path] = array
        if change is not None:
            change(held)
    return file.getvalue()


def archive(config: Any, weights: bytes, metadata: Any = VERSION, **more: bytes) -> bytes:
    """Return a .keras file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as held:
        for name, member in (("metadata.json", metadata), ("config.json", config)):
            held.writestr(name, member if isinstance(member, bytes) else json.dumps(member))
        held.writestr("model.weights.h5", weights)
        for name, content in more.items():
            held.writestr(name, content)
    return file.getvalue()


def write(path: Path, config: Any, arrays: Mapping[str, Array], **options: Any) -> Path:
    """Write a .keras file, whose model is a row of layers unless it is described whole."""
    whole = sequential(*config) if isinstance(config, (list, tuple)) else config
    path.write_bytes(archive(whole, hdf5(arrays), **options))
    return path


def simple_rnn_loop(
    x: Array, kernel: Array, recurrent: Array, bias: Array | float, go_backwards: bool = False
) -> Array:
    """Return what a SimpleRNN with tanh returns of (batch, seq_len, features), its steps in the order it takes them."""
    h, states = np.zeros((len(x), len(recurrent))), []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, -1 - t if go_backwards else t] @ kernel + h @ recurrent + bias)
        states.append(h)
    return np.stack(states, axis=1)


def loop(arrays: Mapping[str, Array], x: Array, *ways: tuple[str, bool | None]) -> Array:
    """Return what SimpleRNNs, one on the other, return; of each its path and go_backwards, None for a Bidirectional."""
    x = x.astype("f8")
    for path, way in ways:
        sides = [path] if way is not None else [f"{path}/forward_layer", f"{path}/backward_layer"]
        outputs = []
        for side, backwards in zip(sides, (bool(way), True), strict=False):
            held = [arrays[f"{side}/cell/vars/{number}"].astype("f8") for number in range(3)]
            outputs.append(simple_rnn_loop(x, held[0], held[1], held[2], backwards))
        x = outputs[0] if way is not None else np.concatenate([outputs[0], outputs[1][:, ::-1]], axis=-1)
    return x


def relu(max_value: Any = None, negative_slope: Any = 0.0, threshold: Any = 0.0) -> dict[str, Any]:
    return layer("ReLU", max_value=max_value, negative_slope=negative_slope, threshold=threshold)


GIVEN: dict[str, Any] = {"activation": "tanh", "go_backwards": False}
WITH_READOUT: dict[str, Any] = {**GIVEN, "readout_activation": "softmax"}
FIRST = "layers/simple_rnn"
CELL = cell_arrays(FIRST)
MODEL = {**CELL, **dense_arrays("layers/dense")}
PAIR = {
    **cell_arrays("layers/bidirectional/forward_layer"),
    **cell_arrays("layers/bidirectional/backward_layer"),
}


def cells(rnn: rb.RNN) -> list[tuple[rb.Cell, bool]]:
    return [(cell, reverse) for layer in rnn.layers for cell, reverse in layer.cells if isinstance(cell, rb.Cell)]
