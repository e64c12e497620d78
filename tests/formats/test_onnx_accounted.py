"""ONNX graphs of nodes that each take little, and together more than a graph of its size may."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import model, node, options, value, weights

import rnn_backends as rb
from rnn_backends.testing.cases import Draw

LAYER = Draw("float32", 1).layers("f", 1, 4, 5)[0]
WEIGHTS = weights(LAYER)


def graph(*nodes: onnx.NodeProto, **tensors: Any) -> onnx.ModelProto:
    """One RNN, whose last state is H0, and then more nodes."""
    rnn = node("RNN", ["X", *WEIGHTS], ["Y", "H0"], **options(LAYER))
    return model([rnn, *nodes], [value("X", shape=["t", "b", 4])], ["Y"], {**WEIGHTS, **tensors})


def doubled(times: int) -> list[onnx.NodeProto]:
    """Join the last states with themselves, again and again."""
    return [node("Concat", [f"H{k}", f"H{k}"], f"H{k + 1}", axis=0) for k in range(times)]


def joined() -> onnx.ModelProto:
    return graph(*doubled(18))


def taken() -> onnx.ModelProto:
    """All states but one, of many, by ten nodes."""
    parts = [node("Slice", ["H14"], f"P{k}", starts=[1], ends=[2**14], axes=[0]) for k in range(10)]
    return graph(*doubled(14), *parts)


def zeros() -> onnx.ModelProto:
    """Initial states that all layers share, and each looks through for a number."""
    nodes = [node("RNN", ["X", *WEIGHTS, "", "zeros"], f"Y{k}", **options(LAYER)) for k in range(40)]
    return graph(*nodes, zeros=np.zeros(2**20, np.float16))


def equal_states() -> onnx.ModelProto:
    """Initial states that are the same for every sequence, and looked through for others."""
    nodes = [node("RNN", ["X", *WEIGHTS, "", "ones"], f"Y{k}", **options(LAYER)) for k in range(40)]
    made = graph(*nodes, ones=np.ones((1, 2**18, 5), np.float32))
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**18
    return made


def lengths() -> onnx.ModelProto:
    """Lengths that all layers share, and each looks through for one that is not the longest."""
    nodes = [node("RNN", ["X", *WEIGHTS, "all"], f"Y{k}", **options(LAYER)) for k in range(40)]
    made = graph(*nodes, all=np.full(2**20, 7, np.int32))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7
    return made


def orders() -> onnx.ModelProto:
    """Numbers of sequences, in whose order each node looks for what is none."""
    places = [node("ScatterElements", ["none", "order", "all"], f"o{k}", axis=0) for k in range(40)]
    made = graph(
        node("TopK", ["L", "count"], ["sorted", "order"]),
        *places,
        none=np.zeros(2**20, np.int64),
        all=np.arange(2**20),
        count=np.array([2**20]),
    )
    made.graph.input.append(value("L", shape=[2**20], dtype="int64"))
    return made


def starts() -> onnx.ModelProto:
    """States that recurrences of one step share, and each looks through from where it starts."""
    made, outputs = (
        [node("Gather", ["X", "first"], "x", axis=0), node("MatMul", ["x", "w"], "a")],
        [f"t{k}" for k in range(40)],
    )
    for k in range(40):
        made += [
            node("MatMul", ["h", f"r{k}"], f"p{k}"),
            node("Add", ["a", f"p{k}"], f"s{k}"),
            node("Tanh", [f"s{k}"], f"t{k}"),
        ]
    held: dict[str, Any] = {
        "w": np.ones((4, 5), np.float32),
        "h": np.ones((2**16, 5), np.float32),
        "first": np.array(0),
    }
    held |= {f"r{k}": np.full((5, 5), k + 1, np.float32) for k in range(40)}
    return model(made, [value("X", shape=[1, 2**16, 4])], outputs, held)


def both_directions() -> onnx.ModelProto:
    layer = Draw("float32", 1).layers("fb", 1, 4, 5)[0]
    rnn = node("RNN", ["X", *weights(layer)], ["Y", "H0"], **options(layer))
    tripled = [node("Concat", [f"H{k}"] * 3, f"H{k + 1}", axis=0) for k in range(14)]
    return model([rnn, *tripled], [value("X", shape=["t", "b", 4])], ["Y"], weights(layer))


def side_by_side() -> onnx.ModelProto:
    """Join last states on the axis of their features, which becomes longer."""
    return graph(
        node("Squeeze", ["H0", "none"], "G0"),
        *[node("Concat", [f"G{k}"] * 2, f"G{k + 1}", axis=-1) for k in range(20)],
        none=np.array([0]),
    )


def turned() -> onnx.ModelProto:
    """Join last states with their axes exchanged in between."""
    nodes: list[onnx.NodeProto] = []
    for k in range(20):
        nodes += [
            node("Transpose", [f"H{k}"], f"T{k}", perm=[1, 0, 2]), node("Concat", [f"T{k}"] * 2, f"U{k}", axis=1),
            node("Transpose", [f"U{k}"], f"H{k + 1}", perm=[1, 0, 2]),
        ]  # fmt: skip
    return graph(*nodes)


def axes_of_a_shape() -> onnx.ModelProto:
    return graph(node("Reshape", ["X", "n"], "y"), n=np.ones(100_000, np.int64))


def axes_of_an_input() -> onnx.ModelProto:
    made = graph(node("Identity", ["Z"], "z"))
    made.graph.input.append(value("Z", shape=[1] * 33))
    return made


def axes_of_a_constant() -> onnx.ModelProto:
    return graph(
        node("ConstantOfShape", ["n"], "y", value=onnx.helper.make_tensor("v", 1, [1], [1.0])), n=np.ones(33, np.int64)
    )


def layers() -> onnx.ModelProto:
    """Layers that share their weights, of which each keeps a copy."""
    tensors: dict[str, Any] = {name: np.ones((1, 512, 512), np.float32) for name in ("W", "R")}
    nodes = []
    for k in range(40):
        nodes += [node("RNN", [f"x{k}", "W", "R"], f"y{k}"), node("Squeeze", [f"y{k}", "one"], f"x{k + 1}")]
    return model(nodes, [value("x0", shape=["t", "b", 512])], ["x40"], tensors | {"one": np.array([1])})


def axes() -> onnx.ModelProto:
    nodes = [node("Unsqueeze", [f"x{k}", "front"], f"x{k + 1}") for k in range(3)]
    return model(nodes, [value("x0", shape=["t", "b", 4])], ["x3"], {"front": np.arange(20)})


def products() -> onnx.ModelProto:
    """Linears that share their weight, of which each keeps a copy."""
    nodes = [node("MatMul", [f"x{k}", "w"], f"x{k + 1}") for k in range(40)]
    return model(nodes, [value("x0", shape=["t", "b", 1024])], ["x40"], {"w": np.ones((1024, 1024), np.float32)})


def rows_of_products() -> onnx.ModelProto:
    nodes = [node("MatMul", [f"x{k}", "w"], f"x{k + 1}") for k in range(700)]
    return model(nodes, [value("x0", shape=["t", "b", 1])], ["x700"], {"w": np.ones((1, 1), np.float32)})


def numbers() -> onnx.ModelProto:
    return graph(node("Constant", [], "c", value_floats=np.ones(200_000, np.float32).tolist()))


def after_many_products(*last: str) -> onnx.ModelProto:
    """One row of Linears, after which many nodes change the last of it, each in a row of its own."""
    nodes = [node("MatMul", [f"x{k}", "w"], f"x{k + 1}") for k in range(300)]
    nodes += [node(last[0], ["x300", *last[1:]], f"y{k}") for k in range(400)]
    held: dict[str, Any] = {"w": np.ones((1, 1), np.float32), "one": np.ones(1, np.float32)}
    return model(nodes, [value("x0", shape=["t", "b", 1])], ["x300"], held)


def scaled_products() -> onnx.ModelProto:
    return after_many_products("Mul", "one")


def biased_products() -> onnx.ModelProto:
    return after_many_products("Add", "one")


def activated_products() -> onnx.ModelProto:
    return after_many_products("Tanh")


def many_layers() -> onnx.ModelProto:
    return graph(*[node("RNN", ["X", *WEIGHTS], f"y{k}", **options(LAYER)) for k in range(10_000)])


def many_parts() -> onnx.ModelProto:
    """Parts of an input that is none of the network's."""
    made = graph(node("Split", ["Z"], [f"z{k}" for k in range(40_000)], axis=0))
    made.graph.input.append(value("Z", shape=[40_000, 3]))
    return made


