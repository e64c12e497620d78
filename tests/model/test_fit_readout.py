"""A readout that is fitted is the one of the least squared error, whatever the chunks, the batches and the backend."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
from places import in_float64, refused

import rnn_backends as rb
from rnn_backends.core.ridge import Moments
from rnn_backends.model import batches, chunks, fitting

T, B, IN, H, OUT = 40, 3, 2, 6, 2
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((T, B, IN)), RANDOM.normal([3.0, -50.0], 1.0, (T, B, OUT))
RIDGE = 0.3


@pytest.fixture(autouse=True)
def algebra(strictest: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Eigenvalues are of an extension of the standard."""
    array_api_strict.set_array_api_strict_flags(enabled_extensions=("linalg",))
    with in_float64(request):
        yield


def model(backend: str = "numpy", **parts: Any) -> rb.RNN:
    sides = parts.pop("bidirectional", False)
    drawn = rb.RNN.init(IN, H, bidirectional=sides, dtype="float64", seed=2)
    return rb.RNN(drawn.layers, **parts).to(backend)


def best(states: Any, targets: Any, ridge: float = RIDGE) -> tuple[Any, Any]:
    """Return weight and bias by the least squares of NumPy, the ridge as rows of their own, the bias unpenalised."""
    count, width = states.shape
    rows = np.block([[states, np.ones((count, 1))], [np.sqrt(ridge) * np.eye(width), np.zeros((width, 1))]])
    found = np.linalg.lstsq(rows, np.concatenate([targets, np.zeros((width, targets.shape[1]))]), rcond=None)[0]
    return found[:-1].T, found[-1]


def assert_fitted(rnn: rb.RNN, states: Any, targets: Any, ridge: float = RIDGE, within: float = 1e-9) -> None:
    weight, bias = best(states, targets, ridge)
    np.testing.assert_allclose(rb.to_numpy(rnn.readout.weight), weight, rtol=0, atol=within)
    np.testing.assert_allclose(rb.to_numpy(rnn.readout.bias), bias, rtol=0, atol=within)


def test_it_is_the_least_squares_of_all_steps(backend: str) -> None:
    rnn = model(backend)
    fitted = rnn.fit_readout(X, Y, ridge=RIDGE)
    assert (fitted.backend, fitted.device, fitted.dtype) == (rnn.backend, rnn.device, "float64")
    assert getattr(fitted.readout.activation, "name", None) == "identity"
    assert rnn.readout is None
    states = rb.to_numpy(rnn(X)[0]).reshape(-1, H)
    assert_fitted(fitted, states, Y.reshape(-1, OUT))
    np.testing.assert_array_equal(rb.to_numpy(fitted.logits(X)), rb.to_numpy(fitted.probabilities(X)))


def test_arrays_of_the_backend_are_taken(backend: str) -> None:
    rnn = model(backend)
    x, y = (rnn.backend.from_host(each, "float64", rnn.device) for each in (X, Y))
    assert_fitted(rnn.fit_readout(x, y, ridge=RIDGE), rb.to_numpy(rnn(x)[0]).reshape(-1, H), Y.reshape(-1, OUT))


def kept(lengths: Any, mask: Any, washout: int) -> Any:
    taken = np.arange(T)[:, None] < (np.full(B, T) if lengths is None else np.asarray(lengths))
    if mask is not None:
        taken = taken & mask
    return taken & (np.cumsum(taken, axis=0) > washout)


MASK = RANDOM.random((T, B)) < 0.6


