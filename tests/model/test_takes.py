"""The record before and beside the layers: tokens and features, encoders, heads, words, initial states, leaks."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from own_cells import Sizeless

import rnn_backends as rb
from rnn_backends.testing import excess, records, reference_network
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.records import linear

DRAW = Draw("float32", 2)
LAYERS = DRAW.layers("f", 2, 4, 5)
TABLE = linear(DRAW, 6, 4, bias=False)
READOUT = linear(DRAW, 5, 6)
WORDS = ("the", "<unk>", "sea", "a", "king", "and")
IDS = np.array([[0, 2], [5, 1], [3, 4]])


def test_integers_of_a_model_of_features_are_numbers(backend: str) -> None:
    """A forecaster of four features is given zeros and ones."""
    host = rb.RNN(LAYERS, takes="features")
    rnn, x = host.to(backend), [[0, 1, 0, 1], [1, 0, 0, 1]]
    wanted = host(np.array(x, np.float32))[0]
    for given in (x, np.array(x), np.array(x, np.uint8), rnn.backend.from_host(np.array(x), "int32", rnn.device)):
        for _ in range(2):
            np.testing.assert_allclose(rb.to_numpy(rnn(given)[0]), wanted, atol=1e-6)
    one = rb.RNN(rb.RNN.init(1, 3).layers, takes="features")
    for _ in range(2):  # an input like the one before takes a shorter way
        np.testing.assert_allclose(one(np.array([[0]]))[0], one([[0.0]])[0], atol=1e-6)
    with pytest.raises(rb.ShapeError, match="last axis of `x` must be input_size = 4; got shape"):
        rnn(IDS)
    with pytest.raises(rb.VocabularyError, match="text needs a model with a vocabulary"):
        rnn("sea")


@pytest.mark.parametrize("takes", [None, "tokens"])
def test_integers_are_ids_of_other_models(backend: str, takes: Any) -> None:
    rnn = rb.RNN(LAYERS, encoder=TABLE, takes=takes).to(backend)
    rows = TABLE.weight.T[IDS]
    np.testing.assert_allclose(rb.to_numpy(rnn(IDS)[0]), rb.RNN(LAYERS)(rows)[0], atol=1e-6)
    assert (rnn.input_size, rnn.takes) == (6, takes)


REFUSED_INPUTS = [
    (lambda rnn: rnn(np.ones((3, 2, 6), np.float32)), rb.DTypeError, "`x` must hold token ids, integers, which this model takes; got float32"),
    (lambda rnn: rnn.logits([[0.0], [1.0]]), rb.DTypeError, "`x` must hold token ids"),
    (lambda rnn: rnn.stream()(np.ones((3, 6), np.float32)), rb.DTypeError, "`x` must hold token ids"),
    (lambda rnn: rnn([[0, 6]]), rb.ArgumentError, r"every token id in `x` must be in 0..5; got 6 at \[0, 1\]"),
    (lambda rnn: rnn([-1]), rb.ArgumentError, r"every token id in `x` must be in 0..5; got -1 at \[0\]"),
    (lambda rnn: rnn("the whale and a king"), rb.VocabularyError, "the word 'whale', word 2 of the text, is not in the model's vocabulary of 6 words; leave it out, or give a model with `unknown`"),
    (lambda rnn: rnn.generate("a whale", 3), rb.VocabularyError, "the word 'whale', word 2"),
    (lambda rnn: rnn(IDS, np.zeros((2, 2, 4))), rb.ShapeError, r"`h_0` must have shape .* = \(2, 2, 5\); got \(2, 2, 4\)"),
    (lambda rnn: rb.RNN(rnn.layers, rnn.readout, takes="features").generate([0], 1), rb.ArgumentError, "predicts its own next token id"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED_INPUTS)
def test_inputs_that_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(rb.RNN(LAYERS, READOUT, encoder=TABLE, vocabulary=WORDS))


def test_ids_out_of_range_on_a_device_are_nan() -> None:
    rnn = rb.RNN(LAYERS, encoder=TABLE).to("array_api_strict")
    ids = rnn.backend.from_host(np.array([[0, 1], [6, 2], [1, -1]]), "int32", rnn.device)
    found = np.isnan(rb.to_numpy(rnn(ids)[0])).any(axis=-1)
    assert found.tolist() == [[False, False], [True, False], [True, True]]


UNEVEN = tuple(DRAW.uneven_layers(4, (5, 6), (3,)))
REFUSED_RECORDS = [
    (lambda: rb.RNN(LAYERS, takes=cast(Any, "ids")), rb.ArgumentError, "`takes` must be one of 'tokens', 'features'; got 'ids'"),
    (lambda: rb.RNN(LAYERS, takes="features", vocabulary="abcd"), rb.ArgumentError, "`takes` must be 'tokens' of a model with a vocabulary, or be left out; got 'features'"),
    (lambda: rb.RNN(LAYERS, encoder=READOUT), rb.ShapeError, r"`encoder` must give 4 features, as many as the first layer takes; it gives 6. .* the table of an embedding is to be transposed"),
    (lambda: rb.RNN(LAYERS, encoder=[TABLE, READOUT]), rb.ShapeError, r"`weight` of encoder\[1\] must have shape \(output_size, 4\), as many as come to it; got \(6, 5\)"),
    (lambda: rb.RNN(LAYERS, [READOUT, READOUT]), rb.ShapeError, r"`weight` of readout\[1\] must have shape \(output_size, 6\)"),
    (lambda: rb.RNN(LAYERS, TABLE), rb.ShapeError, r"`weight` of the readout must have shape \(output_size, 5\)"),
    (lambda: rb.RNN(LAYERS, [READOUT, cast(Any, 3)]), rb.ArgumentError, "`readout` must be a Linear or a sequence of them; got a sequence of other things"),
    (lambda: rb.RNN(LAYERS, encoder=cast(Any, np.eye(4))), rb.ArgumentError, "`encoder` must be a Linear or a sequence of them; got ndarray"),
    (lambda: rb.RNN(LAYERS, encoder=linear(Draw("float64", 0), 6, 4)), rb.DTypeError, "all parameters must have one dtype"),
    (lambda: rb.RNN(LAYERS, h_0=np.zeros((2, 4), np.float32)), rb.ShapeError, r"`h_0` of a model must have shape \(num_cells, hidden_size\) = \(2, 5\); got \(2, 4\)"),
    (lambda: rb.RNN(LAYERS, h_0=np.zeros(5, np.float32)), rb.ShapeError, r"got \(5,\)"),
    (lambda: rb.RNN(LAYERS, h_0=[np.zeros(5, np.float32)]), rb.ShapeError, r"= \(2, 5\); got \(5,\)"),
    (lambda: rb.RNN(LAYERS, h_0=[]), rb.ShapeError, "got none"),
    (lambda: rb.RNN(LAYERS, h_0=cast(Any, [[0.0] * 5] * 2)), rb.DTypeError, "`h_0` must be an array; got list"),
    (lambda: rb.RNN(UNEVEN, h_0=np.zeros((3, 5), np.float32)), rb.ShapeError, r"\(hidden_size,\) of each cell, in a tuple: \(5,\), \(6,\), \(3,\); got \(3, 5\)"),
    (lambda: rb.RNN(UNEVEN, h_0=[np.zeros(5, np.float32)] * 3), rb.ShapeError, r"got \(5,\), \(5,\), \(5,\)"),
    (lambda: rb.RNN(UNEVEN)(np.ones((3, 2, 4)), np.zeros((3, 2, 5))), rb.ShapeError, r"`h_0` must be a tuple of one array \(batch, hidden_size\) for each cell, whose sizes are 5, 6, 3; got a ndarray"),
    (lambda: rb.RNN(UNEVEN)(np.ones((3, 2, 4)), [np.zeros((2, 5))] * 3), rb.ShapeError, r"of shape \(batch, hidden_size\) = \(2, 5\), \(2, 6\), \(2, 3\); got \(2, 5\), \(2, 5\), \(2, 5\)"),
    (lambda: rb.RNN(UNEVEN)(np.ones((3, 2, 4)), [np.zeros((2, 5))]), rb.ShapeError, r"= \(2, 5\), \(2, 6\), \(2, 3\); got \(2, 5\)\."),
    (lambda: rb.forward(LAYERS, np.ones((3, 2, 4), np.float32), [np.zeros((2, 5), np.float32)] * 2), rb.ShapeError, "`h_0` must be one array of all cells, whose sizes are 5, 5; got a list"),
    (lambda: rb.RNN(LAYERS, rb.Linear(READOUT.weight.T)), rb.ShapeError, r"must have shape \(output_size, 5\), as many as come to it; got \(5, 6\). It is transposed."),
    (lambda: rb.RNN(LAYERS, vocabulary="abcde"), rb.ArgumentError, "`vocabulary` must hold at most 4 items, as many as the model takes token ids; it holds 5"),
    (lambda: rb.Cell(np.ones((2, 1)), np.ones((2, 2)), leak=cast(Any, [0.5, 0.5])), rb.DTypeError, "`leak` must be an array; got list"),
    (lambda: rb.RNN(LAYERS, vocabulary=["a", "a"]), rb.ArgumentError, "`vocabulary` must hold each word once"),
    (lambda: rb.RNN(LAYERS, vocabulary=["a", "b"], unknown="c"), rb.ArgumentError, "`unknown` must be an item of the vocabulary, .*; got 'c'"),
    (lambda: rb.RNN(LAYERS, vocabulary="ab", unknown=""), rb.ArgumentError, "`unknown` must be an item of the vocabulary, .*; got ''"),
    (lambda: rb.RNN(LAYERS, vocabulary="abcd", unknown="ab"), rb.ArgumentError, "`unknown` must be an item of the vocabulary, .*; got 'ab'"),
    (lambda: rb.RNN(LAYERS, vocabulary=["new york", "a"]), rb.ArgumentError, "each word of `vocabulary` must be without white space, .*; got 'new york'"),
    (lambda: rb.RNN(LAYERS, unknown="a"), rb.ArgumentError, "`unknown` must be an item of the vocabulary, .*; got 'a'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), REFUSED_RECORDS)
def test_records_that_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_activations_by_their_place() -> None:
    """None is a softmax for the last one of a readout, and nothing anywhere else."""
    first, second = rb.Linear(READOUT.weight), rb.Linear(np.ones((3, 6), np.float32))
    rnn = rb.RNN(LAYERS, [first, second], encoder=rb.Linear(TABLE.weight))
    assert [each.activation.name for each in (*rnn.readout, rnn.encoder)] == ["identity", "softmax", "identity"]
    z = np.ones((2, 6), np.float32)
    assert first.activation is None
    np.testing.assert_array_equal(first.activate(z), z)
    again = rb.RNN(rnn.layers, rnn.readout, encoder=rnn.encoder)
    assert repr(again.placed.network) == repr(rnn.placed.network)


def test_several_texts_are_a_batch(backend: str) -> None:
    rnn = rb.RNN(LAYERS, READOUT, encoder=TABLE, vocabulary=WORDS, reads="mean").to(backend)
    texts = ["the king", "", "a sea and"]
    x, lengths = [[0, 0, 3], [4, 0, 2], [0, 0, 5]], [2, 0, 3]
    for call in (rnn.logits, rnn.last, lambda *each, **named: rnn(*each, **named)[0]):
        np.testing.assert_allclose(rb.to_numpy(call(texts)), rb.to_numpy(call(x, lengths=lengths)), atol=1e-6)
    assert float(rb.to_numpy(rnn.loss(texts, [0, 1, 2]))) > 0
    nexts = rnn.loss(["the king"], ["king and"], reads="steps")
    assert float(rb.to_numpy(nexts)) == pytest.approx(
        float(rb.to_numpy(rnn.loss("the king", "king and", reads="steps")))
    )
    first = rb.RNN(LAYERS, READOUT, encoder=TABLE, vocabulary=WORDS, batch_first=True).to(backend)
    assert tuple(first.logits(texts).shape) == (3, 3, 6)
    with pytest.raises(rb.ArgumentError, match="`lengths` follow from the texts in `x`; leave it out"):
        rnn.logits(texts, lengths=lengths)
    with pytest.raises(rb.VocabularyError, match="the word 'whale', word 2"):
        rnn.predict(["a king", "the whale"])
    with pytest.raises(rb.VocabularyError, match="text needs a model with a vocabulary"):
        rb.RNN(LAYERS).last(texts)


def test_sequences_without_a_step_have_no_dtype(backend: str) -> None:
    rnn = rb.RNN(LAYERS, READOUT, encoder=TABLE, takes="tokens").to(backend)
    assert tuple(rnn.predict([]).shape) == (0,)
    assert tuple(rnn.predict(rb.pad([[], []])[0]).shape) == (0, 2)
    with pytest.raises(rb.DTypeError, match="`x` must hold token ids"):
        rnn.predict(np.zeros((0, 2, 6)))


def test_words(backend: str) -> None:
    rnn = rb.RNN(LAYERS, READOUT, encoder=TABLE, vocabulary=list(WORDS), unknown="<unk>").to(backend)
    assert (rnn.vocabulary, rnn.unknown, rnn.takes) == (WORDS, "<unk>", "tokens")
    found = rb.to_numpy(rnn.logits("the whale\n and  a king"))
    np.testing.assert_allclose(found, rb.to_numpy(rnn.logits([0, 1, 5, 3, 4])), atol=1e-6)
    text = rnn.generate("a king and", 8, seed=1)
    assert len(text.split(" ")) == 8
    assert set(text.split(" ")) <= set(WORDS)
    assert text.split(" ") == [WORDS[index] for index in rb.to_numpy(rnn.generate([3, 4, 5], 8, seed=1))]
    assert float(rb.to_numpy(rnn.loss("the sea", "sea and"))) > 0
    characters = rb.RNN(LAYERS, vocabulary="ab?d", unknown="?")
    np.testing.assert_array_equal(characters("axd")[0], characters([0, 2, 3])[0])


@pytest.mark.parametrize("part", ["encoder and head", "h_0 of its own"])
def test_a_trace_holds_the_whole_record(backend: str, part: str) -> None:
    held = records("float32")[part]
    rnn = rb.RNN.from_network(held.network, rb.RNN.init(1, 1, backend=backend).placed.placement)
    steps = {name: rb.to_numpy(step) for name, step in rnn.trace(held.x, lengths=held.lengths).items()}
    wanted = reference_network(held.network, held.x, lengths=held.lengths, dtype="float32")
    assert wanted.logits is not None
    assert excess(steps["logits"], wanted.logits) <= 1.0
    if part == "encoder and head":
        names = ["encoder_0", "encoder_1", "input_product_l0"]
        assert [name for name in steps if name in names] == names
        assert list(steps)[-3:] == ["readout_0", "logits", "probabilities"]
        first = held.network.encoder[0]
        np.testing.assert_allclose(steps["encoder_0"], np.tanh(held.x @ first.weight.T + first.bias), atol=1e-6)
        assert steps["readout_0"].min() == 0


def test_a_stream_of_the_whole_record(backend: str) -> None:
    draw = Draw("float32", 5)
    layers = draw.uneven_layers(4, (5,), (3,))
    own = [draw.normal(5), draw.normal(3)]
    rnn = rb.RNN(layers, linear(draw, 3, 2), encoder=linear(draw, 6, 4), h_0=own).to(backend)
    wanted = rb.to_numpy(rnn.logits(IDS))
    stream = rnn.stream(batch_size=2)
    parts = [rb.to_numpy(stream.logits(IDS[:1])), rb.to_numpy(stream.logits(IDS[1:]))]
    np.testing.assert_allclose(np.concatenate(parts), wanted, atol=1e-6)
    assert [tuple(part.shape) for part in stream.state] == [(2, 5), (2, 3)]
    state = [rb.to_numpy(part) for part in stream.state]
    later = rb.to_numpy(stream.logits(IDS))
    stream.reset(state)
    np.testing.assert_allclose(rb.to_numpy(stream.logits(IDS)), later, atol=1e-6)
    stream.reset()
    np.testing.assert_allclose(rb.to_numpy(stream.logits(IDS)), wanted, atol=1e-6)


@pytest.mark.parametrize("seq_len", [0, 3])
def test_states_of_several_sizes_are_memory_of_their_own(backend: str, seq_len: int) -> None:
    own = [DRAW.normal(5), DRAW.normal(3)]
    rnn = rb.RNN(DRAW.uneven_layers(4, (5,), (3,)), h_0=own).to(backend)
    x = DRAW.normal(seq_len, 2, 4)
    output, h_n = rnn(x)
    copies = [rb.to_numpy(output).copy(), *(rb.to_numpy(part).copy() for part in h_n)]
    if backend != "jax":
        for part in h_n:
            part[...] = 7
        for part, held in zip(rnn.h_0, own, strict=True):
            np.testing.assert_array_equal(rb.to_numpy(part), held)
        np.testing.assert_array_equal(rb.to_numpy(output), copies[0])
        for part, copy in zip(rnn(x)[1], copies[1:], strict=True):
            np.testing.assert_array_equal(rb.to_numpy(part), copy)


def test_states_of_cells_that_state_no_size(backend: str) -> None:
    """They come as a tuple where they differ, and are taken so."""
    rnn = rb.RNN([Sizeless(DRAW.normal(2, 4)), DRAW.cell(2, 3)]).to(backend)
    x = DRAW.normal(4, 2, 4)
    _, h_n = rnn(x)
    again, _ = rnn(x, h_n)
    assert tuple(again.shape) == (4, 2, 3)
    given = rb.RNN([Sizeless(DRAW.normal(2, 4)), DRAW.cell(2, 3)], h_0=(DRAW.normal(2), DRAW.normal(3)))
    assert given(x)[0].shape == (4, 2, 3)
    even = rb.RNN([Sizeless(DRAW.normal(2, 4)), Sizeless(DRAW.normal(2, 2))], h_0=(DRAW.normal(2), DRAW.normal(2)))
    assert even.h_0.shape == (2, 2)


def test_a_model_shows_its_record() -> None:
    rnn = rb.RNN(
        LAYERS,
        [linear(DRAW, 5, 7), READOUT_OF_7],
        encoder=TABLE,
        h_0=DRAW.normal(2, 5),
        vocabulary=WORDS,
        batch_first=True,
    )
    for shown in ("encoder=4", "head=7 -> 2", "takes=tokens", "vocabulary=6 words", "h_0=given", "batch_first=True"):
        assert shown in repr(rnn)


READOUT_OF_7 = linear(DRAW, 7, 2)


def test_a_call_replaces_the_models_own_states_whole(backend: str) -> None:
    own, given = DRAW.normal(2, 5), DRAW.normal(2, 2, 5)
    rnn = rb.RNN(LAYERS, h_0=own).to(backend)
    x = DRAW.normal(3, 2, 4)
    np.testing.assert_allclose(rb.to_numpy(rnn(x, given)[1]), rb.RNN(LAYERS)(x, given)[1], atol=1e-6)
    tiled = np.repeat(own[:, None], 2, axis=1)
    np.testing.assert_allclose(rb.to_numpy(rnn(x)[1]), rb.RNN(LAYERS)(x, tiled)[1], atol=1e-6)
    np.testing.assert_allclose(rb.to_numpy(rnn(x[:, 0])[1]), rb.RNN(LAYERS)(x[:, 0], own)[1], atol=1e-6)
    np.testing.assert_array_equal(rb.to_numpy(rnn.h_0), own)
    assert rb.RNN(LAYERS, h_0=list(own)).h_0.shape == (2, 5)
    assert rnn.num_parameters == rb.RNN(LAYERS).num_parameters + 10


def test_an_encoder_computes_nothing_of_padding() -> None:
    """Of which a function might make anything."""
    seen: list[Any] = []
    encoder = rb.Linear(DRAW.normal(4, 6), activation=lambda z: seen.append(z) or z)  # type: ignore[func-returns-value]
    x = np.full((4, 2, 6), np.inf, np.float32)
    x[:2] = 0.5
    output, _ = rb.RNN(LAYERS, encoder=encoder)(x, lengths=[2, 1])
    assert np.isfinite(output).all()
    assert seen
    assert all(np.isfinite(z).all() for z in seen)


def test_padding_of_an_encoder_reaches_no_gradient() -> None:
    torch = pytest.importorskip("torch")
    weight = torch.tensor(DRAW.normal(4, 6), requires_grad=True)
    layers = rb.RNN(LAYERS).to("torch").layers
    rnn = rb.RNN(layers, encoder=rb.Linear(weight, activation="tanh"))
    x = torch.full((4, 2, 6), float("nan"))
    x[:2] = 0.5
    rnn(x, lengths=torch.tensor([2, 1]))[0].sum().backward()
    assert torch.isfinite(weight.grad).all()
    assert (weight.grad != 0).any()


class Held:
    """A cell of a user's that is no dataclass."""

    hidden_size = 2

    def __init__(self, weight: Any) -> None:
        self.weight = weight

    def project(self, x: Any) -> Any:
        return x @ self.weight.T

    def step(self, projected: Any, h: Any) -> Any:
        return projected + h


