"""ONNX against others: its own backend tests, ONNX Runtime, its reference evaluator and torch's exporter.

Where docs/onnx.md says that they disagree, they must: each line of its table is a test here.
"""

import runpy
import unittest
import warnings
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("onnx")

import onnx
from onnx_models import OF_ONNX, run_runtime, single

import rnn_backends as rb
from rnn_backends import onnx_backend as format_
from rnn_backends.testing import Case, excess, reference
from rnn_backends.testing.cases import Draw

DATA = Path(__file__).parents[1] / "data"
SIDES = ("f", "b", "fb")


# ONNX's own tests


@pytest.fixture(scope="session")
def official() -> dict[str, Any]:
    """ONNX's node tests of RNN, by name; the cases of other operators, which take most of a minute, are not made."""
    from onnx.backend.test import BackendTest, loader

    with pytest.MonkeyPatch.context() as patch:
        only = lambda package: import_module(f"{package.__name__}.rnn")  # noqa: E731
        patch.setattr(loader, "import_recursive", only, raising=False)
        suite = BackendTest(format_, __name__).include("rnn")
        classes = suite.test_cases.values()
    found = {name: held for held in classes for name in unittest.defaultTestLoader.getTestCaseNames(held)}
    return {name: held for name, held in found.items() if "rnn" in name}


def test_official_node_tests(backend: str, official: dict[str, Any]) -> None:
    device = "cuda" if backend.startswith("cupy") else "cpu"
    chosen = {name: held for name, held in official.items() if name.endswith(device)}
    assert len(chosen) >= 4  # onnx 1.21 has four, 1.23 six
    with rb.use_backend(backend):
        result = unittest.TestResult()
        for name, held in chosen.items():
            held(name).run(result)
    assert result.testsRun == len(chosen)
    assert not result.skipped
    assert result.wasSuccessful(), result.errors + result.failures


# ONNX Runtime


