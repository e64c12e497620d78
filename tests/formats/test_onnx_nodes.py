"""One ONNX node: every attribute and every input, on every backend."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx import numpy_helper
from onnx_models import (
    OF_ONNX,
    cells_of,
    node,
    options,
    run_on,
    single,
    weights,
)

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing import Case, excess, reference
from rnn_backends.testing.cases import Draw

RAGGED = [7, 0, 3]
SIDES = {"forward": "f", "reverse": "b", "bidirectional": "fb"}
DATA = Path(__file__).parents[1] / "data"


def require_states(case: Case, got: Sequence[NDArray[Any]], layout: int = 0, dtype: str = "float32") -> None:
    """Check Y and Y_h of one node against the float64 reference."""
    y, y_h = got
    output, h_n = reference(*case, dtype=dtype)
    seq_len, batch = case.x.shape[:2]
    y = y.transpose(1, 0, 2, 3) if layout else y.transpose(0, 2, 1, 3)
    assert excess(y.reshape(seq_len, batch, output.value.shape[-1]), output) <= 1.0
    assert excess(y_h.swapaxes(0, 1) if layout else y_h, h_n) <= 1.0


@pytest.mark.parametrize("direction", SIDES)
@pytest.mark.parametrize("activation", OF_ONNX, ids=lambda activation: activation.name)
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
    with pytest.raises(rb.ArgumentError, match=r"the node has the inputs 'X', 'W', 'R'; got 2 arrays"):
        format_.run_node(node("RNN", ["X", "W", "R"], ["Y"]), [case.x, held["W"]])


def test_the_vectors_find_mistakes() -> None:
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
        (lambda: one_node(activations=["Relu", "Tanh"]), r"`activations` must name 1, one a direction; got 'Relu', 'Tanh'"),
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