def test_arrays_that_would_stay_behind() -> None:
    rnn = rb.RNN([Held(np.ones((2, 3), np.float32))])
    assert rnn(np.ones((4, 3), np.float32))[0].shape == (4, 2)
    for move in ({"backend": "array_api_strict"}, {"dtype": "float64"}):
        with pytest.raises(
            rb.ArgumentError, match=r"the array 'weight' of Held would stay behind .*; make the class a dataclass"
        ):
            rnn.to(**move)
    moved = rb.RNN([Moving(np.ones((2, 3), np.float32))]).to("array_api_strict")
    assert rb.to_numpy(moved(np.ones((4, 3), np.float32))[0]).shape == (4, 2)


@dataclass(frozen=True, eq=False)
class Moving:
    weight: Any
    hidden_size = 2
    project, step = Held.project, Held.step


def test_leaks_by_unit_are_parameters() -> None:
    cell = DRAW.cell(3, 4, leak=np.linspace(0.25, 1.0, 4, dtype=np.float32))
    assert "leak='one a unit'" in repr(cell)
    rnn = rb.RNN([cell])
    assert rnn.num_parameters == 4 * 3 + 4 * 4 + 4 + 4
    assert cast(Any, rnn.to(dtype="float64").layers[0].forward).leak.dtype == np.float64
    same = rb.RNN([rb.Cell(cell.weight_ih, cell.weight_hh, cell.bias, leak=np.array(0.5))])
    assert cast(Any, same.layers[0].forward).leak == 0.5