@pytest.fixture(scope="session")
def runtime() -> Any:
    return pytest.importorskip("onnxruntime")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A single layer, in whatever way a node can say it."""
    made = Draw("float32", draw(st.integers(0, 999)))
    sides, seq_len, batch = draw(st.sampled_from(SIDES)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    input_size, hidden_size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    bias, clip = draw(st.booleans()), draw(st.sampled_from([None, 0.5, 2.0]))
    cells = [
        made.cell(input_size, hidden_size, bias=bias, clip=clip, activation=draw(st.sampled_from(SMOOTH)))
        if side in sides
        else None
        for side in "fb"
    ]
    h_0 = made.normal(len(sides), batch, hidden_size) if draw(st.booleans()) else None
    # A length of 0 is a line of the table: ONNX Runtime forgets the initial state.
    lengths = draw(st.none() | st.lists(st.integers(1, seq_len), min_size=batch, max_size=batch))
    return Case([rb.Layer(*cells)], made.normal(seq_len, batch, input_size), h_0, lengths)


# thresholded_relu jumps: there a rounding error of the argument is an error of the size of the threshold.
SMOOTH = tuple(activation for activation in OF_ONNX if activation.name != "thresholded_relu")


@given(case=cases())
def test_nodes_as_onnx_runtime(runtime: Any, case: Case) -> None:
    made, inputs = single(case.layers[0], case.x, case.lengths, case.h_0)
    output, h_n = reference(*case, dtype="float32")
    for y, y_h in (run_runtime(runtime, made, inputs), format_.run_model(made, inputs)):
        assert excess(y.transpose(0, 2, 1, 3).reshape(output.value.shape), output) <= 1.0
        assert excess(y_h, h_n) <= 1.0


@st.composite
def networks(draw: st.DrawFn) -> tuple[rb.RNN, Any]:
    made = Draw("float32", draw(st.integers(0, 999)))
    input_size, hidden_size, batch_first = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.booleans())
    layers, width = [], input_size
    for _ in range(draw(st.integers(1, 3))):
        sides = draw(st.sampled_from(SIDES))
        layers += made.layers(
            sides, 1, width, hidden_size, bias=draw(st.booleans()), activation=draw(st.sampled_from(SMOOTH))
        )
        width = len(sides) * hidden_size
    g2 = draw(st.sampled_from([None, "softmax", "log_softmax", "identity", "sigmoid"]))
    readout = None if g2 is None else rb.Linear(made.normal(3, width), made.normal(3), g2)
    vocabulary = "abcde"[:input_size] if draw(st.booleans()) else None
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 3)))
    x = made.random.integers(0, input_size, shape) if vocabulary else made.normal(*shape, input_size)
    rnn = rb.RNN(layers, readout, batch_first=batch_first, vocabulary=vocabulary)
    return rnn, x.swapaxes(0, 1) if batch_first else x


@given(drawn=networks())
def test_written_models_in_onnx_runtime(
    runtime: Any, drawn: tuple[rb.RNN, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rnn, x = drawn
    path = tmp_path_factory.getbasetemp() / "runtime.onnx"
    rnn.save(path)
    output, h_n, *read_out = run_runtime(runtime, onnx.load(path), {"x": x})
    by_steps = x.swapaxes(0, 1) if rnn.batch_first else x
    wanted, last = reference(list(rnn.layers), by_steps, dtype="float32")
    assert excess(output.swapaxes(0, 1) if rnn.batch_first else output, wanted) <= 1.0
    assert excess(h_n, last) <= 1.0
    if rnn.readout is not None:
        weight, states = rnn.readout.weight.astype(np.float64), output.astype(np.float64)
        bias: Any = rnn.readout.bias
        bound = 12 * 2.0**-24 * (abs(states) @ abs(weight.T) + abs(bias))  # gamma_n of at most 11 terms
        assert (abs(read_out[0] - (states @ weight.T + bias)) <= bound).all()
        right = rb.to_numpy(rnn.readout.activate(read_out[0]))
        assert (abs(read_out[-1] - right) <= 32 * 2.0**-24 * (1 + abs(right))).all()


# torch's exporter


@settings(max_examples=25)
@given(
    layers=st.integers(1, 3), bidirectional=st.booleans(), batch_first=st.booleans(), bias=st.booleans(), relu=st.booleans(),
    dynamic=st.booleans(), opset=st.sampled_from([9, 11, 14, 17, 20]), fold=st.booleans(), double=st.booleans(),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(2, 5), st.integers(1, 3)), states=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_what_torch_exports(
    torch: Any, layers: int, bidirectional: bool, batch_first: bool, bias: bool, relu: bool, dynamic: bool, opset: int,
    fold: bool, double: bool, sizes: tuple[int, int, int, int], states: bool, seed: int,
) -> None:  # fmt: skip
    input_size, hidden_size, seq_len, batch = sizes
    torch.manual_seed(seed)
    script = runpy.run_path(str(DATA / "make_onnx.py"))
    dtype = "float64" if double else "float32"
    module = torch.nn.RNN(
        input_size, hidden_size, layers, "relu" if relu else "tanh", bias=bias, batch_first=batch_first,
        bidirectional=bidirectional, dtype=getattr(torch, dtype),
    )  # fmt: skip
    script["contractive"](module)
    shape = (batch, seq_len) if batch_first else (seq_len, batch)
    given_x = torch.randn(*shape, input_size, dtype=module.weight_ih_l0.dtype)
    h_0 = torch.randn(layers * (1 + bidirectional), batch, hidden_size, dtype=given_x.dtype)
    inputs = (given_x, h_0) if states else (given_x,)
    axes = {"x": {0: "first", 1: "second"}, "second": {1: "batch"}} if dynamic else None
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, inputs, file, dynamo=False, input_names=["x", "second"][: len(inputs)], opset_version=opset,
            do_constant_folding=fold, dynamic_axes=axes and {name: axes[name] for name in ["x", "second"][: len(inputs)]},
        )  # fmt: skip
    made = onnx.load_from_string(file.getvalue())
    rnn = rb.from_onnx(made)
    assert (rnn.batch_first, len(rnn.layers), rnn.dtype) == (batch_first, layers, dtype)
    with torch.no_grad():
        wanted = [held.numpy() for held in module(*inputs)]
    x = given_x.numpy().swapaxes(0, 1) if batch_first else given_x.numpy()
    output, h_n = reference(list(rnn.layers), x, h_0.numpy() if states else None, dtype=dtype)
    for y, last in (wanted, format_.run_model(made, [held.numpy() for held in inputs])):
        assert excess(y.swapaxes(0, 1) if batch_first else y, output) <= 1.0
        assert excess(last, h_n) <= 1.0


@pytest.mark.parametrize(
    ("layers", "bidirectional", "batch_first", "bias", "relu", "sizes", "states"),
    [
        (2, True, True, True, False, (3, 4, 4, 2), False),
        (2, False, False, False, True, (1, 1, 2, 1), False),  # all sizes that can be confused are 1
        (1, True, False, True, False, (4, 4, 3, 3), True),
    ],
)
def test_what_torch_unrolls(
    torch: Any, layers: int, bidirectional: bool, batch_first: bool, bias: bool, relu: bool, sizes: tuple[int, int, int, int],
    states: bool,
) -> None:  # fmt: skip
    """torch's default exporter, which computes each step by nodes of its own; the network takes any number of them."""
    pytest.importorskip("onnxscript")
    input_size, hidden_size, seq_len, batch = sizes
    torch.manual_seed(layers)
    module = torch.nn.RNN(
        input_size, hidden_size, layers, "relu" if relu else "tanh", bias=bias, batch_first=batch_first, bidirectional=bidirectional,
    )  # fmt: skip
    runpy.run_path(str(DATA / "make_onnx.py"))["contractive"](module)

    def inputs(seq_len: int) -> tuple[Any, ...]:
        shape = (batch, seq_len) if batch_first else (seq_len, batch)
        h_0 = torch.randn(layers * (1 + bidirectional), batch, hidden_size)
        return (torch.randn(*shape, input_size), *([h_0] if states else []))

    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs(seq_len), file, dynamo=True, verbose=False)
    made = onnx.load_from_string(file.getvalue())
    rnn = rb.from_onnx(made)
    assert (rnn.batch_first, len(rnn.layers)) == (batch_first, layers)
    for length in (seq_len, seq_len + 3):
        given_inputs = inputs(length)
        with torch.no_grad():
            wanted = [held.numpy() for held in module(*given_inputs)]
        arrays = [held.numpy() for held in given_inputs]
        found = [rnn(*arrays)] if length != seq_len else [rnn(*arrays), format_.run_model(made, arrays)]
        for got in found:
            assert agree(got, wanted)


