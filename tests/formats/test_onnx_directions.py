"""ONNX graphs of two directions over one encoded input, rows of a folded state, and what no way out makes readable."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import cells_of, close, model, node, options, value, weights
from unrolled import of_layers, unrolled

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 90)
ROWS, W1, W2, B1 = DRAW.normal(7, 4), DRAW.normal(3, 4), DRAW.normal(4, 4), DRAW.normal(4)
LAYER = DRAW.layers("f", 1, 4, 5)[0]
CELL: Any = cells_of(LAYER)[0]
TOKENS, FEATURES = value("x", shape=[5, 2], dtype="int64"), value("x", shape=[5, 2, 3])
TURNED = [node("Transpose", ["g"], "x0", perm=[1, 0, 2])]
ENCODERS: dict[str, tuple[Any, list[onnx.NodeProto], Any]] = {
    "embedding": (TOKENS, [node("Gather", ["rows", "x"], "x0")], lambda x: ROWS[x]),
    "batch first": (value("x", shape=[2, 5], dtype="int64"), [node("Gather", ["rows", "x"], "g"), *TURNED],
                    lambda x: ROWS[x].swapaxes(0, 1)),
    "linear": (FEATURES, [node("MatMul", ["x", "w1"], "p"), node("Add", ["p", "b1"], "x0")], lambda x: x @ W1 + B1),
    "activation": (FEATURES, [node("MatMul", ["x", "w1"], "p"), node("Tanh", ["p"], "x0")], lambda x: np.tanh(x @ W1)),
    "two": (FEATURES, [node("MatMul", ["x", "w1"], "p"), node("Relu", ["p"], "q"), node("MatMul", ["q", "w2"], "x0")],
            lambda x: np.maximum(x @ W1, 0) @ W2),
    "scale": (value("x", shape=[5, 2, 4]), [node("Mul", ["x", "b1"], "x0")], lambda x: x * B1),
    "scaled product": (FEATURES, [node("MatMul", ["x", "w1"], "p"), node("Mul", ["p", "b1"], "x0")],
                       lambda x: (x @ W1) * B1),
    "scaled before": (FEATURES, [node("Mul", ["x", "half"], "p"), node("MatMul", ["p", "w1"], "q"),
                                 node("Relu", ["q"], "x0")], lambda x: np.maximum(x * np.float32(0.5) @ W1, 0)),
}  # fmt: skip


def encoded(name: str, layers: Any, more: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> onnx.ModelProto:
    """A graph of layers, step by step, that takes the results of an encoder of `x`."""
    given, before, _ = ENCODERS[name]
    held = {"rows": ROWS, "w1": W1, "w2": W2, "b1": B1, "half": np.array(0.5, np.float32)}
    found = of_layers(layers, 5, more, outputs, 2, **held)
    nodes = [*before, *found.graph.node]
    del found.graph.node[:], found.graph.input[:]
    found.graph.node.extend(nodes)
    found.graph.input.append(given)
    return found


def drawn(name: str, seq_len: int, batch: int) -> Any:
    size = [dim.dim_value for dim in ENCODERS[name][0].type.tensor_type.shape.dim][2:]
    if not size:
        ids = np.arange(seq_len * batch).reshape(seq_len, batch) * 3 % 7
        return ids.T if name == "batch first" else ids
    return DRAW.normal(seq_len, batch, *size)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ENCODERS)
def test_two_directions_take_one_encoded_input(name: str, count: int) -> None:
    layers = DRAW.layers("fb", count, 4, 5)
    graph, own = encoded(name, layers, [], [f"x{count}"]), rb.RNN(layers)
    rnn = rb.from_onnx(graph)
    x = drawn(name, 5, 2)
    close(format_.run_model(graph, [x])[0], own(ENCODERS[name][2](x))[0])
    for seq_len in (1, 5, 8):
        x = drawn(name, seq_len, 3)
        y, wanted = rnn(x)[0], own(ENCODERS[name][2](x))[0]
        close(y.swapaxes(0, 1) if rnn.batch_first else y, wanted)


@pytest.mark.parametrize("name", ENCODERS)
def test_last_states_of_two_directions_of_an_encoded_input(name: str) -> None:
    layers = DRAW.layers("fb", 1, 4, 5)
    graph = encoded(name, layers, [node("Concat", ["f0_4", "b0_4"], "h_n", axis=2)], ["h_n"])
    (node_,) = [each for each in graph.graph.node if each.output[0] == "x1"]
    graph.graph.node.remove(node_)
    rnn = rb.from_onnx(graph)
    x = drawn(name, 8, 3)
    close(rnn(x)[1], rb.RNN(layers)(ENCODERS[name][2](x))[1])


def test_two_directions_of_two_encoded_inputs() -> None:
    """A backward layer over another Linear than the forward one is a layer of its own."""
    layers = DRAW.layers("fb", 1, 4, 5)
    graph = encoded("activation", layers, [], ["x1"])
    graph.graph.node.insert(2, node("MatMul", ["x", "other"], "p2"))
    graph.graph.node.insert(3, node("Tanh", ["p2"], "o0"))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(W1 * np.float32(1.001), "other"))
    (product,) = [each for each in graph.graph.node if each.output[0] == "b0_product"]
    product.input[0] = "o0"
    with pytest.raises(rb.FormatError, match="a forward layer and then those of a backward layer, of one input"):
        rb.from_onnx(graph)


@pytest.mark.parametrize(("units", "reads"), [(3, True), (200, False)])
def test_rows_of_a_folded_state_that_differ_by_rounding(units: int, reads: bool) -> None:
    """Exporters multiply the same state for each sequence, which leaves other last digits."""
    h_0 = DRAW.normal(1, 5)
    row = (CELL.bias * 0.5 + h_0 @ CELL.weight_hh.astype(np.float64).T).astype(np.float32)
    rows = np.repeat(row[None], 2, 1)
    rows[0, 1] += units * np.spacing(abs(row).max())
    nodes, held = unrolled(CELL, "x", "y", change={("c", 0): "start"})
    graph = model(nodes, [value("x", shape=[5, 2, 4])], ["y"], held | {"start": rows}, 20)
    if not reads:
        with pytest.raises(rb.FormatError, match="a constant that differs from sequence to sequence"):
            rb.from_onnx(graph)
        return
    x = DRAW.normal(7, 3, 4)
    close(rb.from_onnx(graph)(x)[0], rb.RNN([LAYER], h_0=h_0[:, None][0])(x)[0])


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


# What torch itself exports


def exported(torch: Any, module: Any, x: Any, dynamo: bool = True) -> onnx.ModelProto:
    file = io.BytesIO()
    given: dict[str, Any] = {"verbose": False} if dynamo else {"opset_version": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (x,), file, dynamo=dynamo, **given)
    return onnx.load_from_string(file.getvalue())


def module_of(torch: Any, front: str, layers: int, bidirectional: bool, learned: bool) -> Any:
    """A module with an encoder, an RNN that may start from a learned state, and a Linear."""
    nn = torch.nn
    fronts = {
        "embedding": lambda: nn.Embedding(7, 4), "linear": lambda: nn.Linear(4, 4), "none": nn.Identity,
        "mlp": lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh()),
    }  # fmt: skip

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.front = fronts.get(front, nn.Identity)()
            self.rnn = nn.RNN(4, 8, layers, bidirectional=bidirectional)
            self.h_0 = nn.Parameter(torch.randn(layers * (1 + bidirectional), 1, 8)) if learned else None
            self.fc = nn.Linear(8 * (1 + bidirectional), 3)

        def forward(self, x: Any) -> Any:
            x = (x - 0.5) / 0.25 if front == "scale" else self.front(x)
            h_0 = None if self.h_0 is None else self.h_0.expand(-1, x.shape[1], -1).contiguous()
            return self.fc(self.rnn(x, h_0)[0])

    torch.manual_seed(layers)
    return Net()


@pytest.mark.parametrize(
    ("front", "layers", "bidirectional", "learned"),
    [
        ("embedding", 2, True, False), ("linear", 1, True, True), ("mlp", 1, True, False), ("scale", 2, True, True),
        ("none", 2, False, True),
    ],
)  # fmt: skip
def test_encoders_and_learned_states_that_torch_unrolls(
    torch: Any, front: str, layers: int, bidirectional: bool, learned: bool
) -> None:
    pytest.importorskip("onnxscript")
    module = module_of(torch, front, layers, bidirectional, learned)
    ids = torch.randint(0, 7, (6, 7))
    graph = exported(torch, module, ids if front == "embedding" else torch.randn(6, 7, 4))
    rnn = rb.from_onnx(graph)
    x = torch.randint(0, 7, (9, 3)) if front == "embedding" else torch.randn(9, 3, 4)
    with torch.no_grad():
        np.testing.assert_allclose(rnn.logits(x.numpy()), module(x).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dynamo", [True, False])
def test_norms_that_torch_exports_have_no_way_out(torch: Any, dynamo: bool) -> None:
    pytest.importorskip("onnxscript")
    module = module_of(torch, "none", 1, False, learned=False)
    module.fc = torch.nn.Sequential(torch.nn.LayerNorm(8), module.fc)
    graph = exported(torch, module, torch.randn(6, 2, 4), dynamo)
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(graph)
    assert "torch wrote" not in str(caught.value)
