"""Keras 3 itself: the same numbers, from its models and from the files that it writes."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_models as km
import numpy as np
import pytest
from bounds import logits_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_files import (
    cells,
)
from keras_peer import same_alone, same_everywhere
from numpy.typing import NDArray
from quick import quick_keras

import rnn_backends as rb
from rnn_backends.formats.keras.activations import NAMES
from rnn_backends.testing import excess, reference

FEATURES, HIDDEN = 3, 4  # of one size, as JAX compiles every operation for each
TRAINED = {"many to one": [False, True]}  # JAX without its compiler takes its time
CONTRACTIVE = ["relu", "hard_sigmoid", "softsign", "leaky_relu", "elu", "sigmoid", "linear", "tanh"]


@pytest.fixture(scope="module")
def keras() -> Iterator[Any]:
    found = pytest.importorskip("keras")
    with quick_keras(found):
        yield found


def double(dtype: str) -> None:
    """Have JAX, where Keras runs on it, compute in float64, which is an option of its."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", dtype == "float64")


def redraw(model: Any, draw: np.random.Generator) -> None:
    """Give a model weights with which no error grows with time."""
    held = []
    for variable in model.weights:
        array = draw.normal(size=variable.shape)
        if variable.name == "recurrent_kernel":
            array *= 0.8 / abs(array).sum(axis=0)
        held.append(array)
    model.set_weights(held)


def same(model: Any, wanted: NDArray[Any], rnn: rb.RNN, x: NDArray[Any], dtype: str, looked_up: NDArray[Any]) -> None:
    """Check that the results of a model, and those of its copy here, stay within the bound of a dtype."""
    bound = reference(
        rnn.layers if x.dtype.kind == "f" else unfolded(model, rnn), looked_up.swapaxes(0, 1), dtype=dtype
    )[0]
    found = rnn(x)[0]
    assert excess(found.swapaxes(0, 1), bound) <= 1
    if rnn.readout is not None:
        bound, found = logits_bound(rnn, bound, dtype), rnn.logits(x, reads="steps")
        assert excess(found.swapaxes(0, 1), bound) <= 1
    assert not rnn.metadata
    if rnn.reads == "steps":
        assert excess(wanted.swapaxes(0, 1), bound) <= 1
    else:
        at = 0 if rnn.layers[-1].forward is None else -1
        bound = type(bound)(bound.value[at], bound.error[at])
        assert excess(wanted, bound) <= 1
    assert wanted.dtype == rnn.dtype == dtype


