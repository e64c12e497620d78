"""Small ONNX graphs whose nodes would make much: each counts what it makes before it is there, in its own dtype."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx_models import model, node, options, value, weights

import rnn_backends as rb
from rnn_backends.formats.onnx.shared import total
from rnn_backends.testing.cases import Draw

LAYER = Draw("float32", 1).layers("f", 1, 4, 5)[0]
WEIGHTS = weights(LAYER)
MOST = 48 * 2**20
"""The most bytes that one of these graphs may take; what each of them asks for is more, or is nothing."""


def graph(*nodes: onnx.NodeProto, **tensors: Any) -> onnx.ModelProto:
    """One RNN, whose states are S and whose last state is H0, and then more nodes."""
    rnn = node("RNN", ["X", *WEIGHTS], ["Y", "H0"], **options(LAYER))
    first = [rnn, node("Squeeze", ["Y", "one_axis"], "S"), node("Shape", ["X"], "sizes")]
    held = {**WEIGHTS, "one_axis": np.array([1]), **tensors}
    return model([*first, *nodes], [value("X", shape=["t", "b", 4])], ["Y"], held)


def whole(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


ONE = np.ones(1, np.float32)
WIDE = np.ones((5, 6000), np.float32)
COLUMN, ROW = np.ones((6000, 1), np.float32), np.ones((1, 6000), np.float32)

MADE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "an identity after a readout": (
        lambda: graph(node("MatMul", ["S", "v"], "l"), node("Tanh", ["l"], "t"), node("Sigmoid", ["t"], "u"), v=WIDE),
        "the identity that its activation follows would take 288000000 bytes",
    ),
    "an identity after a readout of last states": (
        lambda: graph(
            node("Squeeze", ["H0", "zero"], "h"), node("MatMul", ["h", "v"], "l"), node("Relu", ["l"], "t"),
            node("Elu", ["t"], "u"), v=WIDE, zero=whole(0),
        ),
        "the identity that its activation follows would take 288000000 bytes",
    ),
    "an identity after a pooled readout": (
        lambda: graph(
            node("ReduceMean", ["S"], "m", axes=[0], keepdims=0), node("MatMul", ["m", "v"], "l"),
            node("Softplus", ["l"], "t"), node("Softsign", ["t"], "u"), v=WIDE,
        ),
        "the identity that its activation follows would take 288000000 bytes",
    ),
    "Tile": (lambda: graph(node("Tile", ["one", "n"], "y"), one=ONE, n=whole(2**25)), "repeats axis by axis would take"),
    "Tile of several axes": (
        lambda: graph(node("Tile", ["c", "n"], "y"), c=COLUMN, n=whole(3, 2000)), "repeats axis by axis would take"
    ),
    "Expand": (lambda: graph(node("Expand", ["one", "n"], "y"), one=ONE, n=whole(2**24)), "graph computes would take"),
    "ConstantOfShape": (
        lambda: graph(
            node("ConstantOfShape", ["n"], "y", value=onnx.helper.make_tensor("v", 1, [1], [1.0])), n=whole(2**13, 2**13)
        ),
        "graph computes would take",
    ),
    "Gather of many rows": (
        lambda: graph(node("Gather", ["row", "n"], "y"), row=ROW, n=np.zeros(6000, np.int32)), "graph computes would take"
    ),
    "Range": (
        lambda: graph(node("Range", ["a", "b", "c"], "y"), a=whole(0), b=whole(2**27), c=whole(1)),
        "graph computes would take",
    ),
    "Mul of a column and a row": (
        lambda: graph(node("Mul", ["c", "r"], "y"), c=COLUMN, r=ROW), "graph computes would take 144000000 bytes"
    ),
    "Where of a column and a row": (
        lambda: graph(node("Equal", ["c", "c"], "e"), node("Where", ["e", "c", "r"], "y"), c=COLUMN, r=ROW),
        "graph computes would take 144000000 bytes",
    ),
    "Cast": (
        lambda: graph(node("Expand", ["h", "n"], "e"), node("Cast", ["e"], "y", to=11), h=ONE.astype("f2"), n=whole(2**22)),
        "graph computes would take 33554432 bytes after",
    ),
}  # fmt: skip

DTYPES: dict[str, tuple[list[onnx.NodeProto], str]] = {
    "Concat of halves and one double": ([node("Concat", ["e", "f8"], "y", axis=0)], "'float16', 'float64'"),
    "Concat of int32 and int64": ([node("Concat", ["e4", "i8"], "y", axis=0)], "'int32', 'int64'"),
    "Mul of halves by an int32": ([node("Mul", ["e", "i4"], "y")], "'float16', 'int32'"),
    "Sub of an int64 from floats": ([node("Sub", ["e", "i8"], "y")], "'float16', 'int64'"),
    "Where of halves and doubles": ([node("Where", ["t", "e", "f8"], "y")], "'float16', 'float64'"),
    "Equal of floats and sizes": ([node("Equal", ["f8", "sizes"], "y")], "'float64', 'int64'"),
}

OBJECTS: dict[str, list[onnx.NodeProto]] = {
    "Concat": [node("Concat", ["far", "sizes"], "y", axis=0)],
    "Sub": [node("Sub", ["sizes_c", "column"], "y")],
    "Equal": [node("Equal", ["sizes_c", "column"], "y")],
    "Where": [node("Equal", ["column", "column"], "q"), node("Where", ["q", "sizes_c", "column"], "y")],
    "Expand": [node("Expand", ["sizes_c", "huge"], "y")],
    "Gather": [node("Gather", ["sizes_c", "zeros"], "y")],
    "Tile": [node("Tile", ["sizes_c", "many"], "y")],
    "Concat of sizes alone": [node("Concat", ["sizes"] * 200, "y", axis=0)],
}

UNFIT: dict[str, tuple[list[onnx.NodeProto], str]] = {
    "Sub of sizes": ([node("Sub", ["X", "sizes"], "y")], "Sub 'the_Sub': features are scaled"),
    "Div by sizes": ([node("Div", ["X", "sizes"], "y")], "Div 'the_Div': features are scaled"),
    "Div by integers": ([node("Div", ["X", "i8"], "y")], "Div 'the_Div': features are scaled"),
    "Sub of a size from a size": ([node("Sub", ["sizes", "sizes"], "y")], "Sub 'the_Sub': it cannot be computed: "),
    "Mul of sizes": ([node("Mul", ["sizes", "sizes"], "y")], "Mul 'the_Mul': it cannot be computed: "),
    "Range beyond what a sequence has": ([node("Range", ["least", "most", "i8"], "y")], "Range 'the_Range': it cannot be"),
    "Range to infinity": ([node("Range", ["i8", "inf", "i8"], "y")], "Range 'the_Range': it cannot be computed: "),
    "Range to no number": ([node("Range", ["i8", "nan", "i8"], "y")], "Range 'the_Range': it cannot be computed: "),
    "Reshape to another size": ([node("Reshape", ["column", "many"], "y")], "Reshape 'the_Reshape': it cannot be comp"),
    "Concat on no axis": ([node("Concat", ["i8", "i8"], "y", axis=2**40)], "Concat 'the_Concat': it cannot be computed"),
    "Slice from what is no number": ([node("Slice", ["i8", "sizes", "sizes"], "y")], "Slice 'the_Slice': its starts"),
}  # fmt: skip


def mixed(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    held: dict[str, Any] = {
        "half": np.ones(1, np.float16), "int": np.ones(1, np.int32), "n": whole(2**20), "f8": np.ones(1), "i8": whole(1),
        "i4": np.ones(1, np.int32), "far": np.arange(2**20), "column": np.arange(400)[:, None], "huge": whole(2**20, 5),
        "zeros": np.zeros(2**20, np.int64), "many": whole(2**20), "least": whole(-(2**63)), "most": whole(2**63 - 1),
        "inf": np.array([np.inf]), "nan": np.array([np.nan]), "more": whole(7, 8),
    }  # fmt: skip
    first = [
        node("Expand", ["half", "n"], "e"), node("Expand", ["int", "n"], "e4"),
        node("Concat", ["more", "sizes"], "sizes_c", axis=0), node("Equal", ["f8", "f8"], "t"),
    ]  # fmt: skip
    return graph(*first, *nodes, **held)


def refused(made: onnx.ModelProto, message: str) -> None:
    """Check how a model is refused, and that this takes no more memory than refusing it may."""
    tracemalloc.start()
    try:
        with pytest.raises(rb.FormatError, match=message) as caught:
            rb.from_onnx(made)
        assert tracemalloc.get_traced_memory()[1] < MOST + made.ByteSize()
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize("name", MADE)
def test_what_a_node_makes_is_counted_before_it_is_there(name: str) -> None:
    make, message = MADE[name]
    refused(make(), message)


@pytest.mark.parametrize("name", DTYPES)
def test_constants_of_several_dtypes_are_refused(name: str) -> None:
    """NumPy would compute with them in the widest of them, or in a wider one."""
    nodes, names = DTYPES[name]
    refused(mixed(nodes), f"its constants must be of one dtype; they are of {names}")


@pytest.mark.parametrize("name", OBJECTS)
def test_a_node_computes_with_few_sizes(name: str) -> None:
    refused(mixed(OBJECTS[name]), r"it computes with [0-9]+ sizes of arrays at once, where a shape has 32 at most")


@pytest.mark.parametrize("name", UNFIT)
def test_what_an_operator_cannot_compute_is_refused_by_the_name_of_its_node(name: str) -> None:
    nodes, message = UNFIT[name]
    refused(mixed(nodes), message)


def test_constants_added_to_a_step_are_summed_one_by_one() -> None:
    """A step may add one long constant again and again."""
    tracemalloc.start()
    try:
        found = total([np.full(20_000, 0.5, np.float16)] * 500, np.float32)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, np.full(20_000, 250, np.float32), strict=True)
