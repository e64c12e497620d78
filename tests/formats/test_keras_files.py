"""Keras 3: its .keras files give the numbers that Keras computes, option by option."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from bounds import logits_bound
from keras_files import (
    CELL,
    FIRST,
    MODEL,
    PAIR,
    WITH_READOUT,
    bidirectional,
    cells,
    dense,
    embedding,
    functional,
    layer,
    relu,
    sequential,
    simple_cell,
    simple_rnn,
)
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.testing import excess, reference

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def values() -> Mapping[str, NDArray[Any]]:
    return dict(np.load(DATA / "keras.npz"))


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
    assert (rnn.reads, rnn.metadata) == ("steps", {})
    np.testing.assert_allclose(rnn.probabilities(values["ids"]), values["tagger.keras/output"], rtol=0, atol=1e-6)


def test_a_model_of_the_last_step_is_what_keras_computes(values: Mapping[str, Any]) -> None:
    rnn = rb.load(DATA / "classifier.keras")
    assert (rnn.reads, rnn.metadata) == ("last", {})
    assert [cell.bias is None for cell, _ in cells(rnn)] == [False, True]
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("sigmoid")
    found = rnn.probabilities(values["x"].astype("f4"))
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
    assert (rnn.reads, rnn.metadata) == ("final" if way else "last", {})
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    wanted = kf.loop(CELL, x, (FIRST, way))[:, -1]
    within(rnn, x, wanted, slice(1) if way else slice(-1, None))
    np.testing.assert_allclose(rnn.last(x), wanted, rtol=0, atol=2e-6)


def test_both_directions_are_one_layer(tmp_path: Path) -> None:
    rnn = rb.load(kf.write(tmp_path / "m.keras", [bidirectional()], PAIR))
    assert [reverse for _, reverse in cells(rnn)] == [False, True]
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    within(rnn, x, kf.loop(PAIR, x, ("layers/bidirectional", None)).swapaxes(0, 1))


def test_the_last_states_of_both_directions_are_read_together(tmp_path: Path) -> None:
    arrays = {**PAIR, **kf.dense_arrays("layers/dense", 8)}
    rnn = rb.load(kf.write(tmp_path / "m.keras", [bidirectional(return_sequences=False), dense()], arrays))
    assert (rnn.reads, rnn.metadata) == ("final", {})
    x = np.random.default_rng(0).normal(size=(2, 6, 3))
    steps = kf.loop(PAIR, x, ("layers/bidirectional", None))
    joined = np.concatenate([steps[:, -1, :4], steps[:, 0, 4:]], axis=-1)
    wanted = joined @ arrays["layers/dense/vars/0"] + arrays["layers/dense/vars/1"]
    np.testing.assert_allclose(rnn.logits(x), wanted, rtol=0, atol=2e-6)


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


@pytest.mark.parametrize("width", [3, 12])
def test_an_embedding_is_folded_where_that_makes_no_more_numbers(tmp_path: Path, width: int) -> None:
    table = np.random.default_rng(9).normal(size=(7, width)).astype("f4")
    sides = [kf.cell_arrays(f"layers/bidirectional/{side}_layer", width) for side in ("forward", "backward")]
    arrays = {**sides[0], **sides[1], "layers/embedding/vars/0": table}
    rnn = rb.load(kf.write(tmp_path / "m.keras", [embedding(), bidirectional()], arrays))
    assert rnn.takes == "tokens"
    assert (rnn.encoder is None) == (width == 12)
    for (cell, _), side in zip(cells(rnn), ("forward", "backward"), strict=True):
        kernel = arrays[f"layers/bidirectional/{side}_layer/cell/vars/0"].T
        wanted = kernel if width == 3 else (kernel.astype("f8") @ table.T.astype("f8")).astype("f4")
        np.testing.assert_array_equal(cell.weight_ih, wanted)
    if rnn.encoder is not None:
        np.testing.assert_array_equal(rnn.encoder.weight, table.T)


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
    (layer("LeakyReLU", negative_slope=0.3), lambda z: np.where(z > 0, z, 0.3 * z)),
    (layer("ELU", alpha=0.7), lambda z: np.where(z > 0, z, 0.7 * np.expm1(z))),
    (layer("Softmax", axis=-1), lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)),
    (layer("Activation", activation="hard_sigmoid"), lambda z: np.minimum(np.maximum(z + 3, 0), 6) / 6),
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


def test_a_file_takes_its_own_size_once(tmp_path: Path) -> None:
    arrays = {f"{FIRST}/cell/vars/{number}": np.zeros((1000, 1000)) for number in range(2)}
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
    tracemalloc.start()
    try:
        assert rb.load(path).encoder.output_size == 1
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size + 2**20
    finally:
        tracemalloc.stop()
