"""Streams, text and its token ids, and generation: a sequence in pieces, and one that feeds on itself."""

import math
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.model import sampling
from rnn_backends.model.rolling import roll_out
from rnn_backends.model.sampling import Sampler
from rnn_backends.model.vocabulary import Vocabulary

VOCABULARY = "\n abé😀"
SEQ_LEN = 5


def model(backend: str = "numpy", **options: Any) -> rb.RNN:
    """A network whose next input can be its output, over the characters of the vocabulary."""
    held = {"num_layers": 2, "output_size": 6, "dtype": "float64", "seed": 6, **options}
    drawn = rb.RNN.init(6, 4, backend=backend, **held)
    # Louder than at the start of a training, so that the likeliest token changes.
    readout = drawn.readout and rb.Linear(4 * drawn.readout.weight, drawn.readout.bias)
    return rb.RNN(drawn.layers, readout, vocabulary=VOCABULARY)


def network(backend: str = "numpy", **options: Any) -> rb.RNN:
    """The same without the vocabulary, which takes features as well."""
    rnn = model(backend, **options)
    return rb.RNN(rnn.layers, rnn.readout)


def batch_first(rnn: rb.RNN) -> rb.RNN:
    return rb.RNN(rnn.layers, rnn.readout, batch_first=True)


def draw_input(kind: str, *axes: int) -> NDArray[Any]:
    draw = np.random.default_rng(2)
    return draw.integers(6, size=axes) if kind == "ids" else draw.normal(size=(*axes, 6))


# Streams


def splits(length: int) -> Iterator[list[int]]:
    """Every way to split a sequence into pieces, each with and without empty pieces around every piece."""
    for cuts in product([False, True], repeat=length - 1):
        ends = [place + 1 for place, cut in enumerate(cuts) if cut] + [length]
        sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        yield sizes
        yield [0, *(size for each in sizes for size in (each, 0))]


def run(stream: rb.Stream, x: NDArray[Any], sizes: Sequence[int], axis: int = 0) -> NDArray[Any]:
    """Run a sequence through a stream in pieces of these sizes, and join what comes out."""
    ends = np.cumsum(sizes)
    pieces = [np.take(x, range(end - size, end), axis=axis) for size, end in zip(sizes, ends, strict=True)]
    return np.concatenate([rb.to_numpy(stream(piece)) for piece in pieces], axis=axis)


def assert_close(found: Any, wanted: Any) -> None:
    """Check for equality but for the rounding of products of other sizes; the states are within 1."""
    np.testing.assert_allclose(rb.to_numpy(found), rb.to_numpy(wanted), rtol=0, atol=16 * 2**-52)


