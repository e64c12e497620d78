"""Keras: weights alone, and objects that look like Keras's."""

import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from keras_files import (
    CELL,
    FIRST,
    GIVEN,
    MODEL,
    PAIR,
    WITH_READOUT,
    cells,
    simple_rnn,
)
from ways import follow

import rnn_backends as rb

DATA = Path(__file__).parents[1] / "data"


def test_options_that_weights_do_not_record_must_be_given(tmp_path: Path) -> None:
    path = DATA / "stack.weights.h5"
    with pytest.raises(
        rb.FormatError, match=r"stack\.weights\.h5: weights alone do not record the activation of the cells"
    ):
        rb.load(path, go_backwards=False)
    with pytest.raises(
        rb.ArgumentError, match="weights alone do not record whether a SimpleRNN goes backwards; pass go_backw"
    ):
        rb.load(path, activation="tanh")
    one, x = tmp_path / "m.weights.h5", np.ones((2, 5, 3), "f4")
    one.write_bytes(kf.hdf5(CELL))
    follow(
        "go_backwards",
        lambda **given: rb.load(one, activation="tanh", **given),
        kf.loop(CELL, x, (FIRST, False)),
        lambda rnn: rnn(x)[0],
    )
    follow(
        "activation",
        lambda **given: rb.load(one, go_backwards=False, **given),
        kf.loop(CELL, x, (FIRST, False)),
        lambda rnn: rnn(x)[0],
    )
    with pytest.raises(rb.FormatError, match="weights of a readout do not record its activation, g2; pass readout_act"):
        rb.load(path, **GIVEN)
    backward = rb.load(path, **{**WITH_READOUT, "go_backwards": True})
    assert [reverse for _, reverse in cells(backward)] == [True, False]
    rnn = rb.load(path, activation=rb.Activation("elu", 0.5), go_backwards=False, readout_activation="sigmoid")
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("sigmoid")
    assert {cell.activation for cell, _ in cells(rnn)} == {rb.Activation("elu", 0.5)}


@pytest.mark.parametrize("back", [False, True])
def test_a_state_that_is_kept_is_given_to_the_next_call(tmp_path: Path, back: bool) -> None:
    """The weights are in the file of the model as save_weights writes them."""
    path = kf.write(tmp_path / "m.keras", [simple_rnn(stateful=True, go_backwards=back)], CELL)
    kernel, recurrent, bias = (CELL[f"{FIRST}/cell/vars/{k}"].astype("f8") for k in range(3))
    x = np.random.default_rng(3).normal(size=(3, 2, 4, 3)).astype("f4")
    h, wanted = np.zeros((2, 4)), []
    for call in x:
        states = []
        for t in range(4)[:: -1 if back else 1]:
            h = np.tanh(call[:, t] @ kernel + h @ recurrent + bias)
            states.append(h)
        wanted.append(np.stack(states[:: -1 if back else 1], axis=1))

    def weights_alone() -> rb.RNN:
        with zipfile.ZipFile(path) as held:
            held.extract("model.weights.h5", tmp_path)
        return rb.load(tmp_path / "model.weights.h5", activation="tanh", go_backwards=back)

    def calls(rnn: rb.RNN) -> Any:
        found, h_n = [], None
        for call in x:
            output, h_n = rnn(call, h_n)
            found.append(output)
        return np.stack(found)

    rnn = follow("keras_stateful", lambda **_: rb.load(path), np.stack(wanted), calls, then=weights_alone)
    if not back:
        stream = rnn.stream(2)
        np.testing.assert_allclose(np.stack([stream(call) for call in x]), wanted, rtol=1e-5, atol=1e-6)


def test_weights_of_ten_layers_and_more_come_in_their_order(tmp_path: Path) -> None:
    held = [kf.cell_arrays(FIRST + (f"_{k}" if k else ""), 4 if k else 3) for k in range(12)]
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5({name: array for each in held for name, array in each.items()}))
    for (cell, _), arrays in zip(cells(rb.load(path, **GIVEN)), held, strict=True):
        np.testing.assert_array_equal(cell.weight_hh.T, next(a for name, a in arrays.items() if name.endswith("/1")))


def test_weights_of_both_directions_are_read_where_a_dense_shows_how_they_are_joined(tmp_path: Path) -> None:
    arrays = {
        **PAIR,
        **kf.dense_arrays("layers/time_distributed/layer", 8),
        "layers/embedding/vars/0": np.ones((7, 3), "f4"),
    }
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(arrays, lambda held: held.create_group("layers/dropout/vars")))
    ids = np.arange(10).reshape(2, 5) % 7
    steps = kf.loop(PAIR, np.ones((2, 5, 3)), ("layers/bidirectional", None))
    follow(
        "keras_mask_zero",
        lambda **given: rb.load(path, **WITH_READOUT, **given),
        steps @ arrays["layers/time_distributed/layer/vars/0"] + 1,
        lambda rnn: rnn.logits(ids),
        then=lambda: rb.load(path, **WITH_READOUT, masking=False),
    )
    assert rb.load(path, masking=True, **WITH_READOUT).metadata["keras mask"] == (
        "x != 0; a masked step holds the state; in Keras it gives the readout of 0 in a Bidirectional, or with "
        "zero_output_for_mask=True"
    )
    rnn = rb.load(path, masking=False, **WITH_READOUT)
    assert not rnn.metadata
    assert [reverse for _, reverse in cells(rnn)] == [False, True]
    assert rnn.input_size == 7
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("softmax")


