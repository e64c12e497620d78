"""ONNX models: read axis by axis, written, run as a backend of ONNX's, and refused by name."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx import helper, numpy_helper
from onnx_models import cells_of, model, node, options, single, value, weights

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.core.layers import named_arrays
from rnn_backends.formats.onnx.network import OPERATORS, OPSETS
from rnn_backends.testing import Bounded, Case, excess, reference
from rnn_backends.testing.cases import ACTIVATIONS, Draw

RAGGED = [7, 0, 3]
SIDES = {"forward": "f", "reverse": "b", "bidirectional": "fb"}
DATA = Path(__file__).parents[1] / "data"


def run_on(backend: str, made: onnx.ModelProto, inputs: Any) -> tuple[NDArray[Any], ...]:
    with rb.use_backend(backend):
        return format_.run_model(made, inputs)


def require_states(case: Case, got: Sequence[NDArray[Any]], layout: int = 0, dtype: str = "float32") -> None:
    """Check Y and Y_h of one node against the float64 reference."""
    y, y_h = got
    output, h_n = reference(*case, dtype=dtype)
    seq_len, batch = case.x.shape[:2]
    y = y.transpose(1, 0, 2, 3) if layout else y.transpose(0, 2, 1, 3)
    assert excess(y.reshape(seq_len, batch, output.value.shape[-1]), output) <= 1.0
    assert excess(y_h.swapaxes(0, 1) if layout else y_h, h_n) <= 1.0


# One node: every attribute and every input, on every backend


@pytest.mark.parametrize("direction", SIDES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_activations(backend: str, activation: rb.Activation, direction: str) -> None:
    case = Draw("float32", 1).case(sides=SIDES[direction], h_0=True, lengths=RAGGED, activation=activation)
    made, inputs = single(case.layers[0], case.x, case.lengths, case.h_0)
    require_states(case, run_on(backend, made, inputs))


@pytest.mark.parametrize(("opset", "layout"), [(7, 0), (14, 0), (14, 1), (22, 0), (22, 1), (28, 1)])
@pytest.mark.parametrize("direction", SIDES)
def test_lengths_states_clip_and_layout(backend: str, direction: str, layout: int, opset: int) -> None:
    case = Draw("float32", 2).case(sides=SIDES[direction], h_0=True, lengths=RAGGED, clip=0.375)
    made, inputs = single(case.layers[0], case.x, case.lengths, case.h_0, layout=layout, opset=opset)
    require_states(case, run_on(backend, made, inputs), layout=layout)


@pytest.mark.parametrize("left_out", ["bias", "lengths", "h_0", "all"])
def test_inputs_left_out(backend: str, left_out: str) -> None:
    case = Draw("float32", 3).case(sides="fb", h_0=True, lengths=RAGGED, bias=left_out not in {"bias", "all"})
    case = case._replace(
        lengths=None if left_out in {"lengths", "all"} else case.lengths,
        h_0=None if left_out in {"h_0", "all"} else case.h_0,
    )
    made, inputs = single(case.layers[0], case.x, case.lengths, case.h_0)
    require_states(case, run_on(backend, made, inputs))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype: str) -> None:
    case = Draw(dtype, 4).case(sides="fb", h_0=True, lengths=RAGGED)
    made, inputs = single(case.layers[0], case.x, case.lengths, case.h_0)
    y, y_h = format_.run_model(made, inputs)
    assert y.dtype == y_h.dtype == dtype
    require_states(case, (y, y_h), dtype=dtype)


def test_directions_with_activations_of_their_own(backend: str) -> None:
    draw = Draw("float32", 5)
    for first, second in [("tanh", rb.Activation("affine", 0.5, 0.25)), (rb.Activation("elu", 0.75), "relu"),
                          (rb.Activation("affine", 0.5, 0.25), rb.Activation("leaky_relu", 0.125))]:  # fmt: skip
        layer = rb.Layer(draw.cell(4, 5, activation=first), draw.cell(4, 5, activation=second))
        case = Case([layer], draw.normal(7, 3, 4))
        made, inputs = single(layer, case.x)
        require_states(case, run_on(backend, made, inputs))


@pytest.mark.parametrize("asked", [("Y",), ("", "Y_h"), ("Y", "Y_h")])
def test_outputs_are_those_asked_for(asked: Sequence[str]) -> None:
    case = Draw("float32", 6).case(sides="fb")
    made, inputs = single(case.layers[0], case.x, outputs=asked)
    got = format_.run_model(made, inputs)
    both = format_.run_model(*single(case.layers[0], case.x))
    for array, name in zip(got, [name for name in asked if name], strict=True):
        np.testing.assert_array_equal(array, both[("Y", "Y_h").index(name)])


def test_weights_may_be_inputs(backend: str) -> None:
    case = Draw("float32", 7).case(sides="fb", h_0=True)
    made, inputs = single(case.layers[0], case.x, None, case.h_0, given=("W", "R", "B"))
    prepared = format_.prepare(made)
    require_states(case, run_on(backend, made, inputs))
    for got, again in zip(prepared.run(list(inputs.values())), prepared.run(inputs), strict=True):
        np.testing.assert_array_equal(got, again)


def test_a_node_alone() -> None:
    case = Draw("float32", 8).case(h_0=True)
    held = weights(case.layers[0])
    rnn = node("RNN", ["X", "W", "R", "B", "", "h"], ["Y", "Y_h"], **options(case.layers[0]))
    require_states(case, format_.run_node(rnn, [case.x, *held.values(), case.h_0]))
    y_h, = format_.run_node(node("RNN", ["X", "W", "R"], ["", "Y_h"]), [case.x, held["W"], held["R"]], opset_version=7)  # fmt: skip
    assert y_h.shape == (1, 3, 5)
    with pytest.raises(rb.ArgumentError, match=r"the node has the inputs \['X', 'W', 'R'\]; got 2 arrays"):
        format_.run_node(node("RNN", ["X", "W", "R"], ["Y"]), [case.x, held["W"]])


def test_the_vectors_can_tell() -> None:
    """R transposed, the halves of B not added, or the directions exchanged would be seen."""
    case = Draw("float32", 2).case(sides="fb", h_0=True, lengths=RAGGED)
    output, _ = reference(*case, dtype="float32")
    forward, backward = cells_of(case.layers[0])
    for wrong in (
        rb.Layer(replace(forward, weight_hh=forward.weight_hh.T), backward),
        rb.Layer(forward, replace(backward, bias=backward.bias * 0.5)),  # type: ignore[operator]
        rb.Layer(backward, forward),
    ):
        y, _ = format_.run_model(*single(wrong, case.x, case.lengths, case.h_0))
        assert excess(y.transpose(0, 2, 1, 3).reshape(7, 3, 10), output) > 100


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("Affine", 1.0, 0.0),
        ("LeakyRelu", 0.01, None),
        ("ThresholdedRelu", 1.0, None),
        ("HardSigmoid", 0.2, 0.5),
        ("Elu", 1.0, None),
    ],
)
def test_defaults_are_those_of_the_operators(name: str, alpha: float, beta: float | None) -> None:
    layer = Draw("float32", 9).layers("f", 1, 4, 5)[0]
    made, _ = single(layer, np.zeros((2, 3, 4), np.float32), activations=[name])
    (cell,) = cells_of(rb.from_onnx(made).layers[0])
    assert isinstance(cell.activation, rb.Activation)
    assert cell.activation.alpha == float(np.float32(alpha))
    assert cell.activation.beta == beta
    for schema in onnx.defs.get_all_schemas_with_history():  # of the operator of that name, where it has not gone
        if schema.name == name and schema.domain == "":
            held = {
                key: attribute.default_value.f
                for key, attribute in schema.attributes.items()
                if key in {"alpha", "beta"}
            }
            assert held == {
                key: number for key, number in (("alpha", cell.activation.alpha), ("beta", beta)) if number is not None
            }


def test_names_of_activations_in_any_case_and_the_default_of_two() -> None:
    layer = Draw("float32", 9).layers("f", 1, 4, 5)[0]
    x = np.zeros((2, 3, 4), np.float32)
    for given_names, wanted in (
        (["RELU"], "relu"),
        (["hardsigmoid"], "hard_sigmoid"),
        (["Tanh", "Tanh"], "tanh"),
        (None, "tanh"),
    ):
        made, _ = single(layer, x, activations=given_names)
        assert cells_of(rb.from_onnx(made).layers[0])[0].activation.name == wanted  # type: ignore[union-attr]


def test_alpha_and_beta_go_to_those_that_take_them() -> None:
    layer = Draw("float32", 9).layers("fb", 1, 4, 5)[0]
    x = np.zeros((2, 3, 4), np.float32)

    def read(names: list[str], alpha: list[float]) -> list[float | None]:
        made, _ = single(layer, x, activations=names, activation_alpha=alpha)
        return [cell.activation.alpha for cell in cells_of(rb.from_onnx(made).layers[0])]  # type: ignore[union-attr]

    assert read(["Tanh", "Affine"], [0.5]) == [None, 0.5]
    assert read(["Elu", "Affine"], [0.5, 0.25]) == [0.5, 0.25]
    assert read(["Elu", "Affine"], [0.5]) == [0.5, 1.0]
    assert read(["Tanh", "Affine"], [0.5, 0.5]) == [None, 0.5]
    with pytest.raises(rb.FormatError, match=r"`activation_alpha` has 2 values where 1 of the activations .* guess"):
        read(["Tanh", "Affine"], [0.25, 0.5])
    with pytest.raises(rb.FormatError, match=r"`activation_alpha` has 1 values where 0 of"):
        read(["Tanh", "Relu"], [0.25])


def one_node(**changes: Any) -> onnx.ModelProto:
    layer = Draw("float32", 9).layers("f", 1, 4, 5)[0]
    return single(layer, np.zeros((2, 3, 4), np.float32), **changes)[0]


def with_tensors(made: onnx.ModelProto, **arrays: NDArray[Any]) -> onnx.ModelProto:
    """The model with some initializers replaced."""
    kept = [tensor for tensor in made.graph.initializer if tensor.name not in arrays]
    del made.graph.initializer[:]
    made.graph.initializer.extend([*kept, *(numpy_helper.from_array(array, name) for name, array in arrays.items())])
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: one_node(direction="backward"), r"RNN 'the_RNN': `direction` must be one of forward, reverse, bidirectional; got 'backward'"),
        (lambda: one_node(direction="bidirectional", activations=["Tanh", "Tanh"]), r"W must have shape \(num_directions, hidden_size, input_size\) = \(2, 5, 4\); got \(1, 5, 4\)"),
        (lambda: one_node(activations=["Gelu"]), r"`activations` must be of Relu, .*; got 'Gelu'"),
        (lambda: one_node(activations=["Relu", "Tanh"]), r"`activations` must name 1, one a direction; got \['Relu', 'Tanh'\]"),
        (lambda: one_node(activations=["ScaledTanh"]), r"`activations` are wrong: .*'scaled_tanh' needs `alpha`"),
        (lambda: one_node(activations=["Affine"], activation_alpha=[float("nan")]), r"must be a finite number"),
        (lambda: one_node(clip=0.0), r"`clip` must be positive; got 0.0"),
        (lambda: one_node(clip=-1.0), r"`clip` must be positive; got -1.0"),
        (lambda: one_node(hidden_size=4), r"`hidden_size` is 4, but R has shape \(1, 5, 5\)"),
        (lambda: one_node(layout=2), r"`layout` must be 0 or 1; got 2"),
        (lambda: one_node(layout=1, opset=7), r"`layout` came with opset 14; the model has 7"),
        (lambda: one_node(output_sequence=1), r"attribute 'output_sequence' is unknown"),
        (lambda: one_node(clip=1), r"attribute 'clip' must be of the kind 'f'; got 'i'"),
        (lambda: one_node(opset=6), r"the opset must be 7 to 28; got 6"),
        (lambda: one_node(opset=29), r"the opset must be 7 to 28; got 29"),
        (lambda: with_tensors(one_node(), W=np.zeros((1, 5, 3), np.float32)), r"its X must be .* \(\.\.\., \.\.\., 3\) of float32; .* \(X\[2\]=4\)"),
        (lambda: with_tensors(one_node(), R=np.zeros((1, 5, 4), np.float32)), r"`hidden_size` is 5, but R has shape"),
        (lambda: with_tensors(one_node(hidden_size=None), R=np.zeros((1, 5, 4), np.float32)), r"W must have shape"),
        (lambda: with_tensors(one_node(), B=np.zeros((1, 5), np.float32)), r"B must have shape \(num_directions, 2 hidden_size\) = \(1, 10\); got \(1, 5\)"),
        (lambda: with_tensors(one_node(), W=np.zeros((1, 5, 4), np.float64)), r"its X must be .* of float64"),
        (lambda: with_tensors(one_node(), R=np.zeros((1, 5, 5), np.float64)), r"all parameters must have one dtype|make no cell|make no network"),
        (lambda: with_tensors(one_node(), W=np.zeros((1, 5, 4), np.int64)), r"its W must be a constant of floating point"),
        (lambda: one_node(outputs=("Y", "Y_h", "Y_c")), r"it has 3 outputs; at most 2 are known"),
    ],
)  # fmt: skip
def test_nodes_that_are_refused(made: Callable[[], onnx.ModelProto], message: str) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rb.from_onnx(made())


# Networks: what stands before, between and after the nodes


def stack(draw: Draw, sides: str = "fb", count: int = 2, **options_: Any) -> list[rb.Layer]:
    return draw.layers(sides, count, 4, 5, **options_)


def graph_of(
    layers: list[rb.Layer], between: Callable[[str, str], list[onnx.NodeProto]]
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """The nodes of a stack, and what is between them: from Y{k} to X{k + 1}."""
    nodes: list[onnx.NodeProto] = []
    tensors: dict[str, NDArray[Any]] = {}
    for k, layer in enumerate(layers):
        held = weights(layer, f"l{k}")
        tensors |= held
        nodes.append(node("RNN", [f"X{k}", *held], [f"Y{k}", f"H{k}"], **options(layer)))
        nodes += between(f"Y{k}", f"X{k + 1}")
    return nodes, tensors


def merged(y: str, x: str) -> list[onnx.NodeProto]:
    """Y (T, D, B, H) to (T, B, D H), as torch's exporter writes it."""
    return [node("Transpose", [y], f"{y}_moved", perm=[0, 2, 1, 3]), node("Reshape", [f"{y}_moved", "merge"], x)]


