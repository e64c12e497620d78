"""`pad`: sequences of different lengths as one batch."""

import re
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.testing.cases import Draw


def test_sequences_become_one_batch(backend: str) -> None:
    place = rb.RNN.init(1, 1, backend=backend)
    held = [np.ones((2, 3), np.float32), np.zeros((0, 3), np.float32), np.full((4, 3), 2.0, np.float32)]
    x, lengths = rb.pad([place.backend.from_host(each, "float32", place.device) for each in held])
    assert place.backend.owns(x)
    assert place.backend.owns(lengths)
    assert place.backend.device_of(x) == place.backend.device_of(lengths) == place.device
    found, counts = rb.to_numpy(x), rb.to_numpy(lengths)
    assert (found.shape, found.dtype, counts.tolist()) == ((4, 3, 3), np.dtype(np.float32), [2, 0, 4])
    assert found.sum(axis=(0, 2)).tolist() == [6.0, 0.0, 24.0]
    assert found[:2, 0].all()
    assert not found[2:, 0].any()
    first, _ = rb.pad([place.backend.from_host(each, "float32", place.device) for each in held], batch_first=True)
    np.testing.assert_array_equal(rb.to_numpy(first), found.swapaxes(0, 1))


def test_a_padded_batch_gives_what_each_sequence_gives() -> None:
    draw = Draw("float64", 0)
    rnn = rb.RNN(draw.layers("fb", 2, 3, 4))
    held = [draw.normal(length, 3) for length in (5, 1, 3)]
    x, lengths = rb.pad(held)
    last = rnn.last(x, lengths=lengths, reads="final")
    for b, each in enumerate(held):
        np.testing.assert_allclose(last[b], rnn.last(each, reads="final"), rtol=1e-12)


@pytest.mark.parametrize(
    ("sequences", "x", "lengths"),
    [
        ([[3, 1], [2]], [[3, 1], [2, 0]], [2, 1]),
        ([[], [2, 4]], [[0, 0], [2, 4]], [0, 2]),
        ([[]], np.zeros((1, 0)), [0]),
        ([[[1.0, 2.0]], []], [[[1.0, 2.0]], [[0.0, 0.0]]], [1, 0]),
        ([[[1.0]], [[2]]], [[[1.0]], [[2.0]]], [1, 1]),
        ((np.array([1], np.uint64), [5]), [[1], [5]], [1, 1]),
        ((np.arange(3, dtype=np.uint8), [5]), [[0, 1, 2], [5, 0, 0]], [3, 1]),
    ],
)
def test_lists_become_arrays(sequences: Any, x: Any, lengths: list[int]) -> None:
    found, counts = rb.pad(sequences, batch_first=True)
    np.testing.assert_array_equal(found, np.array(x))
    assert found.dtype.kind == np.array(x).dtype.kind
    assert counts.tolist() == lengths


REFUSED: list[tuple[Any, type[Exception], str]] = [
    ([], rb.DTypeError, "`sequences` must be a list of at least one array, one for each sequence; got an empty one"),
    (np.ones((3, 2)), rb.DTypeError, "`sequences` must be a list .*; got a ndarray"),
    ("abc", rb.DTypeError, "`sequences` must be a list .*; got a str"),
    (["abc"], rb.DTypeError, r"`sequences\[0\]` must hold numbers; got text; give a list of texts to a model with a voc"),
    ([[1], 2], rb.ShapeError, r"`sequences\[1\]` must have shape \(length,\), as the other sequences; got \(\)"),
    ([np.ones((2, 3)), np.ones((2, 4))], rb.ShapeError, r"`sequences\[1\]` must have shape \(length, 3\), as the other sequences; got \(2, 4\)"),
    ([np.ones((2, 3)), np.ones(2)], rb.ShapeError, r"`sequences\[1\]` must have shape \(length, 3\)"),
    ([np.ones((2, 3, 4))], rb.ShapeError, r"`sequences\[0\]` must have shape \(length, input_size\) or \(length,\)"),
    ([["a"]], rb.DTypeError, r"`sequences\[0\]` must hold real numbers"),
    ([[1, [2]]], rb.DTypeError, r"`sequences\[0\]` must be an array or nested lists of numbers, of equal lengths"),
]  # fmt: skip


@pytest.mark.parametrize(("sequences", "error", "message"), REFUSED)
def test_sequences_that_are_refused(sequences: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rb.pad(sequences)


def test_sequences_of_several_places_or_kinds_are_refused() -> None:
    strict = rb.get_backend("array_api_strict")
    ids, floats = (
        strict.from_host(np.arange(3), "int32", "CPU_DEVICE"),
        strict.from_host(np.ones(3), "float32", "CPU_DEVICE"),
    )
    with pytest.raises(
        rb.BackendMismatchError, match=r"`sequences\[0\]` is of array_api_strict and `sequences\[1\]` of numpy"
    ):
        rb.pad([ids, [1, 2]])
    with pytest.raises(
        rb.DTypeError, match="all `sequences` must be of one kind, integers or floating point; got float32, int32"
    ):
        rb.pad([ids, floats])
    with pytest.raises(rb.DeviceError, match="all arrays must be on one device"):
        rb.pad([ids, strict.from_host(np.arange(3), "int32", "device1")])
    with pytest.raises(rb.ArgumentError, match="`batch_first` must be True or False"):
        rb.pad([[1]], batch_first=1)  # type: ignore[arg-type]


def test_texts_are_refused_with_what_takes_them() -> None:
    """The advice, followed, gives what each text gives."""
    drawn, texts = rb.RNN.init(3, 4), ["abca", "b"]
    rnn = rb.RNN(drawn.layers, vocabulary="abc")
    with pytest.raises(rb.DTypeError, match="give a list of texts to a model with a vocabulary as it is"):
        rb.pad(texts)
    for found, each in zip(rnn.last(texts), texts, strict=True):
        np.testing.assert_allclose(found, rnn.last(each), atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
def test_ragged_lists_are_refused_with_what_makes_them_a_batch(batch_first: bool) -> None:
    """The advice, followed, gives what each sequence gives."""
    drawn, ragged = rb.RNN.init(5, 4), [[3, 1], [4]]
    rnn, option = rb.RNN(drawn.layers, batch_first=batch_first), ", batch_first=True" if batch_first else ""
    with pytest.raises(
        rb.DTypeError, match=re.escape(f"x, lengths = rnn_backends.pad(sequences{option}) makes one batch")
    ):
        rnn.last(ragged)
    x, lengths = rb.pad(ragged, batch_first=batch_first)
    for found, each in zip(rnn.last(x, lengths=lengths), ragged, strict=True):
        np.testing.assert_allclose(found, rnn.last(each), atol=1e-6)