@pytest.mark.parametrize("name", ["Cells", "Step"])
def test_loops_of_cells_that_torch_traces(torch: Any, name: str) -> None:
    """The older exporter, which leaves the loops of a module's Python as they ran."""
    script = runpy.run_path(str(DATA / "make_onnx.py"))
    module, file = script["contractive"](script[name]()), BytesIO()
    inputs = (torch.randint(0, 7, (2, 6)),) if name == "Cells" else (torch.randn(2, 4), torch.randn(2, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, file, dynamo=False, opset_version=17)
    made = onnx.load_from_string(file.getvalue())
    with torch.no_grad():
        wanted = [held.numpy() for held in module(*inputs)]
    assert agree(format_.run_model(made, [held.numpy() for held in inputs]), wanted)


def test_a_module_and_its_export_agree_on_g2(torch: Any) -> None:
    """A Linear at the end: torch does not record what follows it, and the graph records that nothing does."""
    script = runpy.run_path(str(DATA / "make_onnx.py"))
    module = script["contractive"](script["Net"](lambda readout, output, _: readout(output), batch_first=True))
    x, file = torch.randn(2, 6, 4), BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, dynamo=False, input_names=["x"], opset_version=17)
    made, targets = onnx.load_from_string(file.getvalue()), np.zeros((2, 6), int)
    with pytest.raises(
        rb.FormatError, match="pass readout_activation='softmax' if it was trained with a cross-entropy"
    ):
        rb.from_torch(module)
    with torch.no_grad():
        logits = module(x)
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 3), torch.zeros(12, dtype=torch.long))
        wanted = {"softmax": torch.softmax(logits, -1).numpy(), "identity": logits.numpy()}
    found = {
        g2: [rb.from_torch(module, readout_activation=g2), rb.from_onnx(made, readout_activation=g2)] for g2 in wanted
    }
    found["identity"].append(rb.from_onnx(made))
    for g2, models in found.items():
        for rnn in models:
            np.testing.assert_allclose(rnn.logits(x.numpy()), logits, rtol=0, atol=2e-6)
            np.testing.assert_allclose(rnn.probabilities(x.numpy()), wanted[g2], rtol=0, atol=2e-6)
    for rnn in found["softmax"]:
        assert abs(rnn.loss(x.numpy(), targets) - loss) < 2e-6
    for rnn in found["identity"]:
        with pytest.raises(rb.ArgumentError, match="loss is the cross-entropy of a softmax readout"):
            rnn.loss(x.numpy(), targets)