MERGE = {"merge": np.array([0, 0, -1])}


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


def refused(made: onnx.ModelProto, message: str) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rb.from_onnx(made)


@pytest.mark.parametrize(
    ("between", "message"),
    [
        # (T, D, B, H) read as (T, B, D H) without a transpose: the directions and the sequences are mixed up
        (lambda y, x: [node("Reshape", [y, "merge_all"], x)], r"tear axes apart|the axes of what comes are"),
        (lambda y, x: [node("Transpose", [y], f"{y}_moved", perm=[0, 2, 3, 1]), node("Reshape", [f"{y}_moved", "merge"], x)],
         r"the axes of what comes are .*\(hidden_size=5 directions=2\)"),
        (lambda y, x: [node("Transpose", [y], f"{y}_moved", perm=[2, 0, 1, 3]), node("Reshape", [f"{y}_moved", "merge"], x)],
         r"the axes of what comes are"),
        (lambda y, x: [node("Squeeze", [y, "one"], x)], r"the axes \[1\] must have size 1"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Relu", [f"{y}_"], x)], r"Relu 'the_Relu': it can only be the activation of the readout"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Add", [f"{y}_", "noise"], x)], r"Add 'the_Add': a constant can be added once only"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Dropout", [f"{y}_"], x)], r"Dropout 'the_Dropout': this operator is none that .* dynamo=False"),
        (lambda y, x: [*merged(y, f"{y}_"), node("Slice", [f"{y}_", "one", "two", "two"], x)], r"the part 1:2 of directions, hidden_size is none"),
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
        "the rows of its embedding",
    )
    floats = [value("ids", shape=["t", "b"])]
    refused(
        model([node("Gather", ["table", "ids"], "rows"), *swap, rnn], floats, ["Y"], held | {"table": table}),
        "token ids must be an input of int32 or int64",
    )