REFUSED: list[tuple[Callable[[], onnx.ModelProto], str]] = [
    (joined, "the last states that it joins would take .* items after"),
    (taken, "the last states that it takes would take .* items after"),
    (both_directions, "the last states that it joins would take .* items after"),
    (side_by_side, "the last states that it joins would take .* items after"),
    (turned, "the last states that it joins would take .* items after"),
    (equal_states, "looking through its (constants|initial states) would take .* bytes after"),
    (lengths, "looking through its constants would take .* bytes after"),
    (orders, "looking through its numbers would take .* bytes after"),
    (starts, "looking through its initial states would take .* bytes after"),
    (axes_of_a_shape, "its shape would take 100000 axes"),
    (axes_of_an_input, "would take 33 axes"),
    (axes_of_a_constant, "would take 33 axes"),
    (zeros, "looking through its constants would take .* bytes after"),
    (layers, "the weights of the layers would take .* bytes beside"),
    (products, "the weights of its products would take .* bytes beside"),
    (rows_of_products, "the products before it would take .* items after"),
    (axes, "the shape of 'x2' would take 43 axes"),
    (numbers, "'value_floats' would take 200000 items"),
    (scaled_products, "Mul .* the products before it would take .* items after"),
    (biased_products, "Add .* the products before it would take .* items after"),
    (activated_products, "Tanh .* the products before it would take .* items after"),
    (many_layers, "RNN .* its layers would take 16 items after"),
    (many_parts, "Split .* the parts that it takes would take 160000 items"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[make.__name__ for make, _ in REFUSED])
def test_nodes_take_no_more_than_the_graph_may(make: Callable[[], onnx.ModelProto], message: str) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rb.from_onnx(make())
