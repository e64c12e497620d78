"""ONNX graphs that sort sequences by their lengths, as torch does for packed sequences in any order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import close, model, node, options, refused, value, weights

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 90)
LAYER = DRAW.layers("f", 1, 4, 5)[0]
X, LENGTHS = value("x", shape=["t", "b", 4]), value("lengths", shape=["n"], dtype="int64")
SORT = [
    node("Shape", ["lengths"], "k"), node("TopK", ["lengths", "k"], ["longest", "order"], axis=0),
    node("Gather", ["x", "order"], "sorted", axis=1), node("Cast", ["longest"], "longest32", to=6),
]  # fmt: skip
RUN = [node("RNN", ["sorted", *weights(LAYER), "longest32"], ["Y", "H"], **options(LAYER)), node("Squeeze", ["Y", "one"], "s")]  # fmt: skip
BACK = [
    node("Shape", ["order"], "n"), node("ReduceProd", ["n"], "count", keepdims=0), node("Range", ["zero", "count", "step"], "numbers"),
    node("ConstantOfShape", ["n"], "empty", value=onnx.helper.make_tensor("v", 7, [1], [0])),
    node("ScatterElements", ["empty", "order", "numbers"], "places", axis=0),
]  # fmt: skip
GIVE = [node("Gather", ["s", "places"], "y", axis=1)]
HELD: dict[str, Any] = {"one": np.array([1]), "zero": np.array(0), "step": np.array(1)}


def made(*nodes: onnx.NodeProto, inputs: Sequence[Any] = (X, LENGTHS), outputs: Sequence[str] = ("y",), **held: Any) -> onnx.ModelProto:  # fmt: skip
    return model(list(nodes), list(inputs), outputs, weights(LAYER) | HELD | held, 17)


@pytest.mark.parametrize("known", [False, True])
def test_sequences_are_sorted_and_come_back(known: bool) -> None:
    inputs = [value("x", shape=[6, 3, 4]), value("lengths", shape=[3], dtype="int64")] if known else (X, LENGTHS)
    graph, x, lengths = made(*SORT, *RUN, *BACK, *GIVE, inputs=inputs), DRAW.normal(6, 3, 4), np.array([2, 6, 4])
    rnn, own = rb.from_onnx(graph), rb.RNN([LAYER])
    wanted = own(x, lengths=lengths)[0]
    close(rnn(x, lengths=lengths)[0], wanted)
    close(format_.run_model(graph, [x, lengths])[0], wanted)
    assert rnn.metadata["onnx outputs"] == "y: output (seq_len, batch, hidden_size)"


def test_sequences_of_token_ids_and_of_what_is_scaled() -> None:
    table, x, lengths = DRAW.normal(7, 4), np.array([[1, 2, 3], [4, 5, 6]]), np.array([1, 2, 2])
    rows = [node("Gather", ["table", "ids"], "rows", axis=0), node("Mul", ["rows", "half"], "x")]
    inputs = [value("ids", shape=["t", "b"], dtype="int64"), LENGTHS]
    for before in ([rows[0], node("Identity", ["rows"], "x")], rows):
        graph = made(*before, *SORT, *RUN, *BACK, *GIVE, inputs=inputs, table=table, half=np.float32(0.5))
        factor = np.float32(1 if before is not rows else 0.5)
        close(format_.run_model(graph, [x, lengths])[0], rb.RNN([LAYER])(table[x] * factor, lengths=lengths)[0])


def test_orders_that_are_refused() -> None:
    sort, run, back, give = SORT, RUN, BACK, GIVE
    refused(
        made(*sort, *run, node("Identity", ["s"], "y")),
        "the output 'y' has the sequences in the order of their lengths",
    )
    smallest = node("TopK", ["lengths", "k"], ["longest", "order"], axis=0, largest=0)
    refused(
        made(sort[0], smallest, *sort[2:], *run, *back, *give), "TopK 'the_TopK': it must sort all lengths of the seq"
    )
    some = node("TopK", ["lengths", "one"], ["longest", "order"], axis=0)
    refused(made(some, *sort[2:], *run, *back, *give), "TopK 'the_TopK': it must sort all lengths of the sequences")
    again = node("Gather", ["s", "order"], "y", axis=1)
    refused(
        made(*sort, *run, *back, again),
        "Gather 'the_Gather': only whole sequences can be sorted by their lengths, and back",
    )
    unsorted = [sort[0], sort[1], node("Identity", ["x"], "sorted"), sort[3]]
    refused(made(*unsorted, *run, *back, *give), "its sequence_lens must have the sequences in the order of its X")
    steps = [*sort[:2], node("Gather", ["x", "order"], "sorted", axis=2), sort[3]]
    refused(
        made(*steps, *run, *back, *give), "Gather .* only sequences of the input, and results of a layer, can be sorted"
    )
    two = node("Range", ["zero", "count", "two"], "numbers")
    refused(
        made(*sort, *run, *back[:2], two, *back[3:], *give, two=np.array(2)),
        "Range 'the_Range': it must count in whole",
    )
    ones = node("Range", ["step", "count", "step"], "numbers")
    refused(made(*sort, *run, *back[:2], ones, *back[3:], *give), "Range 'the_Range': it must count in whole numbers")
    fixed = node("Range", ["zero", "five", "step"], "numbers")
    refused(
        made(*sort, *run, *back[:2], fixed, *back[3:], *give, five=np.array(5)), "ScatterElements .* it must number the"
    )
    whole = node("ReduceProd", ["n"], "count")
    refused(made(*sort, *run, back[0], whole, *back[2:], *give), "ReduceProd .* it must multiply the sizes of a shape")
