"""ONNX graphs of others: last states read out, cells of several sizes, and initial states that are constants."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx_models import MERGE, close, graph_of, merged, model, node, options, refused, stack, value, weights
from ways import follow
from ways import refused as refused_with

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 60)
X = value("X0", shape=["t", "b", 4])
INDICES = {"m1": np.array(-1), "m2": np.array(-2), "k0": np.array(0), "i0": np.array([0]), "i1": np.array([1])}


def top(
    more: Sequence[onnx.NodeProto], outputs: Sequence[str] = ("z",), sides: str = "fb", **held: NDArray[Any]
) -> onnx.ModelProto:
    """Two layers, whose last states are h_n, and nodes after them."""
    nodes, tensors = graph_of(stack(Draw("float32", 61), sides), merged)
    both = node("Concat", ["H0", "H1"], "h_n", axis=0)
    return model([*nodes, both, *more], [X], outputs, tensors | MERGE | INDICES | held)


PICKED = [node("Gather", ["h_n", "m2"], "f", axis=0), node("Gather", ["h_n", "m1"], "b", axis=0)]
W = DRAW.normal(10, 3)


@pytest.mark.parametrize(
    "read",
    [
        [*PICKED, node("Concat", ["f", "b"], "read", axis=1)],
        [*PICKED, node("Concat", ["f", "b"], "read", axis=-1)],
        [node("Slice", ["h_n", "two", "four", "i0"], "pair"), node("Transpose", ["pair"], "by_batch", perm=[1, 0, 2]),
         node("Reshape", ["by_batch", "flat"], "read")],
    ],
)  # fmt: skip
def test_the_last_states_side_by_side(backend: str, read: Sequence[onnx.NodeProto]) -> None:
    more, x = [*read, node("MatMul", ["read", "w"], "z")], DRAW.normal(6, 2, 4)
    made = top(more, ["z", "read", "h_n"], w=W, two=np.array([2]), four=np.array([4]), flat=np.array([0, -1]))
    rnn, own = rb.from_onnx(made), rb.RNN(stack(Draw("float32", 61)), rb.Linear(W.T), reads="final")
    assert rnn.reads == "final"
    assert rnn.metadata["onnx outputs"].startswith(
        "z: logits of the last states (batch, output_size); read: h_n[2, 3] (batch, cells * hidden_size)"
    )
    close(rnn.logits(x), own.logits(x))
    with rb.use_backend(backend):
        z, joined, h_n = format_.run_model(made, [x])
    close(z, own.logits(x))
    close(joined, own.last(x))
    assert h_n.shape == (4, 2, 5)


def test_last_states_that_are_no_final_ones() -> None:
    other = "reads out the last states of other cells than all of its"
    crossed = [*PICKED, node("Concat", ["b", "f"], "read", axis=1), node("MatMul", ["read", "w"], "z")]
    refused(top(crossed, w=W), f"the output 'z' .*{other}")
    first = [node("Gather", ["h_n", "k0"], "a", axis=0), *PICKED, node("Concat", ["a", "b"], "read", axis=1)]
    refused(top([*first, node("MatMul", ["read", "w"], "z")], w=W), f"the output 'z' .*{other}")
    refused(top([*PICKED, node("MatMul", ["b", "w"], "z")], w=W[:5]), f"the output 'z' .*{other}")
    mixed = [*PICKED, node("Unsqueeze", ["f", "i0"], "u"), node("Concat", ["u", "b"], "z", axis=0)]
    refused(top(mixed), "Concat 'the_Concat': last states must be joined on the axis of cells, or side by side")
    assert rb.from_onnx(top(first, ["read"])).reads == "steps"  # an output that nothing reads out


def test_outputs_that_read_different_things() -> None:
    """They share a readout only where it was applied once; what they read is then what is read of its results."""
    nodes, w = [node("MatMul", ["X2", "w"], "z"), node("Gather", ["z", "m1"], "last", axis=0)], W
    rnn, x = rb.from_onnx(top(nodes, ["z", "last"], w=w)), DRAW.normal(6, 2, 4)
    assert rnn.reads == "steps"
    assert rb.from_onnx(top(nodes, ["last"], w=w)).reads == "last"
    z, last = format_.run_model(top(nodes, ["z", "last"], w=w), [x])
    close(z, rnn.logits(x))
    close(last, z[-1])


@pytest.mark.parametrize(
    ("sides", "take", "reads"),
    [
        ("f", node("Gather", ["h_n", "m1"], "read", axis=0), "last"), ("f", node("Gather", ["X2", "m1"], "read", axis=0), "last"),
        ("b", node("Gather", ["h_n", "m1"], "read", axis=0), "final"), ("b", node("Gather", ["X2", "k0"], "read", axis=0), "final"),
        ("b", node("Gather", ["X2", "m1"], "read", axis=0), "last"), ("f", node("Gather", ["X2", "k0"], "read", axis=0), "steps"),
        ("fb", node("Gather", ["X2", "m1"], "read", axis=0), "last"), ("fb", node("Gather", ["X2", "k0"], "read", axis=0), "steps"),
    ],
)  # fmt: skip
def test_what_a_readout_reads(sides: str, take: onnx.NodeProto, reads: str) -> None:
    w, x = DRAW.normal(5 * len(sides), 3), DRAW.normal(6, 2, 4)
    made = top([take, node("MatMul", ["read", "w"], "z")], sides=sides, w=w)
    (z,) = format_.run_model(made, [x])
    if reads == "steps":
        rnn = follow("onnx_reads", lambda **given: rb.from_onnx(made, **given), z, lambda rnn: rnn.logits(x)[0])
    else:
        rnn = rb.from_onnx(made)
        close(z, rnn.logits(x))
        refused_with("leave_out", lambda: rb.from_onnx(made, reads=reads))
    assert rnn.reads == reads


def test_one_step_that_no_model_reads_alone(tmp_path: Path) -> None:
    """It is refused by a model, whose logits would be those of all steps, but for `reads`; the backend gives it."""
    layer, x = DRAW.layers("f", 1, 4, 5)[0], DRAW.normal(2, 6, 4)
    nodes = [
        node("Transpose", ["X"], "X0", perm=[1, 0, 2]),
        node("RNN", ["X0", *weights(layer)], ["Y", "H"], **options(layer)),
        node("Squeeze", ["Y", "i1"], "y"), node("Gather", ["y", "k0"], "read", axis=0), node("MatMul", ["read", "w"], "z"),
        node("Softmax", ["z"], "p"),
    ]  # fmt: skip
    made = model(nodes, [value("X", shape=["b", "t", 4])], ["z", "p"], weights(layer) | INDICES | {"w": W[:5]})
    onnx.save(made, tmp_path / "m.onnx")
    z, p = format_.run_model(made, [x])
    for read in (rb.from_onnx, rb.load):
        rnn = follow(
            "onnx_reads", lambda read=read, **given: read(tmp_path / "m.onnx", **given), z,
            lambda rnn: rnn.logits(x)[:, 0],
        )  # fmt: skip
        close(rnn.probabilities(x)[:, 0], p)
        for reads in ("last", "mean"):
            refused_with("onnx_reads", lambda reads=reads, read=read: read(tmp_path / "m.onnx", reads=reads))  # type: ignore[misc]
    nodes[1].input.append("lengths")
    nodes[3] = node("Gather", ["y", "m1"], "read", axis=0)
    inputs = [value("X", shape=["b", "t", 4]), value("lengths", shape=["b"], dtype="int32")]
    padded = model(nodes, inputs, ["z"], weights(layer) | INDICES | {"w": W[:5]})
    (z,) = format_.run_model(padded, [x, np.array([6, 6], np.int32)])
    follow(
        "onnx_reads", lambda **given: rb.from_onnx(padded, **given), z, lambda rnn: rnn.logits(x, lengths=[6, 6])[:, -1]
    )


def test_outputs_that_read_different_ends() -> None:
    """Neither has the shape of the logits of all steps; a model reads one, and whatever a call gives."""
    more = [
        node("MatMul", ["X2", "w"], "s"), node("Gather", ["s", "m1"], "last", axis=0), node("Gather", ["s", "k0"], "first", axis=0),
        node("ReduceMean", ["X2"], "m", axes=[0], keepdims=0), node("MatMul", ["m", "w"], "mean"),
    ]  # fmt: skip
    x, w = DRAW.normal(6, 2, 4), W[:5]
    ends = top(more[:3], ["last", "first"], sides="f", w=w)
    last, first = format_.run_model(ends, [x])
    rnn = follow("onnx_reads_one", lambda **given: rb.from_onnx(ends, **given), last, lambda rnn: rnn.logits(x))
    close(rnn.logits(x, reads="steps")[0], first)
    assert rb.from_onnx(top(more[:3], ["s", "first"], sides="f", w=w)).reads == "steps"
    refused_with("leave_out", lambda: rb.from_onnx(top(more[:3], ["s", "first"], sides="f", w=w), reads="steps"))
    for reads in ("steps", "last"):
        assert rb.from_onnx(ends, reads=reads).reads == reads
    refused_with("onnx_reads_one", lambda: rb.from_onnx(ends, reads="mean"))


@pytest.mark.parametrize("sides", ["fb", "bf"])
def test_a_layer_of_two_sizes(backend: str, sides: str) -> None:
    layer = rb.Layer(DRAW.cell(4, 5), DRAW.cell(4, 3))
    first, second = rb.Layer(layer.forward), rb.Layer(None, layer.backward)
    nodes = [
        node("RNN", ["X0", *weights(first, "f")], ["Y_f", "H_f"], **options(first)),
        node("RNN", ["X0", *weights(second, "b")], ["Y_b", "H_b"], **options(second)),
        *(node("Squeeze", [f"Y_{side}", "i1"], f"y_{side}") for side in "fb"),
        *(node("Squeeze", [f"H_{side}", "i0"], f"h_{side}") for side in "fb"),
        node("Concat", [f"y_{side}" for side in sides], "y", axis=-1), node("Concat", [f"h_{side}" for side in sides], "read", axis=1),
        node("MatMul", ["read", "w"], "z"), node("ReduceMax", ["y"], "most", axes=[0], keepdims=0),
    ]  # fmt: skip
    w, x = DRAW.normal(8, 2), DRAW.normal(6, 2, 4)
    made = model(
        nodes, [X], ["y", "z", "H_b", "most", "read"], weights(first, "f") | weights(second, "b") | INDICES | {"w": w}
    )
    if sides == "bf":
        refused(made, "it must join the states of a forward layer and then those of a backward layer, of one input")
        return
    rnn, own = rb.from_onnx(made), rb.RNN([layer], rb.Linear(w.T), reads="final")
    assert (rnn.reads, [part.shape for part in rnn(x)[1]]) == ("final", [(2, 5), (2, 3)])
    with rb.use_backend(backend):
        y, z, h_b, most, read = format_.run_model(made, [x])
    output, h_n = own(x)
    close(y, output)
    close(z, own.logits(x))
    close(h_b, h_n[1][None])
    close(most, output.max(axis=0))
    close(read, own.last(x))


def test_two_directions_whose_last_states_alone_are_read() -> None:
    layer = rb.Layer(DRAW.cell(4, 5), DRAW.cell(4, 5))
    first, second = rb.Layer(layer.forward), rb.Layer(None, layer.backward)
    nodes = [
        node("RNN", ["X0", *weights(second, "b")], ["", "H_b"], **options(second)),
        node("RNN", ["X0", *weights(first, "f")], ["", "H_f"], **options(first)),
        node("Concat", ["H_f", "H_b"], "both", axis=2), node("MatMul", ["both", "w"], "z"),
    ]  # fmt: skip
    x, tensors = DRAW.normal(6, 2, 4), weights(first, "f") | weights(second, "b") | {"w": W}
    made, own = model(nodes, [X], ["z"], tensors), rb.RNN([layer], rb.Linear(W.T), reads="final")
    close(rb.from_onnx(made).logits(x), own.logits(x))
    close(format_.run_model(made, [x])[0], own.logits(x)[None])
    nodes[2] = node("Concat", ["H_b", "H_f"], "both", axis=2)
    refused(model(nodes, [X], ["z"], tensors), "reads out the last states of other cells than all of its")


def test_given_states_of_cells_of_several_sizes() -> None:
    layers = [rb.Layer(DRAW.cell(4, 5)), rb.Layer(DRAW.cell(5, 3))]
    nodes, tensors = graph_of(layers, lambda y, x: [node("Squeeze", [y, "i1"], x)])
    nodes[0].input.extend(["", "h_first"])
    nodes[2].input.extend(["", "h_second"])
    inputs = [X, value("h_first", shape=[1, "b", 5]), value("h_second", shape=[1, "b", 3])]
    x, first, second = DRAW.normal(6, 2, 4), DRAW.normal(1, 2, 5), DRAW.normal(1, 2, 3)
    y, h_n = format_.run_model(model(nodes, inputs, ["X2", "H1"], tensors | INDICES), [x, first, second])
    output, last = rb.RNN(layers)(x, [first[0], second[0]])
    close(y, output)
    close(h_n, last[1][None])
    nodes[2].input[-1] = ""
    y, h_n = format_.run_model(model(nodes, inputs[:2], ["X2", "H1"], tensors | INDICES), [x, first])
    close(y, rb.RNN(layers)(x, [first[0], 0 * second[0]])[0])


H_0 = DRAW.normal(2, 1, 5)


def started(
    prepare: Sequence[onnx.NodeProto], batch: Any = "b", inputs: Sequence[Any] = (), layout: int = 0, **held: Any
) -> onnx.ModelProto:
    """A layer in both directions whose initial_h is h."""
    layer = stack(Draw("float32", 62), count=1)[0]
    order = [0, 1, 2, 3] if layout else [0, 2, 1, 3]
    axes = ["b", "t", 4] if layout else ["t", batch, 4]
    rnn = node(
        "RNN", ["X0", *weights(layer), "", "h"], ["Y0", "H0"], **options(layer), **({"layout": 1} if layout else {})
    )
    more = [node("Transpose", ["Y0"], "Y0_moved", perm=order), node("Reshape", ["Y0_moved", "merge"], "y")]
    tensors = (
        weights(layer)
        | MERGE
        | INDICES
        | {"which": np.array([0 if layout else 1]), "k2": np.array([2]), "k5": np.array([5])}
        | held
    )
    given = [value("X0", shape=axes), *inputs]
    return model([*prepare, rnn, *more], given, ["y"], tensors)


SIZE = [node("Shape", ["X0"], "s"), node("Gather", ["s", "which"], "batch", axis=0)]
TARGET = [*SIZE, node("Concat", ["k2", "batch", "k5"], "target", axis=0)]
# As torch's exporter writes expand(-1, batch, -1): the sizes that are -1 are replaced by 1.
TORCH = [
    *SIZE, node("Concat", ["minus", "batch", "minus"], "asked", axis=0), node("Shape", ["asked"], "three"),
    node("ConstantOfShape", ["three"], "ones", value=onnx.helper.make_tensor("v", 7, [1], [1])), node("Mul", ["ones", "minus"], "open"),
    node("Equal", ["asked", "open"], "is_open"), node("Where", ["is_open", "ones", "asked"], "target"),
]  # fmt: skip
CONSTANTS: dict[str, Callable[[], onnx.ModelProto]] = {
    "expanded": lambda: started([*TARGET, node("Expand", ["c", "target"], "h")], c=H_0),
    "expanded by torch": lambda: started([*TORCH, node("Expand", ["c", "target"], "h")], c=H_0, minus=np.array([-1])),
    "tiled": lambda: started([*SIZE, node("Concat", ["i1", "batch", "i1"], "n", axis=0), node("Tile", ["c", "n"], "h")], c=H_0),
    "expanded, then cut": lambda: started(
        [*SIZE, node("Concat", ["i1", "batch", "i1"], "n", axis=0), node("Expand", ["c", "n"], "all"), node("Slice", ["all", "i1", "end", "i0"], "h")],
        c=np.concatenate([H_0[:1] + 1, H_0]), end=np.array([3]),
    ),
    "expanded, then turned": lambda: started(
        [*SIZE, node("Concat", ["batch", "i1", "i1"], "n", axis=0), node("Expand", ["c", "n"], "turned"), node("Transpose", ["turned"], "h", perm=[1, 0, 2])],
        c=H_0.transpose(1, 0, 2),
    ),
    "of a batch of one": lambda: started([], 1, h=H_0),
    "the same for each of three": lambda: started([], 3, h=np.repeat(H_0, 3, axis=1)),
    "by a known batch": lambda: started([*TARGET, node("Expand", ["c", "target"], "h")], 3, c=H_0),
    "tiled by a known batch": lambda: started([*SIZE, node("Concat", ["i1", "batch", "i1"], "n", axis=0), node("Tile", ["c", "n"], "h")], 3, c=H_0),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_initial_states_that_are_constants(name: str) -> None:
    made, x = CONSTANTS[name](), DRAW.normal(6, 1 if "one" in name else 3, 4)
    rnn, own = rb.from_onnx(made), rb.RNN(stack(Draw("float32", 62), count=1), h_0=H_0[:, 0])
    np.testing.assert_array_equal(rnn.h_0, own.h_0)
    close(rnn(x)[0], own(x)[0])
    close(format_.run_model(made, [x])[0], own(x)[0])


def test_constant_states_batch_first() -> None:
    target = [*SIZE, node("Concat", ["batch", "i1", "i1"], "n", axis=0), node("Expand", ["c", "n"], "h")]
    made, x = started(target, layout=1, c=H_0.transpose(1, 0, 2)), DRAW.normal(3, 6, 4)
    own = rb.RNN(stack(Draw("float32", 62), count=1), h_0=H_0[:, 0], batch_first=True)
    close(rb.from_onnx(made)(x)[0], own(x)[0])
    close(format_.run_model(made, [x])[0], own(x)[0])


def test_initial_states_that_are_refused_and_zeros() -> None:
    wanted = "its initial_h must be zeros, an input of the graph, or a constant that is the same for every sequence"
    refused(started([], h=H_0), f"RNN 'the_RNN': {wanted}")  # for one sequence, of a batch that may be larger
    refused(started([], 2, h=DRAW.normal(2, 2, 5)), f"RNN 'the_RNN': {wanted}")
    by_steps = [
        node("Shape", ["X0"], "s"),
        node("Gather", ["s", "i0"], "t", axis=0),
        node("Concat", ["i1", "t", "i1"], "n", axis=0),
    ]
    refused(
        started([*by_steps, node("Expand", ["c", "n"], "h")], c=H_0),
        "its initial_h must have the axes directions, batch and hid",
    )
    turned = [*TARGET, node("Expand", ["c", "target"], "e"), node("Transpose", ["e"], "h", perm=[0, 2, 1])]
    refused(started(turned, c=H_0), "its initial_h must have the axes directions, batch and hidden")
    refused(
        started([*TARGET, node("Expand", ["c", "target"], "h")], c=H_0.astype(np.float64)), "its parts make no network"
    )
    for zeros in (0 * H_0, np.zeros(1, np.float32)):
        assert rb.from_onnx(started([*TARGET, node("Expand", ["c", "target"], "h")], c=zeros)).h_0 is None


def test_constant_and_given_states_do_not_mix() -> None:
    nodes, tensors = graph_of(stack(Draw("float32", 63)), merged)
    target = [*SIZE, node("Concat", ["i1", "batch", "i1"], "n", axis=0), node("Expand", ["c", "n"], "h_first")]
    nodes[0].input.extend(["", "h_first"])
    held = tensors | MERGE | INDICES | {"which": np.array([1]), "c": H_0}
    x, rnn = DRAW.normal(6, 2, 4), rb.from_onnx(model([*target, *nodes], [X], ["X2"], held))
    np.testing.assert_array_equal(rnn.h_0, np.concatenate([H_0[:, 0], np.zeros((2, 5), np.float32)]))
    close(format_.run_model(model([*target, *nodes], [X], ["X2"], held), [x])[0], rnn(x)[0])
    nodes[3].input.extend(["", "h_second"])
    inputs = [X, value("h_second", shape=[2, "b", 5])]
    refused(
        model([*target, *nodes], inputs, ["X2"], held), "some of its initial states are constants and some are inputs"
    )
