"""Keras 2: its three containers, its own layout of weights, and whole models in .h5 files, also those of Keras 3."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_files as kf
import keras_models as km
import numpy as np
import pytest
from keras_files import FIRST, MODEL
from numpy.typing import NDArray
from ways import follow

import rnn_backends as rb

DATA = Path(__file__).parents[1] / "data"
CASES = DATA / "cases"
OF_2 = rb.Activation("hard_sigmoid", 0.2, 0.5)
GIVEN: dict[str, Any] = {"activation": "tanh", "go_backwards": False}


@pytest.fixture(scope="module")
def values() -> Mapping[str, NDArray[Any]]:
    return values_of(DATA / "keras2")


def values_of(folder: Path) -> Mapping[str, NDArray[Any]]:
    return dict(np.load(folder / "values.npz"))


@pytest.mark.parametrize(
    ("end", "given"),
    [
        (".keras", {}),
        (".h5", {}),
        ("_compiled.weights.h5", {**GIVEN, "readout_activation": "linear", "reads": "last"}),
    ],
)
@pytest.mark.parametrize("suffix", [None, "", ".bin", ".pt"])
def test_the_containers_of_keras_2_are_read_whatever_their_names(
    tmp_path: Path, end: str, given: dict[str, Any], suffix: str | None
) -> None:
    path = CASES / f"keras2_simple{end}"
    if suffix is not None:
        data, path = path.read_bytes(), tmp_path / f"model{suffix}"
        path.write_bytes(data)
    x, wanted = (np.load(CASES / f"keras2_simple.{name}.npy") for name in "xy")
    for read in (rb.load, rb.from_keras):
        rnn = read(path, **given)
        assert rnn.reads == "last"
        assert rnn.metadata == {}
        np.testing.assert_allclose(rnn.logits(x), wanted, rtol=0, atol=2e-6)


def name_of(path: Path) -> str:
    return path.name.replace("_weights.h5", "").partition(".")[0].replace("_", " ")


FILES = sorted(path for path in DATA.glob("keras2*/*") if path.suffix != ".npz")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name} {path.name}")
def test_models_of_keras_2_are_what_it_computes(path: Path) -> None:
    """Compiled and trained, so that there are metrics and optimizers beside the weights."""
    name, values = name_of(path), values_of(path.parent)
    _, method, given = km.MODELS.get(name, (None, "logits", {}))
    if "weights" in path.name:
        given = km.ALONE[name]
        if path.name.endswith(".weights.h5") and path.parent.name == "keras2":
            given = {**given, "activation": OF_2}
    rnn = rb.from_keras(path, **given)
    x, wanted = values[f"{name}/x"], values[f"{name}/y"]
    call = {"mask": x != 0} if given.get("masking") else {}
    atol = 2e-3 if name == "half" else 2e-6
    assert rnn.dtype == ("float16" if name == "half" else "float32")
    np.testing.assert_allclose(getattr(rnn, method)(x, **call), wanted, rtol=0, atol=atol)


# Names of activations


def activation_of(path: Path, **given: Any) -> Any:
    cell: Any = rb.from_keras(path, **given).layers[0].forward
    return cell.activation


def test_a_name_means_keras_s_own_where_the_file_shows_its_version(values: Mapping[str, Any]) -> None:
    of_3 = CASES / "keras3_hard_sigmoid.weights.h5"
    for name, wanted in (
        ("hard_sigmoid", rb.Activation("hard_sigmoid", 1 / 6, 0.5)),
        ("leaky_relu", rb.Activation("leaky_relu", 0.2)),
        (rb.Activation("hard_sigmoid"), rb.Activation("hard_sigmoid", 0.2, 0.5)),
        ("linear", rb.Activation("identity")),
        ("identity", rb.Activation("identity")),
    ):
        assert activation_of(of_3, activation=name, go_backwards=False) == wanted
    assert activation_of(DATA / "keras2" / "sigmoids_weights.h5", **km.ALONE["sigmoids"]) == OF_2
    x = values["sigmoids/x"]
    given = {key: value for key, value in km.ALONE["sigmoids"].items() if key != "activation"}

    def load(**options: Any) -> rb.RNN:
        activation = options.get("activation", "hard_sigmoid")
        return rb.load(DATA / "keras2" / "sigmoids.weights.h5", activation=activation, **given)

    follow(
        "keras_version",
        load,
        values["sigmoids/y"],
        lambda rnn: rnn.logits(x),
        then=lambda: load(activation=rb.Activation("hard_sigmoid", 0.2, 0.5)),
    )


@pytest.mark.parametrize("name", ["hard_tanh", "celu", "relu6"])
def test_names_that_cells_have_in_keras_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(kf.CELL))
    cell: Any = rb.load(path, activation=name, go_backwards=False).layers[0].forward
    held = {"hard_tanh": ("identity", None), "celu": ("elu", 1.0), "relu6": ("clipped_relu", 6.0)}[name]
    assert (cell.activation, cell.clip) == (rb.Activation(*held), 1.0 if name == "hard_tanh" else None)
    with pytest.raises(rb.ArgumentError, match="`activation` must be a callable or a name of Keras's, one of linear, "):
        rb.load(path, activation="gelu", go_backwards=False)
    path.write_bytes(kf.hdf5(MODEL))
    if name == "hard_tanh":
        with pytest.raises(rb.FormatError, match="`readout_activation` cannot clip, as hard_tanh does"):
            rb.load(path, **GIVEN, readout_activation=name)
    else:
        readout: Any = rb.load(path, **GIVEN, readout_activation=name).readout
        assert readout.activation == rb.Activation(*held)


# Whole models in .h5 files, made here


def bare(held: Any) -> Any:
    """Return a configuration as Keras 2 writes it to .h5 files, without the modules of classes."""
    if isinstance(held, list):
        return [bare(each) for each in held]
    if not isinstance(held, dict):
        return held
    return {key: bare(each) for key, each in held.items() if key not in {"module", "registered_name"}}


NAMES = ["kernel:0", "recurrent_kernel:0", "bias:0"]


def model(
    config: Any,
    arrays: Mapping[str, list[Any]],
    version: str | None = "2.4.0",
    change: Callable[[Any], object] | None = None,
    names: Mapping[str, list[str]] | None = None,
) -> bytes:
    """Return an .h5 file of a whole model, given the arrays of each layer by its name."""

    def fill(file: Any) -> None:
        del file["layers"]
        if config is not None:
            file.attrs["model_config"] = config if isinstance(config, (str, bytes)) else json.dumps(bare(config))
        if version is not None:
            file.attrs["keras_version"] = version
        group = file if config is None else file.create_group("model_weights")
        group.attrs["layer_names"] = list(arrays)
        for layer, held in arrays.items():
            own = (names or {}).get(layer) or [f"{layer}/{name}" for name in NAMES]
            for name, array in zip(own, held, strict=False):
                group.create_group(layer) if layer not in group else None
                group[layer][name] = array
            owner = group.require_group(layer)
            owner.attrs["weight_names"] = own[: len(held)]
        if change is not None:
            change(file)

    return kf.hdf5({}, fill)


CELL = list(kf.CELL.values())
DENSE = list(kf.dense_arrays("layers/dense").values())
CONFIG = kf.sequential(kf.simple_rnn(return_sequences=False, name="rnn"), kf.dense(name="fc"))
ARRAYS = {"rnn": CELL, "fc": DENSE}
OF_DENSE = {"fc": ["fc/kernel:0", "fc/bias:0"]}


def wanted(x: Any) -> Any:
    return kf.loop(MODEL, x, (FIRST, False))[:, -1] @ DENSE[0] + DENSE[1]


def near(tmp_path: Path, data: bytes, **given: Any) -> rb.RNN:
    path, x = tmp_path / "m.h5", np.random.default_rng(0).normal(size=(2, 6, 3)).astype("f4")
    path.write_bytes(data)
    rnn = rb.load(path, **given)
    np.testing.assert_allclose(rnn.logits(x), wanted(x), rtol=0, atol=2e-6)
    return rnn


@pytest.mark.parametrize("version", ["2.2.4-tf", "2.3.1", "2.15.0", "3.15.1"])
def test_whole_models_of_each_version(tmp_path: Path, version: str) -> None:
    near(tmp_path, model(CONFIG, ARRAYS, version, names=OF_DENSE))


def test_a_configuration_may_be_larger_than_a_header(tmp_path: Path) -> None:
    large = {**CONFIG, "config": {**CONFIG["config"], "notes": "x" * 200_000}}
    near(tmp_path, model(large, ARRAYS, names=OF_DENSE))


def test_a_configuration_may_be_of_a_fixed_length(tmp_path: Path) -> None:
    text = json.dumps(bare(CONFIG)).encode()
    near(tmp_path, model(None, {}, None, lambda file: fixed(file, text)))


def fixed(file: Any, text: bytes) -> None:
    del file.attrs["layer_names"]
    file.attrs["model_config"] = np.bytes_(text)
    file.attrs["keras_version"] = np.bytes_(b"2.1.6")
    group = file.create_group("model_weights")
    group.attrs["layer_names"] = np.asarray([b"rnn", b"fc"])
    for layer, held in ARRAYS.items():
        own = [f"{layer}/{name}" for name in (NAMES if layer == "rnn" else ["kernel:0", "bias:0"])]
        group.create_group(layer).attrs["weight_names"] = np.asarray(own, "S")
        for name, array in zip(own, held, strict=True):
            group[layer][name] = array


def test_names_may_be_spread_over_attributes(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        group = file["model_weights"]
        for k, name in enumerate(group.attrs["layer_names"]):
            group.attrs[f"layer_names{k}"] = [name]
        del group.attrs["layer_names"]

    near(tmp_path, model(CONFIG, ARRAYS, change=change, names=OF_DENSE))


def test_the_first_keras_2_described_a_model_by_its_layers_alone(tmp_path: Path) -> None:
    near(tmp_path, model({**CONFIG, "config": CONFIG["config"]["layers"]}, ARRAYS, names=OF_DENSE))


def test_the_functional_models_of_keras_2(tmp_path: Path) -> None:
    held = [
        {"class_name": "InputLayer", "config": {}, "name": "x", "inbound_nodes": []},
        {**kf.simple_rnn(return_sequences=False), "name": "rnn", "inbound_nodes": [[["x", 0, 0, {}]]]},
        {**kf.dense(), "name": "fc", "inbound_nodes": [[["rnn", 1, 0, {"training": False}]]]},
    ]
    held[1]["config"] = {**held[1]["config"], "name": "rnn"}
    held[2]["config"] = {**held[2]["config"], "name": "fc"}
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["fc", 0, 0]]}
    for kind in ("Functional", "Model"):
        near(tmp_path, model({"class_name": kind, "config": {"layers": held, **ends}}, ARRAYS, names=OF_DENSE))
    path = tmp_path / "m.h5"
    for node, match in (
        ([["x", 0, 0, {"training": True}]], "it is called with the option 'training'"),
        ([["x", 0, 1, {}]], "must be called with the first output of one layer alone; it is called with another"),
        ([["x", 0, 0, {"mask": ["x", 0, 0]}]], "'rnn' is called with a mask that no Masking or Embedding"),
        ([["x", 0, 0, {}], ["x", 0, 0, {}]], "'rnn' must be called once, with the output of one layer"),
    ):
        held[1]["inbound_nodes"] = [node]
        path.write_bytes(model({"class_name": "Model", "config": {"layers": held, **ends}}, ARRAYS, names=OF_DENSE))
        with pytest.raises(rb.FormatError, match=match):
            rb.load(path)


def test_hard_sigmoid_is_another_function_in_keras_2(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    for version, alpha in (("2.15.0", 0.2), ("3.0.0", 1 / 6)):
        path.write_bytes(
            model(kf.sequential(kf.simple_rnn(activation="hard_sigmoid", name="rnn")), {"rnn": CELL}, version)
        )
        cell: Any = rb.load(path).layers[0].forward
        assert cell.activation == rb.Activation("hard_sigmoid", alpha, 0.5)


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [
        ({"class_name": "LeakyReLU", "config": {"alpha": 0.3}}, rb.Activation("leaky_relu", 0.3)),
        ({"class_name": "ThresholdedReLU", "config": {"theta": 0.5}}, rb.Activation("thresholded_relu", 0.5)),
        ({"class_name": "ReLU", "config": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}}, rb.Activation("relu")),
        ("leaky_relu", rb.Activation("leaky_relu", 0.2)),
        (None, rb.Activation("identity")),
    ],
)  # fmt: skip
def test_activations_of_keras_2(tmp_path: Path, activation: Any, wanted: rb.Activation) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(model(kf.sequential(kf.simple_rnn(activation=activation, name="rnn")), {"rnn": CELL}))
    cell: Any = rb.load(path).layers[0].forward
    assert cell.activation == wanted


def changed(**options: Any) -> Any:
    return kf.sequential(kf.simple_rnn(name="rnn", **options))


WRONG: dict[str, tuple[bytes, str]] = {
    "no version": (model(CONFIG, ARRAYS, None), "it must be of Keras 2 or 3; it is of version ''"),
    "Keras 1": (model(CONFIG, ARRAYS, "1.2.2"), "it must be of Keras 2 or 3; it is of version '1.2.2'"),
    "no configuration": (model("", {}), "model_config is not valid JSON"),
    "another configuration": (model("[]", {}), "model_config must be a JSON object; got list"),
    "another layer": (model(kf.sequential(kf.layer("Conv1D")), {}), "'conv1d' is a 'Conv1D', which is not understood"),
    "steps before sequences": (model(changed(time_major=True), {"rnn": CELL}), "has the option 'time_major', which is not underst"),
    "a celu": (model(changed(activation="celu"), {"rnn": CELL}), "'rnn' has the activation 'celu'; read are linear"),
    "no weights": (model(CONFIG, ARRAYS, change=lambda file: file.__delitem__("model_weights"), names=OF_DENSE), "it lacks 'model_weights'"),
    "no list of layers": (model(CONFIG, ARRAYS, change=lambda file: file["model_weights"].attrs.__delitem__("layer_names"),
        names=OF_DENSE), "'model_weights' must list its layers, each once"),
    "a layer twice": (model(CONFIG, ARRAYS, change=lambda file: file["model_weights"].attrs.__setitem__("layer_names", ["rnn", "rnn"]),
        names=OF_DENSE), "'model_weights' must list its layers, each once"),
    "no list of arrays": (model(CONFIG, ARRAYS, change=lambda file: file["model_weights/fc"].attrs.__delitem__("weight_names"),
        names=OF_DENSE), "the layer 'fc' must list its arrays"),
    "a layer too few": (model(CONFIG, {"rnn": CELL}), "the layer 'fc' must have the arrays 'kernel', 'bias'; it has none"),
    "a layer too many": (model(changed(), ARRAYS, names=OF_DENSE), "the layer 'fc' must have the arrays none; it has 'kernel', 'bias'"),
    "an array too few": (model(changed(), {"rnn": CELL[:2]}), "the layer 'rnn' must have the arrays 'kernel', 'recurrent_kernel', 'bias'; it has"),
    "another order": (model(changed(), {"rnn": CELL}, names={"rnn": ["a/recurrent_kernel", "a/kernel", "a/bias"]}), "it has 'recurrent_ke"),
    "an array elsewhere": (model(changed(), {"rnn": CELL}, change=lambda file: file.__delitem__("model_weights/rnn/rnn/bias:0")), "it lacks"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_whole_models_that_are_wrong_are_refused(tmp_path: Path, kind: str) -> None:
    data, match = WRONG[kind]
    path = tmp_path / "m.h5"
    path.write_bytes(data)
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path)


# Weights alone of Keras 2's own layout


def test_weights_alone_are_in_order(tmp_path: Path) -> None:
    """Whatever their names are; layers that only train have none."""
    arrays: dict[str, list[Any]] = {"input_1": [], "zebra": CELL, "dropout": [], "aardvark": DENSE}
    data = model(None, arrays, names={"aardvark": ["aardvark/kernel:0", "aardvark/bias:0"]})
    near(tmp_path, data, **GIVEN, readout_activation="linear", reads="last")


FILE = "read the file of the whole model, .keras or .h5, as model.save writes it"
TABLE = [np.ones((7, 3), "f4")]
WRONG_ALONE: dict[str, tuple[bytes, str]] = {
    "a layer without weights": (model(None, {"rnn": CELL, "swish": []}), f"the layer 'swish' has no weights, and may compute something; {FILE}"),
    "a layer of another kind": (model(None, {"rnn": CELL, "norm": DENSE}, names={"norm": ["gamma:0", "beta:0"]}),
        f"the layer 'norm', with the arrays 'gamma', 'beta', is no SimpleRNN, Bidirectional, Dense or Embedding .*; {FILE}"),
    "cells in a row": (model(None, {"rnn": CELL * 2}, names={"rnn": ["a/" + name for name in NAMES] + ["b/" + name for name in NAMES]}),
        f"the layer 'rnn', with the arrays .*; {FILE}"),
    "a Dense between": (model(None, {"rnn": CELL, "fc": DENSE, "top": CELL}, names=OF_DENSE), "in this order; got 'model_weights|in this order; got"),
    "no layers": (model(None, {}), "in this order; got none"),
    "gates": (model(None, {"rnn": [CELL[0], np.ones((4, 12), "f4"), CELL[2]]}), "as a GRU has"),
    "Keras 1": (model(None, {"rnn": CELL}, "1.2.2"), "it must be of Keras 2 or 3; it is of version '1.2.2'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_ALONE)
def test_weights_alone_that_are_wrong_are_refused(tmp_path: Path, kind: str) -> None:
    data, match = WRONG_ALONE[kind]
    path = tmp_path / "m.h5"
    path.write_bytes(data)
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path, **GIVEN)


def test_weights_alone_of_cells_and_of_both_directions(tmp_path: Path) -> None:
    sides = [list(kf.cell_arrays(f"layers/bidirectional/{side}_layer").values()) for side in ("forward", "backward")]
    second = list(kf.cell_arrays("b", 8, 4).values())
    arrays = {
        "table": TABLE,
        "both": [*sides[0], *sides[1]],
        "cells": [*second, *CELL[:0], *kf.cell_arrays("c", 4).values()],
    }
    names = {
        "table": ["table/embeddings:0"],
        "both": [f"both/{side}_rnn/{name}" for side in ("forward", "backward") for name in NAMES],
        "cells": [f"cells/stacked_rnn_cells/{cell}/{name}" for cell in "ab" for name in NAMES],
    }
    path = tmp_path / "m.h5"
    path.write_bytes(model(None, arrays, names=names))
    rnn = rb.load(path, **GIVEN, masking=False)
    assert [reverse for _, reverse in kf.cells(rnn)] == [False, True, False, False]
    x = np.arange(10).reshape(2, 5) % 7
    steps = kf.loop(kf.PAIR, TABLE[0][x], ("layers/bidirectional", None))
    for held in (second, list(kf.cell_arrays("c", 4).values())):
        steps = kf.simple_rnn_loop(steps, held[0], held[1], held[2])
    np.testing.assert_allclose(rnn(x)[0], steps, rtol=0, atol=2e-6)
