"""Ways out of what an ONNX graph is refused for, followed; and what none makes readable, which is refused without one."""

import io
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import helper, inliner, numpy_helper
from onnx_models import cells_of, model, node, options, value, weights
from unrolled import unrolled
from ways import follow

import rnn_backends as rb
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 91)
LAYER = DRAW.layers("f", 1, 4, 5)[0]
CELL: Any = cells_of(LAYER)[0]


def by_torch(more: Sequence[onnx.NodeProto], steps: bool, before: Sequence[onnx.NodeProto] = ()) -> onnx.ModelProto:
    """One layer, `y` of `x0`, by the operator RNN or step by step, and what comes around it, written by torch."""
    held: dict[str, Any] = {
        "i1": np.array([1]),
        "five": DRAW.normal(5),
        "half": np.float32(0.5),
        "w55": DRAW.normal(5, 5),
    }
    if steps:
        nodes, tensors = unrolled(CELL, "x0", "y")
    else:
        tensors = weights(LAYER)
        nodes = [node("RNN", ["x0", *tensors], ["Y", "h"], **options(LAYER)), node("Squeeze", ["Y", "i1"], "y")]
    first = [*before] or [node("Identity", ["x"], "x0")]
    found = model([*first, *nodes, *more], [value("x", shape=[5, 2, 4])], ["z"], held | tensors, 20)
    found.producer_name = "pytorch"
    return found


NEVER: dict[str, list[onnx.NodeProto]] = {
    "LayerNormalization": [node("LayerNormalization", ["y", "five", "five"], "z")],
    "Conv": [node("Conv", ["y", "five"], "z")],
    "InstanceNormalization": [node("InstanceNormalization", ["y", "five", "five"], "z")],
    "Div": [node("ReduceMean", ["y"], "m", axes=[-1]), node("Sub", ["y", "m"], "d"), node("Mul", ["d", "d"], "e"),
            node("ReduceMean", ["e"], "v", axes=[-1]), node("Sqrt", ["v"], "s"), node("Div", ["d", "s"], "z")],
    "MatMul": [node("Transpose", ["y"], "t", perm=[1, 2, 0]), node("Transpose", ["y"], "u", perm=[1, 0, 2]),
               node("MatMul", ["u", "t"], "z")],
    "Mul": [node("MatMul", ["y", "w55"], "a"), node("Sigmoid", ["a"], "g"), node("Mul", ["g", "y"], "z")],
    "behind": [node("Abs", ["y"], "a"), node("LayerNormalization", ["a", "five", "five"], "z")],
}  # fmt: skip


@pytest.mark.parametrize("steps", [True, False])
@pytest.mark.parametrize("name", NEVER)
def test_what_no_way_out_makes_readable_has_none(name: str, steps: bool) -> None:
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(by_torch(NEVER[name], steps))
    text = str(caught.value)
    assert "torch wrote" not in text
    assert "state dict" not in text
    if name == "behind":
        assert text.endswith("LayerNormalization 'the_LayerNormalization' is no part of a model, whatever exports it.")
    elif not name.startswith(("Div", "Mat", "Mul")):
        assert text.startswith(f"{name} 'the_{name}': this operator is none that an RNN")


def test_arrays_that_a_graph_joins() -> None:
    """A residual sum, features of two kinds, a branch: the weights alone would be another network, or none."""
    residual = [node("MatMul", ["y", "w55"], "a"), node("Add", ["a", "y"], "z")]
    joined = [node("Dropout", ["x"], "a"), node("Concat", ["a", "x"], "x0", axis=2)]
    pooled = [
        node("ReduceMean", ["y"], "a", axes=[0]),
        node("ReduceMax", ["y"], "b", axes=[0]),
        node("Concat", ["a", "b"], "z", axis=2),
    ]
    behind = [node("Dropout", ["y"], "c"), *residual]
    beside = [node("RNN", ["x0", *weights(LAYER)], ["Y2", "h2"], **options(LAYER)), node("Squeeze", ["Y2", "i1"], "z")]
    for graph in (
        by_torch(residual, True), by_torch(residual, False), by_torch(pooled, True), by_torch(pooled, False),
        by_torch(behind, False), by_torch(beside, False), by_torch([node("Identity", ["y"], "z")], False, joined),
    ):  # fmt: skip
        with pytest.raises(rb.FormatError) as caught:
            rb.from_onnx(graph)
        assert "state dict" not in str(caught.value)


