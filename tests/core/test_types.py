"""The annotations of the public functions: mypy, which runs over this file, refuses what they refuse when they run."""

from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.core.arrays import ArrayLike

W_IH, W_HH = np.ones((4, 3), np.float32), np.eye(4, dtype=np.float32)


def test_arrays_are_taken() -> None:
    cell = rb.Cell(W_IH, W_HH, np.zeros(4, np.float32), leak=0.5)
    output, h_n = rb.forward([cell], np.ones((2, 3), np.float32), lengths=None)
    assert rb.to_numpy(output).shape == (2, 4)
    assert rb.Linear(cell.weight_ih).output_size == 4  # what a record holds, and what is returned, is Any
    assert rb.cross_entropy(h_n, np.zeros(1, np.int64)).dtype == np.float32


def test_what_is_no_array_is_refused() -> None:
    wrong: list[Any] = []
    with pytest.raises(rb.DTypeError):
        wrong.append(rb.Cell("not an array", 5))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rb.Cell(W_IH, W_HH, [0.0, 0.0, 0.0, 0.0]))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rb.Linear(3.0))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rb.forward([rb.Cell(W_IH, W_HH)], "text"))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rb.cross_entropy(np.ones((2, 3)), [0, 1]))  # type: ignore[arg-type]
    with pytest.raises(rb.BackendMismatchError):
        wrong.append(rb.to_numpy([1.0]))  # type: ignore[arg-type]
    rnn = rb.RNN.init(3, 4, output_size=3)
    with pytest.raises(rb.DTypeError):
        wrong.append(rnn(object()))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rnn.logits([0, 1], {"h": 1.0}))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rnn.predict([0, 1], lengths=print))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rnn.loss([0, 1], None))  # type: ignore[arg-type]
    with pytest.raises(rb.DTypeError):
        wrong.append(rnn.stream()([object()]))  # type: ignore[list-item]
    assert not wrong


def test_arrays_and_nested_sequences_of_numbers_are_array_like() -> None:
    taken: list[ArrayLike] = [W_IH, 1.5, [1, 2.0], ((0.5,), [1]), [W_IH, W_IH], [W_IH[0], [1.0, 2.0, 3.0]]]
    refused: list[ArrayLike] = [object(), [None], {"a": 1.0}]  # type: ignore[list-item]
    assert all(rb.RNN([rb.Cell(W_IH, W_HH)])(each)[0].shape[-1] == 4 for each in ([W_IH], [[1, 2.0, 3]]))
    assert len(taken) == 6
    assert len(refused) == 3
