"""ONNX graphs of others: encoders before the first RNN, heads after the last, initial states and pooled steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx_models import (
    MERGE,
    cells_of,
    close,
    merged,
    model,
    node,
    options,
    refused,
    run_runtime,
    value,
    weights,
)

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

Nodes = Sequence[onnx.NodeProto]
X = value("x", shape=["t", "b", 4])
IDS = value("ids", shape=["t", "b"], dtype="int64")


def after(before: Nodes, inputs: Sequence[Any] = (X,), sides: str = "f", width: int = 4, more: Nodes = (), outputs: Sequence[str] = ("y",),
          opset: int = 14, **held: NDArray[Any]) -> tuple[onnx.ModelProto, rb.Layer]:  # fmt: skip
    """A layer of 5 units whose X is X0; its states are y, its last states H0."""
    layer = Draw("float32", 50).layers(sides, 1, width, 5)[0]
    squeeze = [node("Squeeze", ["Y0", "one"], "y")] if len(sides) == 1 else merged("Y0", "y")
    rnn = node("RNN", ["X0", *weights(layer)], ["Y0", "H0"], **options(layer))
    tensors = (
        weights(layer)
        | MERGE
        | {"one": np.array([1]), "zero": np.array(0), "minus": np.array(-1), "i0": np.array([0])}
        | held
    )
    return model([*before, rnn, *squeeze, *more], list(inputs), outputs, tensors, opset), layer


def run_both(made: onnx.ModelProto, x: NDArray[Any], wanted: Sequence[NDArray[Any]]) -> None:
    """Run a graph by this package, and by ONNX Runtime where it is installed."""
    for got, right in zip(format_.run_model(made, [x]), wanted, strict=True):
        close(got, right)
    try:
        import onnxruntime as runtime
    except ImportError:
        return
    name, unnamed = made.graph.input[0].name, onnx.ModelProto()
    unnamed.CopyFrom(made)
    for each in unnamed.graph.node:  # those of one type have one name in these tests
        each.ClearField("name")
    for got, right in zip(run_runtime(runtime, unnamed, {name: x}), wanted, strict=True):
        close(got, right)


DRAW = Draw("float32", 51)
W4, W3, B3, V4 = DRAW.normal(4, 3), DRAW.normal(3, 4), DRAW.normal(3), DRAW.normal(4)


def test_an_encoder_of_features() -> None:
    before = [
        node("MatMul", ["x", "a"], "p"), node("Add", ["p", "ab"], "q"), node("Relu", ["q"], "r"),
        node("MatMul", ["r", "c"], "s"), node("Elu", ["s"], "X0", alpha=0.5),
    ]  # fmt: skip
    made, layer = after(before, a=W4, ab=B3, c=W3)
    rnn, x = rb.from_onnx(made), DRAW.normal(6, 2, 4)
    own = rb.RNN([layer], encoder=[rb.Linear(W4.T, B3, "relu"), rb.Linear(W3.T, activation=rb.Activation("elu", 0.5))])
    assert [held.activation for held in rnn.encoder] == [held.activation for held in own.encoder]
    assert rnn.takes == "features"
    close(rnn(x)[0], own(x)[0])
    run_both(made, x, [own(x)[0]])


def test_an_encoder_of_rows_of_one_matrix() -> None:
    """Gemm takes two axes: steps and sequences merged, and apart again by the input's own sizes."""
    before = [
        node("Reshape", ["x", "rows"], "flat"), node("Gemm", ["flat", "a", "ab"], "p", transB=1), node("Tanh", ["p"], "q"),
        node("Shape", ["x"], "s"), node("Slice", ["s", "i0", "two"], "head"), node("Concat", ["head", "three"], "back", axis=0),
        node("Reshape", ["q", "back"], "X0"),
    ]  # fmt: skip
    made, layer = after(before, width=3, a=W3, ab=B3, rows=np.array([-1, 4]), two=np.array([2]), three=np.array([3]))
    own, x = rb.RNN([layer], encoder=rb.Linear(W3, B3, "tanh")), DRAW.normal(6, 2, 4)
    run_both(made, x, [own(x)[0]])
    close(rb.from_onnx(made)(x)[0], own(x)[0])
    before[-2] = node("Concat", ["turned", "three"], "back", axis=0)
    before.insert(-2, node("Gather", ["s", "turn"], "turned", axis=0))
    refused(
        after(before, width=3, a=W3, ab=B3, rows=np.array([-1, 4]), two=np.array([2]), three=np.array([3]), turn=np.array([1, 0]))[0],
        "tear axes apart",
    )  # fmt: skip


