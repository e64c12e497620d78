"""ONNX graphs that scale and shift features: by constants, and by what a BatchNorm has learnt."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx_models import cells_of, close, model, node, options, refused, value, weights

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 80)
LAYER = DRAW.layers("f", 1, 4, 5)[0]
CELL: Any = cells_of(LAYER)[0]
X = value("x", shape=["t", "b", 4])
HALF, QUARTER, FOUR = np.float32(0.5), np.float32(0.25), DRAW.normal(4) + np.float32(2)
W4, B3, V3 = DRAW.normal(5, 3), DRAW.normal(3), DRAW.normal(3)
FIVE = DRAW.normal(5)
NORM = {"gamma": DRAW.normal(4), "beta": DRAW.normal(4), "mean": DRAW.normal(4), "spread": DRAW.normal(4) ** 2}
AFTER = {"g3": DRAW.normal(3), "b3": DRAW.normal(3), "m3": DRAW.normal(3), "s3": DRAW.normal(3) ** 2}


def graph(before: Sequence[onnx.NodeProto], more: Sequence[onnx.NodeProto] = (), outputs: Sequence[str] = ("y",), **held: Any) -> onnx.ModelProto:  # fmt: skip
    """One layer whose X is x0; its states are y."""
    rnn = [node("RNN", ["x0", *weights(LAYER)], ["Y", "h"], **options(LAYER)), node("Squeeze", ["Y", "one"], "y")]
    constants = {"half": np.array(HALF), "quarter": np.array(QUARTER), "four": FOUR, "one": np.array([1]), "w": W4, "b": B3, "v": V3}  # fmt: skip
    return model([*before, *rnn, *more], [X], outputs, weights(LAYER) | constants | NORM | AFTER | held, 15)


def agree(made: onnx.ModelProto, wanted: Any) -> None:
    """Check a graph against a function, as a graph and as a model, for another number of steps."""
    rnn = rb.from_onnx(made)
    for seq_len in (3, 6):
        x = DRAW.normal(seq_len, 2, 4)
        right = wanted(x.astype(np.float64))
        got = rnn(x)[0] if rnn.readout is None else rnn.probabilities(x)
        for each in (got, format_.run_model(made, [x])[0]):
            np.testing.assert_allclose(each, right, rtol=0, atol=1e-5)


def states(x: Any) -> Any:
    return rb.RNN([LAYER]).to("numpy", dtype="float64")(x)[0]


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([node("Sub", ["x", "half"], "a"), node("Div", ["a", "quarter"], "x0")], lambda x: (x - HALF) / QUARTER),
        ([node("Mul", ["x", "four"], "a"), node("Add", ["half", "a"], "x0")], lambda x: x * FOUR + HALF),
        ([node("Sub", ["four", "x"], "a"), node("Mul", ["quarter", "a"], "x0")], lambda x: (FOUR - x) * QUARTER),
        ([node("Div", ["x", "four"], "a"), node("Transpose", ["a"], "c", perm=[1, 0, 2]), node("Transpose", ["c"], "x0", perm=[1, 0, 2])],
         lambda x: x / FOUR),
        ([node("Transpose", ["x"], "a", perm=[1, 2, 0]), node("BatchNormalization", ["a", "gamma", "beta", "mean", "spread"], "c", epsilon=0.5),
          node("Transpose", ["c"], "x0", perm=[2, 0, 1])],
         lambda x: (x - NORM["mean"]) / np.sqrt(NORM["spread"] + np.float64(0.5)) * NORM["gamma"] + NORM["beta"]),
    ],
)  # fmt: skip
def test_what_scales_the_input_is_folded_into_the_layer(nodes: list[onnx.NodeProto], wanted: Any) -> None:
    agree(graph(nodes), lambda x: states(wanted(x)))
    (cell,) = cells_of(rb.from_onnx(graph(nodes)).layers[0])
    assert cell.weight_ih.shape == CELL.weight_ih.shape


def test_a_scale_is_rounded_once() -> None:
    made = graph(
        [node("Sub", ["x", "four"], "a"), node("Mul", ["a", "four"], "c"), node("Div", ["c", "quarter"], "x0")]
    )
    (cell,) = cells_of(rb.from_onnx(made).layers[0])
    four, exact = FOUR.astype(np.float64), CELL.weight_ih.astype(np.float64)
    factor = four * (1 / np.float64(QUARTER))
    np.testing.assert_array_equal(cell.weight_ih, (exact * factor).astype(np.float32))
    np.testing.assert_array_equal(cell.bias, (CELL.bias + exact @ (-four * factor)).astype(np.float32))


SQUARE = DRAW.normal(3, 3)
BATCH_NORM = node("BatchNormalization", ["r", "g3", "b3", "m3", "s3"], "z")


def normalized(z: Any) -> Any:
    factor = AFTER["g3"].astype(np.float64) / np.sqrt(AFTER["s3"].astype(np.float64) + np.float32(1e-5))
    return (z - AFTER["m3"]) * factor + AFTER["b3"]


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([BATCH_NORM], normalized),
        ([node("Mul", ["r", "v"], "p"), node("Add", ["p", "v"], "q"), node("Sub", ["q", "half"], "z")], lambda z: z * V3 + V3 - HALF),
        ([node("Relu", ["r"], "a"), node("Mul", ["a", "v"], "p"), node("MatMul", ["p", "square"], "z")], lambda z: np.maximum(z, 0) * V3 @ SQUARE),
        ([BATCH_NORM.__class__.FromString(BATCH_NORM.SerializeToString()), node("Tanh", ["z"], "t")], lambda z: np.tanh(normalized(z))),
    ],
)  # fmt: skip
def test_what_scales_the_results_of_a_linear_is_folded_into_it(nodes: list[onnx.NodeProto], wanted: Any) -> None:
    last = [node("Gather", ["y", "end"], "s", axis=0), node("MatMul", ["s", "w"], "l"), node("Add", ["l", "b"], "r")]
    made = graph(
        [node("Identity", ["x"], "x0")], [*last, *nodes], [nodes[-1].output[0]], end=np.array(-1), square=SQUARE
    )
    agree(made, lambda x: wanted(states(x)[-1] @ W4 + B3))
    assert len(rb.from_onnx(made).placed.network.readout) == 1 + ("square" in str(nodes[-1].input))


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([node("Sub", ["y", "five"], "p"), node("Mul", ["p", "five"], "q"), node("ReduceMean", ["q"], "m", axes=[0], keepdims=0), node("MatMul", ["m", "w"], "z")],
         lambda y: ((y - FIVE) * FIVE).mean(axis=0) @ W4),
        ([node("MatMul", ["y", "w"], "p"), node("Add", ["p", "b"], "q"), node("ReduceMean", ["q"], "z", axes=[0], keepdims=0)],
         lambda y: (y @ W4 + B3).mean(axis=0)),
        ([node("MatMul", ["y", "w"], "p"), node("Mul", ["p", "v"], "q"), node("ReduceMean", ["q"], "m", axes=[0], keepdims=0), node("Tanh", ["m"], "z")],
         lambda y: np.tanh((y @ W4 * V3).mean(axis=0))),
    ],
)  # fmt: skip
def test_the_mean_of_what_is_scaled_is_the_scaled_mean(nodes: list[onnx.NodeProto], wanted: Any) -> None:
    made = graph([node("Identity", ["x"], "x0")], nodes, ["z"], five=FIVE)
    agree(made, lambda x: wanted(states(x)))
    assert rb.from_onnx(made).reads == "mean"
    for each in made.graph.node:
        if each.op_type == "ReduceMean":
            each.op_type = "ReduceMax"  # of which a factor below 0 makes the least
    refused(made, "ReduceMax 'the_ReduceMean': it can only reduce the states of a layer over all steps")


def test_the_mean_of_activated_steps_is_none_of_a_model() -> None:
    nodes = [node("MatMul", ["y", "w"], "p"), node("Relu", ["p"], "q"), node("ReduceMean", ["q"], "z", axes=[0])]
    refused(graph([node("Identity", ["x"], "x0")], nodes, ["z"]), "it can only reduce the states of a layer")


def test_what_scales_states_is_folded_into_the_readout() -> None:
    five = DRAW.normal(5)
    more = [node("Sub", ["y", "five"], "p"), node("Mul", ["p", "half"], "q"), node("MatMul", ["q", "w"], "z")]
    agree(
        graph([node("Identity", ["x"], "x0")], more, ["z"], five=five),
        lambda x: (states(x) - five) * 0.5 @ W4.astype(np.float64),
    )


def test_an_activation_of_states_is_that_of_an_identity() -> None:
    """torch's fc(relu(out)): what is applied to states is applied to a Linear that gives them as they are."""
    relu, product = node("Relu", ["y"], "p"), node("MatMul", ["p", "w"], "z")
    same = [node("Identity", ["x"], "x0")]
    agree(graph(same, [relu, product], ["z"]), lambda x: np.maximum(states(x), 0) @ W4)
    agree(graph(same, [relu], ["p"]), lambda x: np.maximum(states(x), 0))
    twice = [
        node("Sub", ["y", "five"], "a"),
        node("Relu", ["a"], "p"),
        product,
        node("Relu", ["z"], "r"),
        node("Tanh", ["r"], "t"),
    ]
    agree(graph(same, twice, ["t"], five=FIVE), lambda x: np.tanh(np.maximum(np.maximum(states(x) - FIVE, 0) @ W4, 0)))
    mean = [node("ReduceMean", ["y"], "m", axes=[0], keepdims=0), node("Relu", ["m"], "p"), product]
    rnn = rb.from_onnx(graph(same, mean, ["z"]))
    x = DRAW.normal(6, 2, 4)
    np.testing.assert_allclose(rnn.logits(x), np.maximum(states(x).mean(axis=0), 0) @ W4, rtol=0, atol=1e-5)


