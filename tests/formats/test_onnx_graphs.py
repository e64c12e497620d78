"""ONNX graphs: nodes before, between and after the RNN nodes, followed axis by axis."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx import helper
from onnx_models import (
    MERGE,
    cells_of,
    close,
    graph_of,
    merged,
    model,
    node,
    options,
    refused,
    stack,
    value,
    weights,
)

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing import Bounded, Case, excess, reference
from rnn_backends.testing.cases import Draw


def test_a_stack_with_a_readout() -> None:
    draw = Draw("float32", 10)
    layers, weight, bias = stack(draw), draw.normal(10, 3), draw.normal(3)
    nodes, tensors = graph_of(layers, merged)
    nodes += [
        node("MatMul", ["X2", "weight"], "product"), node("Add", ["bias", "product"], "logits"),
        node("Softmax", ["logits"], "p", axis=-1), node("Concat", ["H0", "H1"], "h_n", axis=0),
    ]  # fmt: skip
    made = model(
        nodes,
        [value("X0", shape=["t", "b", 4])],
        ["p", "h_n", "logits"],
        tensors | MERGE | {"weight": weight, "bias": bias},
    )
    rnn, x = rb.from_onnx(made), draw.normal(7, 3, 4)
    assert rnn.metadata == {
        "onnx outputs": "p: probabilities (seq_len, batch, output_size); h_n: h_n (cells, batch, hidden_size); "
        "logits: logits (seq_len, batch, output_size)"
    }
    own = rb.RNN(layers, rb.Linear(weight.T, bias))
    np.testing.assert_array_equal(rnn.probabilities(x), own.probabilities(x))
    p, h_n, logits = format_.run_model(made, [x])
    np.testing.assert_array_equal(p, own.probabilities(x))
    np.testing.assert_array_equal(logits, own.logits(x))
    np.testing.assert_array_equal(h_n, own(x)[1])


@pytest.mark.parametrize(
    ("between", "message"),
    [
        # (T, D, B, H) read as (T, B, D H) without a transpose: the directions and the sequences are mixed up
        (lambda y, x: [node("Reshape", [y, "merge_all"], x)], r"tear axes apart|the axes of its X are"),
        (lambda y, x: [node("Transpose", [y], f"{y}_moved", perm=[0, 2, 3, 1]), node("Reshape", [f"{y}_moved", "merge"], x)],
         r"the axes of its X are .*\(hidden_size=5 directions=2\)"),
        (lambda y, x: [node("Transpose", [y], f"{y}_moved", perm=[2, 0, 1, 3]), node("Reshape", [f"{y}_moved", "merge"], x)],
         r"the axes of its X are"),
        (lambda y, x: [node("Squeeze", [y, "one"], x)], r"the axes \[1\] must have size 1"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Relu", [f"{y}_"], x)], r"RNN 'the_RNN': its X must be the input, .* or all states"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Add", [f"{y}_", "noise"], x)], r"the output 'X2': what is scaled or shifted, and neither a Linear nor a layer takes, is used as something else"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Dropout", [f"{y}_"], x)], r"Dropout 'the_Dropout': this operator is none that .* docs/onnx.md names those that are"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Slice", [f"{y}_", "one", "two", "two"], x)], r"the part 1:2 of directions=2 hidden_size=5 is none"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch", ["b", 2])
def test_axes_are_followed(between: Callable[[str, str], list[onnx.NodeProto]], message: str, batch: Any) -> None:
    """Shapes may fit where axes do not: with 2 sequences the wrong reshape gives the right shape."""
    nodes, tensors = graph_of(stack(Draw("float32", 11)), between)
    tensors |= MERGE | {
        "merge_all": np.array([7, 2, 10]),
        "one": np.array([1]),
        "two": np.array([2]),
        "noise": np.ones(10, np.float32),
    }
    refused(model(nodes, [value("X0", shape=[7, batch, 4])], ["X2"], tensors), message)


def test_directions_in_nodes_of_their_own() -> None:
    draw = Draw("float32", 12)
    layer = stack(draw, count=1)[0]
    forward, backward = rb.Layer(layer.forward), rb.Layer(None, layer.backward)
    first, second = weights(forward, "f"), weights(backward, "b")

    def made(order: Sequence[str]) -> onnx.ModelProto:
        nodes = [
            node("RNN", ["X", *first], ["Y_f", "H_f"], **options(forward)),
            node("RNN", ["X", *second], ["Y_b", "H_b"], **options(backward)),
            node("Squeeze", ["Y_f", "one"], "forward"), node("Squeeze", ["Y_b", "one"], "backward"),
            node("Concat", order, "y", axis=-1), node("Concat", ["H_f", "H_b"], "h_n", axis=0),
        ]  # fmt: skip
        return model(nodes, [value("X", shape=["t", "b", 4])], ["y", "h_n"], first | second | {"one": np.array([1])})

    x = draw.normal(7, 3, 4)
    for got, wanted in zip(format_.run_model(made(["forward", "backward"]), [x]), rb.RNN([layer])(x), strict=True):
        np.testing.assert_array_equal(got, wanted)
    refused(made(["backward", "forward"]), r"Concat 'the_Concat': it must join the states of a forward layer and then")
    refused(made(["forward", "forward"]), r"Concat 'the_Concat': it must join the states of a forward layer and then")


@pytest.mark.parametrize("batch_first", [False, True])
def test_embeddings_and_one_hot_vectors(batch_first: bool) -> None:
    draw = Draw("float32", 13)
    layer, table = stack(draw, "f", 1)[0], draw.normal(9, 4)
    held = weights(layer)
    ids = np.array([[0, 8, 3], [5, 5, 1]])
    swap = [node("Transpose", ["rows"], "X", perm=[1, 0, 2])] if batch_first else [node("Identity", ["rows"], "X")]
    rnn = node("RNN", ["X", *held], ["Y", "Y_h"], **options(layer))
    given_ids = [value("ids", ids)]
    made = model([node("Gather", ["table", "ids"], "rows"), *swap, rnn], given_ids, ["Y"], held | {"table": table})
    embedded = rb.from_onnx(made)
    assert embedded.batch_first is batch_first
    cell, (own,) = cells_of(embedded.layers[0])[0], cells_of(layer)
    wanted = own.weight_ih.astype(np.float64) @ table.T.astype(np.float64)
    np.testing.assert_array_equal(cell.weight_ih, wanted.astype(np.float32))
    (y,) = format_.run_model(made, [ids])
    states = rb.RNN([layer], batch_first=batch_first)(table[ids])[0]
    case = Case([rb.Layer(cell)], ids.T if batch_first else ids)
    output, _ = reference(*case, dtype="float32")
    assert excess(y[:, 0], output) <= 1.0
    assert excess(states.swapaxes(0, 1) if batch_first else states, Bounded(output.value, 8 * output.error)) <= 1.0

    hot = {"depth": np.array(4), "values": np.array([0, 1], np.float32)}
    one_hot = node("OneHot", ["ids", "depth", "values"], "rows")
    made = model([one_hot, *swap, rnn], given_ids, ["Y"], held | hot)
    np.testing.assert_array_equal(cells_of(rb.from_onnx(made).layers[0])[0].weight_ih, own.weight_ih)
    (y,) = format_.run_model(made, [ids % 4])
    np.testing.assert_array_equal(y[:, 0], rb.RNN([layer])((ids % 4).T if batch_first else ids % 4)[0])
    refused(
        model([one_hot, *swap, rnn], given_ids, ["Y"], held | hot | {"values": np.array([1, 0], np.float32)}),
        "OneHot .the_OneHot.: it must put ones among zeros",
    )
    refused(model([one_hot, *swap, rnn], given_ids, ["Y"], held | hot | {"depth": np.array(5)}), "its X must be")
    refused(
        model(
            [node("Gather", ["table", "ids"], "rows", axis=1), *swap, rnn], given_ids, ["Y"], held | {"table": table}
        ),
        "Gather .* axis 0",
    )
    wide = {"table": np.zeros((9, 3), np.float32)}
    refused(
        model([node("Gather", ["table", "ids"], "rows"), *swap, rnn], given_ids, ["Y"], held | wide),
        r"its X must be the input, .* \(features=3\)",
    )
    floats = [value("ids", shape=["t", "b"])]
    refused(
        model([node("Gather", ["table", "ids"], "rows"), *swap, rnn], floats, ["Y"], held | {"table": table}),
        "token ids must be an input of int32 or int64",
    )


def test_one_step_only() -> None:
    """A model reads the step that its graph does."""
    draw = Draw("float32", 14)
    layers, weight, bias = stack(draw, "f", 1), draw.normal(3, 5), draw.normal(3)
    nodes, tensors = graph_of(layers, lambda y, x: [node("Squeeze", [y, "one"], x)])
    tensors |= {"one": np.array([1]), "last": np.array(-1), "weight": weight, "bias": bias, "zero": np.array([0])}
    own, x = rb.RNN(layers, rb.Linear(weight, bias)), draw.normal(7, 3, 4)
    wanted = own.logits(x)[-1]
    take_last = [node("Gather", ["X1", "last"], "step", axis=0)]
    for take, note in ((take_last, "y: logits of the last step (batch, output_size)"),
                       ([node("Squeeze", ["H0", "zero"], "step")], "y: logits of the last state (batch, output_size)")):  # fmt: skip
        gemm = node("Gemm", ["step", "weight", "bias"], "y", transB=1)
        made = model([*nodes, *take, gemm], [value("X0", shape=["t", "b", 4])], ["y"], tensors)
        rnn = rb.from_onnx(made)
        assert rnn.metadata == {"onnx outputs": note}
        assert rnn.readout is not None
        assert rnn.readout.activation == rb.Activation("identity")
        assert rnn.reads == "last"
        close(rnn.logits(x), wanted)
        close(rnn.logits(x, reads="steps")[-1], wanted)
        close(format_.run_model(made, [x])[0], wanted)
    with pytest.raises(rb.ShapeError, match="the model gives one step, and the input has none"):
        format_.run_model(model([*nodes, *take_last], [value("X0", shape=["t", "b", 4])], ["step"], tensors), [x[:0]])
    middle = [node("Gather", ["X1", "two"], "step", axis=0)]
    refused(
        model([*nodes, *middle], [value("X0", shape=["t", "b", 4])], ["step"], tensors | {"two": np.array(2)}),
        r"Gather 'the_Gather': the part 2:3 of X0\[0\] is none",
    )
    for wrong in ({"alpha": 0.5}, {"beta": 2.0}, {"transA": 1}):
        gemm = node("Gemm", ["step", "weight", "bias"], "y", transB=1, **wrong)
        refused(
            model([*nodes, *take_last, gemm], [value("X0", shape=["t", "b", 4])], ["y"], tensors),
            "Gemm 'the_Gemm': it must have alpha and beta 1",
        )


@pytest.mark.parametrize("opset", [11, 13])
def test_a_softmax_over_other_axes_is_refused(opset: int) -> None:
    draw = Draw("float32", 15)
    nodes, tensors = graph_of(
        stack(draw, "f", 1),
        lambda y, x: [node("Squeeze", [y, "one"], x) if opset == 13 else node("Squeeze", [y], x, axes=[1])],
    )
    tensors |= {"weight": draw.normal(5, 3), "one": np.array([1])}
    inputs = [value("X0", shape=["t", "b", 4])]
    for axis in (0, 1, None):
        softmax = node("Softmax", ["logits"], "p", **({} if axis is None else {"axis": axis}))
        made = model([*nodes, node("MatMul", ["X1", "weight"], "logits"), softmax], inputs, ["p"], tensors, opset)
        if axis is None and opset == 13:
            assert rb.from_onnx(made).readout is not None
        else:
            refused(made, r"Softmax 'the_Softmax': it must be over the outputs, the last of 3 axes")


def test_shapes_are_followed_through_the_graph() -> None:
    """A dense layer as TensorFlow's converter writes it: rows of one matrix, and back by the input's own shape."""
    draw = Draw("float32", 16)
    layers, weight = stack(draw, "f", 1), draw.normal(5, 3)
    nodes, tensors = graph_of(
        layers, lambda y, x: [node("Transpose", [y], f"{y}_", perm=[2, 0, 1, 3]), node("Squeeze", [f"{y}_", "two"], x)]
    )
    nodes = [node("Transpose", ["x"], "X0", perm=[1, 0, 2]), *nodes]
    nodes += [
        node("Shape", ["X1"], "shape"), node("Cast", ["shape"], "shape32", to=6),
        node("Slice", ["shape32", "zero", "two", "zero"], "head"), node("Cast", ["head"], "head64", to=7),
        node("Concat", ["head64", "outputs"], "back", axis=0),
        node("Reshape", ["X1", "rows"], "flat"), node("MatMul", ["flat", "weight"], "product"), node("Reshape", ["product", "back"], "y"),
    ]  # fmt: skip
    tensors |= {
        "two": np.array([2]),
        "zero": np.array([0]),
        "outputs": np.array([3]),
        "rows": np.array([-1, 5]),
        "weight": weight,
    }
    made = model(nodes, [value("x", shape=["b", "t", 4])], ["y"], tensors)
    own, x = rb.RNN(layers, rb.Linear(weight.T), batch_first=True), draw.normal(3, 7, 4)
    assert rb.from_onnx(made).batch_first
    close(format_.run_model(made, [x])[0], own.logits(x))
    nodes[-4] = node("Concat", ["outputs", "head64"], "back", axis=0)
    refused(model(nodes, [value("x", shape=["b", "t", 4])], ["y"], tensors), "tear axes apart")


def test_states_to_start_from() -> None:
    draw = Draw("float32", 17)
    layers, h_0, x = stack(draw), draw.normal(4, 3, 5), draw.normal(7, 3, 4)
    nodes, tensors = graph_of(layers, merged)
    nodes[0].input.extend(["", "h_first"])
    nodes[3].input.extend(["", "h_second"])
    parts = [
        node("Slice", ["h", "zero", "two", "zero"], "h_first"),
        node("Slice", ["h", "two", "four", "zero"], "h_second"),
    ]
    tensors |= MERGE | {name: np.array([number]) for name, number in (("zero", 0), ("two", 2), ("four", 4))}
    inputs = [value("X0", shape=["t", "b", 4]), value("h", shape=[4, "b", 5])]
    made = model([*parts, *nodes], inputs, ["X2", "H1"], tensors)
    output, h_n = rb.RNN(layers)(x, h_0)
    y, last = format_.run_model(made, [x, h_0])
    np.testing.assert_array_equal(y, output)
    np.testing.assert_array_equal(last, h_n[2:])
    assert rb.from_onnx(made).metadata["onnx outputs"].endswith("H1: h_n[2, 3] (cells, batch, hidden_size)")
    crossed = [
        node("Slice", ["h", "zero", "two", "zero"], "h_second"),
        node("Slice", ["h", "two", "four", "zero"], "h_first"),
    ]
    refused(model([*crossed, *nodes], inputs, ["X2"], tensors), "the states in 'h' must come layer by layer")
    full = {"h_first": np.zeros((2, 3, 5), np.float32), "h_second": np.zeros((2, 3, 5), np.float32)}
    np.testing.assert_array_equal(
        format_.run_model(model(nodes, inputs[:1], ["X2"], tensors | full), [x])[0], rb.RNN(layers)(x)[0]
    )
    full["h_first"] += 1
    refused(
        model(nodes, inputs[:1], ["X2"], tensors | full),
        "RNN 'the_RNN': its initial_h must be zeros, an input of the graph, or a constant that is the same for every",
    )


def test_casts_that_change_nothing() -> None:
    nodes, tensors = graph_of(stack(Draw("float32", 18), count=1), merged)
    nodes[0].input[0] = "x_cast"
    nodes[0].input.append("lengths32")
    casts = [node("Cast", ["X0"], "x_cast", to=1), node("Cast", ["lengths"], "lengths32", to=6)]
    inputs = [value("X0", shape=["t", "b", 4]), value("lengths", shape=["b"], dtype="int64")]
    assert rb.from_onnx(model([*casts, *nodes], inputs, ["X1"], tensors | MERGE))
    casts[0] = node("Cast", ["X0"], "x_cast", to=10)
    refused(
        model([*casts, *nodes], inputs, ["X1"], tensors | MERGE), "as .* of float32; the axes of its X, of float16, are"
    )


def test_lengths_must_be_one_for_all_layers() -> None:
    nodes, tensors = graph_of(stack(Draw("float32", 18)), merged)
    nodes[0].input.append("lengths")
    inputs = [value("X0", shape=[7, "b", 4]), value("lengths", shape=["b"], dtype="int32")]
    refused(model(nodes, inputs, ["X2"], tensors | MERGE), "all its RNN nodes must have the same sequence_lens")
    nodes[3].input.append("lengths")
    assert rb.from_onnx(model(nodes, inputs, ["X2"], tensors | MERGE))
    whole = {"lengths": np.full(3, 7, np.int32)}
    assert rb.from_onnx(model(nodes, inputs[:1], ["X2"], tensors | MERGE | whole))
    refused(
        model(nodes, inputs[:1], ["X2"], tensors | MERGE | {"lengths": np.array([7, 6, 7], np.int32)}),
        "its sequence_lens must be an input",
    )


def test_graphs_that_are_refused() -> None:
    draw = Draw("float32", 19)
    layers = stack(draw)
    nodes, tensors = graph_of(layers, merged)
    inputs = [value("X0", shape=["t", "b", 4])]

    def made(*more: onnx.NodeProto, outputs: Sequence[str] = ("X2",), **held: NDArray[Any]) -> onnx.ModelProto:
        return model([*nodes, *more], inputs, outputs, tensors | MERGE | held)

    refused(made(outputs=["X1"]), "the output 'X1' comes from another layer than the last")
    refused(made(outputs=["nowhere"]), "the output 'nowhere' is not computed by an RNN")
    refused(made(outputs=["X0"]), "the output 'X0' is not computed by an RNN")
    refused(model([], inputs, ["X0"]), "the graph holds no RNN node, and no steps of an RNN one by one")
    refused(made(node("Identity", ["X2"], "X1")), "Identity .*|the name 'X1' is given to two values")
    refused(
        made(node("Identity", ["later"], "y")), "Identity 'the_Identity': its input 'later' is not defined before it"
    )
    refused(made(node("Transpose", ["X2", "X2"], "y")), "Transpose 'the_Transpose': it has 2 inputs")
    refused(made(node("Transpose", [""], "y")), "Transpose 'the_Transpose': it has 1 inputs, or leaves one empty")
    beside = [node("Concat", ["x", ""], "xh", axis=-1), node("MatMul", ["xh", "w"], "y")]
    step = value("x", shape=["b", 4])
    refused(
        model(beside, [step], ["y"], {"w": draw.normal(9, 5)}), "it has 2 inputs, or leaves one empty; it needs each"
    )
    weight = {"w": draw.normal(10, 3), "v": draw.normal(3, 3)}
    two = [node("MatMul", ["X2", "w"], "y"), node("MatMul", ["y", "v"], "z")]
    refused(made(*two, outputs=["y", "z"], **weight), "its outputs have different readouts")
    refused(
        made(node("MatMul", ["w", "v"], "y"), outputs=["y"], **weight),
        "the output 'y': what the recurrent weight gives of a state is used as something else",
    )
    two = [node("MatMul", ["X2", "w"], "y"), node("MatMul", ["X2", "u"], "z")]
    refused(made(*two, outputs=["y", "z"], **weight, u=draw.normal(10, 3)), "its outputs have different readouts")
    refused(made(node("MatMul", ["X1", "w"], "y"), outputs=["y"], **weight), "the output 'y' comes from another layer")
    foreign = node("Identity", ["X2"], "y")
    foreign.domain = "com.microsoft"
    refused(made(foreign), "this operator of the domain 'com.microsoft' is none")
    branch = helper.make_graph([node("Identity", ["X2"], "inner")], "branch", [], [value("inner")])
    refused(made(node("If", ["c"], "y", then_branch=branch, else_branch=branch)), "If 'the_If': this operator is none")
    constant = node("Constant", [], "y", value_string="text")
    refused(made(constant), "Constant 'the_Constant': its attribute 'value_string' is unknown")
    sub = node("Transpose", ["X2"], "y")
    sub.attribute.append(helper.make_attribute("perm", branch))
    refused(made(sub), "Transpose 'the_Transpose': its attribute 'perm' must be of the kind 'ints'; got a graph")


def test_a_fork_is_refused() -> None:
    layers = stack(Draw("float32", 20), "f", 1)
    held = weights(layers[0])
    nodes = [node("RNN", ["X", *held], [f"Y{k}", f"H{k}"], **options(layers[0])) for k in range(2)]
    refused(
        model(nodes, [value("X", shape=["t", "b", 4])], ["Y0", "Y1"], held),
        "its 2 RNN layers are not one on top of the other",
    )