@pytest.mark.parametrize("sides", ["f", "fb"])
@pytest.mark.parametrize(("ids", "rows", "is_folded"), [(9, 4, True), (30, 4, False), (9, 1, False)])
def test_what_is_folded_is_no_larger_than_its_factors(sides: str, ids: int, rows: int, is_folded: bool) -> None:
    """5 or 10 units: 5 * 9 <= 9 * 4 + 4 * 5, but 5 * 30 > 30 * 4 + 4 * 5."""
    table, x = DRAW.normal(ids, rows), np.array([[0, 8], [3, 1], [1, 1]])
    is_folded = is_folded and sides == "f"  # 10 * 9 > 9 * 4 + 4 * 10
    made, layer = after([node("Gather", ["table", "ids"], "X0")], [IDS], sides, rows, table=table)
    rnn, own = rb.from_onnx(made), rb.RNN([layer], encoder=rb.Linear(table.T), takes="tokens")
    assert (rnn.encoder is None) is is_folded
    assert (rnn.takes, rnn.input_size) == ("tokens", ids)
    assert rnn.num_parameters <= own.num_parameters
    close(rnn(x)[0], own(x)[0])
    run_both(made, x, [own(x)[0]])


def test_a_linear_of_features_is_folded_with_its_bias() -> None:
    before = [node("MatMul", ["x", "a"], "p"), node("Add", ["p", "ab"], "X0")]
    made, layer = after(before, width=3, a=W4, ab=B3)
    rnn, own, x = rb.from_onnx(made), rb.RNN([layer], encoder=rb.Linear(W4.T, B3)), DRAW.normal(6, 2, 4)
    assert rnn.encoder is None
    (cell,), (given,) = cells_of(rnn.layers[0]), cells_of(layer)
    right = given.weight_ih.astype(np.float64) @ B3.astype(np.float64) + given.bias
    np.testing.assert_array_equal(cell.bias, right.astype(np.float32))
    close(rnn(x)[0], own(x)[0])
    run_both(made, x, [own(x)[0]])


@pytest.mark.parametrize(
    ("more", "linears"),
    [
        ([node("Tanh", ["rows"], "X0")], [rb.Linear(W3, activation="tanh")]),
        ([node("MatMul", ["rows", "a"], "X0")], [rb.Linear(W3), rb.Linear(DRAW.normal(4, 3))]),
        ([node("Add", ["rows", "ab"], "p"), node("Sigmoid", ["p"], "X0")], [rb.Linear(W3, B3, "sigmoid")]),
    ],
)
def test_an_embedding_with_more_after_it_is_the_first_of_an_encoder(more: Nodes, linears: list[rb.Linear]) -> None:
    last = linears[-1].weight
    made, layer = after(
        [node("Gather", ["table", "ids"], "rows"), *more], [IDS], width=len(last), table=W3.T, ab=B3, a=last.T
    )
    rnn, own, x = rb.from_onnx(made), rb.RNN([layer], encoder=linears, takes="tokens"), np.array([[0, 3], [2, 1]])
    assert rnn.placed.network.takes == "tokens"
    assert len(rnn.placed.network.encoder) == len(linears)
    close(rnn(x)[0], own(x)[0])
    run_both(made, x, [own(x)[0]])