def test_an_encoder_takes_what_is_scaled() -> None:
    weight, bias = DRAW.normal(4, 4), DRAW.normal(4)
    nodes = [node("Sub", ["x", "four"], "a"), node("MatMul", ["a", "e"], "p"), node("Add", ["p", "f"], "q"), node("Relu", ["q"], "x0")]  # fmt: skip
    made = graph(nodes, e=weight, f=bias)
    assert len(rb.from_onnx(made).placed.network.encoder) == 1
    agree(made, lambda x: states(np.maximum((x - FOUR) @ weight + bias, 0)))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Sub", ["x", "steps"], "x0")], r"its constant, \(3, 1, 1\) of float32, must be one number or one a feature of"),
        ([node("Mul", ["x", "pair"], "x0")], r"its constant, \(2,\) of float32, must be one number or one a feature"),
        ([node("Add", ["x", "whole"], "x0")], r"its constant, \(4,\) of int64, must be one number or one a feature"),
        ([node("Div", ["four", "x"], "x0")], "Div 'the_Div': it divides by an array that depends on the input"),
        ([node("Mul", ["x", "x"], "x0")], "Mul 'the_Mul': only constants can be multiplied, or the features"),
        ([node("Div", ["one", "one"], "c"), node("Identity", ["x"], "x0")], "Div .* it cannot be computed: integers are not divided"),
        ([node("BatchNormalization", ["x", "gamma", "beta", "mean", "spread"], "x0")], "it must be over the features, which are to be its axis 1"),
        ([node("Transpose", ["x"], "a", perm=[0, 2, 1]), node("BatchNormalization", ["a", "gamma", "beta", "mean", "spread"], "x0", training_mode=1)],
         "it is in training mode, .*; export it after .eval"),
        ([node("Transpose", ["x"], "a", perm=[0, 2, 1]), node("BatchNormalization", ["a", "x", "beta", "mean", "spread"], "x0")],
         "its scale, B, mean and variance must be constants"),
        ([node("Transpose", ["x"], "a", perm=[0, 2, 1]), node("BatchNormalization", ["a", "gamma", "beta", "mean", "v"], "x0")],
         "its scale, B, mean and variance must be of one size, and `spatial` 1.$"),
    ],
)  # fmt: skip
def test_scales_that_are_refused(nodes: list[onnx.NodeProto], message: str) -> None:
    held: dict[str, Any] = {
        "steps": np.ones((3, 1, 1), np.float32),
        "pair": np.ones(2, np.float32),
        "whole": np.arange(4),
    }
    refused(graph(nodes, **held), message)


