"""`ctc_greedy`: the tokens of a network that was trained with CTC."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends.testing.cases import Draw


def by_hand(ids: Sequence[int], blank: int) -> list[int]:
    """What section 3.2 of the paper says: first one of each run, then no blanks."""
    return [each for each, _ in groupby(each for each in ids if each != -1) if each != blank]


@pytest.mark.parametrize(
    ("ids", "blank", "wanted"),
    [
        ([0, 3, 3, 0, 3, 1, 1], 0, [3, 3, 1]),
        ([3, 3, 0], 3, [0]),
        ([0, 0, 0], 0, []),
        ([0, 0, 1], 9, [0, 1]),
        ([2, 2, -1, -1], 0, [2]),
        ([2, -1, 2, 0, -1, 2], 0, [2, 2]),
        ([-1, -1], 0, []),
        ([], 0, []),
    ],
)
def test_tokens_of_one_sequence(ids: list[int], blank: int, wanted: list[int]) -> None:
    for given_ids in (ids, np.array(ids, np.int16)):
        found = rb.ctc_greedy(given_ids, blank=blank)
        assert found.tolist() == wanted
        assert found.dtype == (np.int16 if given_ids is not ids else np.int64)


@given(
    sequences=st.lists(st.lists(st.integers(0, 3), max_size=9), max_size=4), blank=st.integers(0, 4),
    holes=st.lists(st.integers(0, 8), max_size=2), batch_first=st.booleans(),
)  # fmt: skip
def test_a_batch_is_its_sequences(
    sequences: list[list[int]], blank: int, holes: list[int], batch_first: bool, backend: str
) -> None:
    seq_len = max(map(len, sequences), default=0)
    ids = np.full((len(sequences), seq_len), -1)
    for row, each in zip(ids, sequences, strict=True):
        row[: len(each)] = each
    ids[:, [hole for hole in holes if hole < seq_len]] = -1
    place = rb.RNN.init(1, 1, backend=backend)
    moved = place.backend.from_host(ids if batch_first else ids.T, "int32", place.device)
    found = rb.ctc_greedy(moved, blank=blank, batch_first=batch_first)
    assert all(type(each) is np.ndarray and each.dtype == np.int32 for each in found)
    assert [each.tolist() for each in found] == [by_hand(row, blank) for row in ids.tolist()]


def test_what_a_network_predicts(backend: str) -> None:
    draw = Draw("float32", 0)
    for batch_first in (False, True):
        rnn = rb.RNN(draw.layers("fb", 1, 3, 8), rb.Linear(9 * draw.normal(4, 16)), batch_first=batch_first).to(backend)
        sequences = [draw.normal(length, 3) for length in (30, 0, 1, 12)]
        x, lengths = rb.pad(sequences, batch_first)
        found = rb.ctc_greedy(rnn.predict(x, lengths=lengths), batch_first=batch_first)
        alone = [rb.ctc_greedy(each) for each in rnn.predict_many(sequences)]
        assert [each.tolist() for each in found] == [each.tolist() for each in alone]
        assert [len(each) > 1 for each in found] == [True, False, False, True]


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_advice_for_logits(library: str, torch: Any) -> None:
    logits = np.eye(4, dtype=np.float32)[[0, 3, 3, 0, 3, 1, 1]]
    given_logits: Any = torch.tensor(logits) if library == "torch" else logits
    with pytest.raises(rb.DTypeError, match=r"got float32. Of logits or probabilities give the argmax over the last"):
        rb.ctc_greedy(given_logits)
    ids = given_logits.argmax(-1)
    consecutive = torch.unique_consecutive(torch.as_tensor(ids))
    assert rb.ctc_greedy(ids).tolist() == consecutive[consecutive != 0].tolist() == [3, 3, 1]


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (np.ones((3, 2)), {}, rb.DTypeError, "`ids` must be integers, such as RNN.predict returns; got float64"),
    (np.ones(3, bool), {}, rb.DTypeError, "`ids` must be integers, .*; got bool"),
    ([0.5], {}, rb.DTypeError, "`ids` must hold integers; got list of dtype float64"),
    ("0110", {}, rb.DTypeError, "`ids` must hold integers; got str"),
    (None, {}, rb.DTypeError, "`ids` must hold integers; got NoneType"),
    ([[1, 2], [3]], {}, rb.DTypeError, "`ids` must be an array or nested lists of numbers, of equal lengths"),
    (np.ma.zeros(3, int), {}, rb.DTypeError, "`ids` must not be a masked array"),
    (np.ones((3, 2, 4), int), {}, rb.ShapeError, "`ids` must have shape (seq_len, batch) or (seq_len,); got (3, 2, 4)"),
    (3, {}, rb.ShapeError, "`ids` must have shape (seq_len, batch) or (seq_len,); got ()"),
    ([[1, 0], [2, -100]], {}, rb.ArgumentError, "at least 0, or -1 where there is no step; got -100 at [1, 1]"),
    ([1, -2], {}, rb.ArgumentError, "at least 0, or -1 where there is no step; got -2 at [1]"),
    ([1], {"blank": -1}, rb.ArgumentError, "`blank` must be an integer of at least 0; got -1"),
    ([1], {"blank": 1.0}, rb.ArgumentError, "`blank` must be an integer of at least 0; got 1.0"),
    ([1], {"batch_first": "no"}, rb.ArgumentError, "`batch_first` must be True or False; got 'no'"),
]


@pytest.mark.parametrize(("ids", "options", "error", "message"), REFUSED)
def test_what_is_refused(ids: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    pattern = message if ".*" in message else re.escape(message)
    with pytest.raises(error, match=pattern):
        rb.ctc_greedy(ids, **options)


def test_results_are_the_callers_own() -> None:
    ids = np.array([1, 2, 3])
    ids.flags.writeable = False
    found = rb.ctc_greedy(ids)
    found[:] = 0
    assert ids.tolist() == [1, 2, 3]