SECOND = kf.cell_arrays("layers/simple_rnn_1", 8)
FILE = "read the file of the whole model, .keras or .h5, as model.save writes it"
WRONG_FOLDERS: dict[str, tuple[dict[str, Any], str]] = {
    "two orders of two kinds": ({**kf.cell_arrays("layers/rnn", 4), **kf.cell_arrays(FIRST, 4)}, f"do not show which feeds which; {FILE}"),
    "none": (kf.dense_arrays("layers/dense"), f"'dense', are not of SimpleRNN, .* that take what the one before gives; {FILE}"),
    "layers that do not fit": ({**PAIR, **CELL, **SECOND}, f"are not of .* that take what the one before gives; {FILE}"),
    "no Dense": (PAIR, f"do not record how the last Bidirectional merges its directions; {FILE}"),
    "directions that are not joined": ({**PAIR, **kf.dense_arrays("layers/dense", 4)}, "are not of .* that take what the one before"),
    "an LSTM": (kf.cell_arrays("layers/lstm"), f"it holds 'lstm'; weights alone are enough for SimpleRNN, .*; {FILE}"),
    "gates": ({**CELL, f"{FIRST}/cell/vars/1": np.ones((4, 16), "f4")}, "as an LSTM has"),
    "cells of a GRU": ({"layers/rnn/cell/cells/gru_cell/vars/0": np.ones((3, 4), "f4")}, "must be SimpleRNNCells; there are 'gru_cell'"),
    "an axis too many": ({**CELL, **kf.dense_arrays("layers/dense"), "layers/dense/vars/0": np.ones((4, 2, 1), "f4")}, "must have two axes"),
    "a model of one's own": ({**CELL, "rnn/cell/vars/0": np.ones(1)}, r"it holds 'rnn' beside layers, as models that are a .*; with Keras, pass its layers in a row"),
}  # fmt: skip


def test_what_is_given_says_which_dense_come_before_and_after(tmp_path: Path) -> None:
    """A network of as many features as outputs has two orders by its shapes."""
    arrays = {**kf.cell_arrays(FIRST, 3, 4), **kf.dense_arrays("layers/dense", 4, 3)}
    arrays |= {
        path.replace("/dense", "/dense_1"): array for path, array in kf.dense_arrays("layers/dense", 3, 3).items()
    }
    path, x = tmp_path / "m.weights.h5", np.random.default_rng(0).normal(size=(2, 6, 4))
    path.write_bytes(kf.hdf5({name: array for name, array in arrays.items() if "dense_1" not in name}))

    def dense(which: str, value: Any) -> Any:
        return value @ arrays[f"layers/{which}/vars/0"] + arrays[f"layers/{which}/vars/1"]

    def softmax(z: Any) -> Any:
        return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)

    after = softmax(dense("dense", kf.loop(arrays, x[..., :3], (FIRST, False))))
    follow(
        "keras_order",
        lambda **given: rb.load(path, **GIVEN, **given),
        after,
        lambda rnn: rnn.probabilities(x[..., :3].astype("f4")),
    )
    rnn = rb.load(path, **GIVEN, encoder_activation="softmax")
    before = kf.loop(arrays, softmax(dense("dense", x)), (FIRST, False))
    np.testing.assert_allclose(rnn(x.astype("f4"))[0], before, rtol=0, atol=2e-6)
    path.write_bytes(kf.hdf5(arrays))
    options: tuple[dict[str, Any], ...] = ({"readout_activation": ("tanh",)}, {})
    for given in options:
        with pytest.raises(rb.FormatError, match="'dense', 'dense_1', 'simple_rnn', do not show which feeds which"):
            rb.load(path, **GIVEN, **given)
    rnn = rb.load(path, **GIVEN, readout_activation=("softmax", "linear"))
    np.testing.assert_allclose(rnn.logits(x[..., :3].astype("f4")), dense("dense_1", after), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", WRONG_FOLDERS)
def test_weights_that_leave_open_what_feeds_what_are_refused(tmp_path: Path, kind: str) -> None:
    arrays, match = WRONG_FOLDERS[kind]
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(arrays))
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path, **(GIVEN if kind == "two orders of two kinds" else WITH_READOUT))


