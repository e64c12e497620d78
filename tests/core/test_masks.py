"""Masks: steps with holes, in which every layer holds its state."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rnn_backends as rb
from rnn_backends.backends.selection import parse, use_backend
from rnn_backends.core.parameters import map_arrays
from rnn_backends.model import chunks as pieces
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Case, Draw

HOLES = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]], bool)


def drawn(sides: str = "fb", **options: Any) -> Case:
    """Return a case of two layers over 6 steps of 3 sequences, with `HOLES`."""
    case = Draw("float64", 1).case(shape=(6, 3, 4, 5), sides=sides, layers=2, h_0=True, **options)
    return case._replace(mask=HOLES)


def model(case: Case, backend: str, readout: bool = True, **options: Any) -> rb.RNN:
    width = 5 * len(case.layers[0].cells)
    with use_backend("numpy"):
        host = rb.RNN(case.layers, rb.Linear(Draw("float64", 2).normal(7, width)) if readout else None, **options)
    return host.to(backend, "float64")


@given(data=st.data())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drawn_masks_agree_with_the_reference(dtype: str, data: st.DataObject) -> None:
    seq_len, batch = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 4))
    lengths = data.draw(st.none() | st.lists(st.integers(0, seq_len), min_size=batch, max_size=batch))
    case = Draw(dtype, data.draw(st.integers(0, 99))).case(
        shape=(seq_len, batch, 3, 4),
        sides=data.draw(st.sampled_from(["f", "b", "fb"])),
        layers=data.draw(st.integers(1, 3)),
        h_0=data.draw(st.booleans()),
        lengths=lengths,
        tokens=data.draw(st.booleans()),
    )
    case = case._replace(mask=data.draw(arrays(bool, (seq_len, batch))))
    given_lengths = None if lengths is None else np.array(lengths, np.int64)
    got = rb.forward(case.layers, case.x, case.h_0, lengths=given_lengths, mask=case.mask)
    for actual, wanted in zip(got, reference(*case, dtype=dtype), strict=True):
        assert excess(actual, wanted) <= 1.0


@pytest.mark.parametrize("sides", ["f", "b", "fb"])
@pytest.mark.parametrize("tokens", [False, True])
def test_what_a_mask_leaves_out_is_not_looked_at(backend: str, sides: str, tokens: bool) -> None:
    case = drawn(sides, tokens=tokens)
    x = np.where(HOLES if tokens else HOLES[..., None], case.x, -1 if tokens else np.nan)
    for actual, wanted in zip(model(case, backend)(x, case.h_0, mask=HOLES), reference(*case), strict=True):
        assert excess(rb.to_numpy(actual), wanted) <= 1.0


def test_where_all_is_left_out_the_state_stays(backend: str) -> None:
    case = drawn()
    output, h_n = model(case, backend)(case.x, case.h_0, mask=np.zeros((6, 3), bool))
    np.testing.assert_array_equal(rb.to_numpy(h_n), case.h_0)
    last = np.concatenate(list(case.h_0[2:]), axis=-1)
    np.testing.assert_array_equal(rb.to_numpy(output), np.broadcast_to(last, (6, 3, 10)))


def test_a_mask_of_the_first_steps_is_lengths_with_the_state_held(backend: str) -> None:
    case, lengths = drawn("f"), np.array([6, 0, 4])
    rnn, valid = model(case, backend), np.arange(6)[:, None] < lengths
    held, h_n = (rb.to_numpy(each) for each in rnn(case.x, case.h_0, mask=valid))
    output, last = (rb.to_numpy(each) for each in rnn(case.x, case.h_0, lengths=lengths))
    np.testing.assert_allclose(h_n, last, atol=1e-12)
    np.testing.assert_allclose(held, np.where(valid[..., None], output, last[1]), atol=1e-12)


def test_within_lengths_and_without_a_batch(backend: str) -> None:
    case = drawn(lengths=[6, 3, 2])
    rnn = model(case, backend)
    wanted = reference(*case)
    for actual, each in zip(rnn(case.x, case.h_0, lengths=[6, 3, 2], mask=HOLES.tolist()), wanted, strict=True):
        assert excess(rb.to_numpy(actual), each) <= 1.0
    output, h_n = rnn(case.x[:, 1], case.h_0[:, 1], mask=HOLES[:, 1])
    wanted = reference(*drawn())
    assert excess(rb.to_numpy(output), type(wanted[0])(*(each[:, 1] for each in wanted[0]))) <= 1.0
    assert excess(rb.to_numpy(h_n), type(wanted[1])(*(each[:, 1] for each in wanted[1]))) <= 1.0


def test_batch_first(backend: str) -> None:
    case = drawn()
    wanted, _ = model(case, backend)(case.x, case.h_0, mask=HOLES)
    first = model(case, backend, batch_first=True)
    x, mask = case.x.swapaxes(0, 1), HOLES.T
    output, _ = first(x, case.h_0, mask=mask)
    np.testing.assert_allclose(rb.to_numpy(output).swapaxes(0, 1), rb.to_numpy(wanted), atol=1e-12)
    targets = np.arange(18).reshape(3, 6) % 7
    whole = model(case, backend).loss(case.x, targets.T, case.h_0, mask=HOLES)
    assert float(first.loss(x, targets, case.h_0, mask=mask)) == pytest.approx(float(whole), rel=1e-12)


@pytest.mark.parametrize("sides", ["f", "fb"])
def test_what_comes_of_the_states(backend: str, sides: str) -> None:
    """The readout is that of the states, which are held; the loss leaves out the steps that the mask does."""
    case, lengths = drawn(sides), [6, 3, 6]
    rnn = model(case, backend)
    arguments: dict[str, Any] = {"lengths": lengths, "mask": HOLES}
    states = rb.to_numpy(rnn(case.x, case.h_0, **arguments)[0])
    valid = np.arange(6)[:, None] < lengths
    logits = states @ rb.to_numpy(rnn.readout.weight).T
    np.testing.assert_allclose(
        rb.to_numpy(rnn.logits(case.x, case.h_0, **arguments)), np.where(valid[..., None], logits, 0), atol=1e-12
    )
    wanted = np.where(valid, logits.argmax(axis=-1), -1)
    np.testing.assert_array_equal(rb.to_numpy(rnn.predict(case.x, case.h_0, **arguments)), wanted)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        rb.to_numpy(rnn.probabilities(case.x, case.h_0, **arguments)), np.where(valid[..., None], p, 0), atol=1e-12
    )
    targets = np.arange(18).reshape(6, 3) % 7
    taken = valid & HOLES
    losses = -np.log(np.take_along_axis(p, targets[..., None], -1))[..., 0]
    got = rnn.loss(case.x, np.where(taken, targets, -5), case.h_0, **arguments)
    assert float(got) == pytest.approx(losses[taken].mean(), rel=1e-12)
    assert np.isnan(float(rnn.loss(case.x, targets, case.h_0, mask=np.zeros_like(HOLES))))


@pytest.mark.parametrize("sides", ["f", "b"])
def test_trace(backend: str, sides: str) -> None:
    case = drawn(sides)
    rnn = model(case, backend)
    arguments: dict[str, Any] = {"lengths": [6, 3, 6], "mask": HOLES}
    steps = {name: rb.to_numpy(step) for name, step in rnn.trace(case.x, case.h_0, **arguments).items()}
    side, taken = "_reverse" if sides == "b" else "", HOLES & (np.arange(6)[:, None] < [6, 3, 6])
    for layer in range(2):
        total, state = steps[f"sum_l{layer}{side}"], steps[f"hidden_state_l{layer}{side}"]
        np.testing.assert_allclose(np.tanh(total)[taken], state[taken], atol=1e-12)
        for name in ("input_product", "recurrent_product", "sum"):
            assert not steps[f"{name}_l{layer}{side}"][~taken].any()
    output, _ = rnn(case.x, case.h_0, **arguments)
    np.testing.assert_allclose(state, rb.to_numpy(output), atol=1e-12)
    one = {name: rb.to_numpy(step) for name, step in rnn.trace(case.x[:, 0], case.h_0[:, 0], mask=HOLES[:, 0]).items()}
    for name, step in one.items():
        np.testing.assert_allclose(step, steps[name][:, 0], atol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
def test_pieces(backend: str, monkeypatch: pytest.MonkeyPatch, batch_first: bool) -> None:
    case, targets = drawn("f"), np.arange(18).reshape(6, 3) % 7
    rnn, x, mask = model(case, backend, batch_first=batch_first), case.x, HOLES
    if batch_first:
        x, mask, targets = x.swapaxes(0, 1), mask.T, targets.T
    arguments: dict[str, Any] = {"lengths": [6, 4, 0], "mask": mask}
    wanted = rb.to_numpy(rnn.logits(x, case.h_0, **arguments))
    loss = float(rnn.loss(x, targets, case.h_0, **arguments))
    monkeypatch.setattr(pieces, "BUDGET", 3 * 14 * 8 * 2)
    assert len(list(rnn.iter_probabilities(x, case.h_0, **arguments))) > 1
    np.testing.assert_allclose(rb.to_numpy(rnn.logits(x, case.h_0, **arguments)), wanted, atol=1e-12)
    assert float(rnn.loss(x, targets, case.h_0, **arguments)) == pytest.approx(loss, rel=1e-12)


def test_lengths_that_cannot_be_read_poison_their_sequence(backend: str) -> None:
    place = rb.get_backend(backend)
    if place.owns(np.empty(0)):
        pytest.skip("NumPy arrays are read")
    _, _, name = backend.partition(":")
    device = place.device_name(name)
    cell = map_arrays(lambda a: place.from_host(a, "float32", device), Draw("float32", 0).cell(4, 3))
    x = place.from_host(np.ones((3, 3, 4)), "float32", device)
    lengths = place.from_host(np.array([4, -1, 2]), "int32", device)
    mask = place.from_host(np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], bool), "bool", device)
    output, h_n = rb.forward([cell], x, lengths=lengths, mask=mask)
    assert np.isnan(rb.to_numpy(h_n)[0, :2]).all()
    assert np.isnan(rb.to_numpy(output)[:, 0]).all()
    assert not np.isnan(rb.to_numpy(h_n)[0, 2]).any()


def test_lengths_beyond_32_bits_are_impossible_too(torch: Any) -> None:
    cell = map_arrays(torch.tensor, Draw("float32", 0).cell(3, 4))
    lengths, mask = torch.tensor([3, 2**32 + 2, -(2**32)]), torch.ones(5, 3, dtype=torch.bool)
    for options in ({}, {"mask": mask}):
        _, h_n = rb.forward([cell], torch.ones(5, 3, 3), lengths=lengths, **options)
        np.testing.assert_array_equal(np.isnan(h_n.numpy()).all(axis=-1), [[False, True, True]])


def test_as_keras_has_it() -> None:
    """The values of Keras's own test of SimpleRNN with a mask, `test_masking`."""
    layer = rb.Cell(np.full((2, 3), 0.01), np.full((2, 2), 0.02), np.full(2, 0.03))
    mask = np.array([[1, 1, 0, 1], [1, 0, 0, 1]], bool)
    output, _ = rb.RNN([layer], batch_first=True)(np.arange(24.0).reshape(2, 4, 3), mask=mask)
    wanted = [[0.0599281, 0.15122818, 0.15122818, 0.32394567], [0.39693043, 0.39693043, 0.39693043, 0.60808503]]
    np.testing.assert_allclose(output, np.repeat(np.array(wanted)[..., None], 2, axis=-1), atol=5e-8)