@pytest.mark.parametrize("steps", [True, False])
def test_a_mask_leaves_the_ways_out(steps: bool) -> None:
    """States times a mask of ids, or what is made of sizes: a model takes lengths in their place."""
    mask = [node("Cast", ["ids"], "mask", to=1), node("Mul", ["y", "mask"], "z")]
    sizes = [
        node("Shape", ["y"], "n"),
        node("Cast", ["n"], "f", to=1),
        node("Dropout", ["y"], "q"),
        node("Div", ["q", "f"], "z"),
    ]
    tested = [
        node("Dropout", ["y"], "q"),
        node("Greater", ["x0", "half"], "c"),
        node("Cast", ["c"], "k", to=1),
        node("Mul", ["q", "k"], "z"),
    ]
    for more in (mask, sizes, tested):
        graph = by_torch(more, steps)
        graph.graph.input.append(value("ids", shape=[5, 2, 1], dtype="int64"))
        with pytest.raises(rb.FormatError, match=r"torch wrote this graph: .*state dict"):
            rb.from_onnx(graph)


@pytest.mark.parametrize("dynamo", [True, False])
def test_norms_that_torch_exports(torch: Any, dynamo: bool) -> None:
    pytest.importorskip("onnxscript")

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.norm, self.fc = torch.nn.RNN(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.fc(self.norm(self.rnn(x)[0]))

    file = io.BytesIO()
    given: dict[str, Any] = {"verbose": False} if dynamo else {"opset_version": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Net().eval(), (torch.randn(6, 2, 4),), file, dynamo=dynamo, **given)
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(onnx.load_from_string(file.getvalue()))
    assert "torch wrote" not in str(caught.value)


# Ways out, followed

X = DRAW.normal(5, 2, 4)
STATES = rb.RNN([LAYER])(X)[0]
I1 = {"i1": np.array([1])}


def states(rnn: rb.RNN) -> Any:
    return rnn(X)[0]


def by_node(
    *more: onnx.NodeProto, shape: Sequence[Any] = ("t", "b", 4), output: str = "y", opset: int = 14, **held: Any
) -> onnx.ModelProto:
    """One layer by the operator RNN: `y` of `x`."""
    axes: dict[str, Any] = {"axes": [1]} if opset < 13 else {}
    given = ["Y"] if opset < 13 else ["Y", "i1"]
    run = [node("RNN", ["x", *weights(LAYER)], ["Y", "h"], **options(LAYER)), node("Squeeze", given, "y", **axes)]
    return model([*run, *more], [value("x", shape=shape)], [output], weights(LAYER) | I1 | held, opset)


def test_a_batch_norm_is_exported_for_inference() -> None:
    norm: dict[str, Any] = {name: DRAW.normal(5) for name in ("gamma", "beta", "mean")} | {
        "variance": DRAW.normal(5) ** 2
    }
    w = DRAW.normal(5, 3)

    def graph(training: int) -> onnx.ModelProto:
        more = [
            node("Transpose", ["y"], "c", perm=[1, 2, 0]),
            node("BatchNormalization", ["c", *norm], ["d"], training_mode=training),
            node("Transpose", ["d"], "e", perm=[2, 0, 1]), node("MatMul", ["e", "w"], "z"),
        ]  # fmt: skip
        return by_node(*more, output="z", opset=15, w=w, **norm)

    normed = (STATES - norm["mean"]) / np.sqrt(norm["variance"] + 1e-5) * norm["gamma"] + norm["beta"]
    follow(
        "onnx_eval", lambda **_: rb.from_onnx(graph(1)), normed @ w, lambda rnn: rnn.logits(X),
        then=lambda: rb.from_onnx(graph(0)), atol=1e-5,
    )  # fmt: skip


def by_steps(seq_len: Any, product_first: bool) -> onnx.ModelProto:
    """A layer of two steps, of an input whose number of them is known or not."""
    if product_first:
        nodes, held = unrolled(CELL, "x", "y", seq_len=2)
    else:
        held = {"W": CELL.weight_ih.T, "R": CELL.weight_hh.T, "b": CELL.bias, "h": np.zeros((2, 5), np.float32)}
        held = {name: np.ascontiguousarray(array) for name, array in held.items()}
        nodes, before = [], "h"
        for t in range(2):
            held |= {f"i{t}": np.array([t]), f"i{t + 1}": np.array([t + 1])}
            nodes += [
                node("Slice", ["x", f"i{t}", f"i{t + 1}", "i0"], f"s{t}"), node("Squeeze", [f"s{t}", "i0"], f"x{t}"),
                node("MatMul", [f"x{t}", "W"], f"p{t}"),
                node("MatMul", [before, "R"], f"q{t}"), node("Add", [f"p{t}", f"q{t}"], f"u{t}"),
                node("Add", [f"u{t}", "b"], f"v{t}"), node("Tanh", [f"v{t}"], f"y{t}"),
            ]  # fmt: skip
            before = f"y{t}"
        nodes += [node("Unsqueeze", [f"y{t}", "i0"], f"z{t}") for t in range(2)]
        nodes.append(node("Concat", ["z0", "z1"], "y", axis=0))
    return model(nodes, [value("x", shape=[seq_len, 2, 4])], ["y"], held, 20)


SIZES: dict[str, tuple[Callable[[], onnx.ModelProto], Callable[[], onnx.ModelProto]]] = {
    "a step": (lambda: by_steps("t", True), lambda: by_steps(2, True)),
    "a step of the input": (lambda: by_steps("t", False), lambda: by_steps(2, False)),
    "axes of size 1": (
        lambda: model([node("RNN", ["x", *weights(LAYER)], ["Y", "h"], **options(LAYER)), node("Squeeze", ["Y"], "y")],
                      [value("x", shape=["t", "b", 4])], ["y"], weights(LAYER)),
        lambda: model([node("RNN", ["x", *weights(LAYER)], ["Y", "h"], **options(LAYER)), node("Squeeze", ["Y"], "y")],
                      [value("x", shape=[5, 2, 4])], ["y"], weights(LAYER)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SIZES)
def test_sizes_that_must_be_known(kind: str) -> None:
    unknown, known = SIZES[kind]
    follow("onnx_sizes", lambda **_: rb.from_onnx(unknown()), STATES, states, then=lambda: rb.from_onnx(known()))


@pytest.mark.parametrize("opset", [1, 6, 29])
@pytest.mark.parametrize("right", [7, 14, 28])
def test_an_opset_that_is_read(opset: int, right: int) -> None:
    follow(
        "onnx_version", lambda **_: rb.from_onnx(by_node(opset=opset)), STATES, states,
        then=lambda: rb.from_onnx(by_node(opset=right)),
    )  # fmt: skip


@pytest.mark.parametrize("field", ["training_info", "quantization_annotation"])
def test_what_no_network_needs_is_left_out(field: str) -> None:
    graph = by_node()
    holder = graph if field == "training_info" else graph.graph
    getattr(holder, field).add()

    def without() -> rb.RNN:
        holder.ClearField(field)
        return rb.from_onnx(graph)

    follow("onnx_without", lambda **_: rb.from_onnx(graph), STATES, states, then=without)


@pytest.mark.parametrize("called", [True, False])
def test_functions_are_inlined(called: bool) -> None:
    graph = by_node()
    own = [helper.make_opsetid("", 14)]
    graph.functions.append(
        helper.make_function("own", "Kept", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], own)
    )
    graph.opset_import.append(helper.make_opsetid("own", 1))
    if called:
        graph.graph.node.append(helper.make_node("Kept", ["y"], ["z"], domain="own"))
        graph.graph.output[0].name = "z"
    follow(
        "onnx_inline", lambda **_: rb.from_onnx(graph), STATES, states,
        then=lambda: rb.from_onnx(inliner.inline_local_functions(graph)),
    )  # fmt: skip


def test_sparse_weights_are_saved_as_ordinary_ones() -> None:
    graph, dense = by_node(), by_node()
    (r,) = (tensor for tensor in graph.graph.initializer if tensor.name == "R")
    array = numpy_helper.to_array(r)
    places = np.arange(array.size)
    made = helper.make_sparse_tensor(
        numpy_helper.from_array(array.reshape(-1), "R"), numpy_helper.from_array(places, "places"), array.shape
    )
    graph.graph.initializer.remove(r)
    graph.graph.sparse_initializer.append(made)
    follow("onnx_dense", lambda **_: rb.from_onnx(graph), STATES, states, then=lambda: rb.from_onnx(dense))


def test_as_many_numbers_as_activations_that_take_one() -> None:
    draw = Draw("float32", 92)
    layer = draw.layers("fb", 1, 4, 5)[0]

    def graph(alpha: Sequence[float]) -> onnx.ModelProto:
        given = options(layer) | {"activations": ["Tanh", "LeakyRelu"], "activation_alpha": alpha}
        given = {name: held for name, held in given.items() if name != "activation_beta"}
        return model(
            [node("RNN", ["x", *weights(layer)], ["Y", "h"], **given)],
            [value("x", shape=["t", "b", 4])],
            ["Y"],
            weights(layer),
        )

    cells = cells_of(layer)
    forward, backward = (
        rb.Cell(cell.weight_ih, cell.weight_hh, cell.bias, activation=g)
        for cell, g in zip(cells, (rb.Activation("tanh"), rb.Activation("leaky_relu", 0.25)), strict=True)
    )
    follow(
        "onnx_as_many", lambda **_: rb.from_onnx(graph([0.5, 0.25])), rb.RNN([rb.Layer(forward, backward)])(X)[0], states,
        then=lambda: rb.from_onnx(graph([0.25])),
    )  # fmt: skip


def test_weights_of_a_large_model_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, whole, parted = by_node(), tmp_path / "whole.onnx", tmp_path / "parted.onnx"
    onnx.save(graph, whole)
    onnx.save(graph, parted, save_as_external_data=True, location="weights", size_threshold=64)
    assert parted.stat().st_size < whole.stat().st_size
    monkeypatch.setattr("rnn_backends.formats.onnx.proto.MAX_FILE", whole.stat().st_size - 1)
    follow(
        "onnx_large", lambda **_: rb.load(whole), STATES, states, then=lambda: rb.from_onnx(parted, external_data=True)
    )


def a_cell(**given: Any) -> rb.Cell:
    return rb.Cell(CELL.weight_ih, CELL.weight_hh, CELL.bias, **given)


UNHELD: dict[str, Callable[[], rb.RNN]] = {
    "a leak": lambda: rb.RNN([a_cell(leak=0.5)]),
    "an activation of a cell": lambda: rb.RNN([a_cell(activation="softmax")]),
    "an activation of a readout": lambda: rb.RNN([a_cell()], rb.Linear(DRAW.normal(3, 5), activation=rb.Activation("affine", 0.5, 0.25))),
    "an activation of an encoder": lambda: rb.RNN([a_cell()], encoder=rb.Linear(DRAW.normal(4, 4), activation=rb.Activation("affine", 0.5, 0.25))),
    "a number in full precision": lambda: rb.RNN([a_cell(clip=6.1)]).to(dtype="float64"),
    "a large model": lambda: rb.RNN([a_cell()]),
}  # fmt: skip
ONLY_HERE: dict[str, Callable[[], rb.RNN]] = {
    "an encoder": lambda: rb.RNN([a_cell()], encoder=rb.Linear(DRAW.normal(4, 4), activation="relu")),
    "initial states": lambda: rb.RNN([a_cell()], h_0=DRAW.normal(1, 5)),
    "a head": lambda: rb.RNN([a_cell()], [rb.Linear(DRAW.normal(4, 5), activation="relu"), rb.Linear(DRAW.normal(3, 4))]),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("kind", [*UNHELD, *ONLY_HERE])
def test_what_a_format_cannot_hold_is_saved_in_another(
    kind: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rnn = (UNHELD | ONLY_HERE)[kind]()
    if kind == "a large model":
        monkeypatch.setattr(import_module("rnn_backends.formats.onnx.write"), "MAX_FILE", 2**24 + 10)

    x = X.astype(rnn.dtype)

    def held(rnn: rb.RNN) -> Any:
        return rnn(x)[0] if rnn.readout is None else rnn.probabilities(x)

    def saved() -> rb.RNN:
        rnn.save(tmp_path / f"m{suffix}")
        return rb.load(tmp_path / f"m{suffix}")

    def written(**_: Any) -> rb.RNN:
        if kind in ONLY_HERE:
            rnn.to_torch()
        else:
            rnn.save(tmp_path / "m.onnx")
        return rnn

    follow("save_as", written, held(rnn), held, then=saved, rtol=0, atol=0)
