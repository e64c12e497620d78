"""Keras 2 itself, as tf_keras: the same numbers, from its models and from the files that it writes."""

from pathlib import Path
from typing import Any

import keras_models as km
import numpy as np
import pytest
from keras_peer import same_alone, same_everywhere

import rnn_backends as rb
from rnn_backends.formats.keras.activations import NAMES


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("tf_keras")


pytestmark = pytest.mark.filterwarnings("ignore")  # of TensorFlow, on its own


@pytest.mark.parametrize("name", km.MODELS)
def test_models_and_their_files(keras: Any, tmp_path: Path, name: str) -> None:
    same_everywhere(keras, name, tmp_path)


@pytest.mark.parametrize("name", km.ALONE)
def test_weights_alone(keras: Any, tmp_path: Path, name: str) -> None:
    same_alone(keras, name, tmp_path, 2)


def test_activations_by_name_are_those_of_keras_itself(keras: Any) -> None:
    z = np.linspace(-9, 9, 1001, dtype="f4").reshape(77, 13)
    for name, (function, clip) in NAMES[2].items():
        wanted = np.asarray(keras.activations.get(name)(keras.backend.constant(z)))
        held = z if clip is None else np.clip(z, -clip, clip)
        np.testing.assert_allclose(function(held), wanted, rtol=1e-6, atol=3e-7, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ReLU", {"max_value": 2.0}),
        ("ReLU", {"negative_slope": 0.25}),
        ("ReLU", {"threshold": 0.5}),
        ("LeakyReLU", {}),
        ("LeakyReLU", {"alpha": 0.125}),
        ("ELU", {"alpha": 0.5}),
        ("ThresholdedReLU", {"theta": 0.75}),
    ],
)
def test_layers_as_activations(keras: Any, tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    made = getattr(keras.layers, kind)(**options)
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.SimpleRNN(4, activation=made)])
    x = km.features()
    km.redraw(model)
    for file in (None, tmp_path / "m.keras", tmp_path / "m.h5"):
        if file is not None:
            model.save(file)
        found = rb.from_keras(model if file is None else file).last(x)
        np.testing.assert_allclose(found, np.asarray(model(x)), rtol=0, atol=2e-6)
    layer = keras.layers.SimpleRNN(4, activation=made)
    layer(x)
    np.testing.assert_allclose(rb.from_keras(layer).last(x), np.asarray(layer(x)), rtol=0, atol=2e-6)


def test_mixed_precision_is_computed_in_the_dtype_of_the_weights(keras: Any, tmp_path: Path) -> None:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((5, 3)), keras.layers.SimpleRNN(4), keras.layers.Dense(2)])
    finally:
        keras.mixed_precision.set_global_policy("float32")
    km.redraw(model)
    model.save(tmp_path / "m.h5")
    for source in (model, tmp_path / "m.h5"):
        rnn = rb.from_keras(source)
        assert rnn.dtype == "float32"
        np.testing.assert_allclose(rnn.logits(km.features()), np.asarray(model(km.features())), rtol=0, atol=0.02)
