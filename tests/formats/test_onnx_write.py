"""ONNX models as this package writes them, read again bit by bit."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx")

import onnx
from onnx_models import (
    OF_ONNX,
    cells_of,
    refused,
)

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.core.layers import named_arrays
from rnn_backends.testing.cases import Draw


@st.composite
def networks(draw: st.DrawFn) -> rb.RNN:
    """A model with all that ONNX can hold, in whatever combination."""
    made = Draw(draw(st.sampled_from(["float32", "float64", "float16"])), draw(st.integers(0, 99)))
    input_size, hidden_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    layers, width = [], input_size
    for _ in range(draw(st.integers(1, 3))):
        sides = draw(st.sampled_from(["f", "b", "fb"]))
        cells = [
            made.cell(
                width, hidden_size, bias=draw(st.booleans()), activation=draw(st.sampled_from(EXACT)),
                clip=draw(st.sampled_from([None, 0.5, 2.0])),
            ) if side in sides else None
            for side in "fb"
        ]  # fmt: skip
        layers.append(rb.Layer(*cells))
        width = len(sides) * hidden_size
    readout = None
    if draw(st.booleans()):
        names = ["softmax", "log_softmax", "identity", "sigmoid", "tanh", "relu", "elu", "softsign", "softplus"]
        g2: Any = draw(st.sampled_from([*names, rb.Activation("leaky_relu", 0.125), *EXACT[-2:]]))
        readout = rb.Linear(made.normal(3, width), made.normal(3) if draw(st.booleans()) else None, g2)
    vocabulary = "".join(map(chr, range(97, 97 + input_size))) if draw(st.booleans()) else None
    return rb.RNN(layers, readout, batch_first=draw(st.booleans()), vocabulary=vocabulary, metadata={"licence": "CC0"})


EXACT = (
    *(activation for activation in OF_ONNX if activation.name != "hard_sigmoid"),
    rb.Activation("hard_sigmoid", 0.25, 0.5),
    rb.Activation("clipped_relu", 0.75),
)


def same_bits(first: Any, second: Any) -> bool:
    return bool(first.shape == second.shape and first.dtype == second.dtype and first.tobytes() == second.tobytes())


@given(rnn=networks())
def test_what_is_written_is_read_again(rnn: rb.RNN, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round.onnx"
    rnn.save(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    again = rb.load(path)
    pairs = list(zip(*(named_arrays((model.layers, model.readout)) for model in (rnn, again)), strict=True))
    assert all(name == other and same_bits(a, b) for (name, a), (other, b) in pairs)
    for layer, other in zip(rnn.layers, again.layers, strict=True):
        for cell, copy in zip(cells_of(layer), cells_of(other), strict=True):
            assert (cell.activation, cell.clip, cell.leak) == (copy.activation, copy.clip, copy.leak)
    assert (rnn.batch_first, rnn.vocabulary, rnn.metadata) == (again.batch_first, again.vocabulary, again.metadata)
    input_size = cells_of(rnn.layers[0])[0].input_size
    x = np.zeros((3, 2), np.int64) if rnn.vocabulary else np.ones((3, 2, input_size), rnn.dtype)
    output, h_n = rnn(x)
    got = format_.run_model(onnx.load(path), [x])
    assert same_bits(got[0], output)
    assert same_bits(got[1], h_n)
    if rnn.readout is not None:
        assert same_bits(got[2], rnn.logits(x))
        assert same_bits(got[-1], rnn.probabilities(x))


def test_numbers_in_full_precision_and_zeros_with_their_signs(tmp_path: Path) -> None:
    cell = rb.Cell(
        np.ones((2, 2), np.float32),
        np.eye(2, dtype=np.float32),
        np.array([-0.0, 1e-45], np.float32),
        rb.Activation("elu", 0.1),
        clip=6.1,
    )
    rb.RNN([cell], metadata={"a": "é"}).save(tmp_path / "m.onnx")
    (again,) = cells_of(rb.load(tmp_path / "m.onnx").layers[0])
    assert (again.activation, again.clip) == (rb.Activation("elu", 0.1), 6.1)
    assert same_bits(again.bias, cell.bias)


@pytest.mark.parametrize(
    ("rnn", "message"),
    [
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), leak=0.5)]), r"the cell l0 has a leak, which ONNX's RNN has not"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), activation="softmax")]), r"ONNX's RNN has .*, not 'softmax', the activation of l0"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), activation=abs)]), r"a file cannot hold the function 'abs'"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2))], rb.Linear(np.ones((2, 2)), activation="affine")), r"ONNX has no operator for 'affine'"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), clip=6.1)]), r"float32, where 6.1 of l0 is 6.099999904632568; save the model as"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2), "f4"), np.eye(2, dtype="f4"), clip=1e39)]), r"float32, where 1e\+39 of l0 is inf"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2))], rb.Linear(np.ones((2, 2)), activation=rb.Activation("elu", 0.1))), r"where 0.1 of the readout is"),
    ],
)  # fmt: skip
def test_what_onnx_cannot_hold(rnn: Callable[[], rb.RNN], message: str, tmp_path: Path) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rnn().save(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_description_must_agree_with_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rb.RNN.init(3, 4, output_size=2).save(path)
    for right, wrong, message in (
        (
            '"tanh"',
            '"relu"',
            "the description of l0 has the activation",
        ),
        (
            '"leak": null',
            '"leak": 0.5',
            "the description of l0 has the activation",
        ),
        (
            '"clip": null',
            '"clip": 1.0',
            "the description of l0 has the activation",
        ),
        ('"softmax"', '"sigmoid"', "the description of the readout differs"),
        ('"batch_first": false', '"batch_first": true', "the description of batch_first differs"),
        ('"reads": "steps"', '"reads": "mean"', "the description of reads differs"),
        ('"takes": null', '"takes": "tokens"', "the description of takes differs"),
        ('"vocabulary": null', '"vocabulary": "abc"', "the description of takes differs"),
        ('"unknown": null', '"unknown": "a"', "the description fits no network: `unknown` must be an item"),
        ('"encoder": []', '"encoder": [{"name": "tanh", "alpha": null, "beta": null}]', "the encoder differs"),
        ('"readout": [', '"readout": [{"name": "identity", "alpha": null, "beta": null}, ', "the readout differs"),
        ('"noise": null', '"noise": {"std": 0.5, "seed": 1}', "the description of noise differs"),
        ('"kind": "Cell"', '"kind": "RateCell"', "the description of l0 is of a RateCell, which no graph has"),
        ('"format_version": 3', '"format_version": 4', "format version 4"),
        ('"l0"', '"l1"', "cells lacks"),
    ):
        made = onnx.load(path)
        (entry,) = made.metadata_props
        assert right in entry.value
        entry.value = entry.value.replace(right, wrong)
        refused(made, message)


def test_files_of_more_than_2_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn, path = rb.RNN.init(2, 3), tmp_path / "m.onnx"
    rnn.save(path)
    monkeypatch.setattr("rnn_backends.formats.onnx.proto.MAX_FILE", 100)
    with pytest.raises(rb.FormatError, match=r"m\.onnx: it has more than 2 GiB, which protobuf cannot hold"):
        rb.load(path)
    monkeypatch.setattr(import_module("rnn_backends.formats.onnx.write"), "MAX_FILE", 2**24 + 10)  # not the function
    with pytest.raises(rb.FormatError, match="the model has about 2 GiB or more, which an ONNX file cannot hold"):
        rnn.save(path)