@pytest.mark.parametrize("kind", ["ids", "features"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("swapped", [False, True], ids=["time first", "batch first"])
def test_a_stream_is_the_whole_run_however_it_is_split(kind: str, batch: int, swapped: bool) -> None:
    rnn = batch_first(network()) if swapped else network()
    x = draw_input(kind, *((batch, SEQ_LEN) if swapped else (SEQ_LEN, batch)))
    output, h_n = rnn(x)
    stream = rnn.stream(batch)
    for sizes in splits(SEQ_LEN):
        stream.reset()
        assert_close(run(stream, x, sizes, axis=int(swapped)), output)
        assert_close(stream.state, h_n)


@pytest.mark.parametrize("kind", ["ids", "features"])
@pytest.mark.parametrize("swapped", [False, True], ids=["time first", "batch first"])
def test_pieces_without_a_batch_axis(kind: str, swapped: bool) -> None:
    rnn = batch_first(network()) if swapped else network()
    x = draw_input(kind, SEQ_LEN)
    output, h_n = rnn(x)
    stream = rnn.stream()
    for sizes in splits(SEQ_LEN):
        stream.reset()
        assert_close(run(stream, x, sizes), output)
        assert stream.state is not None
        assert_close(stream.state[:, 0, :], h_n)


@pytest.mark.parametrize("kind", ["ids", "features"])
def test_a_stream_on_every_backend(backend: str, kind: str) -> None:
    rnn, x = network(backend, dtype="float32"), draw_input(kind, SEQ_LEN, 3)
    whole, h_n = rnn(x)
    stream = rnn.stream(3)
    found = run(stream, x, [0, 2, 1, 0, 2])
    np.testing.assert_allclose(found, rb.to_numpy(whole), rtol=0, atol=16 * 2**-23)
    assert stream.state is not None
    assert type(stream.state) is type(h_n)
    assert (stream.state.dtype, stream.state.device) == (h_n.dtype, h_n.device)
    np.testing.assert_allclose(rb.to_numpy(stream.state), rb.to_numpy(h_n), rtol=0, atol=16 * 2**-23)


def test_pieces_with_and_without_a_batch_axis_may_take_turns(backend: str) -> None:
    rnn, x = network(backend, dtype="float32"), draw_input("features", 4)
    stream = rnn.stream()
    parts = [stream(x[:1]), stream(x[1:3, None])[:, 0, :], stream(x[3:])]
    found = np.concatenate([rb.to_numpy(part) for part in parts])
    np.testing.assert_allclose(found, rb.to_numpy(rnn(x)[0]), rtol=0, atol=16 * 2**-23)


def test_the_state_before_the_first_piece_and_after_an_empty_one() -> None:
    stream = network().stream(3)
    assert stream.state is None
    assert stream(np.zeros((0, 3), int)).shape == (0, 3, 4)
    np.testing.assert_array_equal(stream.state, np.zeros((2, 3, 4)))
    stream(np.zeros((1, 3), int))
    assert np.any(stream.state)
    stream.reset()
    assert stream.state is None


def test_reset_begins_anew(backend: str) -> None:
    rnn, x = network(backend, dtype="float32"), draw_input("ids", SEQ_LEN, 3)
    h_0 = np.random.default_rng(3).uniform(-1, 1, (2, 3, 4)).astype(np.float32)
    stream = rnn.stream(3)
    first = rb.to_numpy(stream(x))
    assert np.any(rb.to_numpy(stream(x)) != first)
    stream.reset()
    np.testing.assert_array_equal(rb.to_numpy(stream(x)), first)
    on_device = rnn(x[:0], h_0)[1]
    for start in (h_0, h_0.tolist(), h_0.astype(">f4"), on_device):
        stream.reset(start)
        assert stream.state is not None
        np.testing.assert_array_equal(rb.to_numpy(stream.state), h_0)
        np.testing.assert_allclose(rb.to_numpy(stream(x)), rb.to_numpy(rnn(x, h_0)[0]), rtol=0, atol=1e-6)


def test_reset_converts_host_data_to_the_dtype_of_the_model(backend: str) -> None:
    stream = network(backend, dtype="float32").stream()
    stream.reset(np.full((2, 1, 4), 0.1))
    assert stream.state is not None
    np.testing.assert_array_equal(rb.to_numpy(stream.state), np.full((2, 1, 4), np.float32(0.1)))


@pytest.mark.parametrize(
    ("h_0", "error", "match"),
    [
        (np.zeros((2, 1, 4)), rb.ShapeError, r"`h_0` must have shape .*\(2, 3, 4\); got \(2, 1, 4\)"),
        (np.zeros((2, 4)), rb.ShapeError, r"`h_0` must have shape .*\(2, 3, 4\); got \(2, 4\)"),
        (np.zeros((2, 3, 5)), rb.ShapeError, r"`h_0` must have shape .*\(2, 3, 4\); got \(2, 3, 5\)"),
        (np.zeros((3, 3, 4)), rb.ShapeError, r"`h_0` must have shape .*\(2, 3, 4\); got \(3, 3, 4\)"),
        (0.0, rb.ShapeError, r"`h_0` must have shape .*\(2, 3, 4\); got \(\)"),
        (np.zeros((2, 3, 4), complex), rb.DTypeError, "`h_0` must hold real numbers"),
        ("zeros", rb.DTypeError, "`h_0` must hold real numbers"),
    ],
    ids=lambda value: str(getattr(value, "shape", value))[:20],
)
def test_reset_refuses_a_wrong_state_at_once(h_0: Any, error: type[Exception], match: str) -> None:
    stream = network().stream(3)
    stream(draw_input("ids", 2, 3))
    before = np.array(stream.state)
    with pytest.raises(error, match=match):
        stream.reset(h_0)
    np.testing.assert_array_equal(stream.state, before)


def test_a_stream_keeps_no_more_than_the_last_states() -> None:
    """A chunk is long, its states are small: a view of them would keep all."""
    rnn, x = rb.RNN.init(3, 4, num_layers=3), np.zeros((20_000, 2, 3), np.float32)
    stream = rnn.stream(2)
    tracemalloc.start()
    try:
        stream(x)
        assert tracemalloc.get_traced_memory()[0] < 2**17 < x.nbytes
    finally:
        tracemalloc.stop()


def test_reset_refuses_the_state_of_another_library_or_device() -> None:
    other = network("array_api_strict").stream()
    other(draw_input("ids", 2))
    with pytest.raises(rb.BackendMismatchError, match=r"`h_0` is of array_api_strict .*model is on numpy"):
        network().stream().reset(other.state)
    with pytest.raises(rb.DeviceError, match="`h_0` is on CPU_DEVICE, but the model is on device1"):
        network("array_api_strict:device1").stream().reset(other.state)


def test_a_stream_that_would_need_the_end_first_is_refused() -> None:
    match = "without backward cells, which start at the end of a sequence"
    with pytest.raises(rb.ArgumentError, match=match):
        network(bidirectional=True).stream()
    with pytest.raises(rb.ArgumentError, match=match):
        rb.RNN([rb.Layer(backward=rb.Cell(np.ones((1, 1)), np.ones((1, 1))))]).stream()


@pytest.mark.parametrize("batch_size", [0, -1, 1.0, True, "1", None])
def test_the_batch_size_must_be_a_positive_integer(batch_size: Any) -> None:
    with pytest.raises(rb.ArgumentError, match="`batch_size` must be an integer of at least 1; got"):
        network().stream(batch_size)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (np.zeros((2, 2), int), rb.ShapeError, r"must hold batch_size = 3 sequences; got 2 in shape \(2, 2\)"),
        (np.zeros((2, 2, 6)), rb.ShapeError, r"must hold batch_size = 3 sequences; got 2 in shape \(2, 2, 6\)"),
        (np.zeros((3, 0), int), rb.ShapeError, "must hold batch_size = 3 sequences; got 0"),
        (np.zeros(3, int), rb.ShapeError, r"must hold batch_size = 3 sequences; got 1 in shape \(3,\)"),
        (np.zeros((3, 6)), rb.ShapeError, r"must hold batch_size = 3 sequences; got 1 in shape \(3, 6\)"),
        (np.zeros((2, 3, 5)), rb.ShapeError, "last axis of `x` must be input_size = 6"),
        (np.full((2, 3), 6), rb.ArgumentError, r"token id in `x` must be in 0..5; got 6 at \[0, 0\]"),
        (np.zeros((2, 3, 6), complex), rb.DTypeError, "`x` must hold real numbers"),
    ],
    ids=lambda value: str(getattr(value, "shape", ""))[:20],
)
def test_a_call_that_fails_leaves_the_state_as_it_was(x: Any, error: type[Exception], match: str) -> None:
    rnn, good = network(), draw_input("ids", SEQ_LEN, 3)
    stream = rnn.stream(3)
    with pytest.raises(error, match=match):
        stream(x)
    assert stream.state is None
    stream(good[:2])
    before = stream.state
    with pytest.raises(error, match=match):
        stream(x)
    np.testing.assert_array_equal(stream.state, before)
    stream(good[2:])
    assert_close(stream.state, rnn(good)[1])