@pytest.mark.parametrize("washout", [0, 1, 7, 19])
@pytest.mark.parametrize("lengths", [None, (40, 0, 23), (12, 40, 7)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("budget", [chunks.BUDGET, 1, 2500])
def test_washout_counts_the_valid_steps_of_each_sequence(
    washout: int, lengths: Any, masked: bool, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BUDGET", budget)
    mask = MASK if masked else None
    rnn, taken = model(), kept(lengths, mask, washout)
    states = np.asarray(rnn(X, lengths=lengths, mask=mask)[0])
    x, y = X.copy(), Y.copy()
    y[~taken] = np.nan  # which is not looked at
    x[~kept(lengths, mask, 0)] = np.nan
    fitted = rnn.fit_readout(x, y, ridge=RIDGE, washout=washout, lengths=lengths, mask=mask)
    assert_fitted(fitted, states[taken], Y[taken])


def test_lengths_and_masks_and_washout_everywhere(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 3000)
    rnn, lengths = model(backend, batch_first=True), [40, 5, 23]
    taken = kept(lengths, MASK, 4)
    x, y, mask = np.swapaxes(X, 0, 1), np.swapaxes(Y, 0, 1), MASK.T
    fitted = rnn.fit_readout(x, y, ridge=RIDGE, washout=4, lengths=lengths, mask=mask)
    states = np.swapaxes(rb.to_numpy(rnn(x, lengths=lengths, mask=mask)[0]), 0, 1)
    assert_fitted(fitted, states[taken], Y[taken])


def test_one_sequence_without_a_batch_axis(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 700)
    rnn, h_0 = model(backend), np.full((1, H), 0.3)
    states = rb.to_numpy(rnn(X[:, 0], h_0)[0])
    assert_fitted(rnn.fit_readout(X[:, 0], Y[:, 0], ridge=RIDGE, washout=5, h_0=h_0), states[5:], Y[5:, 0])
    states = rb.to_numpy(rnn(X[:, 0], mask=MASK[:, 0])[0])
    taken = MASK[:, 0] & (np.cumsum(MASK[:, 0]) > 5)
    fitted = rnn.fit_readout(X[:, 0], Y[:, 0], ridge=RIDGE, washout=5, mask=MASK[:, 0])
    assert_fitted(fitted, states[taken], Y[taken, 0])


def test_both_directions_an_encoder_and_a_readout_that_was_there(backend: str) -> None:
    encoder = rb.Linear(RANDOM.standard_normal((IN, 5)), activation="tanh")
    rnn = model(backend, bidirectional=True, encoder=encoder, readout=rb.Linear(np.ones((4, 2 * H))))
    x = RANDOM.standard_normal((T, B, 5))
    fitted = rnn.fit_readout(x, Y, ridge=RIDGE, washout=3)
    assert_fitted(fitted, rb.to_numpy(rnn(x)[0])[3:].reshape(-1, 2 * H), Y[3:].reshape(-1, OUT))
    assert rnn.readout.output_size == 4


@pytest.mark.parametrize("reads", ["last", "final", "mean", "max"])
@pytest.mark.parametrize("sides", [False, True])
def test_many_to_one(reads: str, sides: bool, backend: str) -> None:
    count = 30
    x, y = RANDOM.standard_normal((9, count, IN)), RANDOM.standard_normal((count, OUT))
    lengths = RANDOM.integers(0, 10, count)
    rnn = model(backend, bidirectional=sides)
    fitted = rnn.fit_readout(x, y, ridge=RIDGE, lengths=lengths, reads=reads)
    assert fitted.reads == reads
    states = rb.to_numpy(rnn.last(x, lengths=lengths, reads=reads))
    assert_fitted(fitted, states[lengths > 0], y[lengths > 0])
    assert tuple(fitted.logits(x, lengths=lengths).shape) == (count, OUT)


SEQUENCES = [X[:length, k] for k, length in enumerate((40, 11, 26))]
WANTED = [Y[: len(each), k] for k, each in enumerate(SEQUENCES)]


@pytest.mark.parametrize("budget", [chunks.BUDGET, 1])
@pytest.mark.parametrize("h_0", [None, np.linspace(-1, 1, B * H).reshape(1, B, H)])
@pytest.mark.parametrize("batch_first", [False, True])
def test_sequences_of_different_lengths(
    budget: int, h_0: Any, batch_first: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BUDGET", budget)
    rnn = model(backend, batch_first=batch_first)
    states = [rb.to_numpy(rnn(each, None if h_0 is None else h_0[:, k])[0])[4:] for k, each in enumerate(SEQUENCES)]
    fitted = rnn.fit_readout(SEQUENCES, WANTED, ridge=RIDGE, washout=4, h_0=h_0)
    assert_fitted(fitted, np.concatenate(states), np.concatenate([each[4:] for each in WANTED]))
    whole = rnn.fit_readout(SEQUENCES, Y[0], ridge=RIDGE, reads="last", h_0=h_0)
    assert_fitted(
        whole,
        np.stack([rb.to_numpy(rnn.last(each, None if h_0 is None else h_0[:, k])) for k, each in enumerate(SEQUENCES)]),
        Y[0],
    )


def test_a_list_for_a_model_with_noise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose batches would all draw the same; those of one's own draw as any call does."""
    monkeypatch.setattr(chunks, "BUDGET", 1)
    rnn = model(noise=rb.Noise(0.1, 3))
    with refused(rb.ArgumentError, "fit_readout batches sequences", "noise of this model", "batches of your own"):
        rnn.fit_readout(SEQUENCES, WANTED, ridge=RIDGE)
    assert_fitted(rnn.fit_readout(X, Y, ridge=RIDGE), np.asarray(rnn(X)[0]).reshape(-1, H), Y.reshape(-1, OUT))


def test_a_short_sequence_before_a_long_one_adds_nothing() -> None:
    rnn, short = model(), [X[:3, 0], X[:, 1]]
    fitted = rnn.fit_readout(short, [Y[:3, 0], Y[:, 1]], ridge=RIDGE, washout=5)
    assert_fitted(fitted, np.asarray(rnn(X[:, 1])[0])[5:], Y[5:, 1])


@pytest.mark.parametrize("reads", ["steps", "last"])
def test_a_list_is_read_in_windows(reads: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of which may hold nothing to fit to."""
    monkeypatch.setattr(chunks, "BUDGET", 1)
    monkeypatch.setattr(batches, "WINDOW", 1)
    rnn, lengths = model(backend), (0, 3, 3, 40, 2, 26, 11, 40, 11)
    order = [k % B for k in range(len(lengths))]
    x = [X[:length, k] for length, k in zip(lengths, order, strict=True)]
    h_0 = np.linspace(-1, 1, len(x) * H).reshape(1, len(x), H)
    if reads == "last":
        y = RANDOM.standard_normal((len(x), OUT))
        states = np.stack([rb.to_numpy(rnn.last(each, h_0[:, k])) for k, each in enumerate(x)])[1:]
        assert_fitted(rnn.fit_readout(x, y, ridge=RIDGE, reads="last", h_0=h_0), states, y[1:])
        return
    wanted = [Y[:length, k] for length, k in zip(lengths, order, strict=True)]
    states = np.concatenate([rb.to_numpy(rnn(each, h_0[:, k])[0])[5:] for k, each in enumerate(x)])
    fitted = rnn.fit_readout(x, wanted, ridge=RIDGE, washout=5, h_0=h_0)
    assert_fitted(fitted, states, np.concatenate([each[5:] for each in wanted]))


def test_of_a_list_some_batches_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 2**14)
    monkeypatch.setattr(batches, "WINDOW", 4)
    held = [np.ones((500, IN)) * k for k in range(500)]
    rnn, wanted = model(), [RANDOM.standard_normal((500, 1)) for _ in held]
    rnn.fit_readout(held[:9], wanted[:9], ridge=RIDGE)  # what is imported is not counted
    assert peak(lambda: rnn.fit_readout(held, wanted, ridge=RIDGE)) < sum(each.nbytes for each in held) / 4


def test_memory_does_not_grow_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 2**14)
    rnn, x, y = model(), RANDOM.standard_normal((40_000, IN)), RANDOM.standard_normal((40_000, 1))
    rnn.fit_readout(x[:9], y[:9], ridge=RIDGE)  # what is imported is not counted
    short, long = (peak(partial(rnn.fit_readout, x[:steps], y[:steps], ridge=RIDGE)) for steps in (4000, 40_000))
    assert long < 2 * short < len(x) * H * x.itemsize / 4  # a part of the states


def peak(work: Callable[[], Any]) -> int:
    """Return the most bytes that are held at once, and were not before."""
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_integers_that_are_features_in_a_list() -> None:
    rnn = model(takes="features")
    x = [np.arange(length * IN).reshape(length, IN) % 5 for length in (40, 7, 7, 11)]
    wanted = [Y[: len(each), 0] for each in x]
    states = np.concatenate([np.asarray(rnn(each)[0]) for each in x])
    assert_fitted(rnn.fit_readout(x, wanted, ridge=RIDGE), states, np.concatenate(wanted))
    steps = [np.array([k % 3, k % 5]) for k in range(T)]  # of one sequence
    assert_fitted(rnn.fit_readout(steps, Y[:, 0], ridge=RIDGE), np.asarray(rnn(np.array(steps))[0]), Y[:, 0])


def test_texts_and_token_ids() -> None:
    drawn = rb.RNN.init(3, H, dtype="float64")
    rnn, texts = rb.RNN(drawn.layers, vocabulary="abc"), ["abcabcab", "caabb"]
    wanted = [Y[: len(text), 0] for text in texts]
    states = np.concatenate([np.asarray(rnn(text)[0]) for text in texts])
    assert_fitted(rnn.fit_readout(texts, wanted, ridge=RIDGE), states, np.concatenate(wanted))
    assert_fitted(rnn.fit_readout(texts[0], wanted[0], ridge=RIDGE), np.asarray(rnn(texts[0])[0]), wanted[0])
    ids = [np.array([0, 1, 2, 0, 1, 2, 0, 1]), np.array([2, 0, 0, 1, 1])]
    assert_fitted(rnn.fit_readout(ids, wanted, ridge=RIDGE), states, np.concatenate(wanted))


def test_memory_maps_are_read_as_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 2000)
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", array)
    x, y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("x", "y"))
    rnn = model()
    assert_fitted(rnn.fit_readout(x, y, ridge=RIDGE), np.asarray(rnn(X)[0]).reshape(-1, H), Y.reshape(-1, OUT))


def test_sums_are_centred_before_they_are_squared() -> None:
    states = 1e8 + RANDOM.standard_normal((3000, 2))
    targets = 1e8 + states[:, :1] - 2 * states[:, 1:] + RANDOM.standard_normal((3000, 1))
    parts = [Moments.of(states[k : k + 10], targets[k : k + 10], None) for k in range(0, 3000, 10)]
    moments = parts[0]
    for part in parts[1:]:
        moments = moments.joined(part)
    centred = states - states.mean(axis=0)
    assert abs(moments.squares / (centred.T @ centred) - 1).max() < 1e-5
    assert abs(moments.products / (centred.T @ (targets - targets.mean(axis=0))) - 1).max() < 1e-5


def test_a_float32_model_is_fitted_in_float64(backend: str) -> None:
    rnn = model(backend).to(dtype="float32")
    x = X.astype(np.float32)
    fitted = rnn.fit_readout(x, Y + 1e4, ridge=1e-9)
    assert fitted.dtype == "float32"
    weight, bias = best(rb.to_numpy(rnn(x)[0]).astype(np.float64).reshape(-1, H), Y.reshape(-1, OUT) + 1e4, 1e-9)
    np.testing.assert_allclose(rb.to_numpy(fitted.readout.weight), weight, rtol=3e-7, atol=1e-6)
    np.testing.assert_allclose(rb.to_numpy(fitted.readout.bias), bias, rtol=3e-7)


def test_weights_that_the_model_cannot_hold_are_refused(backend: str) -> None:
    if "float16" not in rb.get_backend(backend.partition(":")[0]).dtypes():
        pytest.skip("has no float16")
    rnn, far = model(backend).to(dtype="float16"), 1e6 * Y
    with refused(rb.ArgumentError, "beyond what float16", "`y` in other units", "rnn.to(dtype='float64')"):
        rnn.fit_readout(X, far, ridge=1e-6)
    for fitted in (rnn.fit_readout(X, far / 1e6, ridge=1e-2), rnn.to(dtype="float64").fit_readout(X, far, ridge=1e-6)):
        assert np.isfinite(rb.to_numpy(fitted.readout.weight)).all()


def test_a_library_without_float64_computes_in_float32(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = model(backend).to(dtype="float32")
    monkeypatch.setattr(fitting, "WIDEST", ("float32",))
    fitted = rnn.fit_readout(X.astype(np.float32), Y, ridge=RIDGE)
    assert_fitted(fitted, rb.to_numpy(rnn(X.astype(np.float32))[0]).reshape(-1, H), Y.reshape(-1, OUT), within=1e-3)


def twice(backend: str) -> rb.RNN:
    """Return a model of which two units are one."""
    cell = model().layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert cell.bias is not None
    order = [0, 0, 1, 2, 3, 4]
    weight = np.asarray(cell.weight_hh)[order][:, :]
    return rb.RNN([rb.Cell(np.asarray(cell.weight_ih)[order], weight, np.asarray(cell.bias)[order])]).to(backend)


def test_dependent_states_need_a_ridge(backend: str) -> None:
    rnn = twice(backend)
    with refused(rb.ArgumentError, "the states of 120 steps are linearly dependent", "ridge of 0", "larger `ridge`"):
        rnn.fit_readout(X, Y, ridge=0)
    fitted = rnn.fit_readout(X, Y, ridge=RIDGE)
    assert_fitted(fitted, rb.to_numpy(rnn(X)[0]).reshape(-1, H), Y.reshape(-1, OUT))
    with refused(rb.ArgumentError, "the states of 3 steps", "ridge of 0"):
        model(backend).fit_readout(X[:1], Y[:1], ridge=0.0)
    with refused(rb.ArgumentError, "linearly dependent", "ridge of 1e-300"):
        rnn.fit_readout(X, Y, ridge=1e-300)


@pytest.mark.parametrize(("dtype", "most"), [("float64", 1e-10), ("float32", 0.1)])
def test_the_ridge_that_is_advised_is_enough(
    dtype: str, most: float, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sums in float32 too, as of JAX without float64; and it is no larger than rounding asks for."""
    monkeypatch.setattr(fitting, "WIDEST", (dtype,))
    with pytest.raises(rb.ArgumentError, match="linearly dependent") as caught:
        twice(backend).fit_readout(X, Y, ridge=0)
    advised = float(str(caught.value).rpartition("such as ")[2].rstrip("."))
    assert 0 < advised < most
    logits = rb.to_numpy(twice(backend).fit_readout(X, Y, ridge=advised).logits(X))
    assert np.abs(logits - Y).mean() < np.abs(Y - Y.mean(axis=(0, 1))).mean()


def test_a_ridge_of_zero_is_least_squares(backend: str) -> None:
    rnn = model(backend)
    assert_fitted(rnn.fit_readout(X, Y, ridge=0), rb.to_numpy(rnn(X)[0]).reshape(-1, H), Y.reshape(-1, OUT), 0, 1e-8)


def test_numbers_that_are_not_finite_are_refused(backend: str) -> None:
    for place in ("x", "y"):
        given = {"x": X.copy(), "y": Y.copy()}
        given[place][5, 1, 0] = np.nan
        with refused(rb.ArgumentError, "the states and `y` must be finite", "`mask`"):
            model(backend).fit_readout(given["x"], given["y"], ridge=RIDGE)
        x, y = ([given[name][:, k] for k in range(B)] for name in ("x", "y"))
        with refused(rb.ArgumentError, "must be finite", "cut those off, or leave their sequences out."):
            model(backend).fit_readout(x, y, ridge=RIDGE)
        x[1], y[1] = x[1][:5], y[1][:5]
        model(backend).fit_readout(x, y, ridge=RIDGE)
        model(backend).fit_readout(x[::2], y[::2], ridge=RIDGE)


NONE = np.zeros((T, B), bool)
WRONG: dict[str, tuple[Callable[[rb.RNN], Any], type[rb.RNNBackendError], tuple[str, ...]]] = {
    "negative ridge": (lambda rnn: rnn.fit_readout(X, Y, ridge=-1), rb.ArgumentError, ("`ridge` must be at least 0; got -1.",)),
    "NaN": (lambda rnn: rnn.fit_readout(X, Y, ridge=float("nan")), rb.ArgumentError, ("`ridge`", "finite", "nan")),
    "text": (lambda rnn: rnn.fit_readout(X, Y, ridge="a"), rb.ArgumentError, ("`ridge`", "'a'")),  # type: ignore[arg-type]
    "washout": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, washout=40), rb.ArgumentError, ("a washout of 40 leaves no step", "the longest sequence has 40", "smaller")),
    "washout of lengths": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, washout=8, lengths=[3, 8, 5]), rb.ArgumentError, ("a washout of 8", "the longest sequence has 8")),
    "washout of a list": (lambda rnn: rnn.fit_readout(SEQUENCES, WANTED, ridge=1, washout=50), rb.ArgumentError, ("a washout of 50", "has 40")),
    "washout of masks": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, washout=8, mask=np.arange(T)[:, None] + np.zeros((1, B)) < 5), rb.ArgumentError, ("no step is left to fit to",)),
    "negative washout": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, washout=-1), rb.ArgumentError, ("`washout` must be an integer of at least 0; got -1.",)),
    "washout of a whole": (lambda rnn: rnn.fit_readout(X, Y[0], ridge=1, washout=1, reads="last"), rb.ArgumentError, ("`washout`", "'last'", "mask")),
    "no valid step": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, mask=NONE), rb.ArgumentError, ("no step is left to fit to",)),
    "no length": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, lengths=[0, 0, 0]), rb.ArgumentError, ("no step is left to fit to",)),
    "no step": (lambda rnn: rnn.fit_readout(X[:0], Y[:0], ridge=1), rb.ArgumentError, ("no step is left to fit to",)),
    "no sequence": (lambda rnn: rnn.fit_readout(X[:, :0], Y[:, :0], ridge=1), rb.ArgumentError, ("no step is left to fit to",)),
    "no whole": (lambda rnn: rnn.fit_readout(X, Y[0], ridge=1, reads="mean", mask=NONE), rb.ArgumentError, ("no step is left to fit to",)),
    "length of y": (lambda rnn: rnn.fit_readout(X, Y[1:], ridge=1), rb.ShapeError, ("`y` must have shape (seq_len, batch, output_size) = (40, 3, output_size)", "one output for each step", "(39, 3, 2)")),
    "axes of y": (lambda rnn: rnn.fit_readout(X[:, 0], Y[:, 0, 0], ridge=1), rb.ShapeError, ("(seq_len, output_size) = (40, output_size)", "(40,)")),
    "y of a whole": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, reads="max"), rb.ShapeError, ("(batch, output_size) = (3, output_size)", "each sequence")),
    "y of text": (lambda rnn: rnn.fit_readout(X, "abc", ridge=1), rb.DTypeError, ("`y`",)),
    "a list and lengths": (lambda rnn: rnn.fit_readout(SEQUENCES, WANTED, ridge=1, lengths=[1, 2, 3]), rb.ArgumentError, ("a list of sequences takes neither",)),
    "fewer y": (lambda rnn: rnn.fit_readout(SEQUENCES, WANTED[1:], ridge=1), rb.ShapeError, ("`y` must be a list of 3 arrays", "got a list of 2")),
    "shorter y": (lambda rnn: rnn.fit_readout(SEQUENCES, [WANTED[0], WANTED[1][1:], WANTED[2]], ridge=1), rb.ShapeError, ("`y[1]` must have as many steps as `x[1]`, 11; it has 10.",)),
    "type of x": (lambda rnn: rnn.fit_readout([SEQUENCES[0], X[:, 0, 0], SEQUENCES[2]], WANTED, ridge=1), rb.ShapeError, ("`x[1]` must have shape (length, 2), as the other sequences; got (40,)",)),
    "width of x": (lambda rnn: rnn.fit_readout([X[:, 0, :1]] * 3, [Y[:, 0]] * 3, ridge=1), rb.ShapeError, ("`x[0]` must have shape (length, input_size) = (length, 2); got (40, 1).",)),
    "token ids": (lambda rnn: rnn.fit_readout([np.array([0]), np.array([1, 0, 2])], [Y[:1, 0], Y[:3, 0]], ridge=1), rb.ArgumentError, ("every token id in `x[1]` must be in 0..1; got 2 at [2]",)),
    "text among arrays": (lambda rnn: rnn.fit_readout([SEQUENCES[0], "ab"], WANTED[:2], ridge=1), rb.DTypeError, ("`x[1]` must hold numbers; got text",)),
    "width of y": (lambda rnn: rnn.fit_readout(SEQUENCES, [*WANTED[:2], WANTED[2][:, :1]], ridge=1), rb.ShapeError, ("`y[2]` must have shape (length, 2), as the other sequences; got (26, 1)",)),
    "axes of y of a list": (lambda rnn: rnn.fit_readout(SEQUENCES, [each[:, 0] for each in WANTED], ridge=1), rb.ShapeError, ("`y[0]` must have shape (length, output_size), one output for each step of `x[0]`; got (40,).",)),
    "y of wholes": (lambda rnn: rnn.fit_readout(SEQUENCES, Y[0, :, 0], ridge=1, reads="last"), rb.ShapeError, ("`y` must have shape (number of sequences, output_size) = (3, output_size)", "got (3,)")),
    "h_0 of a list": (lambda rnn: rnn.fit_readout(SEQUENCES, WANTED, ridge=1, h_0=np.zeros((1, 2, H))), rb.ShapeError, ("`h_0`", "(1, 3, 6)")),
    "reads": (lambda rnn: rnn.fit_readout(X, Y, ridge=1, reads="frist"), rb.ArgumentError, ("`reads`", "frist")),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(what: str) -> None:
    call, error, parts = WRONG[what]
    with refused(error, *parts):
        call(model())


def test_a_width_that_changes_between_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BUDGET", 1)
    monkeypatch.setattr(batches, "WINDOW", 1)
    with refused(rb.ShapeError, "`y[2]` must have shape (length, 2), one output for each step of `x[2]`; got (26, 1)."):
        model().fit_readout(SEQUENCES, [*WANTED[:2], WANTED[2][:, :1]], ridge=1)


def test_y_of_another_library_is_not_moved() -> None:
    other = model("array_api_strict")
    y = other.backend.from_host(Y, "float64", other.device)
    with refused(rb.BackendMismatchError, "`y` is of array_api_strict"):
        model().fit_readout(X, y, ridge=1)


def test_a_library_without_the_extension_is_refused() -> None:
    array_api_strict.set_array_api_strict_flags(enabled_extensions=())
    with refused(rb.BackendUnavailableError, "linalg.eigh", "'array_api_strict' lacks", "rnn.to('numpy')"):
        model("array_api_strict").fit_readout(X, Y, ridge=1)
