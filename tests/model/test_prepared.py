"""Calls that are prepared once for a dtype and shape: each gives what the first does, and what the general way does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.backends.numpy import by_numpy
from rnn_backends.core.forward import walk_layers
from rnn_backends.core.network import READS
from rnn_backends.core.recurrence import last_states, scan_layer
from rnn_backends.model import placed
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import linear

DRAW = Draw("float32", 3)
LAYERS: dict[str, list[Any]] = {
    "one": DRAW.layers("f", 1, 4, 5),
    "one backward": DRAW.layers("b", 1, 4, 5),
    "two": DRAW.layers("f", 2, 4, 5),
    "both": DRAW.layers("fb", 2, 4, 5),
    "uneven": [DRAW.cell(4, 5), DRAW.cell(5, 3)],
}
H_0: dict[str, Any] = {
    "one": DRAW.normal(1, 5), "one backward": DRAW.normal(1, 5), "two": DRAW.normal(2, 5), "both": DRAW.normal(4, 5),
    "uneven": (DRAW.normal(5), DRAW.normal(3)),
}  # fmt: skip
IDS = np.array([[0, 3, 1], [2, 2, 0]])
X = DRAW.normal(2, 3, 4)
INPUTS: dict[str, NDArray[Any]] = {
    "features": X,
    "one sequence": X[:, 0],
    "one step": X[:1, :1],
    "float64": X.astype(np.float64),
    "float16": X.astype(np.float16),
    "of another byte order": X.astype(">f4"),
    "reversed": X[::-1, ::-1, ::-1],
    "by columns": np.asfortranarray(X),
    "of one number": np.broadcast_to(np.float32(0.5), X.shape),
    "ids": IDS,
    "ids of one sequence": IDS[:, 1].astype(np.int32),
    "one id": IDS[:1, :1].astype(np.int32),
    "unsigned ids": IDS.astype(np.uint8),
    "large unsigned ids": IDS.astype(np.uint64),
    "ids of another byte order": IDS.astype(">i4"),
    "ids by columns": IDS.T,
}


def model(name: str, **options: Any) -> rb.RNN:
    """A network of layers of five features, or of what comes to it, and a readout."""
    width = {"both": 10, "uneven": 3}.get(name, 5)
    return rb.RNN(LAYERS[name], linear(Draw("float32", 5), width, 6), **options)


def assert_same(found: Any, wanted: Any) -> None:
    """Check that results, or tuples of them, are equal but for the rounding of products of other layouts."""
    if isinstance(wanted, tuple):
        assert isinstance(found, tuple)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
        return
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("option", ["plain", "h_0", "encoder", "features", "batch_first"])
def test_every_call_gives_what_a_list_gives(name: str, kind: str, option: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "h_0": {"h_0": H_0[name]},
        "encoder": {"encoder": [linear(Draw("float32", 6), 4, 7), linear(Draw("float32", 7), 7, 4, activation="tanh")]},
        "features": {"takes": "features"},
        "batch_first": {"batch_first": True},
    }
    rnn, x = model(name, **options[option]), INPUTS[kind]
    if option == "features" and x.dtype.kind != "f":
        x = np.ones(X.shape, x.dtype)
    listed, before = x.tolist(), x.copy()
    for _ in range(2):  # the first prepares the call
        assert_same(rnn(x), rnn(listed))
        for reads in READS:
            for method in (rnn.logits, rnn.probabilities, rnn.predict):
                assert_same(method(x, reads=reads), method(listed, reads=reads))
        assert_same(rnn.last(x), rnn.last(listed))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", ["one", "two", "uneven"])
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"h_0": True}], ids=str)
@pytest.mark.parametrize("by", [None, by_numpy], ids=["prepared", "layer by layer"])
def test_a_stream_gives_what_one_of_lists_gives(name: str, options: dict[str, Any], by: Any) -> None:
    rnn = model(name, **{**options, **({"h_0": H_0[name]} if "h_0" in options else {})})
    if by is not None:
        with placed_on(by):
            rnn = rnn.to("fake")
    found, wanted = rnn.stream(batch_size=3), rnn.stream(batch_size=3)
    for given in (X, X[:1], X[:1], IDS, IDS[:1], X.astype(float), X[:0]):
        x = np.ascontiguousarray(given.swapaxes(0, 1)) if rnn.batch_first else given
        assert_same(found(x), wanted(x.tolist() if x.size else x))
        assert_same(found.state, wanted.state)
        assert_same(found.logits(x), wanted.logits(x.tolist() if x.size else x))
    found.reset(h_0 := tuple(np.full_like(part, 0.5) for part in found.state) if name == "uneven" else found.state)
    wanted.reset(h_0)
    assert_same(
        found(X.swapaxes(0, 1) if rnn.batch_first else X), wanted((X.swapaxes(0, 1) if rnn.batch_first else X).tolist())
    )


@pytest.mark.parametrize("shape", [(1,), (1, 1), (4,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.int8])
def test_ids_are_checked_at_every_call(shape: tuple[int, ...], dtype: Any) -> None:
    rnn, ids = model("one"), np.zeros(shape, dtype)
    calls: list[Callable[..., Any]] = [rnn, rnn.predict, rnn.last, rnn.stream(ids.shape[1] if ids.ndim == 2 else 1)]
    for bad in (4, 100, *([] if dtype == np.uint8 else [-1])):
        for call in calls:
            call(ids)
            wrong = ids.copy()
            wrong.flat[-1] = bad
            with pytest.raises(rb.ArgumentError, match=f"every token id in `x` must be in 0..3; got {bad}"):
                call(wrong)
            call(ids)


def test_what_is_wrong_is_refused_after_calls_that_are_right() -> None:
    rnn = model("one")
    rnn(X)
    with pytest.raises(rb.DTypeError, match="masked"):
        rnn(np.ma.masked_array(X, X > 0))
    with pytest.raises(rb.ShapeError, match="input_size = 4"):
        rnn(X[..., :3])
    with pytest.raises(rb.DTypeError, match="real numbers"):
        rnn(X > 0)
    with pytest.raises(rb.ShapeError, match="`h_0` must have shape"):
        rnn(X, np.zeros((1, 2, 5), np.float32))


@pytest.mark.parametrize("options", [{}, {"lengths": [5]}, {"h_0": np.zeros((1, 5), np.float32)}, {"mask": [True] * 5}])
def test_features_without_an_axis_of_time_are_refused(options: dict[str, Any]) -> None:
    for size in (0, 5):
        with pytest.raises(rb.RNNBackendError):
            model("one")(np.zeros(size, np.float32), **options)


def test_no_token_at_all() -> None:
    rnn = rb.RNN(model("one").layers, takes="tokens")
    given: list[Any] = [np.array([]), np.array([], np.int64), []]
    for nothing in given:
        output, h_n = rnn(nothing)
        assert (output.shape, h_n.shape) == ((0, 5), (1, 5))


def test_nan_stays_in_its_sequence() -> None:
    rnn, x = model("two"), X.copy()
    rnn(x)
    x[0, 1, 2] = np.nan
    output, h_n = rnn(x)
    assert np.isnan(output[:, 1]).all()
    assert np.isnan(h_n[:, 1]).all()
    assert not np.isnan(output[:, ::2]).any()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("x", [X, X[:1], X[:, 0], X[:1, 0]], ids=lambda x: str(x.shape))
@pytest.mark.parametrize("by", [None, by_numpy], ids=["prepared", "layer by layer"])
def test_what_is_returned_is_memory_of_its_own(name: str, x: NDArray[Any], by: Any) -> None:
    rnn = model(name)
    if by is not None:
        with placed_on(by):
            rnn = rnn.to("fake")
    first, states = rnn(x)
    kept, held = first.copy(), [*map(np.copy, last_states(states))]
    again, others = rnn(x)
    again[...] = 7
    for part in last_states(others):
        assert not np.shares_memory(part, again)
        part[...] = 8
    np.testing.assert_array_equal(first, kept)
    for part, copy in zip(last_states(states), held, strict=True):
        np.testing.assert_array_equal(part, copy)
    assert_same(rnn(x), (first, states))
    read = rnn.last(x)
    read[...] = 9
    assert_same(rnn(x), (first, states))


def test_a_stream_keeps_no_memory_of_the_callers() -> None:
    rnn = model("one")
    stream, other = rnn.stream(), rnn.stream()
    for _ in range(3):
        stream(X[:1, :1])[...] = 7
        state = stream.state
        state[...] = 8
        other(X[:1, :1].tolist())
    assert_same(stream.state, other.state)


def test_threads_share_a_model() -> None:
    rnn = model("two")
    draw = np.random.default_rng(0)
    inputs = [
        draw.normal(size=(seq_len, batch, 4)).astype(np.float32) for seq_len in range(1, 5) for batch in range(1, 6)
    ]
    wanted = [rnn(x.tolist()) for x in inputs]

    def run(seed: int) -> None:
        for k in np.random.default_rng(seed).integers(len(inputs), size=200):
            assert_same(rnn(inputs[k]), wanted[k])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert len(rnn.placed._calls) <= placed.CALLS


class Fake:
    """A recurrence that counts how it is called, and prepares a run of all layers where it is to."""

    def __init__(self, *, declines: bool = False) -> None:
        self.declines = declines
        self.walked = 0
        self.shapes: list[tuple[tuple[int, ...], str]] = []
        self.runs = 0

    def __call__(self, *arguments: Any) -> Any:
        self.walked += 1
        return scan_layer(*arguments)

    def prepared(self, layers: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        self.shapes.append((shape, dtype.name))
        if self.declines:
            return None

        def run(x: NDArray[Any], h_0: Any) -> Any:
            assert (x.shape, x.dtype) == (shape, dtype)
            self.runs += 1
            given = None if h_0 is None else last_states(h_0)
            return walk_layers(layers, x, given, None, scan_layer, np.dtype(np.float32))

        return run


@contextmanager
def placed_on(recurrence: Any) -> Any:
    with rb.register_backend(replace(rb.get_backend("numpy"), name="fake", recurrence=recurrence)):
        yield


def test_only_the_last_calls_are_kept_and_only_with_small_states(monkeypatch: pytest.MonkeyPatch) -> None:
    with placed_on(scan_layer):  # which prepares nothing, so that the initial states are kept here
        rnn = model("one").to("fake")
    shapes = [(seq_len, 1, 4) for seq_len in range(1, 12)]
    for shape in shapes:
        rnn(np.zeros(shape, np.float32))
    assert [shape for _, shape in rnn.placed._calls] == shapes[-placed.CALLS :]
    monkeypatch.setattr(placed, "HELD", 3 * 5 * 4 - 1)
    wanted = rnn(X.tolist())
    assert_same(rnn(X), wanted)
    assert X.shape not in [shape for _, shape in rnn.placed._calls]
    rnn(X[:, :2])
    assert X[:, :2].shape in [shape for _, shape in rnn.placed._calls]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("with_own", [False, True])
def test_a_recurrence_may_prepare_calls(name: str, with_own: bool) -> None:
    rnn, fake = model(name, h_0=H_0[name] if with_own else None), Fake()
    with placed_on(fake):
        other = rnn.to("fake")
        for x in (X, X[:, 0], X.astype(float), IDS):
            count = len(fake.shapes)
            wanted = rnn(x.tolist())
            for _ in range(3):
                assert_same(other(x), wanted)
            assert len(fake.shapes) == count + 1
            assert_same(other.logits(x), rnn.logits(x))
            assert len(fake.shapes) == count + 1
        assert fake.shapes == [
            ((2, 3, 4), "float32"),
            ((2, 1, 4), "float32"),
            ((2, 3, 4), "float32"),
            ((2, 3), "int32"),
        ]
        assert (fake.walked, fake.runs) == (0, 16)
        other(X, lengths=[2, 1, 0])
        assert fake.walked == len(LAYERS[name])


@pytest.mark.parametrize("h_0", [None, H_0["uneven"]], ids=["zeros", "own"])
def test_a_stream_runs_by_a_prepared_call_from_its_state(h_0: Any) -> None:
    rnn, fake = model("uneven", h_0=h_0), Fake()
    with placed_on(fake):
        stream, other = rnn.to("fake").stream(batch_size=3), rnn.stream(batch_size=3)
        for x in (X, X[:1], X[:1], IDS[:1]):
            assert_same(stream(x), other(x.tolist()))
        assert (fake.walked, fake.runs, len(fake.shapes)) == (0, 4, 3)
        assert_same(stream.state, other.state)


def test_the_prepared_call_of_an_encoder_is_for_what_it_gives() -> None:
    rnn, fake = model("one", encoder=linear(Draw("float32", 6), 7, 4)), Fake()
    with placed_on(fake):
        assert_same(rnn.to("fake")(IDS), rnn(IDS))
    assert fake.shapes == [((2, 3, 4), "float32")]


def test_a_recurrence_that_prepares_nothing_walks_the_layers() -> None:
    rnn, fake = model("two"), Fake(declines=True)
    with placed_on(fake):
        assert_same(rnn.to("fake")(X), rnn(X))
    assert (fake.walked, fake.runs) == (2, 0)