X, MASK = np.ones((6, 3, 4)), HOLES
WRONG = [
    (lambda rnn: rnn(X, mask=MASK[:5]), rb.ShapeError, r"`mask` must have shape \(seq_len, batch\) = \(6, 3\), as `x`; got \(5, 3\)"),
    (lambda rnn: rnn(X[:, 0], mask=MASK), rb.ShapeError, r"`mask` must have shape \(seq_len,\) = \(6,\), as `x`; got \(6, 3\)"),
    (lambda rnn: rb.RNN(rnn.layers, batch_first=True)(X, mask=MASK.T), rb.ShapeError, r"`mask` must have shape \(batch, seq_len\) = \(6, 3\), as `x`; got \(3, 6\)"),
    (lambda rnn: rnn(X, mask=MASK.astype(int)), rb.DTypeError, "`mask` must hold booleans; got ndarray of dtype int64"),
    (lambda rnn: rnn(X, mask=[[1.0] * 3] * 6), rb.DTypeError, "`mask` must hold booleans; got list of dtype float64"),
    (lambda rnn: rnn(MASK), rb.DTypeError, "`x` must hold real numbers; got ndarray of dtype bool"),
    (lambda rnn: rnn.logits(X, mask=MASK[:5]), rb.ShapeError, r"`mask` must have shape \(seq_len, batch\)"),
    (lambda rnn: rnn(np.full((6, 3), 4), mask=MASK), rb.ArgumentError, r"every token id in `x` must be in 0..3; got 4 at \[0, 1\]"),
    (lambda rnn: rb.forward(rnn.layers, X, mask=MASK.astype(int)), rb.DTypeError, r"`mask` must be boolean, True for the steps to take; got int64. Write mask != 0"),
    (lambda rnn: rb.forward(rnn.layers, X, mask=cast(Any, [1])), rb.DTypeError, "`mask` must be an array; got list"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "match"), WRONG)