# The table of docs/onnx.md: where the specification, ONNX Runtime and ONNX's reference evaluator disagree


@pytest.fixture
def evaluator() -> Callable[..., list[NDArray[Any]]]:
    """ONNX's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    return lambda made, inputs: ReferenceEvaluator(made).run(None, inputs)


def layer(sides: str = "f", seed: int = 1, **options: Any) -> rb.Layer:
    return Draw("float32", seed).layers(sides, 1, 4, 5, **options)[0]


X = Draw("float32", 2).normal(6, 2, 4)
H_0 = Draw("float32", 3).normal(1, 2, 5)


def agree(first: Any, second: Any) -> bool:
    return all(np.allclose(a, b, rtol=0, atol=1e-5) for a, b in zip(first, second, strict=True))


def test_line_lengths(runtime: Any, evaluator: Any) -> None:
    made, inputs = single(layer(), X, [6, 3])
    own = format_.run_model(made, inputs)
    assert agree(own, run_runtime(runtime, made, inputs))
    assert not agree(own, evaluator(made, inputs))
    assert agree(evaluator(made, inputs), format_.run_model(*single(layer(), X)))  # it ignores them
    assert not own[0][3:, :, 1].any()


def test_line_length_zero(runtime: Any) -> None:
    made, inputs = single(layer(), X, [6, 0], H_0)
    own, other = format_.run_model(made, inputs), run_runtime(runtime, made, inputs)
    np.testing.assert_array_equal(own[1][0, 1], H_0[0, 1])
    assert not other[1][0, 1].any()
    assert agree([own[0]], [other[0]])


def test_line_clip(runtime: Any, evaluator: Any) -> None:
    made, inputs = single(layer(clip=0.25), X)
    own = format_.run_model(made, inputs)
    assert agree(own, run_runtime(runtime, made, inputs))
    assert not agree(own, evaluator(made, inputs))
    assert abs(own[0]).max() <= np.tanh(np.float32(0.25))
    for clip in (0.0, -1.0):
        made, inputs = single(layer(), X, clip=clip)
        assert run_runtime(runtime, made, inputs)
        with pytest.raises(rb.FormatError, match="`clip` must be positive"):
            format_.prepare(made)


@pytest.mark.parametrize("name", ["Affine", "ThresholdedRelu", "LeakyRelu", "HardSigmoid", "Elu"])
def test_line_defaults(runtime: Any, name: str) -> None:
    made, inputs = single(layer(), X, activations=[name])
    assert agree(format_.run_model(made, inputs), run_runtime(runtime, made, inputs)) is (
        name not in {"Affine", "ThresholdedRelu"}
    )


def test_line_scaled_tanh_without_parameters(runtime: Any) -> None:
    made, inputs = single(layer(), X, activations=["ScaledTanh"])
    assert not np.any(run_runtime(runtime, made, inputs)[0])
    with pytest.raises(rb.FormatError, match="needs `alpha`, which has no default"):
        format_.prepare(made)


def test_line_other_activations(evaluator: Any) -> None:
    made, inputs = single(layer(activation="relu"), X)
    assert format_.run_model(made, inputs)
    with pytest.raises(RuntimeError, match="Unknown activation function 'Relu'"):
        evaluator(made, inputs)


def test_line_whose_alpha(runtime: Any, evaluator: Any) -> None:
    one: dict[str, Any] = {"activations": ["Tanh", "Affine"], "activation_alpha": [0.5], "activation_beta": [0.25]}
    made, inputs = single(layer("fb"), X, **one)
    assert agree(format_.run_model(made, inputs), run_runtime(runtime, made, inputs))
    with pytest.raises(RuntimeError, match="activation_alpha must have the same size as num_directions=2"):
        evaluator(made, inputs)
    made, inputs = single(layer("fb"), X, **one | {"activation_alpha": [0.75, 0.5], "activation_beta": [0.0, 0.25]})
    assert not agree(run_runtime(runtime, made, inputs), evaluator(made, inputs))
    with pytest.raises(rb.FormatError, match="which value belongs to which would be a guess"):
        format_.prepare(made)


def test_line_the_threshold(runtime: Any) -> None:
    cell = rb.Cell(
        np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32), activation=rb.Activation("thresholded_relu", 0.5)
    )
    made, inputs = single(rb.Layer(cell), np.array([[[0.5, 0.75]]], np.float32))
    for y, _ in (format_.run_model(made, inputs), run_runtime(runtime, made, inputs)):
        assert y.ravel().tolist() == [0.0, 0.75]


def test_line_names_of_activations(runtime: Any, evaluator: Any) -> None:
    made, inputs = single(layer(), X, activations=["tanh"])
    assert agree(format_.run_model(made, inputs), evaluator(made, inputs))
    with pytest.raises(Exception, match="Invalid activation attribute - tanh"):
        run_runtime(runtime, made, inputs)


def test_line_two_activations_for_one_direction(runtime: Any) -> None:
    made, inputs = single(layer(), X, activations=["Relu", "Tanh"])
    assert agree(run_runtime(runtime, made, inputs), format_.run_model(*single(layer(activation="relu"), X)))
    with pytest.raises(rb.FormatError, match="`activations` must name 1"):
        format_.prepare(made)


def test_line_layout(runtime: Any, evaluator: Any) -> None:
    made, inputs = single(layer(), X, None, H_0, layout=1)
    assert agree(format_.run_model(made, inputs), evaluator(made, inputs))
    with pytest.raises(Exception, match="layout == 1"):
        run_runtime(runtime, made, inputs)


def test_line_hidden_size(runtime: Any, evaluator: Any) -> None:
    made, inputs = single(layer(), X, hidden_size=None)
    assert agree(format_.run_model(made, inputs), evaluator(made, inputs))
    with pytest.raises(Exception, match="hidden_size"):
        run_runtime(runtime, made, inputs)


def test_line_float64(runtime: Any, evaluator: Any) -> None:
    case = Draw("float64", 4).case()
    made, inputs = single(case.layers[0], case.x)
    assert agree(format_.run_model(made, inputs), evaluator(made, inputs))
    with pytest.raises(Exception, match=r"NOT_IMPLEMENTED|Could not find an implementation"):
        run_runtime(runtime, made, inputs)


def test_line_no_steps(runtime: Any, evaluator: Any) -> None:
    made, inputs = single(layer(), X[:0], None, H_0)
    own = format_.run_model(made, inputs)
    assert own[0].shape == (0, 1, 2, 5)
    np.testing.assert_array_equal(own[1], H_0)
    assert not run_runtime(runtime, made, inputs)[1].any()
    with pytest.raises(ValueError, match="need at least one array to stack"):
        evaluator(made, inputs)


def test_every_line_of_the_table_is_tested() -> None:
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")
    table = page.partition("## Where they disagree")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == sum(name.startswith("test_line_") for name in globals())