def test_batch_first_counts_sequences_on_the_first_axis() -> None:
    with pytest.raises(rb.ShapeError, match=r"batch_size = 3 sequences; got 2 in shape \(2, 3\)"):
        batch_first(network()).stream(3)(np.zeros((2, 3), int))


# Text


@given(st.data())
def test_decode_is_the_inverse_of_encode(data: st.DataObject) -> None:
    vocabulary = "".join(data.draw(st.sets(st.characters(exclude_categories=()), min_size=1)))
    text = data.draw(st.text(st.sampled_from(vocabulary)))
    ids = Vocabulary(vocabulary).encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == [vocabulary.index(character) for character in text]
    assert Vocabulary(vocabulary).decode(ids) == text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x", "the character 'x' at line 1, column 1 is not in the model's vocabulary of 6 characters"),
        ("abxay", "character 'x' at line 1, column 3 is"),
        ("xyx", "character 'x' at line 1, column 1 is"),
        ("\nx", "character 'x' at line 2, column 1 is"),
        ("ab\n\na b😀Z\nx", "character 'Z' at line 3, column 5 is"),
        ("a\tb", r"character '\\t' at line 1, column 2 is"),
        ("e\u0301é", "character 'e' at line 1, column 1 is"),
        ("a\n\r\n", r"character '\\r' at line 2, column 1 is"),
    ],
)
def test_a_character_outside_the_vocabulary_is_named_with_its_place(text: str, match: str) -> None:
    with pytest.raises(rb.VocabularyError, match=match):
        Vocabulary(VOCABULARY).encode(text)
    with pytest.raises(rb.VocabularyError, match=match):
        model().generate(text, 0)


@pytest.mark.parametrize("bad", [-1, 6, 2**31 - 1])
def test_an_id_outside_the_vocabulary_is_named(bad: int) -> None:
    with pytest.raises(rb.VocabularyError, match=f"token id {bad} is outside .* vocabulary of 6 characters"):
        Vocabulary(VOCABULARY).decode(np.array([0, bad], np.int32))


def test_text_needs_a_vocabulary() -> None:
    rnn = rb.RNN(model().layers, model().readout)
    with pytest.raises(rb.VocabularyError, match="text needs a model with a vocabulary, and this one has none"):
        rnn.generate("ab", 3)


# What is drawn, by an independent and slow way


def brute_force(logits: Sequence[float], temperature: float, top_k: int | None, top_p: float | None) -> list[float]:
    """The probability of every class: temperature first, then top-k, then top-p of what top-k left."""
    highest = max(logits)
    weight = [math.exp((each - highest) / temperature) for each in logits]
    kept = sorted(range(len(logits)), key=lambda index: (-logits[index], index))
    kept = kept if top_k is None else kept[:top_k]
    if top_p is not None:
        total, reached, ranked, kept = math.fsum(weight[index] for index in kept), 0.0, kept, []
        for index in ranked:
            if reached < top_p:
                kept.append(index)
            reached += weight[index] / total
    total = math.fsum(weight[index] for index in kept)
    return [weight[index] / total if index in kept else 0.0 for index in range(len(logits))]


def distribution(logits: Any, *options: Any) -> NDArray[np.float64]:
    p = Sampler(*options).distribution(np.asarray(logits))
    return np.asarray(p / p.sum())