def test_what_weights_leave_open_is_in_the_file_of_the_model(tmp_path: Path) -> None:
    path, x = tmp_path / "m.weights.h5", np.ones((2, 5, 3), "f4")
    path.write_bytes(kf.hdf5(PAIR))
    model = kf.write(tmp_path / "m.keras", [kf.bidirectional()], PAIR)
    follow(
        "keras_file",
        lambda **_: rb.load(path, **GIVEN),
        kf.loop(PAIR, x, ("layers/bidirectional", None)),
        lambda rnn: rnn(x)[0],
        then=lambda: rb.load(model),
    )


def test_a_layer_that_computes_without_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.weights.h5"
    path.write_bytes(kf.hdf5(MODEL, lambda held: held.create_group("layers/masking/vars")))
    with pytest.raises(rb.FormatError, match=f"it holds 'masking'; weights alone are enough .*; {FILE}"):
        rb.load(path, **GIVEN)


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
def test_a_layer_gives_its_options_and_weights() -> None:
    ((cell, reverse),) = cells(rb.from_keras(a_layer()))
    for found, wanted in zip((cell.weight_ih.T, cell.weight_hh.T, cell.bias), CELL.values(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert not reverse


@pytest.mark.parametrize(
    ("module", "version"),
    [
        ("keras.src.layers", "2.15.0"),
        ("tf_keras.src.layers", "2.18.0"),
        ("tensorflow.python.keras.layers.recurrent", None),
    ],
)
def test_layers_of_keras_2_have_its_functions(
    monkeypatch: pytest.MonkeyPatch, module: str, version: str | None
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], SimpleNamespace(__version__=version))
    arrays = list(CELL.values())
    config = simple_rnn(activation="hard_sigmoid")["config"]
    held = like_keras("SimpleRNN", config, arrays, module, cell=SimpleNamespace(get_weights=lambda: arrays))
    ((cell, _),) = cells(rb.from_keras(held))
    assert cell.activation == rb.Activation("hard_sigmoid", 0.2, 0.5)


@pytest.mark.usefixtures("keras_3")
def test_objects_that_are_not_keras_s_own_have_a_way_out() -> None:
    """Which needs Keras, as these objects do: their layers are the same ones."""
    x = np.ones((2, 5, 3), "f4")
    wanted = kf.loop(CELL, x, (FIRST, False))
    follow(
        "keras_sequential",
        lambda **_: rb.from_keras(a_layer("mine")),
        wanted,
        lambda rnn: rnn(x)[0],
        then=lambda: rb.from_keras(in_a_row(a_layer())),
    )
    follow(
        "keras_build",
        lambda **_: rb.from_keras(a_layer(built=False)),
        wanted,
        lambda rnn: rnn(x)[0],
        then=lambda: rb.from_keras(a_layer()),
    )


@pytest.mark.usefixtures("keras_3")
def test_a_model_that_is_a_class_of_one_s_own_has_a_way_out(tmp_path: Path) -> None:
    x = np.ones((2, 5, 3), "f4")
    config = {"class_name": "Mine", "module": None, "config": {"name": "mine"}, "registered_name": "Custom>Mine"}
    kf.write(tmp_path / "m.keras", config, CELL)
    follow(
        "keras_sequential",
        lambda **_: rb.load(tmp_path / "m.keras"),
        kf.loop(CELL, x, (FIRST, False)),
        lambda rnn: rnn(x)[0],
        then=lambda: rb.from_keras(in_a_row(a_layer())),
    )


def in_a_row(held: Any) -> Any:
    """Return what looks like a Sequential of a layer."""
    config = kf.sequential(simple_rnn())["config"]
    return like_keras("Sequential", config, [], "keras.src.models.sequential", layers=[held])


@pytest.mark.usefixtures("keras_3")
@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ([1], {}, "expected a layer or a model of Keras, or the path of a file of one; got list"),
        (a_layer("mine"), {}, "mine.SimpleRNN is not Keras's own; pass its layers in a row, .*keras.Sequential"),
        (a_layer(built=False), {}, "'/cell' must have 3 arrays, .* it has 0; build the model first: call it once"),
        (a_layer(), {"activation": "tanh"}, "the model records the activation of its cells; leave `activation` out"),
        (a_layer(), {"go_backwards": True}, "the model records which layers go backwards; leave `go_backwards` out"),
        (like_keras("Model", {"name": "mine"}, []), {}, "'mine' is a 'keras.src.layers.Model', which is not understood"),
    ],
)  # fmt: skip
def test_other_objects_are_refused(source: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(rb.FormatError, match=match):
        rb.from_keras(source, **options)


@pytest.mark.parametrize("version", ["1.2.2", "30.0", "3", None])
def test_other_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Any) -> None:
    match = f"it must be of Keras 2 or 3; it is of version {version!r}"
    path = kf.write(tmp_path / "m.keras", [simple_rnn()], CELL, metadata={"keras_version": version})
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path)
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(__version__=version))
    with pytest.raises(rb.FormatError, match=match):
        rb.from_keras(a_layer())