def test_what_is_scaled_must_be_taken() -> None:
    identity = [node("Identity", ["x"], "x0")]
    scaled = "what is scaled or shifted, and neither a Linear nor a layer takes, is used as something else"
    refused(graph(identity, [node("Mul", ["y", "half"], "z")], ["z"]), f"the output 'z': {scaled}")
    both = [node("Mul", ["r", "v"], "z")]
    linear = [node("MatMul", ["y", "w"], "r")]
    refused(graph(identity, [*linear, *both], ["r", "z"]), "its outputs have different readouts")
    pooled = [node("Mul", ["y", "half"], "p"), node("ReduceMax", ["p"], "m", axes=[0]), node("MatMul", ["m", "w"], "z")]
    refused(graph(identity, pooled, ["z"]), "ReduceMax .* it can only reduce the states of a layer over all steps")


STEPS = [node("Gather", ["a", f"k{t}"], f"s{t}", axis=0) for t in range(3)]
SCALED = [
    step
    for t in range(3)
    for step in (node("Gather", ["x", f"k{t}"], f"g{t}", axis=0), node("Sub", [f"g{t}", "half"], f"s{t}"))
]


@pytest.mark.parametrize("first", [[node("Sub", ["x", "half"], "a"), *STEPS], SCALED])
def test_a_scale_of_the_input_and_steps_of_a_loop(first: list[onnx.NodeProto]) -> None:
    """Steps of what is scaled, and steps that are scaled."""
    held: dict[str, NDArray[Any]] = {f"k{t}": np.array(t) for t in range(3)}
    held |= {"half": np.array(HALF), "W": CELL.weight_ih, "R": CELL.weight_hh, "b": CELL.bias, "i0": np.array([0])}
    nodes = list(first)
    for t in range(3):
        before = f"h{t - 1}" if t else "zeros"
        nodes.append(node("Gemm", [f"s{t}", "W", "b"], f"p{t}", transB=1))
        nodes.append(node("Gemm", [before, "R", f"p{t}"], f"q{t}", transB=1))
        nodes += [node("Tanh", [f"q{t}"], f"h{t}"), node("Unsqueeze", [f"h{t}", "i0"], f"u{t}")]
    nodes.append(node("Concat", ["u0", "u1", "u2"], "y", axis=0))
    held["zeros"] = np.zeros((2, 5), np.float32)
    made = model(nodes, [value("x", shape=[3, 2, 4])], ["y"], held, 15)
    x = DRAW.normal(3, 2, 4)
    close(format_.run_model(made, [x])[0], rb.RNN([LAYER])(x - HALF)[0])