@given(
    # Quarters make ties.
    logits=st.lists(st.integers(-20, 20).map(lambda number: number / 4), min_size=1, max_size=12),
    temperature=st.sampled_from([0.1, 0.5, 1.0, 1.7, 10.0]),
    top_k=st.none() | st.integers(1, 14),
    top_p=st.none() | st.floats(1e-6, 1 - 1e-6),
)
def test_the_distribution_is_that_of_brute_force(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    wanted = brute_force(logits, temperature, top_k, top_p)
    if top_p is not None:  # where rounding decides, either may be right
        assume(wanted == brute_force(logits, temperature, top_k, top_p * (1 - 1e-9)))
        assume(wanted == brute_force(logits, temperature, top_k, top_p * (1 + 1e-9)))
    found = distribution(logits, temperature, top_k, top_p)
    assert ((found > 0) == (np.array(wanted) > 0)).all()
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
    assert 1 <= (found > 0).sum() <= (top_k or 12)


def by_sorting_all(logits: NDArray[Any], temperature: float, top_k: int | None, top_p: float | None) -> NDArray[Any]:
    """The distribution by its definition, to the last bit: all classes in order, then cut twice."""
    z = logits.astype(np.float64)
    with np.errstate(over="ignore"):
        p = np.exp((z - z.max()) / temperature)
    kept = np.argsort(-z, kind="stable")[:top_k]
    if top_p is not None:
        up_to = np.cumsum(p[kept])
        kept = kept[np.append(0.0, up_to[:-1]) < top_p * up_to[-1]]
    return np.where(np.isin(np.arange(len(z)), kept), p, 0.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-310, 0.1, 1.0, 1.7, 1e300])
def test_no_bit_of_the_distribution_changes_and_no_draw(dtype: Any, temperature: float) -> None:
    draw = np.random.default_rng(3)
    for top_k, top_p in product([None, 1, 2, 7, 40], [None, 0.05, 0.6, 0.99, 1.0]):
        for size, step in product([1, 5, 40], [0.5, 1e-3]):
            logits = (np.round(draw.normal(size=size) * 2 / step) * step).astype(dtype)
            logits[draw.integers(size)] = -np.inf if size > 1 else 0
            wanted = by_sorting_all(logits, temperature, top_k, top_p)
            sampler = Sampler(temperature, top_k, top_p, seed=8)
            np.testing.assert_array_equal(sampler.distribution(logits), wanted)
            up_to = np.cumsum(wanted)
            drawn = np.searchsorted(up_to, np.random.default_rng(8).random() * up_to[-1], side="right")
            assert sampler(logits) == drawn


def test_logits_further_apart_than_a_number_can_be() -> None:
    np.testing.assert_array_equal(distribution(np.array([1.7e308, -1.7e308, 1.7e308])), [0.5, 0, 0.5])


def test_temperature_then_top_k_then_top_p() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    # Top-p of 0.7 keeps 2 classes at temperature 1 and 3 at temperature 2, and of the 3 of top-k, 2.
    assert (distribution(logits, 1.0, None, 0.7) > 0).tolist() == [True, True, False, False]
    assert (distribution(logits, 2.0, None, 0.7) > 0).tolist() == [True, True, True, False]
    assert (distribution(logits, 2.0, 3, 0.7) > 0).tolist() == [True, True, False, False]
    roots = np.array([0.5**0.5, 0.3**0.5, 0, 0])
    np.testing.assert_allclose(distribution(logits, 2.0, 2), roots / roots.sum())


@pytest.mark.parametrize("top_k", [4, 5, 10**30, None])
def test_top_k_of_all_classes_or_more_is_off(top_k: int | None) -> None:
    logits = np.array([0.0, 3.0, -1.0, 1.0])
    np.testing.assert_array_equal(distribution(logits, 1.5, top_k), distribution(logits, 1.5))