def test_one_step_only() -> None:
    """What a graph gives at one step, the model gives at all; its metadata say which."""
    draw = Draw("float32", 14)
    layers, weight, bias = stack(draw, "f", 1), draw.normal(3, 5), draw.normal(3)
    nodes, tensors = graph_of(layers, lambda y, x: [node("Squeeze", [y, "one"], x)])
    tensors |= {"one": np.array([1]), "last": np.array(-1), "weight": weight, "bias": bias, "zero": np.array([0])}
    own, x = rb.RNN(layers, rb.Linear(weight, bias)), draw.normal(7, 3, 4)
    wanted = own.logits(x)[-1]
    take_last = [node("Gather", ["X1", "last"], "step", axis=0)]
    for take, told in ((take_last, "y: logits of the last step (batch, output_size)"),
                       ([node("Squeeze", ["H0", "zero"], "step")], "y: logits of the last state (batch, output_size)")):  # fmt: skip
        gemm = node("Gemm", ["step", "weight", "bias"], "y", transB=1)
        made = model([*nodes, *take, gemm], [value("X0", shape=["t", "b", 4])], ["y"], tensors)
        rnn = rb.from_onnx(made)
        assert rnn.metadata == {"onnx outputs": told}
        assert rnn.readout is not None
        assert rnn.readout.activation == rb.Activation("identity")
        np.testing.assert_array_equal(rnn.logits(x)[-1], wanted)
        np.testing.assert_array_equal(format_.run_model(made, [x])[0], wanted)
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
    np.testing.assert_array_equal(format_.run_model(made, [x])[0], own.logits(x))
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
    refused(model(nodes, inputs[:1], ["X2"], tensors | full), "RNN 'the_RNN': its initial_h must be zeros or an input")


