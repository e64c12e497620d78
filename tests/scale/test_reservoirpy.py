"""Models of reservoirpy with their numbers: the same states, outputs and free runs; what is not understood is named."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from places import ROOT, in_float64, refused
from ways import follow

import rnn_backends as rb
from rnn_backends.core.sparse import Sparse

rp = pytest.importorskip("reservoirpy")
nodes = pytest.importorskip("reservoirpy.nodes")
mat_gen = pytest.importorskip("reservoirpy.mat_gen")
tanh = pytest.importorskip("reservoirpy.activationsfunc").tanh

T, IN, OUT = 60, 3, 2
RANDOM = np.random.default_rng(1)
U, Y = RANDOM.standard_normal((T, IN)), RANDOM.standard_normal((T, OUT))


@pytest.fixture(autouse=True)
def wide(request: pytest.FixtureRequest) -> Iterator[None]:
    with in_float64(request):
        yield


def reservoir(units: int = 40, **options: Any) -> Any:
    return nodes.Reservoir(units, **({"sr": 0.9, "lr": 0.4, "seed": 3} | options))


def cell_of(rnn: rb.RNN, layer: int = 0) -> rb.Cell:
    cell = rnn.layers[layer].forward
    assert isinstance(cell, rb.Cell)
    return cell


def at_rest(*given: Any) -> None:
    """Let nodes begin from zeros, as a model here does."""
    for node in given:
        node.state = {name: np.zeros_like(value) for name, value in node.state.items()}


NODES: dict[str, dict[str, Any]] = {
    "plain": {}, "no leak": {"lr": 1.0}, "leaks": {"lr": np.linspace(0.1, 1.0, 40)}, "bias": {"bias": mat_gen.uniform},
    "one bias": {"bias": 0.3}, "scaling": {"input_scaling": np.array([0.1, 1.0, 2.0])},
    "dense": {"W": 0.1 * RANDOM.standard_normal((40, 40)), "Win": RANDOM.standard_normal((40, IN))},
    "all connected": {"rc_connectivity": 1.0, "input_connectivity": 1.0}, "float32": {"dtype": np.float32},
    **{name: {"activation": name} for name in ("tanh", "identity", "relu", "sigmoid", "softplus", "softmax")},
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_states_are_those_of_reservoirpy(name: str, backend: str) -> None:
    node = reservoir(**NODES[name])
    wanted = node.run(U)
    rnn = rb.from_reservoirpy(node, backend=backend)
    assert (rnn.dtype, rnn.batch_first, rnn.takes, rnn.readout) == ("float64", True, "features", None)
    np.testing.assert_allclose(rb.to_numpy(rnn(U)[0]), wanted, rtol=0, atol=1e-12)


def test_a_sparse_matrix_stays_so() -> None:
    node = reservoir(rc_connectivity=0.05)
    node.run(U)
    held = cell_of(rb.from_reservoirpy(node)).weight_hh
    assert isinstance(held, Sparse)
    values, columns, starts = held.to_csr()
    wanted = node.W.tocsr().sorted_indices()
    np.testing.assert_array_equal(values, wanted.data)
    np.testing.assert_array_equal(columns, wanted.indices)
    np.testing.assert_array_equal(starts, wanted.indptr)


def test_weights_are_copies() -> None:
    node = reservoir(W=np.eye(40), Win=np.ones((40, IN)))
    node.run(U)
    rnn = rb.from_reservoirpy(node)
    node.W[:] = 0
    np.testing.assert_array_equal(cell_of(rnn).weight_hh, np.eye(40))


MODELS: dict[str, Callable[[], Any]] = {
    "a readout": lambda: reservoir() >> nodes.Ridge(1e-3),
    "no bias": lambda: reservoir() >> nodes.Ridge(1e-3, fit_bias=False),
    "deep": lambda: reservoir() >> reservoir(30, seed=4) >> nodes.Ridge(1e-3),
    "an input": lambda: nodes.Input() >> reservoir() >> nodes.Ridge(1e-3),
    "an output": lambda: reservoir() >> nodes.Ridge(1e-3) >> nodes.Output(),
    "an ESN": lambda: rp.ESN(units=40, sr=0.8, ridge=1e-3, seed=5),
}


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_reservoirpy(name: str, backend: str) -> None:
    model = MODELS[name]()
    model.fit(U, Y, warmup=5)
    at_rest(*model.nodes)
    wanted = model.run(U)
    rnn = rb.from_reservoirpy(model, backend=backend)
    assert dict(rnn.metadata) == {}
    np.testing.assert_allclose(rb.to_numpy(rnn.logits(U)), wanted, rtol=0, atol=1e-10)
    several = np.stack([U, -U])
    np.testing.assert_allclose(rb.to_numpy(rnn.logits(several))[0], wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [
    lambda: rp.ESN(units=40, sr=0.8, ridge=10.0, seed=5, feedback=True),
    lambda: delayed(1, 10.0),
])  # fmt: skip
def test_feedback_runs_as_in_reservoirpy(make: Callable[[], Any], backend: str) -> None:
    model = make()
    model.fit(U, Y)
    at_rest(*model.nodes)
    model.feedback_buffers = {edge: np.zeros_like(buffer) for edge, buffer in model.feedback_buffers.items()}
    wanted = model.run(U)
    rnn = rb.from_reservoirpy(model, backend=backend)
    assert rnn.input_size == IN + OUT
    assert rnn.metadata["reservoirpy feedback"].startswith("the last 2 features of x<t> are y<t-1>")
    found = rnn.roll_out(np.concatenate([U[:1], np.zeros((1, OUT))], axis=1), T, inputs=U[1:])
    np.testing.assert_allclose(rb.to_numpy(found), wanted, rtol=0, atol=1e-10)


def test_a_readout_that_is_fitted_here_is_that_of_reservoirpy() -> None:
    model = reservoir() >> nodes.Ridge(1e-4)
    model.fit(U, Y, warmup=7)
    rnn = rb.from_reservoirpy(model)
    fitted = rnn.replace(readout=None).fit_readout(U, Y, ridge=1e-4, washout=7)
    np.testing.assert_allclose(fitted.readout.weight, rnn.readout.weight, rtol=0, atol=1e-8)
    np.testing.assert_allclose(fitted.readout.bias, rnn.readout.bias, rtol=0, atol=1e-8)


def ran(node: Any) -> Any:
    node.run(U)
    return node


def fitted(model: Any) -> Any:
    model.fit(U, Y)
    return model


REFUSED: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "no object of it": (lambda: "reservoir", ("expected a Reservoir", "got 'reservoir'")),
    "no numbers": (reservoir, ("'Reservoir' has no numbers in `Win` yet; run it on a step of the data first.",)),
    "not fitted": (lambda: reservoir(W=np.eye(40), Win=np.ones((40, IN))) >> nodes.Ridge(1.0, name="out"), ("'out' has no numbers in `Wout` yet; fit the model first.",)),
    "a subclass": (lambda: ran(type("Own", (nodes.Reservoir,), {})(10)), ("Own' has no place in a network here",)),
    "another node": (lambda: ran(nodes.NVAR(2, 2)), ("'reservoirpy.nodes.nvar.NVAR' has no place",)),
    "another readout": (lambda: reservoir() >> nodes.LMS(), ("'reservoirpy.nodes.lms.LMS' has no place",)),
    "another reservoir": (lambda: nodes.IPReservoir(10) >> nodes.Ridge(1.0), ("IPReservoir' has no place",)),
    "the input to the readout": (lambda: fitted(rp.ESN(units=20, ridge=1.0, input_to_readout=True)), ("'Input' feeds several, 'Reservoir', 'Ridge'", "reservoir >> readout")),
    "states as outputs": (lambda: fitted(rp.ESN(units=20, ridge=1.0, return_reservoir_activity=True)), ("'Reservoir' feeds several, 'Ridge', 'Output'",)),
    "two beside each other": (lambda: [reservoir(), reservoir(seed=9)] >> nodes.Ridge(1.0), ("'Ridge' is fed by several, 'Reservoir', 'Reservoir'",)),
    "a readout alone": (lambda: fitted(nodes.Ridge(1.0)), ("Reservoirs and at most one Ridge after them", "'Ridge'")),
    "a readout in between": (lambda: reservoir() >> nodes.Ridge(1.0, name="a") >> reservoir(seed=9) >> nodes.Ridge(1.0, name="b"), ("in this order, 'Reservoir', 'Ridge', 'Reservoir', 'Ridge'",)),
    "feedback of two steps": (lambda: fitted(delayed(2)), ("feedback must be that of the Ridge", "'Ridge >>2>> Reservoir'")),
    "an activation": (lambda: ran(reservoir(activation=np.sin)), ("`activation` of 'Reservoir'", "got 'sin'", "rnn_backends.Cell")),
    "an activation with options": (lambda: ran(reservoir(activation=partial(np.clip, a_min=0, a_max=1))), ("`activation` of 'Reservoir'", "got partial")),
    "a leak of 0": (lambda: ran(reservoir(lr=0.0, name="slow")), ("`lr` of 'slow' must be in 0 < lr <= 1", "got 0.0")),
    "a bias of two axes": (lambda: with_bias(np.ones((40, 1))), ("`bias` of 'Reservoir'", "(40,)", "(40, 1)")),
}  # fmt: skip


def delayed(steps: int, ridge: float = 1.0) -> Any:
    """Return a model with feedback."""
    body, readout = reservoir(), nodes.Ridge(ridge, name="readout")
    return (body >> readout) & (readout >> steps >> body)


def with_bias(bias: Any) -> Any:
    node = ran(reservoir())
    node.bias = bias
    return node


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_understood_is_named(what: str) -> None:
    make, parts = REFUSED[what]
    with refused(rb.FormatError, *parts):
        rb.from_reservoirpy(make())


def test_a_node_without_numbers_gets_them_by_a_step() -> None:
    node, twin = reservoir(), reservoir()
    wanted = twin.run(U)
    follow(
        "reservoirpy_run",
        lambda: rb.from_reservoirpy(node),
        wanted,
        lambda rnn: rnn(U)[0],
        then=lambda: (node.run(U[:1]), rb.from_reservoirpy(node))[1],
    )


def test_a_model_without_a_readout_gets_one_by_a_fit() -> None:
    model = reservoir() >> nodes.Ridge(1e-3)
    at_rest(ran(model.nodes[0]))
    twin = fitted(reservoir() >> nodes.Ridge(1e-3))
    at_rest(*twin.nodes)
    follow(
        "reservoirpy_fit",
        lambda: rb.from_reservoirpy(model),
        twin.run(U),
        lambda rnn: rnn.logits(U),
        then=lambda: rb.from_reservoirpy(fitted(model)),
    )


def test_a_function_that_equals_a_known_one_is_set_to_it() -> None:
    node = reservoir(activation=np.tanh)
    wanted = node.run(U)

    def known() -> rb.RNN:
        node.activation = tanh
        return rb.from_reservoirpy(node)

    follow("reservoirpy_function", lambda: rb.from_reservoirpy(node), wanted, lambda rnn: rnn(U)[0], then=known)
    by_hand = rb.RNN([rb.Cell(node.Win.toarray(), node.W, None, np.tanh, leak=0.4)])
    np.testing.assert_allclose(by_hand(U)[0], wanted, rtol=0, atol=1e-12)


def test_the_block_of_the_page_runs() -> None:
    page = (ROOT / "docs" / "how_to" / "reservoirs.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {"rb": rb, "x_train": np.tile(U, (3, 1)), "y_train": np.tile(Y, (3, 1))}
    exec(compile(block, "reservoirs.md", "exec"), found)
    at_rest(*found["model"].nodes)
    np.testing.assert_allclose(found["rnn"].logits(U), found["model"].run(U), rtol=0, atol=1e-10)
