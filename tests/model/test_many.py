"""Many sequences of different lengths: batches of nearly equal ones, and results in the given order."""

import gc
import weakref
from collections import UserList
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from own_cells import Own, Sizeless

import rnn_backends as rb
from rnn_backends.core.network import READS
from rnn_backends.model import batches as packing
from rnn_backends.model.chunks import BUDGET, batch_steps
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import linear

LENGTHS = [5, 0, 1, 3, 9, 3, 0, 2]
SIDES = ("f", "b", "fb")


def model(sides: str, backend: str = "numpy", *, tokens: bool = False, **options: Any) -> rb.RNN:
    draw = Draw("float32", 3)
    layers = [*draw.layers(sides, 1, 4, 5), *draw.layers("f", 1, 5 * len(sides), 3)]
    takes = "tokens" if tokens else "features"
    return rb.RNN(layers, linear(draw, 3, 6), takes=takes, **options).to(backend)


def sequences(lengths: Any = LENGTHS, *, tokens: bool = False) -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    if tokens:
        return [random.integers(0, 4, length) for length in lengths]
    return [random.standard_normal((length, 4), np.float32) for length in lengths]


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(rb.to_numpy(found), rb.to_numpy(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("batch_first", [False, True])
def test_many_give_what_each_gives(backend: str, sides: str, reads: str, batch_first: bool) -> None:
    held = sequences()
    rnn = model(
        sides,
        backend,
        reads=reads,
        batch_first=batch_first,
        h_0=tuple(Draw("float32", 5).normal(n) for n in [5] * len(sides) + [3]),
    )
    p, ids, last = (of(held, budget=8) for of in (rnn.probabilities_many, rnn.predict_many, rnn.last_many))
    assert last.shape[0] == len(held)
    assert all(len(each) if reads == "steps" else each.shape[0] == len(held) for each in (p, ids))
    for k, each in enumerate(held):
        close(p[k, ...] if reads != "steps" else p[k], rnn.probabilities(each))
        close(last[k, ...], rnn.last(each))
        if each.size or reads != "steps":
            np.testing.assert_array_equal(rb.to_numpy(ids[k]), rb.to_numpy(rnn.predict(each)))
    assert all(
        rnn.backend.owns(each) for each in (p[0] if reads == "steps" else p, ids[0] if reads == "steps" else ids, last)
    )


@pytest.mark.parametrize("reads", READS)
def test_the_flat_form_gives_what_lists_give(backend: str, reads: str) -> None:
    held = sequences()
    rnn = model("fb", backend, reads=reads)
    found = rnn.probabilities_many(np.concatenate(held), lengths=LENGTHS, budget=8)
    wanted = rnn.probabilities_many(held, budget=8)
    if reads == "steps":
        assert tuple(found.shape) == (sum(LENGTHS), 6)
        wanted = np.concatenate([rb.to_numpy(each) for each in wanted])
    close(found, wanted)


class Given(NamedTuple):
    name: str
    sequences: Any


def ways(held: list[np.ndarray[Any, Any]]) -> Iterator[Given]:
    objects = np.empty(len(held), object)
    objects[:] = held
    yield Given("tuple", tuple(held))
    yield Given("lists", [each.tolist() for each in held])
    yield Given("lists of arrays", [list(each) for each in held])
    yield Given("tuples", [tuple(each.tolist()) for each in held])
    yield Given("a sequence", UserList(held))
    yield Given("an iterator", iter(held))
    yield Given("a generator", (each for each in held))
    yield Given("objects", objects)
    yield Given("of both", [each.tolist() if k % 2 else each for k, each in enumerate(held)])
    yield Given("reversed", [np.ascontiguousarray(each[::-1])[::-1] for each in held])
    yield Given("foreign bytes", [each.astype(each.dtype.newbyteorder()) for each in held])
    yield Given(
        "dtypes",
        [each.astype(np.float64 if each.ndim > 1 else np.uint8) if k % 2 else each for k, each in enumerate(held)],
    )


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("window", [1, 32])
def test_any_list_will_do(tokens: bool, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "WINDOW", window)
    held = sequences(tokens=tokens)
    rnn = model("fb", tokens=tokens, reads="final")
    wanted = rnn.last_many(held)
    for name, given in ways(held):
        np.testing.assert_allclose(rnn.last_many(given, budget=4), wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_arrays_of_the_backend(backend: str) -> None:
    rnn = model("fb", backend, reads="max")
    there = [rnn.backend.from_host(each, "float32", rnn.device) for each in sequences()]
    close(rnn.probabilities_many(there, budget=8), rnn.probabilities_many(sequences()))
    values = rnn.backend.from_host(np.concatenate(sequences()), "float32", rnn.device)
    close(rnn.probabilities_many(values, lengths=LENGTHS), rnn.probabilities_many(sequences()))
    for batch in rb.batches(there, budget=8):
        assert all(rnn.backend.owns(each) and rnn.backend.device_of(each) == rnn.device for each in batch)


@pytest.mark.parametrize(
    ("vocabulary", "texts"), [("abcd", ["abc", "", "d", "bb"]), (["a", "b", "c", "d"], ["a b", "", "d", " b  b "])]
)
def test_texts(vocabulary: Any, texts: list[str]) -> None:
    rnn = model("fb", tokens=True, vocabulary=vocabulary)
    for found, each in zip(rnn.probabilities_many(texts, budget=3), texts, strict=True):
        close(found, rnn.probabilities(each))
    with pytest.raises(
        rb.VocabularyError, match=r"(the character 'x' at place 2|the word 'x', word 2) of sequences\[5\]"
    ):
        rnn.predict_many([*texts, "a", "a x" if isinstance(vocabulary, list) else "ax"])


class Word(str):
    """A text of a class of its own, as those of arrays of NumPy are."""

    __slots__ = ()


@pytest.mark.parametrize("kind", [np.str_, Word])
@pytest.mark.parametrize("vocabulary", ["abcd", ["a", "b", "c", "d"]])
def test_texts_of_a_subclass(kind: type[str], vocabulary: Any) -> None:
    rnn = model("f", tokens=True, vocabulary=vocabulary, reads="last")
    texts = ["a", "b", "", "d"]
    np.testing.assert_array_equal(rnn.predict_many([*map(kind, texts)]), rnn.predict_many(texts))
    np.testing.assert_array_equal(rnn.predict_many([kind("a"), *texts[1:]]), rnn.predict_many(texts))


@pytest.mark.parametrize(("wrong", "said"), [(None, "None"), ([0, 1], "list"), (b"ab", "b'ab'")])
def test_what_is_no_text_among_texts_is_named(wrong: Any, said: str) -> None:
    rnn = model("f", tokens=True, vocabulary="abcd")
    with pytest.raises(rb.DTypeError, match=rf"`sequences\[1\]` must be a text, as other sequences are; got {said}"):
        rnn.predict_many(["ab", wrong, "c"])
    with pytest.raises(rb.DTypeError, match=r"`sequences\[0\]` must be a text"):
        rnn.predict_many([wrong, "ab"])


def test_integers_of_a_model_of_features_are_numbers() -> None:
    rnn = model("f")
    held = [[[1, 0, 2, 0]] * 3, [[0, 1, 0, 3]]]
    for found, each in zip(rnn.probabilities_many(held), held, strict=True):
        close(found, rnn.probabilities(each))


def test_batches_hold_each_sequence_once_within_the_budget(backend: str) -> None:
    place = rb.RNN.init(1, 1, backend=backend)
    random = np.random.default_rng(1)
    lengths = random.integers(0, 30, 200)
    held = [random.standard_normal((length, 2), np.float32) for length in lengths]
    there = [place.backend.from_host(each, "float32", place.device) for each in held]
    seen = []
    for x, counts, index in rb.batches(there, budget=90):
        assert x.shape[0] * max(1, x.shape[1]) <= 90
        shape, places = tuple(x.shape), rb.to_numpy(index)
        assert shape == (int(rb.to_numpy(counts)[0]), len(places), 2)
        for k, at in enumerate(places):
            found = rb.to_numpy(x)[:, k]
            np.testing.assert_array_equal(found[: lengths[at]], held[at])
            assert not found[lengths[at] :].any()
        seen += places.tolist()
    assert sorted(seen) == list(range(200))


def test_little_is_padded() -> None:
    lengths = np.random.default_rng(2).integers(1, 41, 40_000)
    values = np.zeros(int(lengths.sum()), np.int32)
    padded = sum(batch.x.size for batch in rb.batches(values, lengths=lengths, budget=4000))
    assert padded < 1.05 * values.size  # twice as many where they are not sorted


def test_a_long_sequence_is_a_batch_by_itself() -> None:
    shapes = [batch.x.shape for batch in rb.batches(sequences([3, 50, 2]), budget=10, batch_first=True)]
    assert shapes == [(1, 50, 4), (2, 3, 4)]


@pytest.mark.parametrize("steps", [1, 70])
def test_an_iterator_is_read_as_it_is_used(steps: int) -> None:
    """No more is held than 32 batches, whatever the sequences."""
    alive: list[weakref.ref[Any]] = []
    most = 0

    def made() -> Iterator[np.ndarray[Any, Any]]:
        nonlocal most
        for _ in range(2000):
            each = np.zeros((steps, 4), np.float32)
            alive.append(weakref.ref(each))
            most = max(most, sum(reference() is not None for reference in alive))
            yield each

    gc.disable()
    try:
        found = model("f", reads="last").last_many(made(), budget=8)
    finally:
        gc.enable()
    assert found.shape == (2000, 3)
    assert most <= packing.WINDOW * 8 // steps + 2


def test_windows_of_wide_features_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features of the first sequence that has a step say how many are read at once."""
    monkeypatch.setattr(packing, "BUDGET", 2**20)
    read = 0

    def made() -> Iterator[Any]:
        nonlocal read
        for _ in range(5000):
            read += 1
            yield np.zeros((1, 4096), np.float32) if read > 1 else []

    next(rb.batches(made()))
    assert read <= packing.WINDOW * (2**20 // (4 * 4096)) < 5000


def test_the_flat_form_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "WINDOW", 1)
    rnn, held = model("fb", reads="last"), sequences()
    for of, reads in ((rnn.last_many, "mean"), (rnn.probabilities_many, "steps")):
        found = of(np.concatenate(held), lengths=LENGTHS, reads=reads, budget=4)
        wanted = of(held, reads=reads)
        close(found, np.concatenate(wanted) if reads == "steps" else wanted)


def test_the_reading_of_a_call() -> None:
    rnn, held = model("fb", reads="last"), sequences()
    for reads in READS:
        for many, of_one in ((rnn.predict_many, rnn.predict), (rnn.probabilities_many, rnn.probabilities)):
            for found, each in zip(many(held, reads=reads), held, strict=True):
                close(found, of_one(each, reads=reads))


def test_the_budget_follows_from_the_sizes_of_the_model() -> None:
    small, large = rb.RNN.init(8, 64), rb.RNN.init(8, 4096)
    assert batch_steps(small.placed, 8) == BUDGET // (2 * (8 + 64) * 4)
    parameters = large.num_parameters * 4
    assert parameters > BUDGET
    assert batch_steps(large.placed, 8) == parameters // (2 * (8 + 4096) * 4)
    assert batch_steps(rb.RNN.init(8, 4, output_size=10_000_000).placed, 8) >= 1


@pytest.mark.parametrize("reads", READS)
def test_no_sequence_and_no_step(backend: str, reads: str) -> None:
    for tokens in (False, True):
        rnn = model("fb", backend, tokens=tokens, reads=reads)
        none, empty = rnn.probabilities_many([]), rnn.probabilities_many([[], []])
        if reads == "steps":
            assert none == []
            assert [tuple(each.shape) for each in empty] == [(0, 6), (0, 6)]
            assert tuple(rnn.predict_many([], lengths=[]).shape) == (0,)
        else:
            assert tuple(none.shape) == (0, 6)
            close(empty[0, ...], rnn.probabilities(np.empty((0,) if tokens else (0, 4))))
        assert tuple(rnn.last_many(iter([])).shape) == (0, 3)
        assert tuple(rnn.last_many([], lengths=np.empty(0, int)).shape) == (0, 3)
    assert list(rb.batches([])) == []


@pytest.mark.parametrize("cell", [Own, Sizeless])
def test_no_step_of_cells_that_do_not_state_their_sizes(cell: Any) -> None:
    rnn, features = rb.RNN([cell(np.ones((4, 3), np.float32))]), np.empty((0, 3), np.float32)
    assert rnn.last_many([features] * 2).shape == (2, 4)
    assert rnn.last_many(features, lengths=[0]).shape == (1, 4)
    assert rb.RNN.init(3, 4).last_many([features]).shape == (1, 4)
    nothing: list[list[Any]] = [[], [[]]]
    for given in nothing:
        if cell is Own:
            assert rnn.last_many(given).shape == (len(given), 4)
            continue
        with pytest.raises(
            rb.ArgumentError, match=r"one with a step, or an empty one .*, np\.empty\(\(0, input_size\)\), as"
        ):
            rnn.last_many(given)
    with pytest.raises(rb.ShapeError, match=r"`sequences\[0\]` must have shape .* = \(length, 5\); got \(0, 3\)"):
        rb.RNN.init(5, 4).last_many([features])


REFUSED: list[tuple[Any, type[Exception], str]] = [
    ("abc", rb.DTypeError, "`sequences` must be a list or an iterator of arrays.*; got 'abc'. For one text, call"),
    (np.ones((3, 4)), rb.DTypeError, "got ndarray of shape .3, 4.. For the steps of all .*, give `lengths` as well"),
    ({0: [1]}, rb.DTypeError, "`sequences` must be a list or an iterator of arrays, one for each sequence; got dict"),
    ({1, 2}, rb.DTypeError, "`sequences` must be a list or an iterator of arrays, one for each sequence; got set"),
    (7, rb.DTypeError, "`sequences` must be a list or an iterator of arrays, one for each sequence; got 7"),
    ([[1], 2], rb.ShapeError, r"`sequences\[1\]` must have shape \(length,\), as the other sequences; got \(\)"),
    (["ab"], rb.DTypeError, r"`sequences\[0\]` must hold numbers; got text; give a list of texts to a model with a"),
    ([[1], "ab"], rb.DTypeError, r"`sequences\[1\]` must hold numbers; got text"),
    ([[1], None], rb.DTypeError, r"`sequences\[1\]` must hold real numbers; got NoneType"),
    ([[1], [1, [2]]], rb.DTypeError, r"`sequences\[1\]` must be an array or nested lists of numbers, of equal lengths"),
    ([np.ma.masked_equal([1, 2], 2)], rb.DTypeError, r"`sequences\[0\]` must not be a masked array"),
    ([[1], [3, 4]], rb.ArgumentError, r"every token id in `sequences\[1\]` must be in 0..3; got 4 at \[1\]"),
    ([[1], [], [-1]], rb.ArgumentError, r"every token id in `sequences\[2\]` must be in 0..3; got -1 at \[0\]"),
    ([[], [0.5]], rb.DTypeError, r"`sequences\[1\]` must hold token ids, integers, which this model takes; got float64"),
    ([[[1], [2]]], rb.ShapeError, r"token ids in `sequences\[0\]` must have shape \(length,\); got \(2, 1\)"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "error", "message"), REFUSED)
def test_sequences_that_are_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model("f", tokens=True).predict_many(given)


@pytest.mark.parametrize(
    "wrong", [np.ones((2, 3), np.float32), np.ones(2, np.float32), [[1.0, 2.0]], np.ones((1, 2, 4)), [["a"]]]
)
@pytest.mark.parametrize("place", [0, 3, 7000])
def test_one_wrong_among_many_is_named(wrong: Any, place: int) -> None:
    held = [np.ones((2, 4), np.float32)] * 7001
    held[place] = wrong
    name = rf"`sequences\[{place}\]`"
    rnn = model("f")
    for given in (held, iter(held)):
        with pytest.raises((rb.ShapeError, rb.DTypeError), match=name):
            rnn.predict_many(given, budget=40)


def test_features_that_are_refused() -> None:
    rnn = model("f")
    with pytest.raises(
        rb.ShapeError, match=r"`sequences\[1\]` must have shape \(length, input_size\) = \(length, 4\); got \(2, 3\)"
    ):
        rnn.predict_many([[], [[1, 2, 3]] * 2])
    with pytest.raises(
        rb.ShapeError, match=r"`sequences\[0\]` must have shape \(length, input_size\) = \(length, 4\); got \(3,\)"
    ):
        rnn.predict_many([[1, 2, 3]])


def test_kinds_may_not_change_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read later is what was read before: integers among features are numbers, and features no token ids."""
    monkeypatch.setattr(packing, "WINDOW", 1)
    features, ids = [[0.5, 0.5, 0.5, 0.5]] * 4, [[1, 0, 0, 1]] * 4
    rnn = model("f", reads="last")
    rnn = rb.RNN(rnn.layers, rnn.readout, reads="last")
    close(rnn.last_many([features, ids], budget=4)[1], rnn.last(np.array(ids, float)))
    with pytest.raises(
        rb.DTypeError, match=r"of one kind, integers or floating point; got int64 and, of `sequences\[2\]`, float32"
    ):
        list(rb.batches([[1] * 4, [], np.ones(4, np.float32)], budget=4))
    with pytest.raises(
        rb.ShapeError, match=r"`sequences\[1\]` must have shape \(length, 4\), as the other sequences; got \(4, 3\)"
    ):
        list(rb.batches([features, np.ones((4, 3))], budget=4))


LENGTHS_REFUSED: list[tuple[Any, Any, type[Exception], str]] = [
    ([1, 2, 3], [1, 1], rb.ShapeError, "`lengths` must sum to the 3 steps in `sequences`; they sum to 2"),
    ([1, 2, 3], [3, -1], rb.ArgumentError, r"every length in `lengths` must be in 0..3; got -1 at \[1\]"),
    ([1, 2, 3], [0, 4], rb.ArgumentError, r"every length in `lengths` must be in 0..3; got 4 at \[1\]"),
    ([1, 2, 3], np.array([2**63 - 1, 2**63 - 1, 5]), rb.ArgumentError, r"every length in `lengths` must be in 0..3; got 9223372036854775807 at \[0\]"),
    ([1, 2, 3], np.array([3, 2**64 - 1, 1], np.uint64), rb.ArgumentError, r"every length in `lengths` must be in 0..3; got 18446744073709551615 at \[1\]"),
    ([1, 2, 3], [1.5, 1.5], rb.DTypeError, "`lengths` must hold integers; got list of dtype float64"),
    ([1, 2, 3], 3, rb.DTypeError, "`lengths` must be integers on the host, one for each sequence; got 3"),
    ([[1, 2], [3]], [1, 1], rb.DTypeError, "`sequences` must be an array or nested lists of numbers, of equal lengths"),
    (np.ones((2, 2, 2)), [1, 1], rb.ShapeError, r"must be the steps of all sequences one after another, of shape \(steps, input_size\) or \(steps,\); got \(2, 2, 2\)"),
    ([0, 1, 9], [2, 1], rb.ArgumentError, r"every token id in `sequences\[1\]` must be in 0..3; got 9 at \[0\]"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "lengths", "error", "message"), LENGTHS_REFUSED)
def test_flat_forms_that_are_refused(values: Any, lengths: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model("f", tokens=True).predict_many(values, lengths=lengths)


def test_options_that_are_refused() -> None:
    rnn = model("f", tokens=True)
    budgets: list[Any] = [0, 1.5, True]
    for budget in budgets:
        for call in (rnn.predict_many, rnn.last_many, rb.batches):
            with pytest.raises(rb.ArgumentError, match="`budget` must be an integer of at least 1"):
                call([[1]], budget=budget)
    with pytest.raises(rb.ArgumentError, match="`batch_first` must be True or False"):
        rb.batches([[1]], batch_first=1)  # type: ignore[arg-type]
    with pytest.raises(rb.ArgumentError, match="`reads` must be one of"):
        rnn.predict_many([[1]], reads="first")
    with pytest.raises(rb.ArgumentError, match="last returns one vector for each sequence"):
        rnn.last_many([[1]], reads="steps")
    with pytest.raises(rb.ArgumentError, match="needs a readout, and this model has none"):
        rb.RNN(rnn.layers).predict_many([])


def test_arrays_of_another_place_are_refused() -> None:
    strict = rb.get_backend("array_api_strict")
    there = [strict.from_host(np.ones(2), "int32", device) for device in strict.device_names()]
    rnn = model("f", tokens=True)
    with pytest.raises(rb.BackendMismatchError, match="`sequences` is of array_api_strict"):
        rnn.predict_many(there[:1])
    with pytest.raises(
        rb.BackendMismatchError, match=r"`sequences\[0\]` is of array_api_strict and `sequences\[1\]` of numpy"
    ):
        rnn.predict_many([there[0], [1]])
    with pytest.raises(rb.DeviceError, match="all arrays must be on one device"):
        rnn.to("array_api_strict").predict_many(there)


def test_a_model_with_noise_is_refused() -> None:
    rnn = rb.RNN(model("f", tokens=True).layers, noise=rb.Noise(0.1))
    with pytest.raises(rb.ArgumentError, match="last_many batches sequences by their lengths, and what the noise"):
        rnn.last_many([[1]])


def test_what_is_given_is_left_as_it_is() -> None:
    held = sequences()
    for each in held:
        each.flags.writeable = False
    before = [each.copy() for each in held]
    values = np.concatenate(held)
    values.flags.writeable = False
    rnn = model("fb")
    rnn.probabilities_many(held)
    rnn.probabilities_many(values, lengths=LENGTHS)
    for each, copy in zip(held, before, strict=True):
        np.testing.assert_array_equal(each, copy)