def test_casts_that_change_nothing() -> None:
    nodes, tensors = graph_of(stack(Draw("float32", 18), count=1), merged)
    nodes[0].input[0] = "x_cast"
    nodes[0].input.append("lengths32")
    casts = [node("Cast", ["X0"], "x_cast", to=1), node("Cast", ["lengths"], "lengths32", to=6)]
    inputs = [value("X0", shape=["t", "b", 4]), value("lengths", shape=["b"], dtype="int64")]
    assert rb.from_onnx(model([*casts, *nodes], inputs, ["X1"], tensors | MERGE))
    casts[0] = node("Cast", ["X0"], "x_cast", to=10)
    refused(
        model([*casts, *nodes], inputs, ["X1"], tensors | MERGE), "Cast 'the_Cast': it converts to the element type 10"
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
    refused(made(outputs=["nowhere"]), "the output 'nowhere' is nothing that an RNN")
    refused(made(outputs=["X0"]), "the output 'X0' is nothing that an RNN")
    refused(model([], inputs, ["X0"]), "the graph holds no RNN node; from torch, export with dynamo=False")
    refused(made(node("Identity", ["X2"], "X1")), "Identity .*|the name 'X1' is given to two values")
    refused(made(node("Identity", ["later"], "y")), "Identity 'the_Identity': its input 'later' is defined nowhere")
    refused(made(node("Transpose", ["X2", "X2"], "y")), "Transpose 'the_Transpose': it has 2 inputs")
    refused(made(node("Transpose", [""], "y")), "Transpose 'the_Transpose': it has 1 inputs, or leaves one empty")
    weight = {"w": draw.normal(10, 3), "v": draw.normal(3, 3)}
    two = [node("MatMul", ["X2", "w"], "y"), node("MatMul", ["y", "v"], "z")]
    refused(made(*two, outputs=["z"], **weight), "MatMul 'the_MatMul': it must multiply states of the last layer")
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
    refused(made(sub), "Transpose 'the_Transpose': its attribute 'perm' must be of the kind 'ints'; got 'a graph'")


def test_a_fork_is_refused() -> None:
    layers = stack(Draw("float32", 20), "f", 1)
    held = weights(layers[0])
    nodes = [node("RNN", ["X", *held], [f"Y{k}", f"H{k}"], **options(layers[0])) for k in range(2)]
    refused(
        model(nodes, [value("X", shape=["t", "b", 4])], ["Y0", "Y1"], held),
        "its 2 RNN layers are not one on top of the other",
    )


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
        "ThresholdedRelu": {10, 22}, "Softsign": {1, 22}, "Softplus": {1, 22}, "OneHot": {9, 11, 28},
    }  # fmt: skip
    assert looked_at.keys() == OPERATORS.keys()
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in looked_at and OPSETS[0] <= schema.since_version <= OPSETS[-1]:
            assert schema.since_version in looked_at[schema.name], schema.name