def unfolded(model: Any, rnn: rb.RNN) -> tuple[rb.Layer, ...]:
    """Return the layers with the kernels before the embedding was folded into them."""
    first = next(layer for layer in model.layers if hasattr(layer, "return_sequences"))
    sides = [first.forward_layer, first.backward_layer] if hasattr(first, "forward_layer") else [first]
    kernels = [np.asarray(side.get_weights()[0]).T for side in sides]
    made = [replace(cell, weight_ih=kernel) for (cell, _), kernel in zip(cells(rnn), kernels, strict=False)]
    backward = rnn.layers[0].forward is None
    held = rb.Layer(None, made[0]) if backward else rb.Layer(*made)
    return (held, *rnn.layers[1:])


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of what Keras itself does
@settings(max_examples=10)
@given(
    ways=st.lists(st.sampled_from(["forward", "backward", "both"]), min_size=1, max_size=3),
    options=st.fixed_dictionaries({"embedded": st.booleans(), "bias": st.booleans(), "dense": st.booleans(),
        "functional": st.booleans(), "last": st.booleans()}),
    activation=st.sampled_from(CONTRACTIVE),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_keras_computes_the_same(
    keras: Any, tmp_path_factory: pytest.TempPathFactory, ways: list[str], options: dict[str, bool], activation: str,
    dtype: str, seed: int,
) -> None:  # fmt: skip
    # Keras rounds tanh to float32 in float64, or refuses it; TensorFlow rounds the slope of leaky_relu.
    if activation == "tanh" or (activation == "leaky_relu" and keras.backend.backend() == "tensorflow"):
        dtype = "float32"
    double(dtype)
    kl, draw = keras.layers, np.random.default_rng(seed)
    ways = [way for k, way in enumerate(ways) if way != "both" or ways[:k].count("backward") % 2 == 0]
    ways = [*ways, "backward"] if ways.count("backward") % 2 and not options["last"] else ways
    keras.config.set_dtype_policy(dtype)
    try:
        layers = [kl.Embedding(6, FEATURES)] if options["embedded"] else []
        for k, way in enumerate(ways):
            sequences = not options["last"] or k + 1 < len(ways) or way == "both"
            held = {"activation": activation, "use_bias": options["bias"], "return_sequences": sequences}
            cell = kl.SimpleRNN(HIDDEN, go_backwards=way == "backward", **held)
            layers += [kl.Bidirectional(cell) if way == "both" else cell, kl.Dropout(0.5)]
        layers += [kl.Dense(3)] if options["dense"] else []
        x = draw.integers(0, 6, (3, 5)) if options["embedded"] else draw.normal(size=(3, 5, FEATURES)).astype(dtype)
        shape = (
            keras.Input((None,), dtype="int32") if options["embedded"] else keras.Input((None, FEATURES), dtype=dtype)
        )
        if options["functional"]:
            output = shape
            for each in layers:
                output = each(output)
            model = keras.Model(shape, output)
        else:
            model = keras.Sequential([shape, *layers])
    finally:
        keras.config.set_dtype_policy("float32")
    redraw(model, draw)
    looked_up = np.asarray(model.get_weights()[0])[x] if options["embedded"] else x
    path = tmp_path_factory.getbasetemp() / "m.keras"
    model.save(path)
    wanted = np.asarray(model(x))
    for source in (path, model):
        same(model, wanted, rb.from_keras(source), x, dtype, looked_up)


def test_activations_by_name_are_those_of_keras_itself(keras: Any) -> None:
    double("float32")
    z = np.linspace(-9, 9, 1001, dtype="f4").reshape(77, 13)
    for name, (function, clip) in NAMES[3].items():
        wanted = np.asarray(keras.activations.get(name)(z))
        held = z if clip is None else np.clip(z, -clip, clip)
        np.testing.assert_allclose(function(held), wanted, rtol=1e-6, atol=3e-7, err_msg=name)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("sequences", [False, True])
def test_padding_that_keras_masks_is_what_lengths_leave_out(keras: Any, sequences: bool) -> None:
    double("float32")
    kl, draw = keras.layers, np.random.default_rng(0)
    cells_ = [kl.SimpleRNNCell(4), kl.SimpleRNNCell(4, activation=kl.LeakyReLU())]
    rnn_ = kl.RNN(cells_, return_sequences=sequences)
    model = keras.Sequential(
        [keras.Input((None,), dtype="int32"), kl.Embedding(6, 3, mask_zero=True), rnn_, kl.Dense(2)]
    )
    redraw(model, draw)
    lengths = np.asarray([5, 3, 1])
    ids = np.where(np.arange(5) < lengths[:, None], draw.integers(1, 6, (3, 5)), 0)
    rnn = rb.from_keras(model, masking=True)
    assert rnn.metadata["keras mask"] == "x != 0; a masked step holds the state"
    wanted, found = np.asarray(model(ids)), rnn.logits(ids, lengths=lengths)
    for b, length in enumerate(lengths):
        valid = wanted[b, :length] if sequences else wanted[b]
        np.testing.assert_allclose(found[b, :length] if sequences else found[b], valid, rtol=0, atol=2e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("first", ["Masking", "Embedding"])
def test_the_masks_of_a_functional_model_are_followed(keras: Any, first: str) -> None:
    double("float32")
    kl, draw = keras.layers, np.random.default_rng(0)
    x = draw.integers(0, 3, (5, 6), "i4") if first == "Embedding" else draw.integers(0, 2, (5, 6, 2)).astype("f4")
    mask = x != 0 if first == "Embedding" else (x != 0).any(axis=-1)
    given = keras.Input(x.shape[1:], dtype=x.dtype.name)
    masked = kl.Embedding(3, 2, mask_zero=True)(given) if first == "Embedding" else kl.Masking(0.0)(given)
    steps = kl.SimpleRNN(4, return_sequences=True)(kl.SimpleRNN(4, return_sequences=True)(masked))
    model = keras.Model(given, kl.Dense(2)(kl.Dropout(0.5)(steps)))
    redraw(model, draw)
    rnn = rb.from_keras(model, masking=True)
    np.testing.assert_allclose(rnn.logits(x, mask=mask), np.asarray(model(x)), rtol=0, atol=2e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("way", ["forward", "stacked", "both directions"])
def test_masks_are_those_of_keras(keras: Any, way: str) -> None:
    """The state is held at masked steps, whose outputs are 0 only in Keras's Bidirectional."""
    double("float32")
    kl, draw = keras.layers, np.random.default_rng(0)
    made = {
        "forward": [kl.SimpleRNN(4, return_sequences=True)],
        "stacked": [kl.SimpleRNN(4, return_sequences=True), kl.SimpleRNN(4, return_sequences=True)],
        "both directions": [kl.Bidirectional(kl.SimpleRNN(4, return_sequences=True))],
    }[way]
    model = keras.Sequential([keras.Input((6, 3)), kl.Masking(-1.0), *made])
    redraw(model, draw)
    mask = draw.random((5, 6)) < 0.6
    x = np.where(mask[..., None], draw.normal(size=(5, 6, 3)), -1.0).astype("f4")
    found = rb.from_keras(model, masking=True)(x, mask=mask)[0]
    if way == "both directions":
        found = np.where(mask[..., None], found, 0)
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=0, atol=2e-6)


@pytest.mark.filterwarnings("ignore")  # of what Keras itself does, and of its older file
@pytest.mark.parametrize("name", km.MODELS)
def test_models_and_their_files(keras: Any, tmp_path: Path, name: str) -> None:
    double("float32")
    same_everywhere(keras, name, tmp_path, TRAINED.get(name, [False]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", km.ALONE)
def test_weights_alone(keras: Any, tmp_path: Path, name: str) -> None:
    double("float32")
    same_alone(keras, name, tmp_path, 3, TRAINED.get(name, [False]))


def test_objects_of_keras_that_are_something_else_are_refused(keras: Any) -> None:
    kl = keras.layers
    base: Any = kl.SimpleRNN

    class Mine(base):  # type: ignore[misc]  # of no known type
        pass

    for source, match in (
        (Mine(3), "is not Keras's own; pass its layers in a row"),
        (keras.Sequential([kl.SimpleRNN(3), kl.LSTM(3)]), "'lstm.*' is a 'keras.layers.LSTM', which has gates"),
        (
            keras.Sequential([keras.Input((2, 3)), kl.SimpleRNN(3), kl.LayerNormalization()]),
            "LayerNormalization', which is not",
        ),
        (keras.Sequential([Mine(3)]), r"Mine', which is not understood"),
        (kl.SimpleRNN(3, activation=np.sin), "Keras has no configuration of this SimpleRNN: "),
        (kl.SimpleRNN(3, activation=redraw), "has the activation 'redraw'; read are"),
        (kl.SimpleRNN(3), "must have 3 arrays, by its options; it has 0; build the model first: call it once"),
    ):
        with pytest.raises(rb.FormatError, match=match):
            rb.from_keras(source)
