"""Keras 3: weights alone, and objects that look like Keras's."""

import sys
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
    with pytest.raises(rb.FormatError, match="weights of a readout do not record its activation, g2; pass readout_act"):
        rb.load(path, **GIVEN)
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
    with pytest.raises(
        rb.FormatError, match="do not record whether an Embedding has mask_zero; pass masking=False if it has not, or"
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
    "two kinds": ({**PAIR, **SECOND, **CELL}, "'bidirectional', 'simple_rnn', 'simple_rnn_1', do not show which feeds which"),
    "none": (kf.dense_arrays("layers/dense"), "the names of its layers, 'dense', do not show which feeds which; those of SimpleRNN, or"),
    "no Dense": (PAIR, "do not record how the last Bidirectional merges its directions; read the .keras file"),
    "directions that are not joined": ({**PAIR, **kf.dense_arrays("layers/dense", 4)}, r"readout must have shape \(output_size, 8\)"),
    "two Dense": ({**MODEL, **kf.dense_arrays("layers/dense_1")}, "do not show which feeds which"),
    "two readouts": ({**MODEL, **kf.dense_arrays("layers/time_distributed/layer")}, "there is 'time_distributed'; a network has one"),
    "an LSTM": (kf.cell_arrays("layers/lstm"), "it holds 'lstm'; weights alone are enough for SimpleRNN, or Bidirectional,"),
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
    with pytest.raises(rb.FormatError, match=r"it holds 'masking'; weights alone are enough .* Read the \.keras file"):
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


@pytest.mark.usefixtures("keras_3")
@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ([1], {}, "expected a layer or a model of Keras, or the path of a file of one; got list"),
        (a_layer("mine"), {}, "mine.SimpleRNN is not Keras's own; pass a SimpleRNN, or a Sequential or functional model"),
        (a_layer("tf_keras.src"), {}, "is not Keras's own"),
        (a_layer(built=False), {}, "'/cell' must have 3 arrays, .* it has 0. Build the model first: call it once"),
        (a_layer(), {"activation": "tanh"}, "the model records the activation of its cells; leave `activation` out"),
        (a_layer(), {"go_backwards": True}, "the model records which layers go backwards; leave `go_backwards` out"),
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
