"""ONNX graphs that look like a network's and are none: another order, a flip of features, names, roundings inside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx import helper
from onnx_models import cells_of, close, model, node, options, refused, run_runtime, value, weights
from unrolled import of_layers, unrolled
from ways import follow

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DATA = Path(__file__).parents[1] / "data"
DRAW = Draw("float32", 95)
LAYER, ABOVE = DRAW.layers("f", 2, 4, 4)
INPUTS = {
    "x": DRAW.normal(6, 3, 4), "l1": np.array([2, 6, 4]), "l2": np.array([6, 3, 5]), "h": DRAW.normal(1, 3, 4),
}  # fmt: skip
NUMBERS = [node("Range", ["zero", "three", "step"], "numbers"), node("ConstantOfShape", ["size"], "empty", value=helper.make_tensor("v", 7, [1], [0]))]  # fmt: skip
HELD: dict[str, Any] = {"one": np.array([1]), "zero": np.array(0), "step": np.array(1), "three": np.array(3), "size": np.array([3])}  # fmt: skip


def by(lengths: str) -> list[onnx.NodeProto]:
    """The nodes that sort lengths: they are sorted and int32, their order, and its inverse."""
    k, own = lengths[-1], node("TopK", [lengths, "size"], [f"longest{lengths[-1]}", f"order{lengths[-1]}"], axis=0)
    back = node("ScatterElements", ["empty", f"order{k}", "numbers"], f"back{k}", axis=0)
    return [own, node("Cast", [f"longest{k}"], f"sorted{k}", to=6), node("Cast", [lengths], f"whole{k}", to=6), back]


def gather(source: str, order: str, into: str, axis: int = 1) -> onnx.NodeProto:
    return node("Gather", [source, order], into, axis=axis)


def packed(x: str, lengths: str, back: str, *more: onnx.NodeProto, h: str = "", axis: int = 1) -> onnx.ModelProto:
    """A layer whose X, sequence_lens and initial_h have the sequences in some order, and whose states are put back."""
    run = [node("RNN", [x, *weights(LAYER), lengths, h], ["Y", "H"], **options(LAYER)), node("Squeeze", ["Y", "one"], "s")]  # fmt: skip
    given = [value(name, array) for name, array in INPUTS.items()]
    nodes = [*NUMBERS, *by("l1"), *by("l2"), *more, *run, gather("s", back, "y", axis)]
    return model(nodes, given, ["y"], weights(LAYER) | HELD, 17)


SORTED = gather("x", "order1", "xs")
STATES = gather("h", "order1", "hs")


@pytest.mark.parametrize(("lengths", "h"), [("l1", False), ("l1", True), ("l2", True)])
def test_sequences_lengths_and_states_in_one_order(lengths: str, h: bool) -> None:
    """The lengths may be others than those whose order it is."""
    runtime = pytest.importorskip("onnxruntime")
    other = [node("Gather", ["whole2", "order1"], "others", axis=0)] if lengths == "l2" else []
    graph = packed("xs", "others" if other else "sorted1", "back1", SORTED, STATES, *other, h="hs" if h else "")
    (wanted,) = run_runtime(runtime, graph, INPUTS)
    given = {"lengths": INPUTS[lengths]} | ({"h_0": INPUTS["h"]} if h else {})
    close(rb.from_onnx(graph)(INPUTS["x"], **given)[0], wanted)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (packed("xs", "whole1", "back1", SORTED), "sequence_lens is not sorted, X is sorted by 'l1'"),
        (packed("x", "sorted1", "back1"), "sequence_lens is sorted by 'l1', X is not sorted"),
        (packed("xs", "sorted2", "back1", SORTED), "sequence_lens is sorted by 'l2', X is sorted by 'l1'"),
        (packed("xs", "", "back1", SORTED), "sequence_lens is not sorted, X is sorted by 'l1'"),
        (packed("xs", "sorted1", "back1", SORTED, h="h"), "initial_h is not sorted, X is sorted by 'l1'"),
        (packed("x", "whole1", "order1", STATES, h="hs"), "initial_h is sorted by 'l1', X is not sorted"),
        (packed("xs", "sorted1", "back1", SORTED, gather("h", "order2", "hs"), h="hs"), "initial_h is sorted by 'l2'"),
        (packed("xs", "sorted1", "back2", SORTED), "sorted by 'l1', and its order that of 'l2'"),
        (packed("xs", "sorted1", "back1", SORTED, axis=0), "only whole sequences can be sorted by their lengths"),
        (packed("x", "whole1", "order1", axis=0), "its axis is x.0.=6, and its order that of 'l1'"),
    ],
)  # fmt: skip
def test_orders_that_are_not_one(graph: onnx.ModelProto, message: str) -> None:
    refused(graph, message)


def test_steps_are_not_sorted() -> None:
    """As many steps as sequences."""
    run = node("RNN", ["xs", *weights(LAYER), "whole1"], ["Y", "H"], **options(LAYER))
    given = [value("x", shape=[3, 3, 4]), value("l1", shape=[3], dtype="int64")]
    for more in ([run, node("Squeeze", ["Y", "one"], "s"), gather("s", "back1", "y", 0)], [run, node("Identity", ["H"], "y")]):  # fmt: skip
        graph = model([*NUMBERS, *by("l1"), gather("x", "order1", "xs", 0), *more], given, ["y"], weights(LAYER) | HELD, 17)  # fmt: skip
        refused(graph, "RNN 'the_RNN': the steps of its X are sorted by 'l1'; only sequences can be sorted")


def test_states_are_sorted_neither_by_cells_nor_in_part() -> None:
    run = [node("RNN", ["xs", *weights(LAYER), "sorted1", "own"], ["Y", "H"], **options(LAYER)), node("Identity", ["H"], "y")]  # fmt: skip
    given = [value("x", shape=[6, 3, 4]), value("l1", shape=[3], dtype="int64"), value("h", shape=[3, 3, 4])]
    one = node("Slice", ["hs", "zeros", "one", "zeros"], "own")
    graph = model([*NUMBERS, *by("l1"), SORTED, gather("h", "order1", "hs", 0), one, *run], given, ["y"],
                  weights(LAYER) | HELD | {"zeros": np.array([0])}, 17)  # fmt: skip
    refused(graph, "Slice 'the_Slice': it takes a part of the input 'h' on the axis that is sorted by lengths")


def test_a_state_that_is_sorted_before_steps_that_are_not() -> None:
    """A graph that computes its steps one by one, and starts from states in another order."""
    runtime = pytest.importorskip("onnxruntime")
    nodes, held = unrolled(cells_of(LAYER)[0], "x", "y", 6, given="hs", batch=3)
    given = [value("x", INPUTS["x"]), value("l1", INPUTS["l1"]), value("h", shape=[3, 4])]

    def graph(state: onnx.NodeProto) -> onnx.ModelProto:
        return model([*NUMBERS, *by("l1"), state, *nodes], given, ["y"], weights(LAYER) | HELD | held, 17)

    refused(graph(gather("h", "order1", "hs", 0)), "its initial_h must have the sequences in the order of its X")
    plain, h = graph(node("Identity", ["h"], "hs")), INPUTS["h"]
    (wanted,) = run_runtime(runtime, plain, {"x": INPUTS["x"], "l1": INPUTS["l1"], "h": h[0]})
    close(rb.from_onnx(plain)(INPUTS["x"], h)[0], wanted.reshape(6, 3, 4))


# Reversed axes


@pytest.mark.parametrize("axis", [-1, 1])
def test_features_and_sequences_that_are_reversed_are_no_steps(axis: int) -> None:
    graph = onnx.load(DATA / "unrolled_layers.onnx")
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    flips = [each for each in graph.graph.node if each.op_type == "Slice" and len(each.input) == 5 and held[each.input[4]].item() == -1]  # fmt: skip
    assert flips
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array([axis]), "another"))
    for each in flips:
        each.input[3] = "another"
    refused(graph, "Slice .*: the part 0:1 of .* is none that a model gives")


def test_steps_that_are_reversed_and_moved() -> None:
    """As many steps as sequences."""
    runtime = pytest.importorskip("onnxruntime")
    layers = DRAW.layers("b", 1, 4, 5)
    graph = of_layers(layers, 3, batch=3)
    moves = [node("Transpose", ["b0_flip"], "moved", perm=[1, 0, 2])]
    at = 1 + next(k for k, each in enumerate(graph.graph.node) if each.output[0] == "b0_flip")
    for each in graph.graph.node[at:]:
        if each.op_type in {"Slice", "Squeeze"}:
            each.input[0] = each.input[0].replace("b0_flip", "moved")
            each.input[3 if each.op_type == "Slice" else 1] = "i1"
    nodes = [*graph.graph.node[:at], *moves, *graph.graph.node[at:]]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    x = DRAW.normal(3, 3, 4)
    (wanted,) = run_runtime(runtime, graph, {"x0": x})
    close(rb.from_onnx(graph)(x)[0], wanted)
    close(rb.RNN(layers)(x)[0], wanted)


# Roundings


def rounded(*casts: int, last: int | None = None) -> onnx.ModelProto:
    """Two layers with conversions between them, and of the results."""
    nodes = [node("RNN", ["x", *weights(LAYER)], ["Y", "H"], **options(LAYER)), node("Squeeze", ["Y", "one"], "c0")]
    nodes += [node("Cast", [f"c{k}"], f"c{k + 1}", to=code) for k, code in enumerate(casts)]
    held = weights(ABOVE, "above")
    nodes += [node("RNN", [f"c{len(casts)}", *held], ["Z", "G"], **options(ABOVE)), node("Squeeze", ["Z", "one"], "z")]
    nodes.append(node("Identity", ["z"], "y") if last is None else node("Cast", ["z"], "y", to=last))
    made = model(nodes, [value("x", INPUTS["x"])], ["y"], weights(LAYER) | held | {"one": np.array([1])}, 14)
    made.graph.output[0].type.tensor_type.elem_type = last or 1
    return made


def test_states_that_are_rounded_on_their_way() -> None:
    runtime = pytest.importorskip("onnxruntime")
    x = INPUTS["x"]
    (wanted,) = run_runtime(runtime, rounded(), {"x": x})
    follow("onnx_dtype", lambda **_: rb.from_onnx(rounded(10, 1)), wanted, lambda rnn: rnn(x)[0], then=lambda: rb.from_onnx(rounded()))  # fmt: skip
    for exact in (rounded(11, 1), rounded(1)):
        close(rb.from_onnx(exact)(x)[0], wanted)


def test_results_may_be_rounded_once() -> None:
    runtime = pytest.importorskip("onnxruntime")
    graph = rounded(last=10)
    (wanted,) = run_runtime(runtime, graph, {"x": INPUTS["x"]})
    (got,) = format_.run_model(graph, [INPUTS["x"]])
    assert got.dtype == wanted.dtype == np.float16
    np.testing.assert_allclose(got, wanted, rtol=2e-3)
    again = rounded(last=10)
    again.graph.output[0].type.tensor_type.elem_type = 1
    again.graph.node[-1].output[0] = "half"
    again.graph.node.append(node("Cast", ["half"], "y", to=1))
    refused(again, "Cast 'the_Cast': it takes what is rounded to float16; a model rounds its inputs and its outputs")


def test_an_input_that_is_rounded_and_widened_again() -> None:
    nodes = [node("Cast", ["x"], "half", to=10), node("Cast", ["half"], "whole", to=1)]
    run = [node("RNN", ["whole", *weights(LAYER)], ["Y", "H"], **options(LAYER)), node("Squeeze", ["Y", "one"], "y")]
    graph = model([*nodes, *run], [value("x", INPUTS["x"])], ["y"], weights(LAYER) | {"one": np.array([1])})
    refused(graph, "Cast 'the_Cast': it takes what is rounded to float16")


@pytest.mark.parametrize("taken", ["x1", "f0_4"])
def test_states_of_steps_that_are_rounded_on_their_way(taken: str) -> None:
    """A head takes all states of an unrolled layer, or the last."""
    weight: NDArray[Any] = DRAW.normal(5, 3)
    more = [
        node("Cast", [taken], "half", to=10), node("Cast", ["half"], "whole", to=1),
        node("MatMul", ["whole", "head"], "y"),
    ]  # fmt: skip
    layers = DRAW.layers("f", 1, 4, 5)
    refused(of_layers(layers, more=more, outputs=["y"], head=weight), "it takes what is rounded to float16")
    direct = [node("MatMul", [taken, "head"], "y")]
    x = DRAW.normal(5, 2, 4)
    states = rb.RNN(layers)(x)[0]
    close(rb.from_onnx(of_layers(layers, more=direct, outputs=["y"], head=weight)).logits(x), (states if taken == "x1" else states[-1]) @ weight)  # fmt: skip


def test_what_is_rounded_is_not_computed_with() -> None:
    """A head in float16 of states in float32."""
    more = [node("Cast", ["x1"], "half", to=10), node("MatMul", ["half", "head"], "y")]
    graph = of_layers(DRAW.layers("f", 1, 4, 5), more=more, outputs=["y"], head=DRAW.normal(5, 3).astype("float16"))
    refused(graph, "MatMul .* it takes what is rounded to float16")


def test_steps_of_what_is_rounded() -> None:
    """A step between the first and the last, which a layer above would take."""
    nodes = [node("RNN", ["x", *weights(LAYER)], ["Y", "H"], **options(LAYER)), node("Squeeze", ["Y", "one"], "s")]
    nodes += [node("Cast", ["s"], "half", to=10), node("Gather", ["half", "one"], "step"), node("MatMul", ["step", "head"], "y")]  # fmt: skip
    held = weights(LAYER) | {"one": np.array([1]), "head": DRAW.normal(4, 3).astype("float16")}
    refused(model(nodes, [value("x", INPUTS["x"])], ["y"], held), "Gather .* the part 1:2 of .* is none that a model")
