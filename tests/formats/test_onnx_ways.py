"""What no way out makes readable in an ONNX graph: it is refused without one."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import cells_of, model, node, options, value, weights
from unrolled import unrolled

import rnn_backends as rb
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 91)
LAYER = DRAW.layers("f", 1, 4, 5)[0]
CELL: Any = cells_of(LAYER)[0]


def by_torch(more: Sequence[onnx.NodeProto], steps: bool, before: Sequence[onnx.NodeProto] = ()) -> onnx.ModelProto:
    """One layer, `y` of `x0`, by the operator RNN or step by step, and what comes around it, written by torch."""
    held: dict[str, Any] = {
        "i1": np.array([1]),
        "five": DRAW.normal(5),
        "half": np.float32(0.5),
        "w55": DRAW.normal(5, 5),
    }
    if steps:
        nodes, tensors = unrolled(CELL, "x0", "y")
    else:
        tensors = weights(LAYER)
        nodes = [node("RNN", ["x0", *tensors], ["Y", "h"], **options(LAYER)), node("Squeeze", ["Y", "i1"], "y")]
    first = [*before] or [node("Identity", ["x"], "x0")]
    found = model([*first, *nodes, *more], [value("x", shape=[5, 2, 4])], ["z"], held | tensors, 20)
    found.producer_name = "pytorch"
    return found


NEVER: dict[str, list[onnx.NodeProto]] = {
    "LayerNormalization": [node("LayerNormalization", ["y", "five", "five"], "z")],
    "Conv": [node("Conv", ["y", "five"], "z")],
    "InstanceNormalization": [node("InstanceNormalization", ["y", "five", "five"], "z")],
    "Div": [node("ReduceMean", ["y"], "m", axes=[-1]), node("Sub", ["y", "m"], "d"), node("Mul", ["d", "d"], "e"),
            node("ReduceMean", ["e"], "v", axes=[-1]), node("Sqrt", ["v"], "s"), node("Div", ["d", "s"], "z")],
    "MatMul": [node("Transpose", ["y"], "t", perm=[1, 2, 0]), node("Transpose", ["y"], "u", perm=[1, 0, 2]),
               node("MatMul", ["u", "t"], "z")],
    "Mul": [node("MatMul", ["y", "w55"], "a"), node("Sigmoid", ["a"], "g"), node("Mul", ["g", "y"], "z")],
    "behind": [node("Abs", ["y"], "a"), node("LayerNormalization", ["a", "five", "five"], "z")],
}  # fmt: skip


@pytest.mark.parametrize("steps", [True, False])
@pytest.mark.parametrize("name", NEVER)
def test_what_no_way_out_makes_readable_has_none(name: str, steps: bool) -> None:
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(by_torch(NEVER[name], steps))
    text = str(caught.value)
    assert "torch wrote" not in text
    assert "state dict" not in text
    if name == "behind":
        assert text.endswith("LayerNormalization 'the_LayerNormalization' is no part of a model, whatever exports it.")
    elif not name.startswith(("Div", "Mat", "Mul")):
        assert text.startswith(f"{name} 'the_{name}': this operator is none that an RNN")


def test_arrays_that_a_graph_joins() -> None:
    """A residual sum, features of two kinds, a branch: the weights alone would be another network, or none."""
    residual = [node("MatMul", ["y", "w55"], "a"), node("Add", ["a", "y"], "z")]
    joined = [node("Sin", ["x"], "a"), node("Concat", ["a", "x"], "x0", axis=2)]
    pooled = [
        node("ReduceMean", ["y"], "a", axes=[0]),
        node("ReduceMax", ["y"], "b", axes=[0]),
        node("Concat", ["a", "b"], "z", axis=2),
    ]
    behind = [node("Sin", ["y"], "c"), *residual]
    beside = [node("RNN", ["x0", *weights(LAYER)], ["Y2", "h2"], **options(LAYER)), node("Squeeze", ["Y2", "i1"], "z")]
    for graph in (
        by_torch(residual, True), by_torch(residual, False), by_torch(pooled, True), by_torch(pooled, False),
        by_torch(behind, False), by_torch(beside, False), by_torch([node("Identity", ["y"], "z")], False, joined),
    ):  # fmt: skip
        with pytest.raises(rb.FormatError) as caught:
            rb.from_onnx(graph)
        assert "state dict" not in str(caught.value)


@pytest.mark.parametrize("steps", [True, False])
def test_a_mask_leaves_the_ways_out(steps: bool) -> None:
    """States times a mask of ids, or what is made of sizes: a model takes lengths in their place."""
    mask = [node("Cast", ["ids"], "mask", to=1), node("Mul", ["y", "mask"], "z")]
    sizes = [
        node("Shape", ["y"], "n"),
        node("Cast", ["n"], "f", to=1),
        node("Abs", ["y"], "q"),
        node("Div", ["q", "f"], "z"),
    ]
    tested = [
        node("Abs", ["y"], "q"),
        node("Greater", ["x0", "half"], "c"),
        node("Cast", ["c"], "k", to=1),
        node("Mul", ["q", "k"], "z"),
    ]
    for more in (mask, sizes, tested):
        graph = by_torch(more, steps)
        graph.graph.input.append(value("ids", shape=[5, 2, 1], dtype="int64"))
        with pytest.raises(rb.FormatError, match=r"torch wrote this graph: .*state dict"):
            rb.from_onnx(graph)


@pytest.mark.parametrize("dynamo", [True, False])
def test_norms_that_torch_exports(torch: Any, dynamo: bool) -> None:
    pytest.importorskip("onnxscript")

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.norm, self.fc = torch.nn.RNN(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.fc(self.norm(self.rnn(x)[0]))

    file = io.BytesIO()
    given: dict[str, Any] = {"verbose": False} if dynamo else {"opset_version": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Net().eval(), (torch.randn(6, 2, 4),), file, dynamo=dynamo, **given)
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(onnx.load_from_string(file.getvalue()))
    assert "torch wrote" not in str(caught.value)
