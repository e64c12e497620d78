"""One step of a cell whose two inputs have one size: which of them is the state, by names, or not at all."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx_models import cells_of, close, model, node, value
from ways import follow
from ways import refused as refused_with

import rnn_backends as rb
from rnn_backends.testing.cases import Draw

DRAW = Draw("float32", 93)
CELL: Any = cells_of(DRAW.layers("f", 1, 4, 4)[0])[0]
X, H = DRAW.normal(2, 4), DRAW.normal(2, 4)
BIASES = (DRAW.normal(4), DRAW.normal(4))
WANTED: NDArray[Any] = np.tanh(X @ CELL.weight_ih.T + BIASES[0] + H @ CELL.weight_hh.T + BIASES[1])
OWN = ("W", "R", "b", "c")


def step(
    first: str, second: str, names: tuple[str, str, str, str] = OWN, how: str = "MatMul", **held: Any
) -> onnx.ModelProto:
    """A step from the input `first` and the state `second`, as torch writes it; `names` are of the constants."""
    w, r, b, c = names
    held = {w: CELL.weight_ih, r: CELL.weight_hh, b: BIASES[0], c: BIASES[1]} | held
    if how == "Gemm":
        nodes = [node("Gemm", [second, r, c], "q", transB=1), node("Gemm", [first, w, b], "p", transB=1)]
    elif how == "turned":
        held |= {w: held[w].T, r: held[r].T}
        nodes = [node("Gemm", [second, r, c], "q"), node("Gemm", [first, w, b], "p")]
    elif how == "beside":
        held = {"both": np.concatenate([CELL.weight_ih, CELL.weight_hh], 1).T, "b": BIASES[0], "c": BIASES[1]}
        nodes = [
            node("Concat", [first, second], "xh", axis=1),
            node("MatMul", ["xh", "both"], "s"),
            node("Add", ["s", "b"], "p"),
        ]
    else:
        nodes = [
            node("Transpose", [w], "Wt"), node("Transpose", [r], "Rt"),
            node("MatMul", [second, "Rt"], "u"), node("Add", ["u", c], "q"),
            node("MatMul", [first, "Wt"], "v"), node("Add", ["v", b], "p"),
        ]  # fmt: skip
    added = node("Add", ["p", "c"], "t") if how == "beside" else node("Add", ["q", "p"], "t")
    return model(
        [*nodes, added, node("Tanh", ["t"], "y")], [value(n, shape=[2, 4]) for n in (first, second)], ["y"], held, 20
    )


def right(graph: onnx.ModelProto) -> None:
    rnn = rb.from_onnx(graph)
    close(rnn(X[None], H[None])[0][0], WANTED)
    cell: Any = rnn.layers[0].forward
    np.testing.assert_array_equal(cell.weight_ih, CELL.weight_ih)


@pytest.mark.parametrize("how", ["MatMul", "Gemm", "turned"])
@pytest.mark.parametrize("inputs", [("state", "h"), ("h", "state"), ("hx", "x"), ("one", "two"), ("two", "one")])
@pytest.mark.parametrize(
    "names",
    [
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), ("c.weight_ih", "c.weight_hh", "c.bias_ih", "c.bias_hh"),
        ("rnn/weight_ih_l0", "rnn/weight_hh_l0", "b", "c"), ("W", "R", "bias_ih_l1_reverse", "bias_hh_l1_reverse"),
        ("c.weight_ih", "R", "b", "c"), ("W", "c.weight_hh", "b", "c"), ("W", "R", "b", "c.bias_hh"),
    ],
)  # fmt: skip
def test_names_of_weights_say_which_input_is_the_state(names: Any, inputs: tuple[str, str], how: str) -> None:
    """In reinforcement learning `state` is what the cell takes, and a name of an input may be anything."""
    right(step(*inputs, names, how))


@pytest.mark.parametrize("how", ["MatMul", "Gemm", "beside"])
@pytest.mark.parametrize("name", ["h", "h0", "h_0", "hx", "h_prev", "prev_h", "hidden", "hidden_state", "initial_h"])
def test_one_name_of_a_state_says_which_it_is(name: str, how: str) -> None:
    right(step("x", name, how=how))
    right(step("a_name", name, how=how))


@pytest.mark.parametrize("how", ["MatMul", "Gemm", "beside"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("h_", "other"), ("real_estate", "x"), ("x", "real_estate"), ("hidden", "state"), ("h_0", "hx"), ("x", "my.hx"),
        ("x", "HX"), ("x", "state"), ("state", "x"), ("state", "memory"), ("obs", "memory"), ("state", "hidden"),
    ],
)  # fmt: skip
def test_other_names_are_no_proof(first: str, second: str, how: str) -> None:
    refused_with("onnx_hx", lambda: rb.from_onnx(step(first, second, how=how)))


@pytest.mark.parametrize("how", ["MatMul", "Gemm", "beside"])
def test_the_state_is_named_at_the_export(how: str) -> None:
    follow(
        "onnx_hx", lambda **_: rb.from_onnx(step("state", "memory", how=how)), WANTED,
        lambda rnn: rnn(X[None], H[None])[0][0], then=lambda: rb.from_onnx(step("x", "hx", how=how)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ("weight_ih", "weight_hh", "bias_hh", "bias_ih"), ("weight_ih", "R", "bias_hh", "c"),
        ("weight_iho", "weight_hhx", "b", "c"), ("my_weight_ih", "my_weight_hh", "b", "c"),
    ],
)  # fmt: skip
def test_names_of_weights_that_contradict_each_other_or_are_others_decide_nothing(names: Any) -> None:
    refused_with("onnx_hx", lambda: rb.from_onnx(step("one", "two", names)))
    right(step("one", "hx", names))


def test_a_constant_of_both_names_decides_nothing() -> None:
    """Biases of zeros are one constant, which one of the products alone may add."""
    names, zeros = ("W", "R", "bias_ih", "bias_hh"), np.zeros(4, np.float32)
    for gone in ("p", "q", ""):
        graph, named = (
            step(first, second, names, bias_ih=zeros, bias_hh=zeros) for first, second in (("one", "two"), ("x", "h"))
        )
        for each in (graph, named):
            for added in each.graph.node:
                if added.output[0] == gone:
                    added.op_type = "Identity"
                    del added.input[1:]
        refused_with("onnx_hx", lambda graph=graph: rb.from_onnx(graph))  # type: ignore[misc]
        close(rb.from_onnx(named)(X[None], H[None])[0][0], np.tanh(X @ CELL.weight_ih.T + H @ CELL.weight_hh.T))


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("head", [True, False])
def test_a_cell_that_torch_exports(torch: Any, head: bool, dynamo: bool) -> None:
    pytest.importorskip("onnxscript")

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.fc = torch.nn.RNNCell(4, 4), torch.nn.Linear(4, 2)

        def forward(self, state: Any, h: Any) -> Any:
            h = self.cell(state, h)
            return (self.fc(h), h) if head else h

    net, file = Net().eval(), io.BytesIO()
    given: dict[str, Any] = {"verbose": False} if dynamo else {"opset_version": 16}
    x, h = torch.from_numpy(X), torch.from_numpy(H)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x, h), file, input_names=["state", "h"], dynamo=dynamo, **given)
    rnn = rb.from_onnx(onnx.load_from_string(file.getvalue()))
    cell: Any = rnn.layers[0].forward
    np.testing.assert_array_equal(cell.weight_ih, net.cell.weight_ih.detach().numpy())
    close(rnn(X[None], H[None])[0][0], net.cell(x, h).detach().numpy())