def test_ties_are_broken_by_index() -> None:
    logits = np.array([0.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(distribution(logits, 1.0, 2), [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(distribution(logits, 1.0, None, 0.5), [0, 0.5, 0.5, 0])
    assert Sampler(0)(logits) == 1
    # At this temperature all probabilities are equal, but not all logits are.
    np.testing.assert_array_equal(distribution(np.array([1.0, 2.0, 3.0]), 1e300, 1), [0, 0, 1])


@pytest.mark.parametrize("options", [(1.0, None, 5e-324), (1.0, 1), (1e300, 1, 5e-324), (1e-310,), (5e-324, 2, 0.5)])
def test_one_token_is_always_kept(options: tuple[Any, ...]) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        logits = np.array([-1, 3, 2, -np.inf], dtype)
        np.testing.assert_array_equal(distribution(logits, *options), [0, 1, 0, 0])
        assert Sampler(*options, seed=0)(logits) == 1  # type: ignore[misc]


def test_top_p_of_1_keeps_every_class() -> None:
    logits = np.random.default_rng(0).normal(size=1000)
    np.testing.assert_array_equal(distribution(logits, 1.0, None, 1.0), distribution(logits))


def test_what_has_no_probability_is_never_drawn() -> None:
    logits, sampler = np.array([-np.inf, 0.0, -np.inf, -1e4, 0.0, -np.inf]), Sampler(seed=0)
    assert {sampler(logits) for _ in range(200)} == {1, 4}


@pytest.mark.parametrize(("number", "wanted"), [(0.0, 1), (np.nextafter(1.0, 0.0), 4)])
def test_the_ends_of_what_the_generator_draws(monkeypatch: pytest.MonkeyPatch, number: float, wanted: int) -> None:
    class Ends:
        def random(self) -> float:
            return number

    # Sums of the probabilities are rounded; no draw may fall beside the classes that have some.
    logits = np.array([-np.inf, 0.1, 0.3, 0.7, 0.6, -np.inf, -np.inf])
    sampler = Sampler()
    monkeypatch.setattr(sampler, "random", Ends())
    assert sampler(logits) == wanted


@pytest.mark.parametrize("worst", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_are_no_numbers_are_refused(worst: float, temperature: float) -> None:
    match = "logits of the model must be numbers to draw from; the largest is (nan|inf)"
    with pytest.raises(rb.ArgumentError, match=match):
        dice([0.0, worst, 1.0]).generate([0], 2, temperature=temperature)
    with pytest.raises(rb.ArgumentError, match="the largest is -inf"):
        dice([-np.inf] * 3).generate([0], 2, temperature=temperature)


# Generation


def dice(logits: Sequence[float]) -> rb.RNN:
    """A network that forgets its input: every token is drawn from the same logits."""
    classes = len(logits)
    cell = rb.Cell(np.zeros((1, classes)), np.zeros((1, 1)))
    return rb.RNN([cell], rb.Linear(np.zeros((classes, 1)), np.array(logits, float)))


OFTEN: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 3.0, "top_k": 4},
    {"top_p": 0.8},
    {"temperature": 2.0, "top_k": 3, "top_p": 0.7},
]


@pytest.mark.parametrize("options", OFTEN, ids=str)
def test_tokens_come_as_often_as_they_should(options: dict[str, Any]) -> None:
    logits = [0.3, -1.0, 1.2, 0.0, 0.7, 0.29]
    wanted = np.array(brute_force(logits, **{"temperature": 1.0, "top_k": None, "top_p": None, **options}))
    sampler = Sampler(seed=5, **options)
    for drawn in ([sampler(np.array(logits)) for _ in range(4000)], dice(logits).generate([0], 500, seed=6, **options)):
        seen = np.bincount(drawn, minlength=6)
        expected = wanted * len(drawn)
        assert (seen[wanted == 0] == 0).all()
        kept = wanted > 0
        chi_square = ((seen[kept] - expected[kept]) ** 2 / expected[kept]).sum()
        freedom = kept.sum() - 1
        assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_tokens_are_drawn_by_the_generator_of_the_seed() -> None:
    logits = [0.3, -1.0, 1.2]
    up_to = np.cumsum(brute_force(logits, 1.0, None, None))
    wanted = [int((up_to <= number).sum()) for number in np.random.default_rng(7).random(50)]
    assert dice(logits).generate([2, 1], 50, seed=7).tolist() == wanted


def test_temperature_0_takes_the_likeliest_token(backend: str) -> None:
    rnn, plain, ids = model(backend, dtype="float32"), model(dtype="float32"), [3, 0, 5]
    for _ in range(20):
        ids.append(int(plain.logits(np.array(ids))[-1].argmax()))
    assert len(set(ids[3:])) > 2
    found = rnn.generate(ids[:3], 20, temperature=0)
    assert rb.to_numpy(found).tolist() == ids[3:]
    assert rnn.generate(Vocabulary(VOCABULARY).decode(np.array(ids[:3])), 20, temperature=0) == Vocabulary(
        VOCABULARY
    ).decode(np.array(ids[3:]))
    for same in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-9}, {"temperature": 0.0, "top_k": 3}):
        assert rb.to_numpy(rnn.generate(ids[:3], 20, **same)).tolist() == ids[3:]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_temperature_0_in_other_dtypes(dtype: str) -> None:
    wanted = model(dtype="float32").generate("ab", 20, temperature=0)
    assert model(dtype=dtype).generate("ab", 20, temperature=0) == wanted


def test_what_is_drawn_is_fed_back(backend: str) -> None:
    rnn, options = model(backend, dtype="float32"), {"temperature": 0.8, "top_k": 4, "top_p": 0.9}
    found = rb.to_numpy(rnn.generate([1, 4], 30, seed=3, **options)).tolist()  # type: ignore[arg-type]
    plain, draw, ids = model(dtype="float32"), Sampler(**options, seed=3), [1, 4]  # type: ignore[arg-type]
    for _ in range(30):
        ids.append(draw(plain.logits(np.array(ids))[-1]))
    assert found == ids[2:]


def test_batch_first_changes_nothing() -> None:
    rnn = model()
    np.testing.assert_array_equal(batch_first(rnn).generate([1, 2], 20, seed=1), rnn.generate([1, 2], 20, seed=1))


@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "array_api_strict:device1", "torch", "jax"])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 4, "top_p": 0.95}, {"temperature": 0}], ids=str)
def test_a_seed_gives_the_same_text_on_every_backend(name: str, options: dict[str, Any]) -> None:
    pytest.importorskip(name.partition(":")[0])
    wanted = model(dtype="float32").generate("ab😀\n", 40, seed=11, **options)
    assert isinstance(wanted, str)
    assert len(wanted) == 40
    assert model(name, dtype="float32").generate("ab😀\n", 40, seed=11, **options) == wanted


