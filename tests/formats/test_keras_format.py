"""Keras 3: files, layers and models, the same numbers as Keras, and nothing lost in silence."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from bounds import logits_bound
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_files import bidirectional, dense, embedding, functional, layer, sequential, simple_cell, simple_rnn
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.formats.keras.activations import NAMES
from rnn_backends.testing import excess, reference

DATA = Path(__file__).parents[1] / "data"
TOLD: dict[str, Any] = {"activation": "tanh", "go_backwards": False}
WITH_READOUT: dict[str, Any] = {**TOLD, "readout_activation": "softmax"}
FIRST = "layers/simple_rnn"
CELL = kf.cell_arrays(FIRST)
MODEL = {**CELL, **kf.dense_arrays("layers/dense")}
PAIR = {
    **kf.cell_arrays("layers/bidirectional/forward_layer"),
    **kf.cell_arrays("layers/bidirectional/backward_layer"),
}


@pytest.fixture(scope="module")
def values() -> Mapping[str, NDArray[Any]]:
    return dict(np.load(DATA / "keras.npz"))


def cells(rnn: rb.RNN) -> list[tuple[rb.Cell, bool]]:
    return [(cell, reverse) for layer in rnn.layers for cell, reverse in layer.cells if isinstance(cell, rb.Cell)]


def within(rnn: rb.RNN, x: Any, wanted: Any, time: slice | int = slice(None)) -> None:
    """Check that the network, and what else is said to compute the same, stay within the bound of float32."""
    steps = x.swapaxes(0, 1)
    bound = reference(rnn.layers, steps if x.dtype.kind == "i" else steps.astype("f4"), dtype="float32")[0]
    found = rnn(x if x.dtype.kind == "i" else x.astype("f4"))[0]
    assert excess(found.swapaxes(0, 1), bound) <= 1
    if rnn.readout is not None:
        bound = logits_bound(rnn, bound, "float32")
    assert (
        excess(wanted if time == slice(None) else wanted[None], type(bound)(bound.value[time], bound.error[time])) <= 1
    )


# Files that Keras wrote


def test_weights_are_those_that_keras_holds(values: Mapping[str, Any]) -> None:
    rnn = rb.load(DATA / "stack.weights.h5", **WITH_READOUT)
    held = [values[f"stack.weights.h5/{number}"] for number in range(8)]
    found = [array for cell, _ in cells(rnn) for array in (cell.weight_ih.T, cell.weight_hh.T, cell.bias)]
    assert rnn.readout is not None
    for array, wanted in zip([*found, rnn.readout.weight.T, rnn.readout.bias], held, strict=True):
        assert array.tobytes() == wanted.tobytes()
    assert rnn.batch_first
    assert not rnn.metadata


def test_bfloat16_becomes_float32_exactly(values: Mapping[str, Any]) -> None:
    rnn = rb.load(DATA / "bfloat16.weights.h5", **WITH_READOUT)
    assert rnn.dtype == "float32"
    for number, (cell, _) in enumerate(cells(rnn)):
        np.testing.assert_array_equal(cell.weight_hh.T, values[f"bfloat16.weights.h5/{3 * number + 1}"])


def test_a_model_of_every_step_is_what_keras_computes(values: Mapping[str, Any]) -> None:
    rnn = rb.load(DATA / "tagger.keras")
    assert [reverse for _, reverse in cells(rnn)] == [False, True, True, False]
    activations = [cell.activation for cell, _ in cells(rnn)]
    assert activations[2:] == [rb.Activation("hard_sigmoid", 1 / 6, 0.5), rb.Activation("leaky_relu", 0.3)]
    assert rnn.metadata == {"keras output": "probabilities (batch, seq_len, output_size)"}
    np.testing.assert_allclose(rnn.probabilities(values["ids"]), values["tagger.keras/output"], rtol=0, atol=1e-6)


def test_a_model_of_the_last_step_is_what_keras_computes(values: Mapping[str, Any]) -> None:
    rnn = rb.load(DATA / "classifier.keras")
    assert rnn.metadata == {"keras output": "probabilities of the last step (batch, output_size)"}
    assert [cell.bias is None for cell, _ in cells(rnn)] == [False, True]
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("sigmoid")
    found = rnn.probabilities(values["x"].astype("f4"))[:, -1]
    np.testing.assert_allclose(found, values["classifier.keras/output"], rtol=0, atol=1e-6)


def test_weights_alone_are_what_keras_computes(values: Mapping[str, Any]) -> None:
    rnn = rb.load(DATA / "stack.weights.h5", **WITH_READOUT)
    within(rnn, values["x"], values["stack.weights.h5/output"].swapaxes(0, 1))


def test_no_framework_is_imported() -> None:
    program = (
        "import sys\n"
        "for name in ('keras', 'tensorflow', 'jax', 'torch', 'h5py', 'ml_dtypes'): sys.modules[name] = None\n"
        "import rnn_backends as rb\n"
        "print(rb.load(sys.argv[1]).readout.output_size)\n"
        "print(rb.load(sys.argv[2], activation='tanh', readout_activation='softmax', go_backwards=False).backend.name)"
    )
    command = [sys.executable, "-c", program, str(DATA / "tagger.keras"), str(DATA / "stack.weights.h5")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["2", "numpy"]


# Options


def test_a_layer_that_goes_backwards_gives_its_steps_to_the_next_as_it_took_them(tmp_path: Path) -> None:
    arrays = {path: array for k in range(4) for path, array in kf.cell_arrays(
        FIRST if k == 0 else f"{FIRST}_{k}", 4 if k else 3).items()}  # fmt: skip
    ways = [True, False, True, False]
    rnn = rb.load(kf.write(tmp_path / "m.keras", [simple_rnn(go_backwards=way) for way in ways], arrays))
    assert [reverse for _, reverse in cells(rnn)] == [True, True, False, False]
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    steps = [(FIRST if k == 0 else f"{FIRST}_{k}", way) for k, way in enumerate(ways)]
    within(rnn, x, kf.loop(arrays, x, *steps).swapaxes(0, 1))


@pytest.mark.parametrize("way", [False, True])
def test_the_last_step_is_the_last_that_the_layer_took(tmp_path: Path, way: bool) -> None:
    config = [simple_rnn(go_backwards=way, return_sequences=False)]
    rnn = rb.load(kf.write(tmp_path / "m.keras", config, CELL))
    which = "first" if way else "last"
    assert rnn.metadata == {"keras output": f"output of the {which} step (batch, hidden_size)"}
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    wanted = kf.loop(CELL, x, (FIRST, way))[:, -1]
    within(rnn, x, wanted, slice(1) if way else slice(-1, None))


def test_both_directions_are_one_layer(tmp_path: Path) -> None:
    rnn = rb.load(kf.write(tmp_path / "m.keras", [bidirectional()], PAIR))
    assert [reverse for _, reverse in cells(rnn)] == [False, True]
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    within(rnn, x, kf.loop(PAIR, x, ("layers/bidirectional", None)).swapaxes(0, 1))


def test_the_last_states_of_both_directions_are_h_n(tmp_path: Path) -> None:
    rnn = rb.load(kf.write(tmp_path / "m.keras", [bidirectional(return_sequences=False)], PAIR))
    assert rnn.metadata == {"keras output": "h_n[0] and h_n[1], joined (batch, 2 * hidden_size)"}


def test_cells_in_one_rnn_are_layers(tmp_path: Path) -> None:
    cells_ = layer("StackedRNNCells", cells=[simple_cell(), simple_cell(activation="relu", use_bias=False)])
    paths = [f"layers/rnn/cell/cells/simple_rnn_cell{end}" for end in ("", "_1")]
    first = {path.replace("/cell/vars", "/vars"): array for path, array in kf.cell_arrays(paths[0]).items()}
    second = {path.replace("/cell/vars", "/vars"): a for path, a in kf.cell_arrays(paths[1], 4, bias=False).items()}
    config = [layer("RNN", cell=cells_, **kf.RUN)]
    found = cells(rb.load(kf.write(tmp_path / "m.keras", config, {**first, **second})))
    np.testing.assert_array_equal(found[0][0].weight_hh.T, first[f"{paths[0]}/vars/1"])
    np.testing.assert_array_equal(found[1][0].weight_ih.T, second[f"{paths[1]}/vars/0"])
    assert [cell.activation for cell, _ in found] == [rb.Activation("tanh"), rb.Activation("relu")]
    assert found[1][0].bias is None


def test_a_single_cell_in_an_rnn_is_a_layer(tmp_path: Path) -> None:
    config = [layer("RNN", cell=simple_cell(), **kf.RUN | {"go_backwards": True, "return_sequences": False})]
    ((cell, reverse),) = cells(rb.load(kf.write(tmp_path / "m.keras", config, kf.cell_arrays("layers/rnn"))))
    assert reverse
    assert cell.input_size == 3


@pytest.mark.parametrize("nested", [sequential, functional])
def test_models_may_stand_in_models(tmp_path: Path, nested: Callable[..., Any]) -> None:
    folder = {sequential: "sequential", functional: "functional"}[nested]
    inner = kf.cell_arrays(f"layers/{folder}/layers/simple_rnn_1", 4) | kf.cell_arrays(f"layers/{folder}/{FIRST}")
    config = functional(nested(simple_rnn(), layer("Dropout", rate=0.5), simple_rnn()), dense())
    found = cells(rb.load(kf.write(tmp_path / "m.keras", config, {**inner, **kf.dense_arrays("layers/dense")})))
    np.testing.assert_array_equal(found[1][0].weight_ih.T, inner[f"layers/{folder}/layers/simple_rnn_1/cell/vars/0"])


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("inner", "after", "activation"),
    [
        ("linear", [], rb.Activation("identity")),
        ("softmax", [], rb.Activation("softmax")),
        ("linear", [layer("Activation", activation="sigmoid")], rb.Activation("sigmoid")),
        ("linear", [layer("Softmax", axis=-1)], rb.Activation("softmax")),
        ("linear", [layer("Softmax", axis=[-1])], rb.Activation("softmax")),
        ("log_softmax", [layer("Activation", activation="linear")], rb.Activation("log_softmax")),
    ],
)
def test_a_dense_is_the_readout(tmp_path: Path, inside: bool, inner: str, after: list[Any], activation: Any) -> None:
    held = layer("TimeDistributed", layer=dense(inner)) if inside else dense(inner)
    path = "layers/time_distributed/layer" if inside else "layers/dense"
    arrays = {**CELL, **kf.dense_arrays(path)}
    rnn = rb.load(kf.write(tmp_path / "m.keras", [simple_rnn(), layer("Dropout"), held, *after], arrays))
    assert rnn.readout is not None
    assert rnn.readout.activation == activation
    np.testing.assert_array_equal(rnn.readout.weight.T, arrays[f"{path}/vars/0"])
    np.testing.assert_array_equal(rnn.readout.bias, arrays[f"{path}/vars/1"])


def test_an_embedding_is_folded_into_the_first_layer(tmp_path: Path) -> None:
    table = np.random.default_rng(9).normal(size=(7, 3)).astype("f4")
    arrays = {**PAIR, "layers/embedding/vars/0": table}
    rnn = rb.load(kf.write(tmp_path / "m.keras", [embedding(), bidirectional()], arrays))
    for (cell, _), side in zip(cells(rnn), ("forward", "backward"), strict=True):
        kernel = PAIR[f"layers/bidirectional/{side}_layer/cell/vars/0"]
        np.testing.assert_array_equal(cell.weight_ih, (kernel.T.astype("f8") @ table.T.astype("f8")).astype("f4"))


def test_options_of_the_call_are_honoured(tmp_path: Path) -> None:
    path = kf.write(tmp_path / "m.keras", [simple_rnn(), dense()], MODEL)
    options: dict[str, Any] = {
        "batch_first": False,
        "readout_activation": "sigmoid",
        "backend": "array_api_strict:device1",
    }
    for rnn in (rb.load(path, **options), rb.from_keras(path, **options), rb.from_keras(str(path), **options)):
        assert rnn.readout is not None
        assert (rnn.batch_first, rnn.readout.activation) == (False, rb.Activation("sigmoid"))
        assert (rnn.backend.name, rnn.device) == ("array_api_strict", "device1")
    assert rb.load(path).batch_first


def test_what_only_trains_is_left_out(tmp_path: Path) -> None:
    kinds = (
        "Dropout",
        "SpatialDropout1D",
        "AlphaDropout",
        "GaussianDropout",
        "GaussianNoise",
        "ActivityRegularization",
    )
    config = [
        *map(layer, kinds),
        simple_rnn(dropout=0.5, recurrent_dropout=0.5, unroll=True, seed=3),
        layer("Identity"),
    ]
    assert len(cells(rb.load(kf.write(tmp_path / "m.keras", config, CELL)))) == 1


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("bias", [False, True])
def test_weights_keep_their_dtype(tmp_path: Path, dtype: str, bias: bool) -> None:
    arrays = kf.cell_arrays(FIRST, dtype=dtype, bias=bias)
    ((cell, _),) = cells(rb.load(kf.write(tmp_path / "m.keras", [simple_rnn(use_bias=bias)], arrays)))
    assert cell.weight_ih.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(cell.weight_ih.T, arrays[f"{FIRST}/cell/vars/0"])
    assert (cell.bias is not None) == bias


def of(kind: str, **config: Any) -> dict[str, Any]:
    return layer(kind, **config)


def relu(max_value: Any = None, negative_slope: Any = 0.0, threshold: Any = 0.0) -> dict[str, Any]:
    return of("ReLU", max_value=max_value, negative_slope=negative_slope, threshold=threshold)


# By the definitions of keras.activations and keras.layers.
ACTIVATIONS: list[tuple[Any, Callable[[NDArray[Any]], NDArray[Any]]]] = [
    ("linear", lambda z: z),
    ("tanh", np.tanh),
    ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
    ("relu", lambda z: np.maximum(z, 0)),
    ("relu6", lambda z: np.minimum(np.maximum(z, 0), 6)),
    ("leaky_relu", lambda z: np.where(z > 0, z, 0.2 * z)),
    ("elu", lambda z: np.where(z > 0, z, np.expm1(z))),
    ("celu", lambda z: np.maximum(z, 0) + np.minimum(0, np.expm1(z))),
    ("hard_sigmoid", lambda z: np.minimum(np.maximum(z + 3, 0), 6) / 6),
    ("hard_tanh", lambda z: np.clip(z, -1, 1)),
    ("softplus", lambda z: np.log1p(np.exp(z))),
    ("softsign", lambda z: z / (1 + abs(z))),
    ("softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)),
    ("log_softmax", lambda z: z - np.log(np.exp(z).sum(axis=-1, keepdims=True))),
    (relu(), lambda z: np.maximum(z, 0)),
    (relu(max_value=3), lambda z: np.minimum(np.maximum(z, 0), 3)),
    (relu(negative_slope=0.4), lambda z: np.where(z > 0, z, 0.4 * z)),
    (relu(threshold=1.5), lambda z: np.where(z > 1.5, z, 0)),
    (of("LeakyReLU", negative_slope=0.3), lambda z: np.where(z > 0, z, 0.3 * z)),
    (of("ELU", alpha=0.7), lambda z: np.where(z > 0, z, 0.7 * np.expm1(z))),
    (of("Softmax", axis=-1), lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)),
    (of("Activation", activation="hard_sigmoid"), lambda z: np.minimum(np.maximum(z + 3, 0), 6) / 6),
]


@pytest.mark.parametrize(
    ("activation", "function"), ACTIVATIONS, ids=lambda each: "" if callable(each) else str(each)[:90]
)
def test_activations_are_those_of_keras(tmp_path: Path, activation: Any, function: Callable[[Any], Any]) -> None:
    arrays = kf.cell_arrays(FIRST, dtype="f8")
    rnn = rb.load(kf.write(tmp_path / "m.keras", [simple_rnn(activation=activation)], arrays))
    x = np.linspace(-9, 9, 60).reshape(20, 1, 3)
    z = x[:, 0] @ arrays[f"{FIRST}/cell/vars/0"] + arrays[f"{FIRST}/cell/vars/2"]
    np.testing.assert_allclose(rnn(x)[0][:, 0], function(z), rtol=1e-13, atol=1e-13)
    assert z.min() < -6.5
    assert z.max() > 6.5


# Masks


MASKED: dict[str, tuple[str, list[Any], dict[str, Any], str]] = {
    "ids": (
        "x != 0",
        [embedding(mask_zero=True), simple_rnn()],
        {**CELL, "layers/embedding/vars/0": np.ones((7, 3), "f4")},
        "a masked step holds the state",
    ),
    "features": (
        "(x != 0.5).any(axis=-1)",
        [layer("Masking", mask_value=0.5), bidirectional(zero_output_for_mask=True)],
        PAIR,
        "masked steps differ: Keras gives 0; here they give the state, which is held",
    ),
    "unrolled": (
        "(x != 0.5).any(axis=-1)",
        [layer("Masking", mask_value=0.5), bidirectional(zero_output_for_mask=True, unroll=True)],
        PAIR,
        "masked steps differ: Keras gives 0, or the state on some backends; here they give the state, which is held",
    ),
    "a Dense": (
        "(x != 0.5).any(axis=-1)",
        [layer("Masking", mask_value=0.5), simple_rnn(zero_output_for_mask=True), dense()],
        MODEL,
        "masked steps differ: Keras gives the readout of 0; here they give the readout of the state, which is held",
    ),
}


@pytest.mark.parametrize("kind", MASKED)
def test_masks_of_the_model_become_the_callers(tmp_path: Path, kind: str) -> None:
    mask, config, arrays, note = MASKED[kind]
    path = kf.write(tmp_path / "m.keras", config, arrays)
    with pytest.raises(rb.FormatError) as caught:
        rb.load(path)
    assert str(caught.value) == (
        f"{path}: the model itself leaves out the steps where {mask} is False; here a mask is an argument of each call. "
        f"Pass masking=True, and mask={mask} at each call."
    )
    for read in (rb.load, rb.from_keras):
        assert read(path, masking=True).metadata["keras mask"] == f"{mask}; {note}"


@pytest.mark.parametrize("options", [{}, {"readout_activation": "softmax"}])
def test_the_output_of_a_linear_dense_is_logits(tmp_path: Path, options: dict[str, Any]) -> None:
    for config, output in (
        ([simple_rnn(), dense()], "logits (batch, seq_len, output_size)"),
        ([simple_rnn(return_sequences=False), dense()], "logits of the last step (batch, output_size)"),
    ):
        rnn = rb.load(kf.write(tmp_path / "m.keras", config, MODEL), **options)
        assert rnn.metadata == {"keras output": output}


@pytest.mark.parametrize("kind", ["Masking", "Embedding"])
def test_a_mask_that_keras_does_not_turn_with_the_steps_is_refused(tmp_path: Path, kind: str) -> None:
    first = layer("Masking", mask_value=0.0) if kind == "Masking" else embedding(mask_zero=True)
    back, table = simple_rnn(go_backwards=True, name="back"), {"layers/embedding/vars/0": np.ones((7, 3), "f4")}
    arrays = {**CELL, **kf.cell_arrays(f"{FIRST}_1", 4), **table}
    for layers in ([back, back], [back, simple_rnn(return_sequences=False)]):
        path = kf.write(tmp_path / "m.keras", [first, *layers], arrays)
        with pytest.raises(
            rb.FormatError, match="'back' goes backwards and a layer takes its steps in reverse, but Keras"
        ):
            rb.from_keras(path, masking=True)
    last = simple_rnn(go_backwards=True, return_sequences=False)
    path = kf.write(tmp_path / "m.keras", [first, simple_rnn(), last], arrays)
    assert [reverse for _, reverse in cells(rb.from_keras(path, masking=True))] == [False, True]


def test_masking_is_true_or_false() -> None:
    with pytest.raises(rb.ArgumentError, match="`masking` must be True or False; got 1"):
        rb.from_keras(DATA / "tagger.keras", masking=1)  # type: ignore[arg-type]  # the test is that
    with pytest.raises(rb.ArgumentError, match="`masking` must be True or False; got 'yes'"):
        rb.load(DATA / "stack.weights.h5", masking="yes", **WITH_READOUT)  # type: ignore[arg-type]


# What is refused


def changed(model: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {**model, **options}


def called_with(**options: Any) -> dict[str, Any]:
    model = functional(simple_rnn())
    (node,) = model["config"]["layers"][1]["inbound_nodes"]
    node["kwargs"] |= options
    return model


def fed(history: Any) -> dict[str, Any]:
    model = functional(simple_rnn())
    model["config"]["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = history
    return model


def deep(depth: int) -> dict[str, Any]:
    model = simple_rnn()
    for _ in range(depth):
        model = sequential(model)
    return model


def beside() -> dict[str, Any]:
    model = functional(simple_rnn(), dense())
    model["config"]["layers"][2]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "layer 0"
    return model


TWICE = functional(simple_rnn())
TWICE["config"]["layers"][1]["inbound_nodes"] *= 2
WRONG_MODELS: dict[str, tuple[Any, str]] = {
    "a Lambda": ([simple_rnn(), layer("Lambda", function={})], r"'lambda' is a 'keras\.layers\.Lambda', which is code; nothing in a"),
    "an LSTM": ([layer("LSTM")], r"'lstm' is a 'keras\.layers\.LSTM', which has gates; this package runs vanilla RNNs"),
    "a GRU in two directions": ([layer("Bidirectional", merge_mode="concat", layer=layer("GRU"))], "'gru' is a .* which has gates"),
    "another layer": ([simple_rnn(), layer("Conv1D")], r"'conv1d' is a 'keras\.layers\.Conv1D', which is not understood; underst"),
    "a class of the user": ([changed(simple_rnn(), module="mine")], r"'simplernn' is a 'mine\.SimpleRNN', which is not underst"),
    "a class of nowhere": ([changed(simple_rnn(), module=None)], r"'simplernn' is a 'None\.SimpleRNN', which is not understood"),
    "a registered class": ([changed(simple_rnn(), registered_name="Custom>SimpleRNN")], "which is not understood"),
    "a registered list": ([changed(simple_rnn(), registered_name=[])], "which is not understood"),
    "no layer": ([3], "a layer must be described by its class_name and config; got 3"),
    "no configuration": ([changed(simple_rnn(), config=[])], "must be described by its class_name and config; got dict"),
    "no model": ({}, "must be described by its class_name and config; got dict"),
    "no list of layers": (layer("Sequential", layers="abc"), "'sequential' must have a list of layers, and at most 16"),
    "models in models": (deep(40), "must have a list of layers, and at most 16 models in each other"),
    "nothing": ([], "the layers must be Masking or Embedding, SimpleRNN .* got none"),
    "no recurrent layer": ([dense()], r"at least one of them recurrent; got 'dense' \(Dense\)"),
    "a Dense before": ([dense(), simple_rnn()], r"in this order, .*; got 'dense' \(Dense\), 'simplernn' \(SimpleRNN\)"),
    "two Dense": ([simple_rnn(), dense(), dense()], "in this order"),
    "two embeddings": ([embedding(), embedding(), simple_rnn()], "in this order"),
    "an activation of states": ([simple_rnn(), layer("Activation", activation="tanh")], "in this order"),
    "a mask of states": ([simple_rnn(), layer("Masking", mask_value=0.0), simple_rnn()], "in this order"),
    "a mask of an embedding": ([embedding(), layer("Masking", mask_value=0.0), simple_rnn()], "in this order"),
    "a cell alone": ([simple_rnn(), simple_cell()], r"in this order, .* 'simplernncell' \(SimpleRNNCell\)"),
    "a state that is kept": ([simple_rnn(stateful=True)], r"'simplernn' is stateful: .* here rnn\.stream\(\) does that"),
    "a state that is kept in both": ([bidirectional(stateful=True)], "is stateful"),
    "steps in reverse": ([simple_rnn(go_backwards=True)], "goes backwards and returns all steps, the last one first, where"),
    "the last step of two": ([bidirectional(return_sequences=False), dense()], "of different steps, and a Dense reads both"),
    "one step for a layer": ([simple_rnn(return_sequences=False), simple_rnn()], "'simplernn' must have return_sequences=True"),
    "a sum of directions": ([bidirectional(merge_mode="sum")], "'bidirectional' has merge_mode='sum'; a layer of both"),
    "directions apart": ([bidirectional(merge_mode=None)], "'bidirectional' has merge_mode=None"),
    "directions exchanged": ([layer("Bidirectional", merge_mode="concat", layer=simple_rnn(go_backwards=True),
        backward_layer=simple_rnn())], "must have one cell that goes forward, then one with go_backwards=True"),
    "directions of one step and all": ([layer("Bidirectional", merge_mode="concat", layer=simple_rnn(),
        backward_layer=simple_rnn(go_backwards=True, return_sequences=False))], "must have one `return_sequences`"),
    "one direction": ([layer("Bidirectional", merge_mode="concat", layer=simple_rnn())], "by its class_name .* got None"),
    "directions of a Dense": ([layer("Bidirectional", merge_mode="concat", layer=dense(), backward_layer=dense())],
        "'dense' must be a SimpleRNN, or an RNN of SimpleRNNCells; it is a Dense"),
    "stacks in two directions": ([layer("Bidirectional", merge_mode="concat", layer=layer("RNN", **kf.RUN, cell=layer(
        "StackedRNNCells", cells=[simple_cell(), simple_cell()])), backward_layer=simple_rnn(go_backwards=True))],
        "must have one cell that goes forward"),
    "both directions of reversed steps": ([simple_rnn(go_backwards=True), bidirectional()], "joined the other way round"),
    "cells of a Dense": ([layer("RNN", cell=dense(), **kf.RUN)], "the cells of 'rnn' must be SimpleRNNCells; got Dense"),
    "no cells": ([layer("RNN", cell=layer("StackedRNNCells", cells=[]), **kf.RUN)], "must be SimpleRNNCells; got none"),
    "no list of cells": ([layer("RNN", cell=layer("StackedRNNCells", cells=3), **kf.RUN)], "must be SimpleRNNCells; got none"),
    "an option of tomorrow": ([simple_rnn(clip=3.0)], "'simplernn', a SimpleRNN, has the option 'clip', which is not unders"),
    "a quantized Dense": ([simple_rnn(), changed(dense(), config=dense()["config"] | {"lora_rank": 2})], "the option 'lora_rank'"),
    "a flag that is none": ([simple_rnn(use_bias=1)], "`use_bias` of 'simplernn' must be true or false; got 1"),
    "a flag that is missing": ([layer("SimpleRNN", **kf.RUN, activation="tanh")], "`use_bias` of .* true or false; got None"),
    "another dtype": ([simple_rnn(dtype="int8")], "'simplernn' has the dtype policy 'int8'; it must be one of bfloat16"),
    "a quantized dtype": ([simple_rnn(dtype=layer("QuantizedDTypePolicy"))], "has the dtype policy 'QuantizedDTypePolicy'"),
    "a dtype of nothing": ([simple_rnn(dtype={"class_name": "DTypePolicy", "config": 3})], "the dtype policy 'DTypePolicy'"),
    "a name that is none": ([simple_rnn(name={"a": 1}, stateful=True)], ": dict is stateful"),
    "a layer in time": ([simple_rnn(), layer("TimeDistributed", layer=simple_rnn())], "must hold a Dense; it holds 'simplernn'"),
    "two activations": ([simple_rnn(), dense("tanh"), layer("Softmax", axis=-1)], "'softmax', a Softmax, follows another act"),
    "a softmax over steps": ([simple_rnn(), dense(), layer("Softmax", axis=1)], "'softmax' must be over the last axis, axis=-1; got 1"),
    "a readout that clips": ([simple_rnn(), dense("relu6")], "the activation of a readout cannot clip, as relu6"),
    "another activation": ([simple_rnn(activation="gelu")], "'simplernn' has the activation 'gelu'; read are linear, tanh, "),
    "a function": ([simple_rnn(activation={"class_name": "function", "config": "mine"})], "has the activation 'mine'; read"),
    "a lambda": ([simple_rnn(activation={"class_name": "__lambda__", "config": {"code": ""}})], "the activation '__lambda__'"),
    "a layer of weights": ([simple_rnn(activation=layer("PReLU"))], "has the activation 'PReLU'; read are"),
    "a ReLU of the user": ([simple_rnn(activation=layer("ReLU", "mine"))], "has the activation 'ReLU'; read are"),
    "no activation": ([simple_rnn(activation=None)], "has the activation None; read are"),
    "a list of activations": ([simple_rnn(activation=["tanh"])], "has the activation list; read are"),
    "a ReLU of nothing": ([simple_rnn(activation=changed(relu(), config=3))], "configuration of 'simplernn' must be an object"),
    "a ReLU of two options": ([simple_rnn(activation=relu(max_value=6.0, threshold=1.0))], "may have one of max_value, not 0"),
    "a slope and a limit": ([simple_rnn(activation=relu(max_value=6.0, negative_slope=0.1))], "may have one of max_value"),
    "a ReLU of 0": ([simple_rnn(activation=relu(max_value=0))], "may have one of max_value, not 0, negative_slope and"),
    "a slope of nothing": ([simple_rnn(activation=of("LeakyReLU"))], "`negative_slope` of 'simplernn' must be a number; got None"),
    "a huge slope": ([simple_rnn(activation=of("LeakyReLU", negative_slope=10**400))], "`negative_slope` of .* must be a number"),
    "an alpha of true": ([simple_rnn(activation=of("ELU", alpha=True))], "`alpha` of 'simplernn' must be a number; got True"),
    "training for ever": (called_with(training=True), "'layer 1' must be called with the first output of one layer alone; .* 'training'"),
    "a mask that is given": (called_with(mask={"class_name": "__keras_tensor__"}), "'layer 1' is called with a mask, .* save keras.Sequential"),
    "a state that is given": (called_with(initial_state=[1]), "it is called with the option 'initial_state'"),
    "a layer of two calls": (TWICE, "'layer 1' must be called once, with the output of one layer"),
    "another output": (fed(["layer 0", 0, 1]), "of one layer alone; it is called with another"),
    "an output of nothing": (fed(3), "'layer 1' must be called once"),
    "an output of a list": (fed([["layer 0"], 0, 0]), "must be called with the first output of one layer alone"),
    "an output of nowhere": (fed(["mine", 0, 0]), "must be one chain from its input to its output; beside it there are 'layer 0'"),
    "an output of no place": (fed(["layer 0"]), "of one layer alone; it is called with another"),
    "an input that computes": (functional(simple_rnn(), input_layers=["layer 1", 0, 0]), "must be an InputLayer; 'layer 1' is none"),
    "an input of nowhere": (functional(simple_rnn(), input_layers=["mine", 0, 0]), "must be an InputLayer; 'mine' is none"),
    "a circle": (fed(["layer 1", 0, 0]), "must be one chain from its input to its output; beside it there are 'layer 0'"),
    "a layer beside": (beside(), "must be one chain from its input to its output; beside it there are 'layer 1'"),
    "two outputs": (functional(simple_rnn(), output_layers=[["layer 1", 0, 0], ["layer 1", 0, 1]]), "one input and one output"),
    "the state for an output": (functional(simple_rnn(), output_layers=["layer 1", 0, 1]), "one input and one output, the first"),
    "no output": (functional(simple_rnn(), output_layers=None), "must have one input and one output, .* got None"),
    "layers without names": (functional(simple_rnn(), layers=[3]), "each layer of a functional model must have a name; got None"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_MODELS)
def test_what_is_not_understood_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    model, match = WRONG_MODELS[kind]
    whole = sequential(*model) if isinstance(model, list) else model
    path = tmp_path / "m.keras"
    path.write_bytes(kf.archive(whole, (DATA / "stack.weights.h5").read_bytes()))
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_softmax_is_not_masked(tmp_path: Path) -> None:
    config = [layer("Masking", mask_value=0.0), simple_rnn(), dense(), layer("Softmax", axis=-1)]
    path = kf.write(tmp_path / "m.keras", config, MODEL)
    with pytest.raises(rb.FormatError, match="'softmax', a Softmax, takes the mask of the steps for one of its inputs"):
        rb.from_keras(path, masking=True)


WRONG_WEIGHTS: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "no weights": ([simple_rnn()], {}, "it lacks 'layers/simple_rnn'"),
    "no bias": ([simple_rnn()], kf.cell_arrays(FIRST, bias=False), "'layers/simple_rnn/cell' must have 3 arrays, as its options"),
    "a bias too many": ([simple_rnn(use_bias=False)], CELL, "'layers/simple_rnn/cell' must have 2 arrays, .* it has 3"),
    "other names": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/x": np.ones(1, "f4")}, "must be named 0, 1, ...; they are '0'"),
    "an array for a group": ([simple_rnn()], {f"{FIRST}/cell": np.ones(1, "f4")}, "'layers/simple_rnn/cell' is no group that Ker"),
    "a group for an array": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/2/0": np.ones(1, "f4")}, "simple_rnn/cell/vars/2'"),
    "a GRU": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 12), "f4")}, "has 3 rows of gates for each unit, as a GRU"),
    "integers": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 4), "i4")}, "cell/vars/1' holds no floats; weights are"),
    "several dtypes": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 4))}, "all parameters must have one dtype"),
    "other sizes": ([simple_rnn(), dense()], {**CELL, **kf.dense_arrays("layers/dense", 5)}, r"must have shape \(output_size, 4\)"),
    "layers of two sizes": ([simple_rnn(name="a"), simple_rnn(name="b")], {**CELL, **kf.cell_arrays(f"{FIRST}_1", 4, 5)},
        r"the same number of units; 'a' has 4, 'b' has 5\. Split the model where it changes, e\.g\. from_keras\(model\.layers\[0\]\) and"),
    "another table": ([embedding(), simple_rnn()], {**CELL, "layers/embedding/vars/0": np.ones((7, 5), "f4")}, "does not fit weight_ih_l0"),
    "an axis too many": ([simple_rnn()], {**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 4, 1, 1, 1), "f4")}, "has 5 axes of version 1"),
    "one softmax": ([simple_rnn(), dense("softmax")], {**CELL, **kf.dense_arrays("layers/dense", outputs=1)}, "a softmax over one"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_WEIGHTS)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, kind: str) -> None:
    config, arrays, match = WRONG_WEIGHTS[kind]
    if kind == "a group for an array":
        arrays = {path: array for path, array in arrays.items() if not path.endswith("vars/2")}
    with pytest.raises(rb.FormatError, match=match):
        rb.load(kf.write(tmp_path / "m.keras", config, arrays))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"activation": "tanh"}, "the file tells the activation of its cells; leave `activation` out"),
        (
            {"readout_activation": "tanh"},
            "the model tells the activation of its readout; leave `readout_activation` out",
        ),
    ],
)
def test_what_is_told_twice_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match):
        rb.load(DATA / "tagger.keras", **options)


def test_options_of_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(rb.FormatError, match="the file tells which layers go backwards; leave `go_backwards` out"):
        rb.from_keras(DATA / "tagger.keras", go_backwards=False)
    with pytest.raises(
        rb.ArgumentError, match=r"`go_backwards` is told of Keras's \.weights\.h5 files only; leave it out"
    ):
        rb.load(DATA / "tagger.keras", go_backwards=False)
    with pytest.raises(rb.ArgumentError, match=r"`residual` is told of Flax's \.msgpack files only; leave it out"):
        rb.load(DATA / "stack.weights.h5", residual=False, **TOLD)
    with pytest.raises(
        rb.ArgumentError, match=r"`masking` is told of Keras's \.keras and \.weights\.h5 files only; leave"
    ):
        rb.load("m.npz", masking=True)
    with pytest.raises(
        rb.FormatError, match="there is no Embedding, which alone could mask steps here; leave `masking` out"
    ):
        rb.load(DATA / "stack.weights.h5", masking=True, **WITH_READOUT)
    path = kf.write(tmp_path / "m.keras", [simple_rnn()], CELL)
    with pytest.raises(
        rb.FormatError, match="there is no Dense, whose activation it would be; leave `readout_activation` out"
    ):
        rb.load(path, readout_activation="softmax")


# Weights alone


def test_weights_alone_must_be_told(tmp_path: Path) -> None:
    path = DATA / "stack.weights.h5"
    with pytest.raises(
        rb.FormatError, match=r"stack\.weights\.h5: weights alone do not tell the activation of the cells"
    ):
        rb.load(path, go_backwards=False)
    with pytest.raises(
        rb.ArgumentError, match="weights alone do not tell whether a SimpleRNN goes backwards; pass go_backw"
    ):
        rb.load(path, activation="tanh")
    with pytest.raises(rb.FormatError, match="weights of a readout do not tell its activation, g2; pass readout_act"):
        rb.load(path, **TOLD)
    backward = rb.load(path, **{**WITH_READOUT, "go_backwards": True})
    assert [reverse for _, reverse in cells(backward)] == [True, False]
    rnn = rb.load(path, activation=rb.Activation("elu", 0.5), go_backwards=False, readout_activation="sigmoid")
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("sigmoid")
    assert {cell.activation for cell, _ in cells(rnn)} == {rb.Activation("elu", 0.5)}


def test_weights_of_ten_layers_and_more_come_in_their_order(tmp_path: Path) -> None:
    held = [kf.cell_arrays(FIRST + (f"_{k}" if k else ""), 4 if k else 3) for k in range(12)]
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5({name: array for each in held for name, array in each.items()}))
    for (cell, _), arrays in zip(cells(rb.load(path, **TOLD)), held, strict=True):
        np.testing.assert_array_equal(cell.weight_hh.T, next(a for name, a in arrays.items() if name.endswith("/1")))


def test_weights_of_both_directions_are_read_where_a_dense_tells_how_they_are_joined(tmp_path: Path) -> None:
    arrays = {
        **PAIR,
        **kf.dense_arrays("layers/time_distributed/layer", 8),
        "layers/embedding/vars/0": np.ones((7, 3), "f4"),
    }
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(arrays, lambda held: held.create_group("layers/dropout/vars")))
    with pytest.raises(
        rb.FormatError, match="do not tell whether an Embedding has mask_zero; pass masking=False if it has not, or"
    ):
        rb.load(path, **WITH_READOUT)
    assert rb.load(path, masking=True, **WITH_READOUT).metadata["keras mask"] == (
        "x != 0; a masked step holds the state; in Keras it gives the readout of 0 in a Bidirectional, or with "
        "zero_output_for_mask=True"
    )
    rnn = rb.load(path, masking=False, **WITH_READOUT)
    assert not rnn.metadata
    assert [reverse for _, reverse in cells(rnn)] == [False, True]
    assert cells(rnn)[0][0].input_size == 7
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("softmax")


SECOND = kf.cell_arrays("layers/simple_rnn_1", 8)
WRONG_FOLDERS: dict[str, tuple[dict[str, Any], str]] = {
    "two kinds": ({**PAIR, **SECOND, **CELL}, "'bidirectional', 'simple_rnn', 'simple_rnn_1', do not tell which feeds which"),
    "none": (kf.dense_arrays("layers/dense"), "the names of its layers, 'dense', do not tell which feeds which; SimpleRNN, or"),
    "no Dense": (PAIR, "do not tell how the last Bidirectional merges its directions; read the .keras file"),
    "directions that are not joined": ({**PAIR, **kf.dense_arrays("layers/dense", 4)}, r"readout must have shape \(output_size, 8\)"),
    "two Dense": ({**MODEL, **kf.dense_arrays("layers/dense_1")}, "do not tell which feeds which"),
    "two readouts": ({**MODEL, **kf.dense_arrays("layers/time_distributed/layer")}, "there is 'time_distributed'; a network has one"),
    "an LSTM": (kf.cell_arrays("layers/lstm"), "it holds 'lstm'; weights alone tell what SimpleRNN, or Bidirectional,"),
    "a model of one's own": ({**CELL, "rnn/cell/vars/0": np.ones(1)}, "it holds 'rnn' beside layers, as Keras's older .h5 files"),
    "an older file": ({"model_weights/dense/kernel": np.ones(1)}, "it holds 'model_weights' beside layers, as Keras's older"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_FOLDERS)
def test_weights_that_leave_open_what_feeds_what_are_refused(tmp_path: Path, kind: str) -> None:
    arrays, match = WRONG_FOLDERS[kind]
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(arrays))
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path, **WITH_READOUT)


def test_a_layer_that_computes_without_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(MODEL, lambda held: held.create_group("layers/masking/vars")))
    with pytest.raises(rb.FormatError, match=r"it holds 'masking'; weights alone tell .* Read the \.keras file"):
        rb.load(path, **TOLD)


# Objects that look like Keras's


def like_keras(
    kind: str, config: dict[str, Any], arrays: list[Any], module: str = "keras.src.layers", **more: Any
) -> Any:
    held = SimpleNamespace(get_weights=lambda: arrays, **more)
    methods = {
        "get_config": lambda _: config,
        "get_weights": lambda _: arrays,
        "__getattr__": lambda _, name: getattr(held, name),
    }
    return type(kind, (), {**methods, "__module__": module})()


def a_layer(module: str = "keras.src.layers", built: bool = True) -> Any:
    arrays = list(CELL.values()) if built else []
    return like_keras(
        "SimpleRNN", simple_rnn()["config"], arrays, module, cell=SimpleNamespace(get_weights=lambda: arrays)
    )


@pytest.fixture
def keras_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(__version__="3.15.1"))


@pytest.mark.usefixtures("keras_3")
def test_a_layer_tells_its_options_and_weights() -> None:
    ((cell, reverse),) = cells(rb.from_keras(a_layer()))
    for found, wanted in zip((cell.weight_ih.T, cell.weight_hh.T, cell.bias), CELL.values(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert not reverse


@pytest.mark.usefixtures("keras_3")
@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ([1], {}, "a layer or a model of Keras, or the path of a file of one, is wanted; got list"),
        (a_layer("mine"), {}, "mine.SimpleRNN is not Keras's own; pass a SimpleRNN, or a Sequential or functional model"),
        (a_layer("tf_keras.src"), {}, "is not Keras's own"),
        (a_layer(built=False), {}, "'/cell' must have 3 arrays, .* it has 0. Build the model first: call it once"),
        (a_layer(), {"activation": "tanh"}, "the model tells the activation of its cells; leave `activation` out"),
        (a_layer(), {"go_backwards": True}, "the model tells which layers go backwards; leave `go_backwards` out"),
        (like_keras("Model", {"name": "mine"}, []), {}, "'mine' is a 'keras.src.layers.Model', which is not understood"),
    ],
)  # fmt: skip
def test_other_objects_are_refused(source: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match):
        rb.from_keras(source, **options)


@pytest.mark.parametrize("version", ["2.15.0", "30.0", None])
def test_keras_2_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any) -> None:
    match = f"it must be of Keras 3; it is of version {version!r}"
    path = kf.write(tmp_path / "m.keras", [simple_rnn()], CELL, metadata={"keras_version": version})
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path)
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(__version__=version))
    with pytest.raises(rb.FormatError, match=match):
        rb.from_keras(a_layer())


# Memory


def test_a_file_takes_its_own_size_once(tmp_path: Path) -> None:
    arrays = {f"{FIRST}/cell/vars/{number}": np.zeros((2000, 2000)) for number in range(2)}
    path = kf.write(tmp_path / "m.keras", [simple_rnn(use_bias=False)], arrays)
    del arrays
    tracemalloc.start()
    try:
        assert rb.load(path).dtype == "float64"
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size + 2**20
    finally:
        tracemalloc.stop()


def test_an_embedding_cannot_fill_the_memory(tmp_path: Path) -> None:
    arrays = {**kf.cell_arrays(FIRST, 1, 200, dtype="f2"), "layers/embedding/vars/0": np.zeros((200_000, 1), "f2")}
    path = kf.write(tmp_path / "m.keras", [embedding(), simple_rnn()], arrays)
    with pytest.raises(
        rb.FormatError, match="'layers/embedding/vars/0', folded into weight_ih_l0, would take 80000000"
    ):
        rb.load(path)


# Against Keras itself


CONTRACTIVE = ["relu", "hard_sigmoid", "softsign", "leaky_relu", "elu", "sigmoid", "linear", "tanh"]


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def double(dtype: str) -> None:
    """Have JAX, where Keras runs on it, compute in float64, which it does only where it is told to."""
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


def same(model: Any, rnn: rb.RNN, x: NDArray[Any], dtype: str, looked_up: NDArray[Any]) -> None:
    """Check that a model and what was made of it stay within the bound that a run in a dtype keeps."""
    wanted = np.asarray(model(x))
    bound = reference(
        rnn.layers if x.dtype.kind == "f" else unfolded(model, rnn), looked_up.swapaxes(0, 1), dtype=dtype
    )[0]
    found = rnn(x)[0]
    assert excess(found.swapaxes(0, 1), bound) <= 1
    if rnn.readout is not None:
        bound, found = logits_bound(rnn, bound, dtype), rnn.logits(x)
        assert excess(found.swapaxes(0, 1), bound) <= 1
    note = rnn.metadata["keras output"]
    if "step" in note:
        at = 0 if "first" in note else -1
        bound = type(bound)(bound.value[at], bound.error[at])
        assert excess(wanted, bound) <= 1
    else:
        assert excess(wanted.swapaxes(0, 1), bound) <= 1
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
@settings(max_examples=10)  # each is compiled anew
@given(
    features=st.integers(1, 4),
    hidden=st.integers(1, 4),
    ways=st.lists(st.sampled_from(["forward", "backward", "both"]), min_size=1, max_size=3),
    options=st.fixed_dictionaries({"embedded": st.booleans(), "bias": st.booleans(), "dense": st.booleans(),
        "functional": st.booleans(), "last": st.booleans()}),
    activation=st.sampled_from(CONTRACTIVE),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_keras_computes_the_same(
    keras: Any, tmp_path_factory: pytest.TempPathFactory, features: int, hidden: int, ways: list[str],
    options: dict[str, bool], activation: str, dtype: str, seed: int,
) -> None:  # fmt: skip
    if activation == "tanh":  # which Keras rounds to float32, or refuses, in float64
        dtype = "float32"
    double(dtype)
    kl, draw = keras.layers, np.random.default_rng(seed)
    ways = [way for k, way in enumerate(ways) if way != "both" or ways[:k].count("backward") % 2 == 0]
    ways = [*ways, "backward"] if ways.count("backward") % 2 and not options["last"] else ways
    keras.config.set_dtype_policy(dtype)
    try:
        layers = [kl.Embedding(6, features)] if options["embedded"] else []
        for k, way in enumerate(ways):
            sequences = not options["last"] or k + 1 < len(ways) or way == "both"
            held = {"activation": activation, "use_bias": options["bias"], "return_sequences": sequences}
            cell = kl.SimpleRNN(hidden, go_backwards=way == "backward", **held)
            layers += [kl.Bidirectional(cell) if way == "both" else cell, kl.Dropout(0.5)]
        layers += [kl.Dense(3)] if options["dense"] else []
        x = draw.integers(0, 6, (3, 5)) if options["embedded"] else draw.normal(size=(3, 5, features)).astype(dtype)
        shape = (
            keras.Input((None,), dtype="int32") if options["embedded"] else keras.Input((None, features), dtype=dtype)
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
    for source in (path, model):
        same(model, rb.from_keras(source), x, dtype, looked_up)


def test_activations_by_name_are_those_of_keras_itself(keras: Any) -> None:
    double("float32")
    z = np.linspace(-9, 9, 1001, dtype="f4").reshape(77, 13)
    for name, (function, clip) in NAMES.items():
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
        np.testing.assert_allclose(found[b, :length] if sequences else found[b, length - 1], valid, rtol=0, atol=2e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("first", ["Masking", "Embedding"])
def test_a_functional_model_that_masks_is_read_as_a_sequential_one(keras: Any, first: str) -> None:
    double("float32")
    kl, draw = keras.layers, np.random.default_rng(0)
    x = draw.integers(0, 3, (5, 6), "i4") if first == "Embedding" else draw.integers(0, 2, (5, 6, 2)).astype("f4")
    mask = x != 0 if first == "Embedding" else (x != 0).any(axis=-1)
    given = keras.Input(x.shape[1:], dtype=x.dtype.name)
    masked = kl.Embedding(3, 2, mask_zero=True)(given) if first == "Embedding" else kl.Masking(0.0)(given)
    steps = kl.SimpleRNN(4, return_sequences=True)(kl.SimpleRNN(4, return_sequences=True)(masked))
    model = keras.Model(given, kl.Dense(2)(kl.Dropout(0.5)(steps)))
    redraw(model, draw)
    with pytest.raises(
        rb.FormatError, match=r"is called with a mask, which a functional model .* keras\.Sequential\(model\.layers"
    ):
        rb.from_keras(model, masking=True)
    rnn = rb.from_keras(keras.Sequential(model.layers), masking=True)
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


def test_objects_of_keras_that_are_something_else_are_refused(keras: Any) -> None:
    kl = keras.layers
    base: Any = kl.SimpleRNN

    class Mine(base):  # type: ignore[misc]  # of no known type
        pass

    for source, match in (
        (Mine(3), r"Mine is not Keras's own"),
        (keras.Sequential([kl.SimpleRNN(3), kl.LSTM(3)]), "'lstm.*' is a 'keras.layers.LSTM', which has gates"),
        (keras.Sequential([keras.Input((2, 3)), kl.SimpleRNN(3), kl.Flatten()]), "Flatten', which is not understood"),
        (keras.Sequential([Mine(3)]), r"Mine', which is not understood"),
        (kl.SimpleRNN(3, activation=np.sin), "Keras cannot tell the configuration of this SimpleRNN: "),
        (kl.SimpleRNN(3, activation=redraw), "has the activation 'redraw'; read are"),
        (kl.SimpleRNN(3), "must have 3 arrays, as its options tell; it has 0. Build the model first: call it once"),
    ):
        with pytest.raises(rb.FormatError, match=match):
            rb.from_keras(source)
