"""Messages about ONNX graphs of long names, many axes and large sizes: one short line each."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx_models import model, node, options, value, weights

import rnn_backends as rb
from rnn_backends.testing.cases import Draw

LAYER = Draw("float32", 1).layers("f", 1, 4, 5)[0]
NAME = "\N{GRINNING FACE}\n" * 400
FAR = 2**62
Z, ZEROS = "z" * 1000, "0" * 900

CASES: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "a name": ([node("Sin", ["X"], NAME)], {}, "this operator is none"),
    "an operator": ([node(NAME, ["X"], "y")], {}, "this operator is none"),
    "an input that is not there": ([node("Identity", [NAME], "y")], {}, "is not defined before it"),
    "an attribute": ([node("Identity", ["X"], "y", **{Z: 1})], {}, "is unknown or given twice"),
    "a domain": ([node("Identity", ["X"], "y", domain=NAME)], {}, "this operator of the domain"),
    "an impossible shape": ([node("Expand", ["one", "n"], "y")], {"n": np.full(32, -FAR)}, "the shape .* is impossible"),
    "sizes of a shape": ([node("Reshape", [Z, "n"], "y")], {"n": np.full(32, -1)}, "leaves more than one size open"),
    "axes that are torn": ([node("Reshape", [Z, "n"], "y")], {"n": np.array([5, -1])}, "it would tear axes apart"),
    "axes of another size": ([node("Squeeze", [Z, "n"], "y")], {"n": np.arange(32)}, "must have size 1; the sizes are"),
    "axes that are given twice": ([node("Squeeze", [Z, "n"], "y")], {"n": np.full(32, FAR)}, "must be different ones"),
    "an order of axes": ([node("Transpose", [Z], "y", perm=[FAR] * 32)], {}, "`perm` must order the 32 axes"),
    "a part of merged axes": (
        [node("Reshape", [Z, "m"], "r"), node("Slice", ["r", "one_", "three"], "y")],
        {"m": np.array([-1]), "one_": np.array([1]), "three": np.array([3])}, "the part 1:3 of",
    ),
    "parts of merged axes": (
        [node("Reshape", [Z, "m"], "r"), node("Split", ["r"], ["y", "w"], axis=0)], {"m": np.array([-1])}, "parts of",
    ),
    "repetitions": ([node("Tile", ["wide", "n"], "y")], {"n": np.full(32, -FAR)}, "`repeats` must not be negative"),
    "shapes that do not fit": (
        [node("Mul", ["wide", "n"], "y")], {"n": np.zeros((2,) * 20, np.float32)}, "do not fit to each other",
    ),
    "a step": ([node("Shape", [Z], "s"), node("Range", ["s", "s", "s"], "y")], {}, "it must count"),
    "activations": (
        [node("RNN", ["X", "W", "R"], "y", activations=["a" * 1000] * 2, direction="bidirectional")], {}, "must be of",
    ),
    "numbers of activations": (
        [node("RNN", ["X", "W", "R"], "y", activations=["Elu"], activation_alpha=[1.0] * 1000)], {}, "values where",
    ),
    "a weight": ([node("RNN", ["X", "wide", "wide"], "y")], {}, "must have shape"),
    "a matrix": ([node("MatMul", ["X", "flat"], "y")], {"flat": np.zeros((0, 2**40), np.float32)}, "its matrix, "),
    "a batch": ([node("RNN", [Z, "W", "R"], "y")], {}, "have 3 axes"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_messages_are_one_short_line(case: str) -> None:
    nodes, tensors, message = CASES[case]
    held = weights(LAYER)
    inputs = [value("X", shape=["t", "b", 4]), value(Z, shape=[7] * 32)]
    more = {"one": np.ones(1, np.float32), "wide": np.zeros((1,) * 12 + (3,) * 12, np.float16)[:1], **tensors}
    rnn = node("RNN", ["X", *held], ["Y"], **options(LAYER))
    more["wide"] = np.zeros((1,) * 31 + (3,), np.float32)
    made = model([rnn, *nodes], inputs, ["Y"], {**held, **more})
    for each in made.graph.node[1:]:
        each.name = NAME
    with pytest.raises(rb.FormatError, match=message) as caught:
        rb.from_onnx(made)
    said = str(caught.value)
    assert len(said) <= 400
    assert said.isascii()
    assert said.isprintable()


@pytest.mark.parametrize("producer", ["pytorch", "tf2onnx"])
def test_advice_stays_at_the_end_of_a_long_message(producer: str) -> None:
    made = model([node("LSTM", ["X"], NAME)], [value("X", shape=["t", "b", 4])], ["Y"])
    made.graph.node[0].name = NAME
    made.producer_name = producer
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(made)
    assert len(str(caught.value)) <= 400