# Writing


@st.composite
def networks(draw: st.DrawFn) -> rb.RNN:
    """A model with all that ONNX can hold, in whatever combination."""
    made = Draw(draw(st.sampled_from(["float32", "float64", "float16"])), draw(st.integers(0, 99)))
    input_size, hidden_size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    layers, width = [], input_size
    for _ in range(draw(st.integers(1, 3))):
        sides = draw(st.sampled_from(["f", "b", "fb"]))
        cells = [
            made.cell(
                width, hidden_size, bias=draw(st.booleans()), activation=draw(st.sampled_from(EXACT)),
                clip=draw(st.sampled_from([None, 0.5, 2.0])),
            ) if side in sides else None
            for side in "fb"
        ]  # fmt: skip
        layers.append(rb.Layer(*cells))
        width = len(sides) * hidden_size
    readout = None
    if draw(st.booleans()):
        names = ["softmax", "log_softmax", "identity", "sigmoid", "tanh", "relu", "elu", "softsign", "softplus"]
        g2: Any = draw(
            st.sampled_from([*names, rb.Activation("leaky_relu", 0.125), rb.Activation("hard_sigmoid", 0.25, 0.5)])
        )
        readout = rb.Linear(made.normal(3, width), made.normal(3) if draw(st.booleans()) else None, g2)
    vocabulary = "".join(map(chr, range(97, 97 + input_size))) if draw(st.booleans()) else None
    return rb.RNN(layers, readout, batch_first=draw(st.booleans()), vocabulary=vocabulary, metadata={"licence": "CC0"})


EXACT = (
    *(activation for activation in ACTIVATIONS if activation.name != "hard_sigmoid"),
    rb.Activation("hard_sigmoid", 0.25, 0.5),
)


def same_bits(first: Any, second: Any) -> bool:
    return bool(first.shape == second.shape and first.dtype == second.dtype and first.tobytes() == second.tobytes())