def test_seeds() -> None:
    rnn = model()
    first = rnn.generate("ab", 60, seed=0)
    assert rnn.generate("ab", 60, seed=0) == first
    assert rnn.generate("ab", 60, seed=np.int64(0)) == first  # type: ignore[arg-type]
    assert rnn.generate("ab", 30, seed=0) == first[:30]
    assert rnn.generate("ab", 60, seed=1) != first
    assert rnn.generate("ab", 60) != rnn.generate("ab", 60)
    assert rnn.generate("ab", 60, seed=2**200) != first


def test_text_for_text_and_ids_for_ids(backend: str) -> None:
    rnn = model(backend, dtype="float32")
    text = rnn.generate("ab", 20, seed=0)
    ids = rnn.generate([2, 3], 20, seed=0)
    on_device = rnn.predict(np.array([2, 3]))
    assert (type(ids), ids.device) == (type(on_device), on_device.device)
    assert ids.shape == (20,)
    assert str(ids.dtype).endswith("int32")
    assert Vocabulary(VOCABULARY).decode(rb.to_numpy(ids)) == text
    for same in (np.array([2, 3]), np.array([2, 3], np.uint8), (2, 3)):
        np.testing.assert_array_equal(rb.to_numpy(rnn.generate(same, 20, seed=0)), rb.to_numpy(ids))
    further = rb.to_numpy(rnn.generate(ids, 5, temperature=0))
    np.testing.assert_array_equal(further, rb.to_numpy(rnn.generate(rb.to_numpy(ids), 5, temperature=0)))


def test_length_0(backend: str) -> None:
    rnn = model(backend, dtype="float32")
    assert rnn.generate("ab", 0) == ""
    assert rb.to_numpy(rnn.generate([0, 1], 0)).shape == (0,)


def first_stop(text: str, stops: Sequence[str]) -> str:
    """Return what is before the first end of a stop; of those that end together, before the longest."""
    for end in range(1, len(text) + 1):
        if found := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, found))]
    return text


@pytest.mark.parametrize("stops", [["a"], ["ab", "b\n"], ["bb", "abb", "é"], ["😀\n", "\n\n"]], ids=ascii)
def test_a_text_or_ids_end_before_the_first_stop(backend: str, stops: list[str]) -> None:
    rnn, vocabulary = model(backend), Vocabulary(VOCABULARY)
    ended = 0
    for seed in range(10):
        whole = rnn.generate("ab", 60, seed=seed)
        wanted = first_stop(whole, stops)
        ended += len(wanted) < 60
        for same in (stops, tuple(stops), *(stops if len(stops) == 1 else ())):
            assert rnn.generate("ab", 60, seed=seed, stop=same) == wanted
        ids = [vocabulary.encode(each) for each in stops]
        for numbers in ([each.tolist() for each in ids], ids, *(([ids[0].tolist(), ids[0]]) if len(ids) == 1 else ())):
            found = rb.to_numpy(rnn.generate([2, 3], 60, seed=seed, stop=numbers))
            np.testing.assert_array_equal(found, vocabulary.encode(wanted))
    assert ended > 0


def test_words_are_stops() -> None:
    drawn = rb.RNN.init(3, 4, output_size=3, seed=2)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary=("ay", "no", "."))
    whole = rnn.generate("ay", 40, seed=1)
    assert rnn.generate("ay", 40, seed=1, stop=". no") == whole.partition(" . no")[0] != whole


