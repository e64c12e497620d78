"""Outputs that are fed back, alone or behind features that are known: what the equations give step by step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from places import refused

import rnn_backends as rb
from rnn_backends.model import sampling

H, FED, KNOWN, STEPS, B = 7, 2, 3, 6, 4
RANDOM = np.random.default_rng(3)


def model(backend: str = "numpy", known: int = 0, **parts: Any) -> rb.RNN:
    drawn = rb.RNN.init(FED + known, H, output_size=FED, num_layers=2, seed=5)
    readout = rb.Linear(2 * drawn.readout.weight, drawn.readout.bias, "tanh")
    return rb.RNN(drawn.layers, parts.pop("readout", readout), **parts).to(backend)


def drawn(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def step_by_step(rnn: rb.RNN, x: Any, steps: int, inputs: Any, h_0: Any = None) -> Any:
    """Return the outputs by calls of the model with all that came before, time first."""
    found = []
    for k in range(steps):
        outputs = rb.to_numpy(rnn.probabilities(x, h_0, reads="steps"))
        found.append(outputs[-1])
        fed = outputs[-1] if inputs is None or k == steps - 1 else np.concatenate([inputs[k], outputs[-1]], axis=-1)
        if k < steps - 1:
            x = np.concatenate([x, fed[None]])
    return np.stack(found)


@pytest.mark.parametrize("known", [0, KNOWN])
@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize("reads", ["steps", "last", "final"])
def test_outputs_are_fed_back_behind_the_inputs(known: int, is_batch: bool, reads: str, backend: str) -> None:
    rnn, batch = model(backend, known, reads=reads), (B,) if is_batch else ()
    x, inputs = drawn(5, *batch, FED + known), drawn(STEPS - 1, *batch, known) if known else None
    for h_0 in (None, drawn(2, *batch, H)):
        found = rnn.roll_out(x, STEPS, inputs=inputs, h_0=h_0)
        assert type(found) is type(rnn.readout.weight)
        assert (tuple(found.shape), found.dtype) == ((STEPS, *batch, FED), rnn.readout.weight.dtype)
        np.testing.assert_allclose(rb.to_numpy(found), step_by_step(rnn, x, STEPS, inputs, h_0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("known", [0, KNOWN])
def test_the_batch_comes_first_where_the_model_has_it_so(known: int, backend: str) -> None:
    rnn, turned = model(backend, known), model(backend, known, batch_first=True)
    x, inputs = drawn(5, B, FED + known), drawn(STEPS - 1, B, known) if known else None
    found = turned.roll_out(np.swapaxes(x, 0, 1), STEPS, inputs=None if inputs is None else np.swapaxes(inputs, 0, 1))
    wanted = rb.to_numpy(rnn.roll_out(x, STEPS, inputs=inputs))
    np.testing.assert_allclose(rb.to_numpy(found), np.swapaxes(wanted, 0, 1), rtol=0, atol=1e-6)
    alone = turned.roll_out(x[:, 1], STEPS, inputs=None if inputs is None else inputs[:, 1])
    np.testing.assert_allclose(rb.to_numpy(alone), wanted[:, 1], rtol=0, atol=1e-6)


def test_arrays_of_the_backend_are_taken(backend: str) -> None:
    rnn, x, inputs = model(backend, KNOWN), drawn(5, B, FED + KNOWN), drawn(STEPS - 1, B, KNOWN)
    x_there, inputs_there = (rnn.backend.from_host(each, "float32", rnn.device) for each in (x, inputs))
    found = rnn.roll_out(x_there, STEPS, inputs=inputs_there)
    np.testing.assert_array_equal(rb.to_numpy(found), rb.to_numpy(rnn.roll_out(x, STEPS, inputs=inputs)))


@pytest.mark.parametrize("inputs", [None, np.zeros((0, B, KNOWN))])
def test_one_output_needs_no_further_inputs(inputs: Any) -> None:
    rnn, x = model(known=KNOWN), drawn(5, B, FED + KNOWN)
    found = rnn.roll_out(x, 1, inputs=inputs)
    assert found.shape == (1, B, FED)
    np.testing.assert_allclose(found[0], rnn.probabilities(x)[-1], rtol=0, atol=1e-6)


def test_a_long_beginning_is_run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rnn, x = model(batch_first=True), drawn(B, 50, FED)
    wanted = rnn.roll_out(x, STEPS)
    monkeypatch.setattr(sampling, "PIECE", 7)
    np.testing.assert_allclose(rnn.roll_out(x, STEPS), wanted, rtol=0, atol=1e-6)


def test_integers_are_features_where_the_model_takes_such() -> None:
    rnn = model(known=KNOWN, takes="features")
    x, inputs = np.arange(25).reshape(5, 5) % 3, np.ones((STEPS - 1, KNOWN), int)
    np.testing.assert_array_equal(
        rnn.roll_out(x, STEPS, inputs=inputs),
        rnn.roll_out(x.astype(np.float32), STEPS, inputs=inputs.astype(np.float32)),
    )


def test_feedback_is_part_of_the_input() -> None:
    """A reservoir with W_in, W_fb, written out in NumPy."""
    w_in, w_fb, w, w_out = (RANDOM.standard_normal(shape) for shape in ((H, 3), (H, 2), (H, H), (2, H)))
    w_out = 0.2 * w_out
    rnn = rb.RNN([rb.Cell(np.hstack([w_in, w_fb]), 0.3 * w)], rb.Linear(w_out, None, "identity"))
    u, a, y, wanted = RANDOM.standard_normal((20, 3)), np.zeros(H), np.zeros(2), []
    for k in range(20):
        a = np.tanh(w_in @ u[k] + w_fb @ y + 0.3 * w @ a)
        y = w_out @ a
        wanted.append(y)
    found = rnn.roll_out(np.concatenate([u[:1], np.zeros((1, 2))], axis=1), 20, inputs=u[1:])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


X = np.zeros((5, FED))
XK = np.zeros((5, B, FED + KNOWN))
WRONG: dict[str, tuple[Callable[[], Any], type[rb.RNNBackendError], tuple[str, ...]]] = {
    "no steps": (lambda: model().roll_out(X, 0), rb.ArgumentError, ("`steps` must be an integer of at least 1; got 0.",)),
    "part of a step": (lambda: model().roll_out(X, 1.5), rb.ArgumentError, ("`steps`", "got 1.5")),  # type: ignore[arg-type]
    "no readout": (lambda: rb.RNN.init(2, 3).roll_out(X, 2), rb.ArgumentError, ("its own next features", "has no readout")),
    "no inputs": (lambda: model(known=KNOWN).roll_out(XK, 2), rb.ArgumentError, ("takes 5 inputs and has 2 outputs", "`inputs`")),
    "more outputs": (lambda: rb.RNN.init(2, 3, output_size=3).roll_out(X, 2, inputs=X), rb.ArgumentError, ("takes 2 inputs and has 3 outputs.",)),
    "one output": (lambda: rb.RNN([rb.Cell(np.ones((3, 2)), np.ones((3, 3)))], rb.Linear(np.ones((1, 3)), None, "tanh")).roll_out(X, 2), rb.ArgumentError, ("takes 2 inputs and has 1 output.",)),
    "tokens": (lambda: model(takes="tokens").roll_out([0, 1], 2), rb.ArgumentError, ("takes one of 2 token ids",)),
    "softmax": (lambda: rb.RNN.init(2, 3, output_size=2).roll_out(X, 2), rb.ArgumentError, ("probabilities of a softmax",)),
    "mean": (lambda: model(reads="mean").roll_out(X, 2), rb.ArgumentError, ("reads the 'mean'",)),
    "no x": (lambda: model().roll_out(X[:0], 2), rb.ShapeError, ("`x` must hold at least one step", "(0, 2)")),
    "width of x": (lambda: model().roll_out(X[:, :1], 2), rb.ShapeError, ("the last axis of `x`", "input_size = 2")),
    "too many inputs": (lambda: model(known=KNOWN).roll_out(XK, 2, inputs=np.zeros((2, B, KNOWN))), rb.ShapeError, ("`inputs` must have shape (steps - 1, batch, input_size - output_size) = (1, 4, 3)", "(2, 4, 3)")),
    "inputs that are not wanted": (lambda: model().roll_out(X, 2, inputs=np.zeros((1, 1))), rb.ShapeError, ("this model takes its outputs alone, 2 in number; leave out `inputs`.",)),
    "inputs of a batch first": (lambda: model(known=KNOWN, batch_first=True).roll_out(np.zeros((B, 5, 5)), 3, inputs=np.zeros((2, B, KNOWN))), rb.ShapeError, ("(batch, steps - 1, input_size - output_size) = (4, 2, 3)",)),
    "h_0": (lambda: model().roll_out(X, 2, h_0=np.zeros((1, H))), rb.ShapeError, ("`h_0`", "(num_cells, hidden_size) = (2, 7)")),
    "h_0 of a batch": (lambda: model(known=KNOWN).roll_out(XK, 2, inputs=np.zeros((1, B, KNOWN)), h_0=np.zeros((2, H))), rb.ShapeError, ("`h_0`", "(2, 4, 7)")),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(what: str) -> None:
    call, error, parts = WRONG[what]
    with refused(error, *parts):
        call()


def test_backward_cells_have_no_free_run() -> None:
    both = rb.RNN.init(FED, H, bidirectional=True, output_size=FED)
    with refused(rb.ArgumentError, "without backward cells"):
        rb.RNN(both.layers, rb.Linear(both.readout.weight, activation="tanh")).roll_out(X, 2)


def test_inputs_of_another_library_are_not_moved() -> None:
    other = model("array_api_strict")
    inputs = other.backend.from_host(np.zeros((1, B, KNOWN)), "float32", other.device)
    with refused(rb.BackendMismatchError, "`inputs` is of array_api_strict"):
        model(known=KNOWN).roll_out(XK, 2, inputs=inputs)