@given(rnn=networks())
def test_what_is_written_is_read_again(rnn: rb.RNN, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round.onnx"
    rnn.save(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    again = rb.load(path)
    pairs = list(zip(named_arrays(rnn.placed.network), named_arrays(again.placed.network), strict=True))
    assert all(name == other and same_bits(a, b) for (name, a), (other, b) in pairs)
    for layer, other in zip(rnn.layers, again.layers, strict=True):
        for cell, copy in zip(cells_of(layer), cells_of(other), strict=True):
            assert (cell.activation, cell.clip, cell.leak) == (copy.activation, copy.clip, copy.leak)
    assert (rnn.batch_first, rnn.vocabulary, rnn.metadata) == (again.batch_first, again.vocabulary, again.metadata)
    input_size = cells_of(rnn.layers[0])[0].input_size
    x = np.zeros((3, 2), np.int64) if rnn.vocabulary else np.ones((3, 2, input_size), rnn.dtype)
    output, h_n = rnn(x)
    got = format_.run_model(onnx.load(path), [x])
    assert same_bits(got[0], output)
    assert same_bits(got[1], h_n)
    if rnn.readout is not None:
        assert same_bits(got[2], rnn.logits(x))
        assert same_bits(got[-1], rnn.probabilities(x))


def test_numbers_in_full_precision_and_zeros_with_their_signs(tmp_path: Path) -> None:
    cell = rb.Cell(
        np.ones((2, 2), np.float32),
        np.eye(2, dtype=np.float32),
        np.array([-0.0, 1e-45], np.float32),
        rb.Activation("elu", 0.1),
        clip=6.1,
    )
    rb.RNN([cell], metadata={"a": "é"}).save(tmp_path / "m.onnx")
    (again,) = cells_of(rb.load(tmp_path / "m.onnx").layers[0])
    assert (again.activation, again.clip) == (rb.Activation("elu", 0.1), 6.1)
    assert same_bits(again.bias, cell.bias)


@pytest.mark.parametrize(
    ("rnn", "message"),
    [
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), leak=0.5)]), r"the cell l0 has a leak, which ONNX's RNN has not"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), activation="softmax")]), r"ONNX's RNN has no 'softmax', the activation of l0"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), activation=abs)]), r"a file cannot hold the function abs"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2))], rb.Linear(np.ones((2, 2)), activation="affine")), r"ONNX has no operator for 'affine'"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2), clip=6.1)]), r"float32, where 6.1 of l0 is 6.099999904632568; give that value"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2), "f4"), np.eye(2, dtype="f4"), clip=1e39)]), r"float32, where 1e\+39 of l0 is inf"),
        (lambda: rb.RNN([rb.Cell(np.ones((2, 2)), np.eye(2))], rb.Linear(np.ones((2, 2)), activation=rb.Activation("elu", 0.1))), r"where 0.1 of the readout is"),
    ],
)  # fmt: skip
def test_what_onnx_cannot_hold(rnn: Callable[[], rb.RNN], message: str, tmp_path: Path) -> None:
    with pytest.raises(rb.FormatError, match=message):
        rnn().save(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_description_must_agree_with_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rb.RNN.init(3, 4, output_size=2).save(path)
    for right, wrong, message in (
        ('"tanh"', '"relu"', "the description of l0 says"),
        ('"leak": null', '"leak": 0.5', "the description of l0 says"),
        ('"clip": null', '"clip": 1.0', "the description of l0 says"),
        ('"softmax"', '"sigmoid"', "the description of the readout or of batch_first"),
        ('"batch_first": false', '"batch_first": true', "the description of the readout or of batch_first"),
        ('"format_version": 1', '"format_version": 2', "format version 2"),
        ('"l0"', '"l1"', "cells lacks"),
    ):
        made = onnx.load(path)
        (entry,) = made.metadata_props
        assert right in entry.value
        entry.value = entry.value.replace(right, wrong)
        refused(made, message)


# g2 of a readout that ends its graph


def test_a_graph_that_ends_without_an_activation_has_the_identity_unless_another_is_told() -> None:
    path = DATA / "torch_last_step.onnx"
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("f4")
    rnn = rb.load(path)
    assert rnn.readout is not None
    assert rnn.readout.activation == rb.Activation("identity")
    np.testing.assert_array_equal(rnn.probabilities(x), rnn.logits(x))
    with pytest.raises(
        rb.ArgumentError, match=r"g2 of this one is .*identity.* load it with readout_activation='softmax'"
    ):
        rnn.loss(x, np.zeros((2, 6), int))
    for told in (
        rb.load(path, readout_activation="softmax"),
        rb.from_onnx(path, readout_activation=rb.Activation("softmax")),
        rb.from_onnx(onnx.load(path), readout_activation="softmax"),
    ):
        np.testing.assert_array_equal(told.logits(x), rnn.logits(x))
        np.testing.assert_allclose(told.probabilities(x).sum(axis=-1), 1, atol=1e-6)
        assert np.isfinite(told.loss(x, np.zeros((2, 6), int)))
        assert told.metadata == rnn.metadata


def test_what_a_graph_tells_of_g2_must_be_left_out(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    drawn = rb.RNN.init(3, 4, output_size=2)
    assert drawn.readout is not None
    rb.RNN(drawn.layers, rb.Linear(drawn.readout.weight, drawn.readout.bias, "identity")).save(own)
    for path, what in (
        (DATA / "torch_softmax.onnx", "a readout whose activation it tells"),
        (DATA / "torch_state.onnx", "no readout"),
        (own, "a readout whose activation it tells"),
    ):
        for read in (rb.load, rb.from_onnx):
            with pytest.raises(rb.FormatError, match=f"the graph has {what}; leave `readout_activation` out"):
                read(path, readout_activation="softmax")
    with pytest.raises(rb.ArgumentError, match="`readout_activation` is none: "):
        rb.from_onnx(own, readout_activation="softmacks")


# The entrances


def test_arguments(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rb.RNN.init(3, 4).save(path)
    assert rb.from_onnx(str(path), backend="array_api_strict").backend.name == "array_api_strict"
    assert rb.from_onnx(onnx.load(path)).dtype == "float32"
    with pytest.raises(rb.FormatError, match="tells all there is to know; leave `activation` out"):
        rb.load(path, activation="tanh")
    with pytest.raises(rb.ArgumentError, match=r"`model` must be a path or an onnx\.ModelProto; got bytes"):
        rb.from_onnx(path.read_bytes())
    with pytest.raises(rb.ArgumentError, match="`external_data` must be True or False; got 1"):
        rb.from_onnx(path, external_data=1)  # type: ignore[arg-type]
    with pytest.raises(rb.FormatError, match="external data lie beside a file; pass its path"):
        rb.from_onnx(onnx.load(path), external_data=True)
    with pytest.raises(FileNotFoundError):
        rb.from_onnx(tmp_path / "absent.onnx")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = single(stack(Draw("float32", 21), "f", 1)[0], np.zeros((2, 3, 4), np.float32))
    assert format_.supports_device("CPU")
    assert not format_.supports_device("TPU")
    assert format_.is_compatible(made)
    assert not format_.is_compatible(made, "TPU")
    with pytest.raises(rb.DeviceError, match="the device must be 'CPU', 'CUDA' or 'CUDA:1'; got 'TPU'"):
        format_.prepare(made, "TPU")
    monkeypatch.setenv("RNN_BACKEND", "array_api_strict:device1")
    assert format_.prepare(made)._place.device == "device1"
    assert format_.run_model(made, inputs)[0].shape == (2, 1, 3, 5)
    made.graph.node[0].op_type = "GRU"
    assert not format_.is_compatible(made)


def test_inputs_of_a_prepared_model() -> None:
    made, inputs = single(stack(Draw("float32", 22), "f", 1)[0], np.zeros((2, 3, 4), np.float32), [2, 1, 0])
    prepared = format_.prepare(made)
    with pytest.raises(rb.ArgumentError, match=r"the inputs must be \['X', 'sequence_lens'\]; got 1"):
        prepared.run([inputs["X"]])
    with pytest.raises(rb.ArgumentError, match=r"the inputs must be \['X', 'sequence_lens'\]; got \['X', 'Z'\]"):
        prepared.run({"X": inputs["X"], "Z": inputs["X"]})
    with pytest.raises(rb.DTypeError, match=r"the input 'X' must be float32 with 3 axes; got float64"):
        prepared.run([inputs["X"].astype(np.float64), inputs["sequence_lens"]])
    with pytest.raises(rb.ArgumentError, match="every length"):
        prepared.run([inputs["X"], np.array([3, 0, 0], np.int32)])
    del made.graph.input[0].type.tensor_type.shape.dim[2]
    with pytest.raises(rb.FormatError):
        format_.prepare(made)
    made.graph.node[0].attribute[0].name = ""
    with pytest.raises(rb.FormatError, match="the model is not valid ONNX"):
        format_.prepare(made)


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.onnx")))
def test_files_of_torch(backend: str, name: str) -> None:
    """Files that torch's exporter wrote, with what torch computed; tests/data/make_onnx.py made them."""
    with np.load(DATA / f"{name}.npz") as held:
        inputs = [held[key] for key in held if key.startswith("input")]
        wanted = [held[key] for key in held if key.startswith("output")]
    assert rb.load(DATA / f"{name}.onnx", backend=backend).backend.name == backend.partition(":")[0]
    for got, right in zip(run_on(backend, onnx.load(DATA / f"{name}.onnx"), inputs), wanted, strict=True):
        assert got.shape == right.shape
        assert np.abs(got - right).max() <= 16 * np.finfo(np.float32).eps  # contractive weights: errors do not grow


# Every operator's own refusals: an input X0 (t, b, 4), states Y0 and X1 (t, b, 10), last states H0, zeros Z


def extended(*more: onnx.NodeProto, outputs: Sequence[str] = ("X1",), **held: NDArray[Any]) -> onnx.ModelProto:
    nodes, tensors = graph_of(stack(Draw("float32", 30), count=1), merged)
    zeros = [node("Shape", ["X0"], "s0"), node("ConstantOfShape", ["s0"], "Z")]
    small = {"i0": np.array([0]), "i1": np.array([1]), "i2": np.array([2]), "k2": np.array(2), "i01": np.array([0, 1])}
    small |= {"w": np.ones((10, 3), np.float32), "one": np.ones(1, np.float32), "i3": np.array([1, 1, 1])}
    inputs = [value("X0", shape=["t", "b", 4]), value("ids", shape=["t", "b"], dtype="int64")]
    return model([*nodes, *zeros, *more], inputs, outputs, tensors | MERGE | small | held)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([node("Expand", ["X1", "i1"], "y")], "Expand .* what depends on the input is repeated"),
        ([node("Expand", ["one", "s0"], "y")], "its shape must be constant; got one that depends on the input's shape"),
        ([node("Expand", ["one", "minus"], "y")], r"the shape \[-1\] is impossible"),
        ([node("ConstantOfShape", ["i1"], "y", value=helper.make_tensor("v", 1, [2], [1.0, 2.0]))], "`value` must be one number; got 2"),
        ([node("Cast", ["X1"], "y", to=1)], "Cast .* it converts to the element type 1"),
        ([node("Constant", [], "y")], "Constant .* it must have one attribute; got \\[\\]"),
        ([node("Reshape", ["X1", "two_open"], "y")], r"the shape \[-1, -1\] leaves more than one size open"),
        ([node("Reshape", ["X0", "i1"], "y")], "it would tear axes apart: .* cannot be read as nothing"),
        ([node("Reshape", ["X1", "of_ten"], "y")], r"cannot be read as size 4"),
        ([node("Reshape", ["X1", "too_long"], "y")], r"the shape \[0, 0, 0, 0\] has a size of 0"),
        ([node("Reshape", ["X1", "far_below"], "y")], r"the shape \[-2, 10\] has a negative size"),
        ([node("Reshape", ["w", "i3"], "y")], "Reshape .* it cannot be computed: cannot reshape array of size 30"),
        ([node("Reshape", ["X1", "one"], "y")], "its shape must be constant integers, at most 8"),
        ([node("Transpose", ["X1"], "y", perm=[0, 1])], r"`perm` must order the 3 axes; got \[0, 1\]"),
        ([node("Squeeze", ["X1"], "y")], "it names no axes, and not all sizes are known"),
        ([node("Squeeze", ["X1", "i3"], "y")], r"the axes \[1, 1, 1\] must be different ones of 3"),
        ([node("Squeeze", ["w", "i1"], "y")], r"the axes \[1\] must have size 1; the sizes are \[10, 3\]"),
        ([node("Shape", ["Z"], "y")], "the shape of zeros that take the input's is not followed"),
        ([node("Slice", ["X1", "i0", "i01", "i0"], "y")], "it must have as many starts as ends, axes and steps"),
        ([node("Slice", ["X1", "i0", "i2", "i0", "i2"], "y")], "it takes every 2-th step of what depends on the input"),
        ([node("Slice", ["X1", "i1", "i2", "i0"], "y")], r"the part 1:2 of X0\[0\] is none that the model gives"),
        ([node("Slice", ["X0", "minus", "i2", "i0"], "y")], r"the part -1:2 of the input 'X0' is not known to hold anything"),
        ([node("Gather", ["X1", "X1"], "y")], "token ids must pick rows of a constant matrix"),
        ([node("Gather", ["X1", "one"], "y")], "its indices must be constant integers, or an input of token ids"),
        ([node("Gather", ["X1", "i01"], "y")], "it takes several entries of what depends on the input"),
        ([node("Gather", ["X1", "k2"], "y", axis=5)], r"the axes \[5\] must be different ones of 3"),
        ([node("Gather", ["H0", "k2"], "y")], "Gather .* the part 2:2 of cells is none that the model gives"),
        ([node("Gather", ["w", "big"], "y")], "Gather .* it cannot be computed: index 99 is out of bounds"),
        ([node("Concat", ["X1", "X1"], "y")], "it must have `axis` and at least one input"),
        ([node("Concat", ["X1", "w"], "y", axis=0)], "it joins what the model does not"),
        ([node("Concat", ["X1", "X1"], "y", axis=2)], "it joins what the model does not"),
        ([node("Concat", ["H0", "H0"], "y", axis=2)], "last states must be joined on the axis of cells"),
        ([node("Transpose", ["H0"], "h", perm=[0, 2, 1]), node("Concat", ["H0", "h"], "y", axis=0)], "last states must be joined with their other axes alike"),
        ([node("MatMul", ["H0", "w"], "y")], r"its matrix, \(10, 3\), must take the states of one step"),
        ([node("MatMul", ["X1", "w"], "l"), node("Add", ["l", "w"], "y")], r"the bias of the readout must be a constant of shape \(3,\)"),
        ([node("MatMul", ["X1", "w"], "l"), node("LeakyRelu", ["l"], "y", alpha=float("inf"))], "LeakyRelu .* it is wrong: .* must be a finite number"),
        ([node("Reshape", ["X1", "rows"], "x2"), node("Unsqueeze", ["x2", "i1"], "x3"), node("RNN", ["x3", "w3", "r3"], ["y"])],
         "the first two axes of its X must be steps and sequences"),
        ([node("RNN", ["X1", "Z", "r3"], ["y"])], "its W must be a constant of floating point"),
        ([node("RNN", ["X1", "w3", "r3", "", "", "w"], ["y"])], "its initial_h must be zeros or an input of the graph"),
        ([node("RNN", ["X1", "w3", "r3", "", "", "X0"], ["y"])], r"its initial_h must have the axes directions, batch and hidden; those of what comes are .*X0\[2\]=4"),
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
    held: dict[str, Any] = {
        name: np.array(number) for name, number in (numbers | {"big": [99], "rows": [-1, 10]}).items()
    }
    refused(
        extended(*more, **held, w3=np.ones((1, 5, 10), np.float32), r3=np.ones((1, 5, 5), np.float32)),
        message,
    )


@pytest.mark.parametrize(
    "more",
    [
        [node("Constant", [], "c", value_floats=[1.0, 2.0])],
        [node("Constant", [], "c", value_int=3)],
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
    with pytest.raises(rb.FormatError, match=r"the axis X0\[1\] was removed from the array as one of size 1; it has 2"):
        format_.run_model(made, [np.zeros((7, 2, 4), np.float32)])


def test_files_of_more_than_2_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn, path = rb.RNN.init(2, 3), tmp_path / "m.onnx"
    rnn.save(path)
    monkeypatch.setattr("rnn_backends.formats.onnx.proto.MAX_FILE", 100)
    with pytest.raises(rb.FormatError, match=r"m\.onnx: it has more than 2 GiB, which protobuf cannot hold"):
        rb.load(path)
    monkeypatch.setattr(import_module("rnn_backends.formats.onnx.write"), "MAX_FILE", 2**24 + 10)  # not the function
    with pytest.raises(rb.FormatError, match="the model has about 2 GiB or more, which an ONNX file cannot hold"):
        rnn.save(path)
