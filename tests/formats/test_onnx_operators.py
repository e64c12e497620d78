"""ONNX operators one by one: what each refuses, and constants that are computed.

In every graph there are an input X0 (t, b, 4), states Y0 and X1 (t, b, 10), last states H0 and zeros Z.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx import helper
from onnx_models import (
    MERGE,
    graph_of,
    merged,
    model,
    node,
    refused,
    stack,
    value,
)

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.formats.onnx.network import OPSETS
from rnn_backends.formats.onnx.operators import OPERATORS
from rnn_backends.testing.cases import Draw


def test_operators_are_those_of_the_opsets() -> None:
    """No operator has a version whose meaning nobody has looked at; a new one in ONNX shows here."""
    looked_at = {
        "RNN": {7, 14, 22}, "Reshape": {5, 13, 14, 19, 21, 23, 24, 25}, "Squeeze": {1, 11, 13, 21, 23, 24, 25},
        "Transpose": {1, 13, 21, 23, 24, 25}, "Unsqueeze": {1, 11, 13, 21, 23, 24, 25}, "Concat": {4, 11, 13},
        "Slice": {1, 10, 11, 13}, "Gather": {1, 11, 13}, "Shape": {1, 13, 15, 19, 21, 23, 24, 25},
        "Identity": {1, 13, 14, 16, 19, 21, 23, 24, 25}, "Constant": {1, 9, 11, 12, 13, 19, 21, 23, 24, 25},
        "ConstantOfShape": {9, 20, 21, 23, 24, 25}, "Cast": {6, 9, 13, 19, 21, 23, 24, 25, 28}, "Expand": {8, 13},
        "MatMul": {1, 9, 13}, "Gemm": {7, 9, 11, 13}, "Add": {7, 13, 14}, "Softmax": {1, 11, 13}, "LogSoftmax": {1, 11, 13},
        "Sigmoid": {6, 13}, "Tanh": {6, 13}, "Relu": {6, 13, 14}, "LeakyRelu": {6, 16}, "Elu": {6, 22}, "HardSigmoid": {6, 22},
        "ThresholdedRelu": {10, 22}, "Softsign": {1, 22}, "Softplus": {1, 22}, "Clip": {6, 11, 12, 13}, "OneHot": {9, 11, 28},
        "ReduceMean": {1, 11, 13, 18}, "ReduceMax": {1, 11, 12, 13, 18, 20}, "Tile": {6, 13}, "Mul": {7, 13, 14},
        "Equal": {7, 11, 13, 19}, "Where": {9, 16}, "Sub": {7, 13, 14}, "Div": {7, 13, 14},
        "BatchNormalization": {7, 9, 14, 15}, "Split": {2, 11, 13, 18}, "TopK": {1, 10, 11, 24}, "Range": {11, 27},
        "ReduceProd": {1, 11, 13, 18}, "ScatterElements": {11, 13, 16, 18},
    }  # fmt: skip
    assert looked_at.keys() == OPERATORS.keys()
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in looked_at and OPSETS[0] <= schema.since_version <= OPSETS[-1]:
            assert schema.since_version in looked_at[schema.name], schema.name


def extended(*more: onnx.NodeProto, outputs: Sequence[str] = ("X1",), **held: NDArray[Any]) -> onnx.ModelProto:
    nodes, tensors = graph_of(stack(Draw("float32", 30), count=1), merged)
    zeros = [
        node("Shape", ["X0"], "s0"),
        node("ConstantOfShape", ["s0"], "Z"),
        node("Gather", ["s0", "turn"], "turned"),
    ]
    small = {
        "i0": np.array([0]),
        "i1": np.array([1]),
        "i2": np.array([2]),
        "k2": np.array(2),
        "turn": np.array([1, 0, 2]),
        "i01": np.array([0, 1]),
    }
    small |= {"w": np.ones((10, 3), np.float32), "one": np.ones(1, np.float32), "i3": np.array([1, 1, 1])}
    inputs = [value("X0", shape=["t", "b", 4]), value("ids", shape=["t", "b"], dtype="int64")]
    return model([*nodes, *zeros, *more], inputs, outputs, tensors | MERGE | small | held)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([node("Expand", ["X1", "i1"], "y")], "Expand .* only constants can be repeated"),
        ([node("Expand", ["w", "s0"], "y")], r"a constant of shape \(10, 3\) cannot be repeated to \(\?, \?, 4\), where \? is a size of the input"),
        ([node("Expand", ["pair", "s0"], "y")], "Expand .* its inputs, of the shapes .*, do not fit to each other"),
        ([node("Tile", ["X1", "i01"], "y")], "Tile .* only constants can be repeated"),
        ([node("Tile", ["w", "i1"], "y")], "`repeats` must have a number for each of the 2 axes of its input; got 1"),
        ([node("Tile", ["pair", "minus"], "y")], r"`repeats` must not be negative; got \[-1\]"),
        ([node("Mul", ["X1", "pair"], "y")], r"Mul .* its constant, \(2,\) of float32, must be one number or one a feature of \(X0\[0\]\) by"),
        ([node("Mul", ["s0", "i2"], "y")], "Mul .* it cannot be computed: int.. argument must be"),
        ([node("Mul", ["w", "pair"], "y")], "Mul .* its inputs, of the shapes .*, do not fit to each other"),
        ([node("Equal", ["X1", "pair"], "y")], "Equal .* only constants can be compared"),
        ([node("Equal", ["s0", "i2"], "y")], r"Equal .* whether X0\[0\] is 2 depends on the input"),
        ([node("Equal", ["s0", "turned"], "y")], r"Equal .* whether X0\[0\] is X0\[1\] depends on the input"),
        ([node("Where", ["i1", "X1", "pair"], "y")], "Where .* only constants can be chosen from"),
        ([node("ReduceMean", ["w"], "y", axes=[0])], "ReduceMean .* it can only reduce the states of a layer over all steps"),
        ([node("ReduceMax", ["H0"], "y", axes=[0])], "ReduceMax .* it can only reduce the states of a layer over all steps"),
        ([node("ReduceMean", ["X1"], "y", axes=[1])], r"ReduceMean .* it must be over the axis of steps alone; its axes are \(X0\[1\]\)"),
        ([node("ReduceMean", ["X1"], "y", axes=[0, 2])], r"it must be over the axis of steps alone; its axes are \(X0\[0\]\) by \(directions=2 hidden_size=5\)"),
        ([node("ReduceMean", ["X1"], "y")], "it must be over the axis of steps alone; its axes are none"),
        ([node("ReduceMax", ["X1"], "m", axes=[0]), node("ReduceMax", ["m"], "y", axes=[0])], "it can only reduce the states of a layer"),
        ([node("Expand", ["i1", "s0"], "y")], "its shape must be constant; got one that depends on the input's shape"),
        ([node("Expand", ["one", "minus"], "y")], r"the shape \[-1\] is impossible"),
        ([node("ConstantOfShape", ["i1"], "y", value=helper.make_tensor("v", 1, [2], [1.0, 2.0]))], "`value` must be one number; got 2"),
        ([node("Concat", ["s0", "pair"], "y", axis=0)], r"Concat .* must be of one dtype; they are of 'int64', 'float32'"),
        ([node("Where", ["i1", "s0", "third"], "a"), node("Where", ["i0", "s0", "third"], "y")], r"Where .* must be of one dtype; they are of 'int64', 'float32'"),
        ([node("Shape", ["w"], "two"), node("Div", ["two", "pair"], "y")], "Div .* must be of one dtype; they are of 'int64', 'float32'"),
        ([node("Shape", ["w"], "two"), node("Sub", ["two", "least"], "y")], r"Sub .* of 64 bits; it gives 9223372036854775818"),
        ([node("Concat", ["minus", "s0"], "m", axis=0), node("ConstantOfShape", ["m"], "y")], r"ConstantOfShape .* the shape \[-1, \?, \?, \?\] is impossible"),
        ([node("Cast", ["X0"], "y", to=7)], "Cast .* it converts to the element type 7"),
        ([node("Cast", ["X1"], "y", to=7)], "Cast .* it converts to the element type 7"),
        ([node("Cast", ["X0"], "h", to=10), node("Cast", ["h"], "y", to=11)], "Cast .* it takes what is rounded to float16"),
        ([node("Cast", ["X0"], "h", to=11), node("Cast", ["h"], "y", to=10)], "Cast .* it converts the input 'X0' from float32 to float16"),
        ([node("Cast", ["ids"], "y", to=1)], "Cast .* it converts the input 'ids' from int64 to float32"),
        ([node("Constant", [], "y")], "Constant .* it must have one attribute; got none"),
        ([node("Reshape", ["X1", "two_open"], "y")], r"the shape \[-1, -1\] leaves more than one size open"),
        ([node("Reshape", ["X0", "i1"], "y")], "it would tear axes apart: .* cannot be read as nothing"),
        ([node("Reshape", ["X1", "of_ten"], "y")], r"cannot be read as size 4"),
        ([node("Reshape", ["X1", "too_long"], "y")], r"the shape \[0, 0, 0, 0\] has a size of 0"),
        ([node("Reshape", ["X1", "far_below"], "y")], r"the shape \[-2, 10\] has a negative size"),
        ([node("Reshape", ["w", "i3"], "y")], "Reshape .* it cannot be computed: cannot reshape array of size 30"),
        ([node("Reshape", ["X1", "one"], "y")], "its shape must be constant integers, in one row"),
        ([node("Transpose", ["X1"], "y", perm=[0, 1])], r"`perm` must order the 3 axes; got \[0, 1\]"),
        ([node("Squeeze", ["X1"], "y")], "it names no axes, and not all sizes are known"),
        ([node("Squeeze", ["X1", "i3"], "y")], r"the axes \[1, 1, 1\] must be different ones of 3"),
        ([node("Squeeze", ["w", "i1"], "y")], r"the axes \[1\] must have size 1; the sizes are \[10, 3\]"),
        ([node("Shape", ["Z"], "y")], "the shape of zeros that take the input's is not followed"),
        ([node("Slice", ["X1", "i0", "i01", "i0"], "y")], "it must have as many starts as ends, axes and steps"),
        ([node("Slice", ["X1", "i0", "i2", "i0", "i2"], "y")], "it takes every 2-th entry of an array that depends on the input"),
        ([node("Slice", ["X1", "i1", "i2", "i0"], "y")], r"the part 1:2 of X0\[0\] is none that a model gives"),
        ([node("Slice", ["X0", "minus", "i2", "i0"], "y")], r"the part -1:2 of the input 'X0' is not known to hold anything"),
        ([node("Gather", ["X1", "X1"], "y")], "token ids must pick rows of a constant matrix"),
        ([node("Gather", ["X1", "one"], "y")], "its indices must be constant integers, or an input of token ids"),
        ([node("Gather", ["X1", "i01"], "y")], "it takes several entries of an array that depends on the input"),
        ([node("Gather", ["X1", "k2"], "y", axis=5)], r"the axes \[5\] must be different ones of 3"),
        ([node("Gather", ["H0", "k2"], "y")], "Gather .* the part 2:2 of cells=2 is none that a model gives"),
        ([node("Gather", ["w", "big"], "y")], "Gather .* it cannot be computed: index 99 is out of bounds"),
        ([node("Concat", ["X1", "X1"], "y")], "it must have `axis` and at least one input"),
        ([node("Concat", ["X1", "w"], "y", axis=0)], "it must join constants, last states of cells, or the states"),
        ([node("Concat", ["X1", "X1"], "y", axis=2)], "it must join constants, last states of cells, or the states"),
        ([node("Concat", ["H0", "H0"], "y", axis=2)], "last states must be joined on the axis of cells"),
        ([node("Transpose", ["H0"], "h", perm=[0, 2, 1]), node("Concat", ["H0", "h"], "y", axis=0)], "last states must be joined with their other axes alike"),
        ([node("MatMul", ["H0", "w"], "y")], r"its matrix, \(10, 3\), must take the features of one step"),
        ([node("MatMul", ["X1", "w"], "l"), node("Add", ["l", "w"], "y")], r"Add 'the_Add': it adds a row to each sequence, \(10, 3\), as where the only step starts from zeros"),
        ([node("MatMul", ["X1", "w"], "l"), node("LeakyRelu", ["l"], "y", alpha=float("inf"))], "LeakyRelu .* it is wrong: .* must be a finite number"),
        ([node("Reshape", ["X1", "rows"], "x2"), node("Unsqueeze", ["x2", "i1"], "x3"), node("RNN", ["x3", "w3", "r3"], ["y"])],
         "the first two axes of its X must be steps and sequences"),
        ([node("RNN", ["X1", "Z", "r3"], ["y"])], "its W must be a constant of floating point"),
        ([node("RNN", ["X1", "w3", "r3", "", "", "w"], ["y"])], "its initial_h must be zeros, an input of the graph, or a constant that is the same"),
        ([node("RNN", ["X1", "w3", "r3", "", "", "X0"], ["y"])], r"its initial_h must have the axes directions, batch and hidden; its axes are .*X0\[2\]=4"),
        ([node("RNN", ["w", "w3", "r3"], ["y"])], "its X must depend on an input of the graph, and have 3 axes"),
    ],
)  # fmt: skip
def test_what_operators_refuse(more: Sequence[onnx.NodeProto], message: str) -> None:
    numbers = {
        "minus": [-1],
        "two_open": [-1, -1],
        "of_ten": [0, 0, 4, -1],
        "too_long": [0, 0, 0, 0],
        "far_below": [-2, 10],
    }
    held: dict[str, Any] = {"pair": np.ones(2, np.float32)} | {
        name: np.array(number) for name, number in (numbers | {"big": [99], "rows": [-1, 10]}).items()
    }
    held |= {"third": np.array([0.5], np.float32), "least": np.array([-(2**63)])}
    refused(
        extended(*more, **held, w3=np.ones((1, 5, 10), np.float32), r3=np.ones((1, 5, 5), np.float32)),
        message,
    )


@pytest.mark.parametrize(
    "more",
    [
        [node("Constant", [], "c", value_floats=[1.0, 2.0])],
        [node("Constant", [], "c", value_int=3)],
        [node("Shape", ["w"], "m0"), *(node("Mul", [f"m{k}", f"m{k}"], f"m{k + 1}") for k in range(64))],
        [node("Equal", ["s0", "minus"], "e"), node("Where", ["e", "i0", "s0"], "s"), node("Equal", ["s", "s0"], "y")],
        [node("Cast", ["Z"], "y", to=11)],
        [node("Concat", ["Z", "Z"], "y", axis=0)],
        [node("Slice", ["Z", "i0", "i1"], "z"), node("Gather", ["z", "i0"], "y"), node("Transpose", ["y"], "u")],
        [node("Reshape", ["Z", "i3"], "z"), node("Squeeze", ["z", "i1"], "y"), node("Unsqueeze", ["y", "i1"], "u")],
        [node("Squeeze", ["one"], "y")],
        [node("Slice", ["w", "i2", "i0", "i1", "minus"], "y"), node("Transpose", ["w"], "u")],
        [node("Slice", ["X1", "i0", "far", "i0"], "y")],
        [node("Identity", ["X1"], "y"), node("Expand", ["Z", "s0"], "z")],
    ],
)
def test_constants_and_zeros_are_computed(more: Sequence[onnx.NodeProto]) -> None:
    assert rb.from_onnx(extended(*more, minus=np.array([-1]), far=np.array([2**63 - 1])))


def test_an_axis_that_was_removed_must_have_size_1() -> None:
    nodes, tensors = graph_of(stack(Draw("float32", 31), count=1), merged)
    squeezed = node("Squeeze", ["X1", "i1"], "y")
    made = model([*nodes, squeezed], [value("X0", shape=["t", 1, 4])], ["y"], tensors | MERGE | {"i1": np.array([1])})
    assert format_.run_model(made, [np.zeros((7, 1, 4), np.float32)])[0].shape == (7, 10)
    with pytest.raises(
        rb.FormatError, match=r"the axis X0\[1\]=1 was removed from the array as one of size 1; it has 2"
    ):
        format_.run_model(made, [np.zeros((7, 2, 4), np.float32)])
