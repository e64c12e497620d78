"""ONNX models loaded by their entrances, and run by the interface of ONNX backends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
import standin
from onnx_models import run_on, single, stack

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DATA = Path(__file__).parents[1] / "data"


def test_a_graph_that_ends_without_an_activation_has_the_identity_unless_another_is_given() -> None:
    path = DATA / "torch_last_step.onnx"
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("f4")
    rnn = rb.load(path)
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("identity")
    np.testing.assert_array_equal(rnn.probabilities(x), rnn.logits(x))
    with pytest.raises(
        rb.ArgumentError, match=r"g2 of this one is .*identity.* load it with readout_activation='softmax'"
    ):
        rnn.loss(x, np.zeros(2, int))
    for found in (
        rb.load(path, readout_activation="softmax"),
        rb.from_onnx(path, readout_activation=rb.Activation("softmax")),
        rb.from_onnx(onnx.load(path), readout_activation="softmax"),
    ):
        np.testing.assert_array_equal(found.logits(x), rnn.logits(x))
        np.testing.assert_allclose(found.probabilities(x).sum(axis=-1), 1, atol=1e-6)
        assert np.isfinite(found.loss(x, np.zeros(2, int)))
        assert found.metadata == rnn.metadata


def test_g2_of_a_graph_that_has_one_must_be_left_out(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    drawn = rb.RNN.init(3, 4, output_size=2)
    assert drawn.readout is not None
    rb.RNN(drawn.layers, rb.Linear(drawn.readout.weight, drawn.readout.bias, "identity")).save(own)
    for path, what in (
        (DATA / "torch_softmax.onnx", "the source records the activation of a readout"),
        (DATA / "torch_state.onnx", "there are no weights of a readout"),
        (own, "the source records the activation of a readout"),
    ):
        for read in (rb.load, rb.from_onnx):
            with pytest.raises(rb.FormatError, match=f"{what}; leave `readout_activation` out"):
                read(path, readout_activation="softmax")
    with pytest.raises(rb.ArgumentError, match="`readout_activation` must be a callable or one of "):
        rb.from_onnx(own, readout_activation="softmacks")


def test_arguments(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rb.RNN.init(3, 4).save(path)
    assert rb.from_onnx(str(path), backend="array_api_strict").backend.name == "array_api_strict"
    assert rb.from_onnx(onnx.load(path)).dtype == "float32"
    with pytest.raises(
        rb.ArgumentError, match=r"`activation` is an option of .*, not of ONNX models; leave `activation` out"
    ):
        rb.load(path, activation="tanh")
    with pytest.raises(rb.ArgumentError, match=r"`model` must be a path or an onnx\.ModelProto; got bytes"):
        rb.from_onnx(path.read_bytes())
    with pytest.raises(rb.ArgumentError, match="`external_data` must be True or False; got 1"):
        rb.from_onnx(path, external_data=1)  # type: ignore[arg-type]
    with pytest.raises(rb.FormatError, match="external data lie beside a file; pass its path"):
        rb.from_onnx(onnx.load(path), external_data=True)
    with pytest.raises(FileNotFoundError):
        rb.from_onnx(tmp_path / "absent.onnx")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = single(stack(Draw("float32", 21), "f", 1)[0], np.zeros((2, 3, 4), np.float32))
    assert format_.supports_device("CPU")
    assert not format_.supports_device("TPU")
    assert format_.is_compatible(made)
    assert not format_.is_compatible(made, "TPU")
    with pytest.raises(rb.DeviceError, match="the device must be 'CPU', 'CUDA' or 'CUDA:1'; got 'TPU'"):
        format_.prepare(made, "TPU")
    monkeypatch.setenv("RNN_BACKEND", "array_api_strict:device1")
    assert format_.prepare(made).device == "device1"
    assert format_.run_model(made, inputs)[0].shape == (2, 1, 3, 5)
    made.graph.node[0].op_type = "GRU"
    assert not format_.is_compatible(made)


def test_devices_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the stand-in for CuPy: a number is kept, and what is said to be a CPU is none of its devices."""
    made, _ = single(stack(Draw("float32", 21), "f", 1)[0], np.zeros((2, 3, 4), np.float32))
    with standin.installed():
        assert [format_.prepare(made, device).device for device in ("CUDA", "CUDA:0", "CUDA:1")] == [
            "cuda:0",
            "cuda:0",
            "cuda:1",
        ]
        monkeypatch.setenv("RNN_BACKEND", "cupy:1")
        with pytest.raises(rb.DeviceError, match="got 'CPU', and the backend that is selected, cupy, is on cuda:1"):
            format_.prepare(made)


