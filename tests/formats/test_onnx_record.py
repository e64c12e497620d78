"""All that a network may hold, written as ONNX: run by ONNX Runtime and by this package, and read again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import close, refused, run_runtime

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.core.layers import named_arrays
from rnn_backends.testing.cases import Draw

READS = ("steps", "last", "final", "mean", "max")
# Jumps make an error of the argument one of the result.
ENCODERS = ("identity", "tanh", "relu", "softmax", rb.Activation("leaky_relu", 0.125), "softsign")


def uneven(draw: Draw, width: int, sides: str = "fb", sizes: tuple[int, ...] = (5, 3)) -> rb.Layer:
    """A layer whose cells are of several sizes."""
    cells = dict(zip(sides, (draw.cell(width, size) for size in sizes), strict=False))
    return rb.Layer(cells.get("f"), cells.get("b"))


def linear(draw: Draw, outputs: int, inputs: int, activation: Any = None, bias: bool = True) -> rb.Linear:
    return rb.Linear(
        draw.normal(outputs, inputs, scale=inputs**-0.5), draw.normal(outputs) if bias else None, activation
    )


def features(draw: Draw) -> rb.RNN:
    """An encoder of features, a head, and cells of one size in two nodes, for they differ in their clip."""
    layer = rb.Layer(draw.cell(6, 5, clip=0.5), draw.cell(6, 5))
    encoder = [linear(draw, 3, 4, "relu"), linear(draw, 6, 3, bias=False)]
    head = [linear(draw, 4, 10, "tanh"), linear(draw, 5, 4, "identity", bias=False), linear(draw, 2, 5)]
    return rb.RNN([layer], head, encoder=encoder, takes="features", reads="final")


def tokens(draw: Draw) -> rb.RNN:
    """Rows of a table with a bias and an activation, and cells of several sizes."""
    layers = [uneven(draw, 3), uneven(draw, 8, "f", (4,)), uneven(draw, 4, sizes=(2, 6))]
    encoder = [linear(draw, 6, 9, "tanh"), linear(draw, 3, 6)]
    return rb.RNN(layers, linear(draw, 2, 8), encoder=encoder, takes="tokens", reads="final", batch_first=True)


def states(draw: Draw) -> rb.RNN:
    """Initial states of cells of several sizes."""
    layers, h_0 = [uneven(draw, 4), uneven(draw, 8, "b", (4,))], [draw.normal(5), draw.normal(3), draw.normal(4)]
    return rb.RNN(layers, linear(draw, 2, 4), h_0=h_0, reads="mean", batch_first=True)


def even_states(draw: Draw) -> rb.RNN:
    return rb.RNN(draw.layers("fb", 2, 4, 5), linear(draw, 2, 10), h_0=draw.normal(4, 5))


def zero_states(draw: Draw) -> rb.RNN:
    return rb.RNN(draw.layers("f", 1, 4, 1), h_0=draw.rounded(np.zeros((1, 1))))


def one_hot(draw: Draw) -> rb.RNN:
    return rb.RNN(draw.layers("f", 1, 4, 5), linear(draw, 2, 5), takes="tokens", reads="max")


def words(draw: Draw) -> rb.RNN:
    return rb.RNN(
        draw.layers("f", 1, 3, 5), linear(draw, 2, 5), encoder=linear(draw, 3, 4), vocabulary=["a", "b", "c", "?"], unknown="?"
    )  # fmt: skip


PARTS: tuple[Callable[[Draw], rb.RNN], ...] = (features, tokens, states, even_states, zero_states, one_hot, words)


def ids_or_features(draw: Draw, rnn: rb.RNN, seq_len: int = 6, batch: int = 3) -> NDArray[Any]:
    shape = (batch, seq_len) if rnn.batch_first else (seq_len, batch)
    size: Any = rnn.input_size
    return draw.random.integers(0, size, shape) if rnn.takes == "tokens" else draw.normal(*shape, size)


def results(rnn: rb.RNN, x: NDArray[Any]) -> dict[str, Any]:
    """What a written graph must give, by the names of its outputs."""
    output, h_n = rnn(x)
    places = [f"l{k}{'_reverse' * back}" for k, layer in enumerate(rnn.layers) for _, back in layer.cells]
    last = (
        {f"h_n_{place}": part for place, part in zip(places, h_n, strict=True)}
        if isinstance(h_n, tuple)
        else {"h_n": h_n}
    )
    read_out = {}
    if rnn.readout is not None:
        g2 = (rnn.readout if isinstance(rnn.readout, tuple) else (rnn.readout,))[-1].activation
        read_out = {"logits": rnn.logits(x)}
        if g2 != rb.Activation("identity"):
            read_out["probabilities"] = rnn.probabilities(x)
    return {"output": output, **last, **read_out}


def written(rnn: rb.RNN, path: Path) -> onnx.ModelProto:
    rnn.save(path)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    return made


def require_same(rnn: rb.RNN, again: rb.RNN) -> None:
    """Check that two models are made of the same parts, down to their bits."""
    first, second = (dict(named_arrays(model.placed.network)) for model in (rnn, again))
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert (array.dtype, array.shape, array.tobytes()) == (
            second[name].dtype,
            second[name].shape,
            second[name].tobytes(),
        ), name
    for one, other in zip(rnn.layers, again.layers, strict=True):
        for (cell, back), (copy, back_too) in zip(one.cells, other.cells, strict=True):
            assert (back, cell.activation, cell.clip) == (back_too, copy.activation, copy.clip)  # type: ignore[attr-defined]
    held, read = rnn.placed.network, again.placed.network
    for role in ("encoder", "readout"):
        assert [each.activation for each in getattr(held, role)] == [each.activation for each in getattr(read, role)]
    for fact in ("reads", "takes", "batch_first", "vocabulary", "unknown", "metadata"):
        assert getattr(held, fact) == getattr(read, fact), fact


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_parts_in_onnx_runtime(part: Callable[[Draw], rb.RNN], tmp_path: Path) -> None:
    runtime, draw = pytest.importorskip("onnxruntime"), Draw("float32", 40)
    rnn = part(draw)
    made, x = written(rnn, tmp_path / "m.onnx"), ids_or_features(draw, rnn)
    wanted = results(rnn, x)
    assert [info.name for info in made.graph.output] == list(wanted)
    for name, got in zip(wanted, run_runtime(runtime, made, {"x": x}), strict=True):
        close(got, wanted[name])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_parts_are_read_again(part: Callable[[Draw], rb.RNN], dtype: str, tmp_path: Path) -> None:
    draw = Draw(dtype, 41)
    rnn = part(draw)
    made, x = written(rnn, tmp_path / "m.onnx"), ids_or_features(draw, rnn)
    require_same(rnn, rb.load(tmp_path / "m.onnx"))
    for (name, wanted), got in zip(results(rnn, x).items(), format_.run_model(made, [x]), strict=True):
        assert got.dtype == dtype, name
        close(got, wanted)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("sides", ["f", "b", "fb"])
@pytest.mark.parametrize("reads", READS)
def test_what_the_readout_reads(reads: str, sides: str, batch_first: bool, tmp_path: Path) -> None:
    runtime, draw = pytest.importorskip("onnxruntime"), Draw("float32", 42)
    width = 5 * len(sides)
    rnn = rb.RNN(draw.layers(sides, 2, 4, 5), linear(draw, 3, width), reads=reads, batch_first=batch_first)
    made, x = written(rnn, tmp_path / "m.onnx"), ids_or_features(draw, rnn)
    *_, logits, probabilities = run_runtime(runtime, made, {"x": x})
    assert logits.shape == rnn.logits(x).shape
    close(logits, rnn.logits(x))
    close(probabilities, rnn.probabilities(x))
    again = rb.load(tmp_path / "m.onnx")
    assert again.reads == reads
    close(format_.run_model(made, [x])[-1], probabilities)
    del made.metadata_props[:]  # as somebody else's: the graph says the same, but for two names of one thing
    assert rb.from_onnx(made).reads == ("last" if (reads, sides) == ("final", "f") else reads)


@st.composite
def networks(draw: st.DrawFn) -> tuple[rb.RNN, NDArray[Any]]:
    """A model with any parts that ONNX can hold, together, and an input."""
    made = Draw("float32", draw(st.integers(0, 999)))
    width = size = draw(st.integers(2, 5))
    encoder = []
    for _ in range(draw(st.integers(0, 2))):
        outputs = draw(st.integers(2, 4))
        encoder.append(linear(made, outputs, width, draw(st.sampled_from(ENCODERS)), draw(st.booleans())))
        width = outputs
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        sides, sizes = draw(st.sampled_from(["f", "b", "fb"])), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        layers.append(uneven(made, width, sides, sizes))
        width = sum(sizes[: len(sides)])
    head = [linear(made, 3, width, draw(st.sampled_from(ENCODERS))), linear(made, 2, 3)][draw(st.integers(0, 1)) :]
    head = head if head[0].input_size == width else [linear(made, 2, width)]
    h_0 = [made.normal(cell.hidden_size) for layer in layers for cell, _ in layer.cells]  # type: ignore[attr-defined]
    rnn = rb.RNN(
        layers, draw(st.sampled_from([None, head])), encoder=encoder or None, h_0=draw(st.sampled_from([None, h_0])),
        reads=draw(st.sampled_from(READS)), takes=draw(st.sampled_from([None, "tokens", "features"])),
        batch_first=draw(st.booleans()),
    )  # fmt: skip
    assert rnn.input_size == size
    return rnn, ids_or_features(made, rnn, draw(st.integers(1, 5)), draw(st.integers(1, 3)))


@given(drawn=networks())
def test_all_parts_together(drawn: tuple[rb.RNN, NDArray[Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    runtime, (rnn, x) = pytest.importorskip("onnxruntime"), drawn
    made = written(rnn, path := tmp_path_factory.getbasetemp() / "together.onnx")
    require_same(rnn, rb.load(path))
    wanted = results(rnn, x).values()
    for own, theirs, right in zip(
        format_.run_model(made, [x]), run_runtime(runtime, made, {"x": x}), wanted, strict=True
    ):
        close(own, right)
        close(theirs, right)


def test_a_batch_of_none_and_a_description_of_other_linears(tmp_path: Path) -> None:
    rnn = features(Draw("float32", 43))
    made = written(rnn, tmp_path / "m.onnx")
    assert format_.run_model(made, [np.zeros((6, 0, 4), np.float32)])[-1].shape == (0, 2)
    identity = '{"name": "identity", "alpha": null, "beta": null}'
    for right, wrong, message in (
        (f', {identity}], "readout"', '], "readout"', "the description of the encoder differs from the graph"),
        ('"encoder": [{"name": "relu"', '"encoder": [{"name": "tanh"', "the description of the encoder differs"),
        (f", {identity}, ", ", ", "the description of the readout differs from the graph"),
        ('"readout": [{"name": "tanh"', '"readout": [{"name": "relu"', "the description of the readout differs"),
        ('"reads": "final"', '"reads": "last"', "the description of reads differs from the graph"),
        ('"takes": "features"', '"takes": "tokens"', "the description of takes differs from the graph"),
    ):
        made = onnx.load(tmp_path / "m.onnx")
        (entry,) = made.metadata_props
        assert entry.value.count(right) == 1
        entry.value = entry.value.replace(right, wrong)
        refused(made, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": rb.Linear(np.ones((2, 2)), activation="affine")}, "ONNX has no operator for 'affine', the activation of the encoder; save the model as .safetensors or .npz"),
        ({"readout": [rb.Linear(np.ones((2, 2)), activation=rb.Activation("scaled_tanh", 1, 1)), rb.Linear(np.ones((2, 2)))]}, r"no operator for 'scaled_tanh', the activation of the readout\.0; save the model as .safetensors or .npz"),
        ({"encoder": [rb.Linear(np.ones((2, 2))), rb.Linear(np.ones((2, 2)), activation=abs)]}, "a file cannot hold the function 'abs'"),
        ({"encoder": rb.Linear(np.ones((2, 2)), activation=rb.Activation("elu", 0.1))}, "where 0.1 of the encoder is .*; save the model as"),
        ({"layers": [rb.Cell(np.ones((2, 2)), np.eye(2), leak=np.full(2, 0.5))]}, "the cell l0 has a leak, which ONNX's RNN has not; save the model as .safetensors or .npz"),
    ],
)  # fmt: skip
def test_parts_that_onnx_cannot_hold(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    held: dict[str, Any] = {"layers": [rb.Cell(np.ones((2, 2)), np.eye(2))], **changes}
    rnn = rb.RNN(held.pop("layers"), held.pop("readout", None), **held)
    with pytest.raises(rb.FormatError, match=message):
        rnn.save(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    if "function" not in message:  # the way out
        rnn.save(tmp_path / "m.safetensors")
        require_same(rnn, rb.load(tmp_path / "m.safetensors"))
