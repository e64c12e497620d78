"""ONNX's Clip as a clipped ReLU: of a Linear, of the steps of an unrolled graph, and as models are written."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import cells_of, close, model, node, refused, run_runtime, value
from unrolled import unrolled

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 90)
LAYER = DRAW.layers("f", 1, 4, 5)[0]
CELL: Any = cells_of(LAYER)[0]
W, B, V = DRAW.normal(5, 3), DRAW.normal(3), DRAW.normal(4, 4)
ENDS = {
    "zero": np.array(0, np.float32), "one": np.array([0.5], np.float32), "half": np.array(0.5, np.float32),
    "most": np.array(np.finfo(np.float32).max), "least": np.array(np.finfo(np.float32).min),
}  # fmt: skip
HALF = rb.Activation("clipped_relu", 0.5)


def clipped(opset: int = 14, *inputs: str, before: Sequence[str] = (), **attributes: float) -> onnx.ModelProto:
    """A graph of five steps, x V to states to y, with a Clip after both products; `before` it are other nodes."""
    nodes, held = unrolled(CELL, "taken", "states")
    if opset < 13:
        nodes = [
            node("Squeeze", each.input[:1], each.output, axes=[0]) if each.op_type == "Squeeze" else each
            for each in nodes
        ]
    ends = []
    for source, result in (("product", "taken"), ("added", "y")):
        names = [f"{result}_{name}" for name in before] + [result]
        sources = [source, *names[:-1]]
        ends.append([
            *(node(kind, [at], to) for kind, at, to in zip(before, sources, names, strict=False)),
            node("Clip", [sources[-1], *inputs], result, **attributes),
        ])  # fmt: skip
    encoder, readout = ends
    all_nodes = [
        node("MatMul", ["x", "v"], "product"), *encoder, *nodes,
        node("MatMul", ["states", "w"], "scaled"), node("Add", ["scaled", "b"], "added"), *readout,
    ]  # fmt: skip
    x = value("x", shape=[5, 2, 4])
    return model(all_nodes, [x], ["y"], held | ENDS | {"v": V, "w": W, "b": B}, opset)


READ: Mapping[str, tuple[tuple[Any, ...], dict[str, Any], Any]] = {
    "inputs": ((14, "zero", "half"), {}, HALF),
    "of one axis": ((14, "zero", "one"), {}, HALF),
    "attributes": ((10,), {"min": 0.0, "max": 0.5}, HALF),
    "no ceiling": ((14, "zero"), {}, rb.Activation("relu")),
    "a ceiling of the largest": ((14, "zero", "most"), {}, rb.Activation("relu")),
    "after a Relu": ((14, "zero", "half"), {"before": ["Relu"]}, HALF),
    "after a Relu, without a floor": ((14, "", "half"), {"before": ["Relu"]}, HALF),
    "after a Relu, from the least": ((14, "least", "half"), {"before": ["Relu"]}, HALF),
}


@pytest.mark.parametrize("kind", READ)
def test_a_clip_is_a_clipped_relu(kind: str, backend: str) -> None:
    (opset, *inputs), options, wanted = READ[kind]
    made, x = clipped(opset, *inputs, **options), DRAW.normal(5, 2, 4)
    own = rb.RNN([LAYER], rb.Linear(W.T, B, wanted), encoder=rb.Linear(V.T, activation=wanted))
    rnn: Any = rb.from_onnx(made)
    assert (rnn.encoder.activation, rnn.readout.activation) == (wanted, wanted)
    with rb.use_backend(backend):
        (got,) = format_.run_model(made, [x])
    close(got, own.probabilities(x))
    assert (got == 0).any()
    assert (got == 0.5).any() == (wanted == HALF)


@pytest.mark.parametrize("kind", [kind for kind in READ if kind != "of one axis"])
def test_onnx_runtime_has_the_same_numbers(kind: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    (opset, *inputs), options, _ = READ[kind]
    made, x = clipped(opset, *inputs, **options), DRAW.normal(5, 2, 4)
    close(format_.run_model(made, [x])[0], run_runtime(runtime, made, {"x": x})[0])


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (([14, "least", "half"], {}), "Clip .* its bounds must be 0 and a positive number, .*; got none, 0.5"),
        (([14, "", "half"], {}), "got none, 0.5"),
        (([14, "half", "one"], {}), "got 0.5, 0.5"),
        (([14, "zero", "zero"], {}), "got 0, 0"),
        (([10], {"min": -1.0, "max": 1.0}), "got -1, 1"),
        (([10], {"min": 0.0, "max": float("inf")}), "got 0, inf"),
        (([10], {"min": 0.0, "max": float("nan")}), "got 0, nan"),
        (([10], {"min": float("nan"), "max": 1.0}), "got nan, 1"),
        (([14, "half", "one"], {"before": ["Relu"]}), "got 0.5, 0.5"),
        (([14, "zero", "half"], {"before": ["Relu", "Tanh"]}), "Tanh .* it can only be the activation of a Linear"),
        (([14, "zero", "b"], {}), "Clip .* its `max` must be a constant, one floating-point number"),
        (([14, "x", "half"], {}), "Clip .* its `min` must be a constant, one floating-point number"),
    ],
)
def test_other_clips_are_refused(clip: tuple[list[Any], dict[str, Any]], message: str) -> None:
    given, options = clip
    refused(clipped(*given, **options), message)


def test_a_clip_after_a_scaled_relu_is_none_of_that_relu() -> None:
    nodes, held = unrolled(CELL, "x", "states")
    more = [
        node("MatMul", ["states", "w"], "p"), node("Relu", ["p"], "r"), node("Mul", ["r", "half"], "s"),
        node("Clip", ["s", "", "half"], "y"),
    ]  # fmt: skip
    made = model([*nodes, *more], [value("x", shape=[5, 2, 4])], ["y"], held | ENDS | {"w": W})
    refused(made, "Clip .* its bounds must be 0 and a positive number")


def steps(before: Sequence[str] = ()) -> onnx.ModelProto:
    """A graph of five steps whose activation is a Clip, with a Linear after the last that has one too."""
    nodes, held = unrolled(CELL, "x", "states")
    made = []
    for each in nodes:
        if each.op_type != "Tanh":
            made.append(each)
            continue
        names = [f"{each.output[0]}_{kind}" for kind in before]
        sources = [each.input[0], *names]
        made += [node(kind, [at], to) for kind, at, to in zip(before, sources, names, strict=False)]
        made.append(node("Clip", [sources[-1], "zero", "half"], each.output[0]))
    made += [
        node("MatMul", ["states4", "w"], "p"), node("Relu", ["p"], "q"), node("Clip", ["q", "zero", "half"], "y"),
    ]  # fmt: skip
    return model(made, [value("x", shape=[5, 2, 4])], ["y"], held | ENDS | {"w": W})


def test_a_clip_is_the_activation_of_a_recurrence(backend: str) -> None:
    rnn, x = rb.from_onnx(steps()), DRAW.normal(5, 2, 4)
    own = rb.RNN(
        [rb.Cell(CELL.weight_ih, CELL.weight_hh, CELL.bias, HALF)], rb.Linear(W.T, activation=HALF), reads="last"
    )
    assert [cell.activation for cell in cells_of(rnn.layers[0])] == [HALF]
    with rb.use_backend(backend):
        (got,) = format_.run_model(steps(), [x])
    close(got[0], own.probabilities(x))
    refused(steps(["Relu"]), "step 1 has another activation than the step before it")


# As models are written


def network(dtype: str, *, alpha: float = 0.5, clips: Sequence[float | None] = (None, None)) -> rb.RNN:
    draw, act = Draw(dtype, 91), rb.Activation("clipped_relu", alpha)
    forward = draw.cell(4, 5, activation=act, clip=clips[0])
    backward = draw.cell(4, 5, activation="tanh" if clips[1] else act, clip=clips[1])
    encoder = rb.Linear(draw.normal(4, 3), activation=act)
    return rb.RNN([rb.Layer(forward, backward)], rb.Linear(draw.normal(9, 10), None, act), encoder=encoder)


def written(rnn: rb.RNN, path: Path, *, described: bool) -> onnx.ModelProto:
    rnn.save(path)
    made = onnx.load(path)
    onnx.checker.check_model(made, full_check=True)
    if not described:
        del made.metadata_props[:]
    return made


@pytest.mark.parametrize("clips", [(None, None), (0.25, None), (0.25, 0.25), (2.0, 0.5)])
@pytest.mark.parametrize(("dtype", "alpha"), [("float16", 1 / 3), ("float32", 1 / 3), ("float64", 0.375)])
def test_a_clipped_relu_is_written_and_read_again(
    tmp_path: Path, dtype: str, alpha: float, clips: Sequence[float | None]
) -> None:
    rnn, x = network(dtype, alpha=alpha, clips=clips), Draw(dtype, 92).normal(6, 2, 3)
    wanted = rnn.probabilities(x)
    assert 0 < (wanted == 0).mean() < 1
    again: Any = rb.from_onnx(written(rnn, tmp_path / "m.onnx", described=True))
    held, own = (cells_of(each.layers[0]) for each in (again, rnn))
    assert [(cell.activation, cell.clip) for cell in held] == [(cell.activation, cell.clip) for cell in own]
    assert again.readout.activation == again.encoder.activation == rb.Activation("clipped_relu", alpha)
    np.testing.assert_array_equal(again.probabilities(x), wanted)
    bare = written(rnn, tmp_path / "m.onnx", described=False)
    np.testing.assert_array_equal(rb.from_onnx(bare).probabilities(x), wanted)


@pytest.mark.parametrize("clips", [(None, None), (0.25, None), (2.0, 0.5)])
def test_onnx_runtime_runs_what_is_written(tmp_path: Path, clips: Sequence[float | None]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    rnn, x = network("float32", alpha=1 / 3, clips=clips), Draw("float32", 92).normal(6, 2, 3)
    made = written(rnn, tmp_path / "m.onnx", described=True)
    close(run_runtime(runtime, made, {"x": x})[-1], rnn.probabilities(x))


@pytest.mark.parametrize("backward", ["tanh", rb.Activation("clipped_relu", 0.75)])
def test_cells_of_two_ceilings_are_two_nodes(tmp_path: Path, backward: Any) -> None:
    draw = Draw("float32", 93)
    rnn = rb.RNN([rb.Layer(draw.cell(3, 4, activation=HALF), draw.cell(3, 4, activation=backward))])
    made, x = written(rnn, tmp_path / "m.onnx", described=False), 9 * draw.normal(6, 2, 3)
    output, _ = rnn(x)
    assert output[..., :4].max() == 0.5 < output[..., 4:].max()
    np.testing.assert_array_equal(rb.from_onnx(made)(x)[0], output)


def test_the_ceiling_of_a_linear_has_the_dtype_of_the_model(tmp_path: Path) -> None:
    readout = rb.Linear(np.eye(2), activation=rb.Activation("clipped_relu", 0.1))
    rnn = rb.RNN([rb.Cell(np.eye(2), np.eye(2))], readout)
    again: Any = rb.from_onnx(written(rnn, tmp_path / "m.onnx", described=False))
    assert again.readout.activation.alpha == 0.1


@pytest.mark.parametrize(
    ("rnn", "message"),
    [
        (lambda: network("float64", alpha=0.1), "clip, alpha and beta in float32, where 0.1 of l0 is 0.10000000149"),
        (lambda: network("float32", alpha=1e-50), "in float32, where 1e-50 of l0 is 0.0; save the model as"),
        (
            lambda: rb.RNN(
                [rb.Cell(np.eye(2, dtype="f2"), np.eye(2, dtype="f2"))],
                rb.Linear(np.eye(2, dtype="f2"), activation=rb.Activation("clipped_relu", 1e5)),
            ),
            r"in float16, where 100000.0 of the readout is inf; save the model as",
        ),
    ],
)
def test_ceilings_that_onnx_cannot_hold(tmp_path: Path, rnn: Callable[[], rb.RNN], message: str) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rnn().save(tmp_path / "m.onnx")


def test_a_description_of_another_ceiling_is_refused(tmp_path: Path) -> None:
    for right, wrong, what in (
        ('"alpha": 0.5', '"alpha": 0.25', "the description of l0 has the activation 'clipped_relu' of alpha 0.25"),
        (
            '"name": "clipped_relu"',
            '"name": "thresholded_relu"',
            "the description of l0 has the activation 'thresholde",
        ),
    ):
        made = written(network("float32"), tmp_path / "m.onnx", described=True)
        (entry,) = made.metadata_props
        entry.value = entry.value.replace(right, wrong, 1) if "l0" in what else entry.value
        refused(made, what)


@pytest.mark.parametrize("way", ["relu6", "clamp", "clamp after relu", "clamp from 0"])
@pytest.mark.parametrize("of_cells", [False, True])
@pytest.mark.parametrize("opset", [9, 17])
def test_what_torch_exports(torch: Any, tmp_path: Path, way: str, of_cells: bool, opset: int) -> None:
    nn: Any = torch.nn
    g = {
        "relu6": nn.functional.relu6, "clamp": lambda z: torch.clamp(z, 0, 0.25), "clamp from 0": lambda z: z.clamp(min=0),
        "clamp after relu": lambda z: torch.relu(z).clamp(max=0.25),
    }[way]  # fmt: skip

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.rnn, self.out = nn.Linear(4, 6), nn.RNN(6, 5), nn.Linear(5, 3)
            self.ih, self.hh = nn.Linear(6, 5), nn.Linear(5, 5)

        def forward(self, x: Any) -> Any:
            x = g(20 * self.fc(x))
            if not of_cells:
                return g(self.out(self.rnn(x)[0]))
            states = [torch.zeros(x.shape[1], 5)]
            for step in x:
                states.append(g(self.ih(step) + self.hh(states[-1])))
            return self.out(torch.stack(states[1:]))

    torch.manual_seed(0)
    module, x = Net().eval(), torch.randn(5, 2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), tmp_path / "m.onnx", dynamo=False, opset_version=opset, input_names=["x"])
    if of_cells and way == "clamp after relu":  # of a Linear the two are one; of a state they are not
        with pytest.raises(rb.FormatError, match=r"Clip .* its bounds must be 0 and a positive number"):
            rb.load(tmp_path / "m.onnx")
        return
    got = rb.load(tmp_path / "m.onnx").probabilities(x.numpy())
    np.testing.assert_allclose(got, module(x).detach().numpy(), rtol=1e-5, atol=1e-6)