def test_refused(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(model(drawn("f"), "numpy"))


def test_a_mask_of_another_library_is_refused() -> None:
    strict = parse("array_api_strict", "a test").backend
    mask = strict.from_host(MASK, "bool", strict.device_names()[0])
    with pytest.raises(rb.BackendMismatchError, match=r"`mask` is of array_api_strict .*, but the model is on numpy"):
        model(drawn("f"), "numpy")(X, mask=mask)


def test_no_gradient_reaches_what_is_left_out(torch: Any) -> None:
    case = drawn()
    layers = map_arrays(torch.tensor, tuple(case.layers))
    x = torch.tensor(case.x, requires_grad=True)
    output, _ = rb.forward(layers, x, torch.tensor(case.h_0), mask=torch.tensor(HOLES))
    output.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy().any(axis=-1), HOLES)


def test_a_mask_is_traced() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        case = drawn(lengths=[6, 3, 6])
        layers = map_arrays(jax.numpy.asarray, tuple(case.layers))
        run = jax.jit(lambda x, h_0, n, mask: rb.forward(layers, x, h_0, lengths=n, mask=mask))
        got = run(*(jax.numpy.asarray(each) for each in (case.x, case.h_0, np.array([6, 3, 6]), HOLES)))
    for actual, wanted in zip(got, reference(*case), strict=True):
        assert excess(np.asarray(actual), wanted) <= 1.0