def test_encoders_that_are_refused() -> None:
    refused(
        after([node("Relu", ["x"], "X0")])[0], "Relu 'the_Relu': it can only be the activation of a Linear of the enc"
    )
    wide = np.ones((2, 4), np.float32)
    refused(
        after([node("Add", ["x", "v"], "X0")], v=wide)[0], r"its constant, \(2, 4\) .*, must be one number or one a fe"
    )
    wide = after([node("MatMul", ["x", "a"], "X0")], width=3, a=W4.astype(np.float64))[0]
    refused(wide, "MatMul 'the_MatMul': its matrix must be of float32, as the input is; got float64")
    refused(after([node("MatMul", ["x", "a"], "X0")], a=W4)[0], r"its X must be the input.* \(output_size=3\)")
    refused(
        after([node("MatMul", ["ids", "a"], "X0")], [IDS], a=W4)[0], "MatMul .* it must multiply the input, or states"
    )
    turned = [node("Transpose", ["x"], "p", perm=[0, 2, 1]), node("MatMul", ["p", "a"], "X0")]
    refused(
        after(turned, a=W4)[0],
        r"its matrix, \(4, 3\), must take the features of one step; .*\(x\[2\]=4\) by \(x\[1\]\)",
    )
    softmax = [node("MatMul", ["x", "a"], "p"), node("Softmax", ["p"], "X0", axis=0)]
    refused(after(softmax, width=3, a=W4)[0], "Softmax 'the_Softmax': it must be over the outputs")


HEAD = [
    node("MatMul", ["read", "a"], "p"), node("Add", ["p", "ab"], "q"), node("Relu", ["q"], "r"),
    node("MatMul", ["r", "c"], "s"), node("Softmax", ["s"], "z", axis=-1),
]  # fmt: skip


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(("kind", "reads"), [("ReduceMean", "mean"), ("ReduceMax", "max")])
def test_heads_over_pooled_steps(kind: str, reads: str, keep: int, opset: int) -> None:
    is_input = opset >= 18
    given: Any = {} if is_input else {"axes": [0]}
    pool = node(kind, ["y", "i0"] if is_input else ["y"], "read", keepdims=keep, **given)
    a, more = DRAW.normal(10, 3), [node("Identity", ["x"], "X0")]
    made, layer = after(more, sides="fb", more=[pool, *HEAD], outputs=["z", "s", "read"], opset=opset, a=a, ab=B3, c=W3)
    rnn, x = rb.from_onnx(made), DRAW.normal(6, 2, 4)
    own = rb.RNN([layer], [rb.Linear(a.T, B3, "relu"), rb.Linear(W3.T)], reads=reads)
    assert (rnn.reads, len(rnn.readout)) == (reads, 2)
    assert rnn.metadata["onnx outputs"].startswith(
        f"z: probabilities of the {'mean' if reads == 'mean' else 'maximum'} of all"
    )
    close(rnn.probabilities(x), own.probabilities(x))
    pooled = rnn(x)[0].mean(axis=0) if reads == "mean" else rnn(x)[0].max(axis=0)
    wanted = [own.probabilities(x), own.logits(x), pooled]
    run_both(made, x, [each[None] for each in wanted] if keep else wanted)


def test_pooled_steps_of_sequences_with_lengths_are_refused() -> None:
    made, _ = after([node("Identity", ["x"], "X0")], more=[node("ReduceMean", ["y"], "m", axes=[0])], outputs=["m"])
    made.graph.node[1].input.append("lengths")
    made.graph.input.append(value("lengths", shape=["b"], dtype="int32"))
    refused(made, "ReduceMean 'the_ReduceMean': it reduces over all steps, beyond those that sequence_lens counts")
    made.graph.node[-1].CopyFrom(node("Gather", ["y", "minus"], "read", axis=0))
    made.graph.node.append(node("MatMul", ["read", "a"], "m"))
    made.graph.initializer.append(onnx.numpy_helper.from_array(DRAW.normal(5, 3), "a"))
    refused(made, "its readout reads a last step that may be padding")  # as it is where a sequence is shorter


def test_pooled_steps_without_a_batch(backend: str) -> None:
    single = value("x", shape=["t", 4])
    more = [node("Squeeze", ["y", "one"], "u"), node("ReduceMax", ["u"], "read", axes=[0], keepdims=0), *HEAD]
    made, _ = after(
        [node("Unsqueeze", ["x", "one"], "X0")],
        [single],
        more=more,
        outputs=["z", "read"],
        a=DRAW.normal(5, 3),
        ab=B3,
        c=W3,
    )
    rnn, x = rb.from_onnx(made), DRAW.normal(6, 4)
    with rb.use_backend(backend):
        z, read = format_.run_model(made, [x])
    close(read, rnn(x)[0].max(axis=0))
    close(z, rnn.probabilities(x))
