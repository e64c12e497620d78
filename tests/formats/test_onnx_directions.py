"""ONNX graphs, step by step, of two directions over one encoded input, and of states that are folded into a step."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import cells_of, close, model, node, value
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