@pytest.mark.parametrize(
    ("prompt", "stop", "error", "match"),
    [
        ("a", "", rb.ArgumentError, "`stop` must hold at least one character; got ''"),
        ("a", ["b", ""], rb.ArgumentError, "`stop` must hold at least one character"),
        (
            "a",
            "bx",
            rb.VocabularyError,
            "`stop` 'bx' is never drawn: the character 'x' is not in the model's vocabulary",
        ),
        ("a", 3, rb.DTypeError, "`stop` must be a text or several, as the prompt is text; got 3"),
        ("a", [2, 3], rb.DTypeError, "`stop` must be a text or several, as the prompt is text; got 2"),
        ([2], "a", rb.DTypeError, "`stop` must be token ids, or several sequences of them"),
        ([2], ["a"], rb.DTypeError, "`stop` must be token ids, or several sequences of them"),
        (
            [2],
            3,
            rb.DTypeError,
            "`stop` must be token ids, or several sequences of them, as the prompt is token ids; got 3",
        ),
        ([2], [], rb.DTypeError, "`stop` must be token ids"),
        ([2], [[2], []], rb.DTypeError, "`stop` must be token ids"),
        ([2], [1.0], rb.DTypeError, "`stop` must be token ids"),
        ([2], [6], rb.ArgumentError, r"every token id in `stop` must be in 0..5; got 6 at \[0\]"),
        ([2], [[1], [2, -1]], rb.ArgumentError, r"every token id in `stop` must be in 0..5; got -1"),
    ],
    ids=ascii,
)
def test_bad_stops_are_refused(prompt: Any, stop: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        model().generate(prompt, 3, stop=stop)


BAD_OPTIONS = [
    *(("temperature", bad, "`temperature` must be at least 0; got") for bad in (-1, -1e-300)),
    *(("temperature", bad, "`temperature` must be a finite number; got") for bad in
      (math.nan, math.inf, "1", True, None, 1j, [1])),
    *(("top_k", bad, "`top_k` must be an integer of at least 1; got") for bad in (0, -1, 2.0, True, "2", math.nan)),
    *(("top_p", bad, "`top_p` must be in 0 < top_p <= 1; got") for bad in (0, -0.5, 1.0000001, 2)),
    *(("top_p", bad, "`top_p` must be a finite number; got") for bad in (math.nan, math.inf, "0.5", True, [0.5])),
    *(("seed", bad, "`seed` must be an integer of at least 0; got") for bad in (-1, 1.5, "0", True, [1], math.nan)),
    *(("length", bad, "`length` must be an integer of at least 0; got") for bad in (-1, 2.0, True, "3", None)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "bad", "match"), BAD_OPTIONS)
@pytest.mark.parametrize("prompt", ["ab", [0, 1]], ids=["text", "ids"])
def test_bad_options_are_refused(prompt: Any, name: str, bad: Any, match: str) -> None:
    with pytest.raises(rb.ArgumentError, match=match):
        model().generate(prompt, **{"length": 3, name: bad})


@pytest.mark.parametrize("length", [0, 3])
@pytest.mark.parametrize(
    ("prompt", "error", "match"),
    [
        ("", rb.ShapeError, r"`prompt` must hold at least one token, shape \(seq_len,\); got shape \(0,\)"),
        ([], rb.ShapeError, r"`prompt` must hold at least one token, .*; got shape \(0,\)"),
        ([[0, 1]], rb.ShapeError, r"`prompt` must hold at least one token, .*; got shape \(1, 2\)"),
        (3, rb.ShapeError, r"`prompt` must hold at least one token, .*; got shape \(\)"),
        ([0, 6], rb.ArgumentError, r"every token id in `prompt` must be in 0..5; got 6 at \[1\]"),
        ([0, -1], rb.ArgumentError, r"every token id in `prompt` must be in 0..5; got -1 at \[1\]"),
        ([0.0, 1.0], rb.DTypeError, "`prompt` must be text or token ids; got float64"),
        ([True, False], rb.DTypeError, "`prompt` must hold real numbers"),
        (["a", "b"], rb.DTypeError, "`prompt` must hold real numbers"),
        (b"ab", rb.DTypeError, "`prompt` must hold real numbers"),
        (None, rb.DTypeError, "`prompt` must hold real numbers"),
        ([[0], [0, 1]], rb.DTypeError, "`prompt` must be an array or nested lists of numbers"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_bad_prompts_are_refused(prompt: Any, length: int, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        model().generate(prompt, length)


@pytest.mark.parametrize("name", ["array_api_strict", "torch", "jax.numpy"])
def test_ids_out_of_range_that_cannot_be_read_are_refused_by_their_logits(name: str) -> None:
    xp = pytest.importorskip(name)
    prompt = xp.asarray([0, 6], dtype=xp.int32)
    with pytest.raises(rb.ArgumentError, match="must be numbers to draw from; the largest is nan"):
        model(name.partition(".")[0], dtype="float32").generate(prompt, 3)


def test_a_prompt_of_another_library_is_refused() -> None:
    prompt = model("array_api_strict").generate([0], 3)
    with pytest.raises(rb.BackendMismatchError, match=r"`x` is of array_api_strict .*model is on numpy"):
        model().generate(prompt, 3)


def test_a_model_that_cannot_feed_on_its_output_is_refused() -> None:
    match = "generate needs a model that predicts its own next token id; this one takes"
    layers, readout = model().layers, model(output_size=5).readout
    for rnn in (rb.RNN(layers), rb.RNN(layers, readout)):
        with pytest.raises(rb.ArgumentError, match=match):
            rnn.generate([0], 3)
    with pytest.raises(rb.ArgumentError, match="without backward cells"):
        model(bidirectional=True).generate([0], 3)


def test_a_vocabulary_that_is_too_small_never_turns_into_other_text() -> None:
    likes_the_third = dice([0.0, 0.0, 9.0])
    with pytest.raises(rb.ArgumentError, match="vocabulary"):
        rb.RNN(likes_the_third.layers, likes_the_third.readout, vocabulary="ab").generate("a", 50, seed=0)


# Sequences without end


@pytest.mark.parametrize("piece", [1, 2, 7])
@pytest.mark.parametrize("length", [1, 6, 7, 8])
def test_a_long_prompt_is_run_in_pieces(monkeypatch: pytest.MonkeyPatch, backend: str, piece: int, length: int) -> None:
    rnn, prompt = network(backend, dtype="float32"), draw_input("ids", length)
    wanted = rb.to_numpy(rnn.generate(prompt, 20, seed=1))
    most = 0
    run = rb.Stream.__call__

    def counted(stream: rb.Stream, x: Any) -> Any:
        nonlocal most
        most = max(most, x.shape[0])
        return run(stream, x)

    monkeypatch.setattr(rb.Stream, "__call__", counted)
    monkeypatch.setattr(sampling, "PIECE", piece)
    np.testing.assert_array_equal(rb.to_numpy(rnn.generate(prompt, 20, seed=1)), wanted)
    assert most == min(piece, length)


def test_tokens_are_drawn_when_they_are_asked_for_and_refused_before() -> None:
    rnn = network()
    tokens = sampling.drawn(rnn.placed, [0, 1], Sampler(seed=3))
    assert [next(tokens) for _ in range(50)] == rnn.generate([0, 1], 50, seed=3).tolist()
    with pytest.raises(rb.ShapeError, match="at least one token"):
        sampling.drawn(rnn.placed, [], Sampler())
    with pytest.raises(rb.ArgumentError, match="without backward cells"):
        sampling.drawn(model(bidirectional=True).placed, [0], Sampler())


def forecaster(backend: str = "numpy", activation: str = "tanh", **options: Any) -> rb.RNN:
    drawn = rb.RNN.init(3, 5, output_size=3, num_layers=2, seed=5, backend=backend)
    readout = rb.Linear(2 * drawn.readout.weight, drawn.readout.bias, activation)
    return rb.RNN(drawn.layers, readout, **options)


@pytest.mark.parametrize(
    "options", [{}, {"takes": "features"}, {"reads": "last"}, {"reads": "final", "batch_first": True}]
)
def test_a_free_run_feeds_its_outputs_back(backend: str, options: dict[str, Any]) -> None:
    rnn = forecaster(backend, **options)
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    outputs = roll_out(rnn.placed, x)
    for _ in range(8):
        output = next(outputs)
        assert type(output) is type(rnn.readout.weight)
        assert (output.shape, output.dtype) == ((3,), rnn.readout.weight.dtype)
        wanted = rb.to_numpy(rnn.probabilities(x, reads="steps"))[-1]
        np.testing.assert_allclose(rb.to_numpy(output), wanted, rtol=0, atol=1e-5)
        x = np.concatenate([x, rb.to_numpy(output)[None]])


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (np.zeros((0, 3)), rb.ShapeError, r"`x` must hold at least one step, .*; got shape \(0, 3\)"),
        (np.zeros(3), rb.ShapeError, r"`x` must hold at least one step, .*; got shape \(3,\)"),
        (np.zeros((2, 0, 3)), rb.ShapeError, r"`x` must hold at least one step, .*; got shape \(2, 0, 3\)"),
        (np.zeros((2, 4)), rb.ShapeError, r"the last axis of `x` must be input_size = 3; got shape \(2, 4\)"),
        (
            [[1, 2, 3]],
            rb.DTypeError,
            "floating-point numbers, as integers are token ids to this model; got int64",
        ),
        ("abc", rb.DTypeError, "`x` must hold real numbers"),
    ],
)
def test_a_free_run_is_refused_at_once(x: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        roll_out(forecaster().placed, x)
    assert next(roll_out(forecaster(takes="features").placed, [[1, 2, 3]])).shape == (3,)


def test_models_that_have_no_free_run() -> None:
    match = "a free run needs a model that predicts its own next features; this one takes"
    own = forecaster()
    for rnn in (rb.RNN(own.layers), rb.RNN.init(3, 5, output_size=4), forecaster(takes="tokens")):
        with pytest.raises(rb.ArgumentError, match=match):
            roll_out(rnn.placed, [[0.0, 0.0, 0.0]])
    for activation in ("softmax", "log_softmax"):
        with pytest.raises(rb.ArgumentError, match="those of this one are probabilities of a softmax"):
            roll_out(forecaster(activation=activation).placed, [[0.0, 0.0, 0.0]])
    with pytest.raises(rb.ArgumentError, match="that of this model reads the 'mean'"):
        roll_out(forecaster(reads="mean").placed, [[0.0, 0.0, 0.0]])
    both = rb.RNN.init(3, 5, output_size=3, bidirectional=True)
    with pytest.raises(rb.ArgumentError, match="a free run needs a network without backward cells"):
        roll_out(rb.RNN(both.layers, rb.Linear(both.readout.weight, activation="tanh")).placed, [[0.0, 0.0, 0.0]])