def test_a_node_gets_as_many_arrays_as_it_has_inputs() -> None:
    node = onnx.helper.make_node("RNN", ["X", "W", "R"], ["", "Y_h"], hidden_size=5)
    x, w, r = np.ones((2, 3, 4), np.float32), np.ones((1, 5, 4), np.float32), np.ones((1, 5, 5), np.float32)
    (y_h,) = format_.run_node(node, [x, w, r])
    assert y_h.shape == (1, 3, 5)
    with pytest.raises(rb.ArgumentError, match=r"the node has the inputs 'X', 'W', 'R'; got 2 arrays"):
        format_.run_node(node, [x, w])


def test_inputs_of_a_prepared_model() -> None:
    made, inputs = single(stack(Draw("float32", 22), "f", 1)[0], np.zeros((2, 3, 4), np.float32), [2, 1, 0])
    prepared = format_.prepare(made)
    with pytest.raises(rb.ArgumentError, match=r"the inputs must be 'X', 'sequence_lens'; got 1"):
        prepared.run([inputs["X"]])
    with pytest.raises(rb.ArgumentError, match=r"the inputs must be 'X', 'sequence_lens'; got 'X', 'Z'"):
        prepared.run({"X": inputs["X"], "Z": inputs["X"]})
    with pytest.raises(rb.DTypeError, match=r"the input 'X' must be float32 with 3 axes; got float64"):
        prepared.run([inputs["X"].astype(np.float64), inputs["sequence_lens"]])
    with pytest.raises(rb.ArgumentError, match="every length"):
        prepared.run([inputs["X"], np.array([3, 0, 0], np.int32)])
    del made.graph.input[0].type.tensor_type.shape.dim[2]
    with pytest.raises(rb.FormatError):
        format_.prepare(made)
    made.graph.node[0].attribute[0].name = ""
    with pytest.raises(rb.FormatError, match="the model is not valid ONNX"):
        format_.prepare(made)


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.onnx")))
def test_files_of_torch(backend: str, name: str) -> None:
    """Files that torch's exporter wrote, with what torch computed; tests/data/make_onnx.py made them."""
    with np.load(DATA / f"{name}.npz") as held:
        inputs = [held[key] for key in held if key.startswith("input")]
        wanted = [held[key] for key in held if key.startswith("output")]
    assert rb.load(DATA / f"{name}.onnx", backend=backend).backend.name == backend.partition(":")[0]
    for got, right in zip(run_on(backend, onnx.load(DATA / f"{name}.onnx"), inputs), wanted, strict=True):
        assert got.shape == right.shape
        assert np.abs(got - right).max() <= 16 * np.finfo(np.float32).eps  # contractive weights: errors do not grow


RUN_NODE: Any = format_.run_node
NODE = onnx.helper.make_node("RNN", ["X", "W", "R"], ["Y"], hidden_size=2)
ONES = [np.ones((1, 1, 1), np.float32)] * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: format_.prepare(None), r"`model` must be an onnx\.ModelProto; got None"),
        (lambda: format_.prepare("m.onnx"), r"`model` must be an onnx\.ModelProto; got 'm\.onnx'"),
        (lambda: format_.run_model(3, []), r"`model` must be an onnx\.ModelProto; got 3"),
        (lambda: RUN_NODE(None, []), r"`node` must be an onnx\.NodeProto; got None"),
        (lambda: RUN_NODE(NODE, None), "`inputs` must be a sequence of arrays; got None"),
        (lambda: RUN_NODE(NODE, {}), r"`inputs` must be a sequence of arrays; got \{\}"),
        (lambda: RUN_NODE(NODE, [[1, [2]]] * 3), "the input 'X' must be an array of numbers.*; got list"),
        (
            lambda: RUN_NODE(NODE, [object()] * 3),
            "the input 'X' must be an array of numbers.*; got object",
        ),
        (lambda: RUN_NODE(NODE, [np.zeros(3, "M8[s]")] * 3), r"the input 'X' .*; got datetime64\[s\]"),
        (lambda: RUN_NODE(NODE, [np.ma.ones(3)] * 3), "the input 'X' .* without a mask; got MaskedArray"),
        (lambda: RUN_NODE(NODE, ONES, opset_version=None), "`opset_version` must be an integer; got None"),
        (lambda: RUN_NODE(NODE, ONES, opset_version=True), "`opset_version` must be an integer; got True"),
    ],
)
def test_arguments_of_other_types(call: Callable[[], object], message: str) -> None:
    with pytest.raises(rb.ArgumentError, match=message) as caught:
        call()
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize("device", [None, 1, b"CPU", ["CPU"], "CUDA:" + "9" * 5000, "C" * 5000, "CPU\n"])
def test_devices_of_other_types(device: Any) -> None:
    assert format_.supports_device(device) is False
    with pytest.raises(rb.RNNBackendError) as caught:
        format_.run_node(NODE, ONES, device)
    assert len(str(caught.value)) <= 400
