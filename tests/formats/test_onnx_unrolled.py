"""ONNX graphs that compute a layer step by step: rolled up where each step is proven to be that of a recurrence."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
import ways
from onnx import helper
from onnx_models import cells_of, close, model, node, options, refused, value, weights
from unrolled import ZERO, of_layers, unrolled
from ways import follow

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.backends.selection import parse
from rnn_backends.formats.onnx import read_program
from rnn_backends.formats.onnx.flow import Flow
from rnn_backends.formats.source import Source
from rnn_backends.model.program import run_program
from rnn_backends.testing.cases import Draw

DATA = Path(__file__).parents[1] / "data"
CASES = DATA / "cases"
DRAW = Draw("float32", 70)
LAYER = DRAW.layers("f", 1, 4, 5)[0]
CELL: Any = cells_of(LAYER)[0]
X = value("x", shape=[5, 2, 4])


def made(outputs: Sequence[str] = ("y",), more: Sequence[onnx.NodeProto] = (), inputs: Sequence[Any] = (X,), **given: Any) -> onnx.ModelProto:  # fmt: skip
    """A model of one layer; `held` are further constants."""
    held = given.pop("held", {})
    nodes, tensors = unrolled(CELL, "x", "y", **given)
    return model([*nodes, *more], list(inputs), outputs, tensors | held, 20)


def same(rnn: rb.RNN, own: rb.RNN, seq_len: int, **given: Any) -> None:
    """Check that two models give the same, for another number of steps and of sequences than a graph has."""
    x = DRAW.normal(seq_len, 3, 4)
    for got, wanted in zip(rnn(x, **given), own(x, **given), strict=True):
        close(got, wanted)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("sides", "count"), [("f", 1), ("b", 1), ("fb", 1), ("f", 2), ("fb", 3)])
def test_layers_are_rolled_up(sides: str, count: int, activation: str, backend: str) -> None:
    layers = DRAW.layers(sides, count, 4, 5, activation=activation)
    graph, own = of_layers(layers, outputs=[f"x{count}"]), rb.RNN(layers)
    rnn = rb.from_onnx(graph)
    for seq_len in (1, 5, 9):
        same(rnn, own, seq_len)
    x = DRAW.normal(5, 2, 4)
    with rb.use_backend(backend):
        close(format_.run_model(graph, [x])[0], own(x)[0])


def test_last_states_of_layers() -> None:
    layers = DRAW.layers("fb", 2, 4, 5)
    last = ["f0_4", "b0_4", "f1_4", "b1_4"]
    more = [node("Concat", last, "h_n", axis=0), node("Squeeze", ["b1_4", "i0"], "h")]
    graph, own = of_layers(layers, more=more, outputs=["x2", "h_n", "h"]), rb.RNN(layers)
    x = DRAW.normal(5, 2, 4)
    y, h_n, h = format_.run_model(graph, [x])
    for got, wanted in ((y, own(x)[0]), (h_n, own(x)[1]), (h, own(x)[1][3])):
        close(got, wanted)
    assert rb.from_onnx(graph).metadata["onnx outputs"].endswith("h: h_n[3] (batch, hidden_size)")


def test_an_activation_of_a_state_is_that_of_an_identity() -> None:
    layers = DRAW.layers("f", 1, 4, 5)
    w = DRAW.normal(5, 3)
    more = [node("Relu", ["f0_4"], "p"), node("MatMul", ["p", "w"], "z")]
    graph = of_layers(layers, more=more, outputs=["z"], w=w)
    rnn = rb.from_onnx(graph)
    for seq_len in (5, 8):
        x = DRAW.normal(seq_len, 2, 4)
        close(rnn.logits(x), (np.maximum(rb.RNN(layers)(x)[0][-1], 0) @ w).astype(np.float32))


@pytest.mark.parametrize("kind", ["input", "input of a cell", "zeros", "constant", "folded"])
def test_states_to_start_from(kind: str) -> None:
    h_0, x = DRAW.normal(1, 1, 5), DRAW.normal(5, 2, 4)
    row = h_0 if kind in {"constant", "folded"} else 0 * h_0
    own, given, inputs = rb.RNN([LAYER], h_0=row[:, 0]), {"x": x}, [X]
    held: dict[str, NDArray[Any]] = {"h_0": np.repeat(row, 2, 1)}
    if kind.startswith("input"):
        given["h_0"] = DRAW.normal(1, 2, 5)[0 if kind == "input of a cell" else slice(None)]
        inputs, held = [X, value("h_0", given["h_0"])], {}
    if kind == "folded":
        folded = CELL.bias * 0.5 + h_0 @ CELL.weight_hh.astype(np.float64).T
        graph = made(held={"start": np.repeat(folded, 2, 1).astype(np.float32)}, change={("c", 0): "start"})
    else:
        graph = made(given="h_0", inputs=inputs, held=held)
    states = given["h_0"].reshape(1, 2, 5) if "h_0" in given else None
    (y,) = format_.run_model(graph, list(given.values()))
    close(y.reshape(5, 2, 5), own(x, states)[0])  # a cell's states have no axis of their own to be joined on
    rnn = rb.from_onnx(graph)
    assert (rnn.h_0 is not None) is (kind in {"constant", "folded"})
    same(rnn, own, 8)


def test_constants_that_are_equal_are_the_same() -> None:
    change = {("R", 2): "R2", ("c", 3): "c3"}
    graph = made(change=change, held={"R2": CELL.weight_hh.T.copy(), "c3": CELL.bias * 0.5})
    same(rb.from_onnx(graph), rb.RNN([LAYER]), 7)


OTHER = {
    "R2": CELL.weight_hh.T * np.float32(1.0001),
    "c2": CELL.bias * np.float32(0.5001),
    "r3": CELL.weight_hh.T[:, :3],
}
EACH = np.linspace(0, 1, 10, dtype=np.float32).reshape(1, 2, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"change": {("R", 3): "R2"}}, "Tanh 'the_Tanh': step 3 has another recurrent weight than the steps before it"),
        ({"change": {("c", 3): "c2"}}, "Tanh 'the_Tanh': step 3 has another bias than the steps before it"),
        ({"change": {("activation", 3): "Relu"}}, "Relu 'the_Relu': step 3 has another activation than the steps before it"),
        ({"change": {("activation", 1): "Relu"}}, "Relu 'the_Relu': step 1 has another activation than the step before it"),
        ({"change": {("before", 3): "y1"}}, "Tanh 'the_Tanh': step 3 takes the state of step 1; in a recurrence each takes"),
        ({"change": {("before", 2): "y0"}}, "Tanh 'the_Tanh': step 2 takes the state of step 0"),
        ({"change": {("x", 3): 2}}, "Tanh 'the_Tanh': step 2 takes the state of step 2"),
        ({"change": {("x", 1): 2}}, "Tanh 'the_Tanh': step 2 takes the state of step 0, which has no state before it"),
        ({"change": {("x", 0): 1, ("x", 1): 0}}, "Tanh 'the_Tanh': step 0 takes the state of step 1, which has no"),
        ({"order": [0, 2, 1, 3, 4]}, "Concat 'the_Concat': it joins the steps 0, 2, 1, 3, 4 of a sequence of 5"),
        ({"order": [0, 1, 2, 3]}, "Concat 'the_Concat': it joins the steps 0, 1, 2, 3 of a sequence of 5"),
        ({"order": [0, 1, 2, 3, 4, 4]}, "Concat 'the_Concat': it joins the steps 0, 1, 2, 3, 4, 4 of a sequence of 5"),
        ({"order": [1, 2, 3, 4]}, "Concat 'the_Concat': it joins the steps 1, 2, 3, 4 of a sequence of 5"),
        ({"seq_len": 4, "order": [3], "outputs": ["y"]}, "Concat 'the_Concat': the graph computes 4 of 5 steps"),
        ({"change": {("c", 0): "each"}}, "Add 'the_Add': it adds a constant that differs from sequence to sequence"),
        ({"outputs": ["y2"]}, "the output 'y2': it uses step 2 of 5 alone; a model gives all steps, the first or the last"),
        ({"outputs": ["ysum2"]}, "the output 'ysum2': step 2 has another activation than the steps before it"),
        ({"outputs": ["ystep2"]}, "the output 'ystep2': it is one step of the input alone, or of what Linears give of it"),
        ({"outputs": ["yflip"], "reverse": True}, "the output 'yflip': a sequence from its last step to its first is used as"),
        ({"change": {("before", 2): "ystep0"}}, "it must take one step|it adds what is neither a step of a sequence"),
        ({"change": {("R", 1): "r3"}}, "Add 'the_Add': a constant of shape"),
        ({"inputs": [value("x", shape=["t", 2, 4])]}, "Slice 'the_Slice': it takes step 0 alone of an axis whose size is not known, x.0.; export with fixed sizes"),
        ({"given": "far_off", "held": {"far_off": EACH}}, "Concat 'the_Concat': it starts from a constant that differs"),
    ],
)  # fmt: skip
def test_steps_that_are_no_recurrence(given: dict[str, Any], message: str) -> None:
    held = OTHER | {"each": EACH} | given.pop("held", {})
    refused(made(**given, held=held), message)


def test_a_first_step_that_starts_from_no_state() -> None:
    """Where the recurrent weight is singular, there is no state of which it gives any constant."""
    weight = np.zeros((5, 5), np.float32)
    weight[0, 0] = 0.5
    nodes, held = unrolled(rb.Cell(CELL.weight_ih, weight, CELL.bias), "x", "y", change={("c", 0): "start"})
    held["start"] = np.ones((1, 2, 5), np.float32)
    message = (
        "the output 'y'|Concat 'the_Concat': its first step adds a constant that is neither the bias of the others"
    )
    refused(model(nodes, [X], ["y"], held, 20), message)


def test_a_state_of_another_layer() -> None:
    """Step 3 of the second layer takes the state of the first."""
    nodes, held = unrolled(CELL, "x", "y")
    second = rb.Cell(CELL.weight_hh, CELL.weight_hh, CELL.bias)
    more, tensors = unrolled(second, "y", "z", change={("before", 3): "y2"})
    refused(model([*nodes, *more], [X], ["z"], held | tensors, 20), "Tanh 'the_Tanh': it adds what is neither a step")
    more, tensors = unrolled(second, "y", "z")
    x = DRAW.normal(5, 2, 4)
    graph = model([*nodes, *more], [X], ["z"], held | tensors, 20)
    close(format_.run_model(graph, [x])[0], rb.RNN([LAYER, rb.Layer(second)])(x)[0])


def test_a_loop_of_three_cells_whose_first_states_are_folded() -> None:
    """Each step goes through all layers, and only the second shows that the first was one."""
    layers = [DRAW.layers("f", 1, size, 5)[0] for size in (4, 5, 5)]
    nodes, held = [], dict(ZERO)
    for k, layer in enumerate(layers):
        cell: Any = cells_of(layer)[0]
        held |= {f"W{k}": cell.weight_ih, f"R{k}": cell.weight_hh, f"b{k}": cell.bias}
    for t in range(4):
        held[f"k{t}"] = np.array(t)
        nodes.append(node("Gather", ["x", f"k{t}"], f"h0_{t}", axis=0))
        for k in range(3):
            below, own = f"h{k}_{t}", f"h{k + 1}_{t}"
            nodes.append(node("Gemm", [below, f"W{k}", f"b{k}"], f"p{own}", transB=1))
            if t:
                nodes.append(node("Gemm", [f"h{k + 1}_{t - 1}", f"R{k}", f"p{own}"], f"q{own}", transB=1))
            nodes.append(node("Tanh", [f"q{own}" if t else f"p{own}"], own))
        nodes.append(node("Unsqueeze", [f"h3_{t}", "i0"], f"u{t}"))
    nodes.append(node("Concat", [f"u{t}" for t in range(4)], "y", axis=0))
    graph = model(nodes, [value("x", shape=[4, 2, 4])], ["y"], held, 20)
    same(rb.from_onnx(graph), rb.RNN(layers), 6)


@pytest.mark.parametrize("how", ["num_outputs", "sizes", "equal"])
def test_steps_that_are_split(how: str) -> None:
    graph = made()
    kept = [each for each in graph.graph.node if each.op_type != "Slice"]
    inputs, given = (
        ["yinput", *(["ones"] if how == "sizes" else [])],
        {"num_outputs": 5} if how == "num_outputs" else {},
    )
    split = helper.make_node("Split", inputs, [f"yslice{t}" for t in range(5)], name="the_Split", axis=0, **given)
    del graph.graph.node[:]
    graph.graph.node.extend([*kept[:2], split, *kept[2:]])
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(5, np.int64), "ones"))
    same(rb.from_onnx(graph), rb.RNN([LAYER]), 7)
    del graph.graph.node[2].output[4]
    refused(graph, "Split 'the_Split': it must have as many outputs as parts, of an axis of known size")


def test_layers_that_share_their_steps_are_one() -> None:
    """The same step computed twice is the same state."""
    nodes, held = unrolled(CELL, "x", "y")
    again = node("Tanh", ["ysum3"], "again")
    graph = model(
        [*nodes[:-1], again, node("Concat", ["y0", "y1", "y2", "again", "y4"], "y", axis=0)], [X], ["y"], held, 20
    )
    assert len(rb.from_onnx(graph).layers) == 1


# What torch writes


@pytest.mark.parametrize(
    ("name", "x", "reads"),
    [
        ("dynamo_plain", "dynamo_x", "steps"), ("export_mlp", "export_mlp.x", "last"), ("export_bh", "export_bh.x", "final"),
        ("export_norm", "export_norm.x", "last"),
    ],
)  # fmt: skip
def test_files_as_people_have_them(name: str, x: str, reads: str) -> None:
    rnn, given, wanted = rb.load(CASES / f"{name}.onnx"), np.load(CASES / f"{x}.npy"), np.load(CASES / f"{name}.y.npy")
    assert (rnn.batch_first, rnn.reads, rnn.input_size) == (True, reads, 3)
    got = rnn(given)[0] if rnn.readout is None else rnn.logits(given)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("name", "of"), [("half_layers", "torch_state"), ("half_unrolled", "unrolled_head")])
def test_float16_between_casts_at_both_ends(name: str, of: str) -> None:
    """The converter of ONNX Runtime adds its casts after all other nodes."""
    program = read_program(Source.of((CASES / f"{name}.onnx").read_bytes()))
    with np.load(DATA / f"{of}.npz") as held:
        inputs = [held[key] for key in held if key.startswith("input")]
        wanted = [held[key] for key in held if key.startswith("output")]
    assert {cell.weight_ih.dtype.name for cell in program.cells} == {"float16"}
    names = dict.fromkeys([program.input.name, *(flow.content.name for stage in program.stages for flow in stage.h_0 if isinstance(flow, Flow))])  # fmt: skip
    found = run_program(program, dict(zip(names, inputs, strict=True)), parse("numpy", "the test"))
    for got, right in zip(found, wanted, strict=True):
        assert (got.dtype.name, got.shape) == ("float32", right.shape)
        np.testing.assert_allclose(got, right, rtol=0, atol=4e-3)


def test_any_number_of_steps_of_a_loop_of_cells() -> None:
    rnn = rb.load(DATA / "unrolled_cells.onnx")
    assert [cell.hidden_size for layer in rnn.layers for cell in cells_of(layer)] == [5, 6]
    cells: list[Any] = [cell for layer in rnn.layers for cell in cells_of(layer)]
    assert [cell.activation.name for cell in cells] == ["tanh", "relu"]
    assert (rnn.takes, rnn.batch_first) == ("tokens", True)
    ids = np.array([[0, 3, 6, 1, 1, 2, 5]])
    whole = rnn.probabilities(ids)
    with np.load(DATA / "unrolled_cells.npz") as held:
        np.testing.assert_allclose(rnn.probabilities(held["input0"]), held["output0"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(rnn.probabilities(ids[:, :4]), whole[:, :4], rtol=0, atol=2e-6)


def test_one_step_of_a_cell_is_a_network_of_one() -> None:
    rnn = rb.load(DATA / "unrolled_step.onnx")
    with np.load(DATA / "unrolled_step.npz") as held:
        x, h, scores, state = (held[key] for key in ("input0", "input1", "output0", "output1"))
    output, h_n = rnn(x[None], h[None])
    np.testing.assert_allclose(output[0], state, rtol=0, atol=2e-6)
    np.testing.assert_allclose(h_n[0], state, rtol=0, atol=2e-6)
    np.testing.assert_allclose(rnn.logits(x[None], h[None]), scores, rtol=0, atol=2e-6)


# Ways out


def square(first: str, second: str) -> onnx.ModelProto:
    """A step of a cell whose two inputs have one size."""
    cell: Any = cells_of(DRAW.layers("f", 1, 5, 5)[0])[0]
    held = {"W": cell.weight_ih.T, "R": cell.weight_hh.T, "b": cell.bias}
    nodes = [
        node("MatMul", [first, "W"], "p"), node("MatMul", [second, "R"], "q"), node("Add", ["p", "q"], "s"),
        node("Add", ["s", "b"], "t"), node("Tanh", ["t"], "y"),
    ]  # fmt: skip
    held = {name: np.ascontiguousarray(array) for name, array in held.items()}
    return model(nodes, [value(name, shape=[2, 5]) for name in (first, second)], ["y"], held, 20)


def test_which_of_two_inputs_is_the_state() -> None:
    x, h = DRAW.normal(2, 5), DRAW.normal(2, 5)
    graph = square("x", "hx")
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    wanted = np.tanh(x @ held["W"] + h @ held["R"] + held["b"])
    follow(
        "onnx_hx", lambda **_: rb.from_onnx(square("one", "two")), wanted, lambda rnn: rnn(x[None], h[None])[0][0],
        then=lambda: rb.from_onnx(graph),
    )  # fmt: skip


def plain() -> onnx.ModelProto:
    """The layer by the operator RNN."""
    held = weights(LAYER)
    nodes = [node("RNN", ["x", *held], ["Y", "h"], **options(LAYER)), node("Squeeze", ["Y", "i1"], "y")]
    return model(nodes, [X], ["y"], held | {"i1": np.array([1]), "i2": np.array([2]), "i3": np.array([3])})


def test_torch_has_two_ways_out(tmp_path: Path) -> None:
    """Another export of the module, and its state dict, which needs no torch."""
    unread, known = made(outputs=["y2"]), plain()
    known.graph.node.append(node("Dropout", ["y"], "z"))
    unread.producer_name = known.producer_name = "pytorch"
    x = DRAW.normal(7, 2, 4)
    wanted = rb.RNN([LAYER])(x)[0]
    state = {"weight_ih_l0": CELL.weight_ih, "weight_hh_l0": CELL.weight_hh, "bias_ih_l0": CELL.bias, "bias_hh_l0": 0 * CELL.bias}  # fmt: skip
    np.savez(tmp_path / "state.npz", **state)

    def state_dict() -> rb.RNN:
        return rb.load(tmp_path / "state.npz", activation="tanh")

    def output(rnn: rb.RNN) -> Any:
        return rnn(x)[0]

    follow("onnx_torch", lambda **_: rb.from_onnx(unread), wanted, output, then=lambda: rb.from_onnx(plain()))
    follow("onnx_state_dict", lambda **_: rb.from_onnx(unread), wanted, output, then=state_dict)
    follow("onnx_state_dict", lambda **_: rb.from_onnx(known), wanted, output, then=state_dict)
    unread.graph.node[0].name = "/rnn/MatMul"  # by the exporter that follows calls, for which it is the other one
    assert "dynamo=False" not in ways.refused("onnx_state_dict", lambda: rb.from_onnx(unread))
    known.graph.node[-1].op_type = "Erf"
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(known)
    assert "torch wrote" not in str(caught.value)  # its weights would compute something else
    known = plain()
    known.producer_name = "pytorch"
    known.graph.node[0].op_type, known.graph.node[0].input[0] = "GRU", "x1"
    known.graph.node.insert(0, node("Dropout", ["x"], "x1"))
    with pytest.raises(rb.FormatError) as caught:
        rb.from_onnx(known)
    assert "torch wrote" not in str(caught.value)  # its weights would be refused too


def test_one_step_from_zeros_lacks_the_recurrent_weights() -> None:
    def graph(seq_len: int) -> onnx.ModelProto:
        return made(seq_len=seq_len, inputs=[value("x", shape=[seq_len, 2, 4])])

    x = DRAW.normal(7, 2, 4)
    follow(
        "onnx_two_steps", lambda **_: rb.from_onnx(graph(1)), rb.RNN([LAYER])(x)[0], lambda rnn: rnn(x)[0],
        then=lambda: rb.from_onnx(graph(2)),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["keras2_simple.keras", "keras2_simple.h5"])
def test_graphs_of_keras_name_the_file_that_they_were_made_of(name: str) -> None:
    x, y = (np.load(CASES / f"keras2_simple.{what}.npy") for what in "xy")
    follow(
        "onnx_keras",
        lambda **_: rb.load(CASES / "tf2onnx_simple.onnx"),
        y,
        lambda rnn: rnn.probabilities(x),
        then=lambda: rb.load(CASES / name),
    )


def test_external_data_are_asked_for(tmp_path: Path) -> None:
    graph, x = plain(), DRAW.normal(7, 2, 4)
    onnx.save(graph, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    follow(
        "onnx_external",
        lambda **given: rb.load(tmp_path / "m.onnx", **given),
        rb.RNN([LAYER])(x)[0],
        lambda rnn: rnn(x)[0],
    )


# What no file may do


def cpu(graph: onnx.ModelProto, message: str | None) -> None:
    """Check that a file is read or refused within five seconds of one CPU."""
    data = graph.SerializeToString()
    assert len(data) < 2**20
    start = time.process_time()
    if message is None:
        assert read_program(Source.of(data)).stages
    else:
        with pytest.raises(rb.FormatError, match=message):
            read_program(Source.of(data))
    assert time.process_time() - start < 5


def test_thousands_of_steps() -> None:
    cpu(made(seq_len=2000, inputs=[value("x", shape=[2000, 2, 4])]), None)


def test_layers_on_each_other_without_end() -> None:
    (cell,) = cells_of(DRAW.layers("f", 1, 2, 2)[0])
    states, nodes, held = ["x0", "x1"], [], dict(ZERO)
    for k in range(200):
        held |= {f"W{k}": cell.weight_ih, f"R{k}": cell.weight_hh}
        nodes += [node("MatMul", [states[t], f"W{k}"], f"p{k}_{t}") for t in range(2)]
        for t, before in enumerate(("zeros", f"h{k}_0")):
            nodes += [
                node("MatMul", [before, f"R{k}"], f"q{k}_{t}"),
                node("Add", [f"p{k}_{t}", f"q{k}_{t}"], f"s{k}_{t}"),
            ]
            nodes.append(node("Tanh", [f"s{k}_{t}"], f"h{k}_{t}"))
        states = [f"h{k}_0", f"h{k}_1"]
    first = [node("Gather", ["x", f"k{t}"], f"x{t}", axis=0) for t in range(2)]
    held |= {"k0": np.array(0), "k1": np.array(1), "zeros": np.zeros((3, 2), np.float32)}
    graph = model([*first, *nodes], [value("x", shape=[2, 3, 2])], [states[1]], held, 20)
    cpu(graph, "its layers on each other would take 129 levels")


def test_axes_reversed_without_end() -> None:
    nodes = [node("Slice", [f"x{k}", "back", "far", f"a{k % 2}", "back"], f"x{k + 1}") for k in range(5000)]
    held = ZERO | {"a0": np.array([0]), "a1": np.array([1])}
    graph = model(nodes, [value("x0", shape=[3, 3, 2])], ["x5000"], held, 20)
    cpu(graph, "Slice 'the_Slice': it reverses a second axis")


def test_constants_added_without_end() -> None:
    nodes = [node("Gather", ["x", "k0"], "x0", axis=0), node("MatMul", ["x0", "W"], "p0")]
    nodes += [node("Add", [f"p{k}", "b"], f"p{k + 1}") for k in range(3000)]
    held = {"k0": np.array(0), "W": CELL.weight_ih.T.copy(), "b": CELL.bias}
    cpu(model(nodes, [X], ["p3000"], held, 20), "the constants that its steps add would take .* items")


def test_states_solved_for_without_end() -> None:
    """Layers that each start from a constant of which a state is to be found."""
    size = 200
    weight, bias = np.eye(size, dtype=np.float32) / 2 + DRAW.normal(size, size) / 1000, DRAW.normal(size)
    held = {"R": weight, "b": bias, "W": DRAW.normal(4, size), **ZERO, "k0": np.array(0), "k1": np.array(1)}
    nodes = [node("Gather", ["x", f"k{t}"], f"x{t}", axis=0) for t in range(2)]
    nodes += [node("MatMul", [f"x{t}", "W"], f"p{t}") for t in range(2)]
    for k in range(100):
        held[f"c{k}"] = bias + np.float32(k + 1)
        nodes += [
            node("Add", ["p0", f"c{k}"], f"s{k}"),
            node("Tanh", [f"s{k}"], f"h{k}"),
            node("MatMul", [f"h{k}", "R"], f"q{k}"),
        ]
        nodes += [
            node("Add", [f"q{k}", "p1"], f"r{k}"),
            node("Add", [f"r{k}", "b"], f"u{k}"),
            node("Tanh", [f"u{k}"], f"z{k}"),
        ]
        nodes += [node("Cast", [f"z{k}"], f"y{k}", to=1)]
    graph = model(nodes, [value("x", shape=[2, 3, 4])], ["y0"], held, 20)
    cpu(graph, "its state to start from would take .* bytes|the weights of the layers would take|are not one on top")


def test_a_graph_whose_nodes_come_in_any_order_or_go_in_a_circle() -> None:
    graph = made()
    nodes = list(graph.graph.node)[::-1]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    same(rb.from_onnx(graph), rb.RNN([LAYER]), 7)
    graph.graph.node.append(helper.make_node("Add", ["one", "y"], ["two"], name="first"))
    graph.graph.node.append(helper.make_node("Add", ["two", "y"], ["one"], name="second"))
    refused(graph, "Add 'first': its input 'one' is not defined before it")
