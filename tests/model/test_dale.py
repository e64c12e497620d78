"""Dale's law, as a check of the recurrent weights of a cell."""

from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

WEIGHT = np.array([[0.5, -1.0, 0.0], [0.25, -0.5, 0.0], [0.0, -2.0, 0.0]])


def cell(weight: Any) -> rb.RateCell:
    return rb.RateCell(np.ones((3, 2)), weight, activation="relu", leak=0.5)


def test_signs_are_those_of_outgoing_weights(backend: str) -> None:
    rnn = rb.RNN([cell(WEIGHT)]).to(backend)
    signs = rb.dale_signs(rnn.layers[0].forward)  # type: ignore[arg-type]  # it is a RateCell
    assert (type(signs), signs.dtype.name, signs.tolist()) == (np.ndarray, "int8", [1, -1, 0])
    assert rb.dale_signs(rb.Cell(np.ones((3, 2)), abs(WEIGHT))).tolist() == [1, 1, 0]


def test_the_first_unit_of_both_signs_is_named(backend: str) -> None:
    weight = WEIGHT.copy()
    weight[2, 1], weight[0, 2], weight[1, 2] = 0.75, 1.0, -1.0
    rnn = rb.RNN([cell(weight)]).to(backend)
    with pytest.raises(
        rb.ArgumentError, match=r"^unit 1 breaks Dale's law: its weight to unit 2 is 0.75 and that to unit 0 -1\."
    ):
        rb.dale_signs(rnn.layers[0].forward)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_have_no_sign(value: float) -> None:
    weight = WEIGHT.copy()
    weight[2, 1] = value
    with pytest.raises(rb.ArgumentError, match=rf"must hold finite numbers; that of unit 1 to unit 2 is .*{value}"):
        rb.dale_signs(cell(weight))


@pytest.mark.parametrize("value", [None, "cell", np.eye(3)])
def test_what_is_no_cell(value: Any) -> None:
    with pytest.raises(rb.DTypeError, match=r"`cell` must be a Cell or a RateCell, such as rnn\.layers"):
        rb.dale_signs(value)


def test_a_sparse_matrix(backend: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rnn = rb.RNN([cell(sparse.csr_array(WEIGHT))]).to(backend)
    assert rb.dale_signs(rnn.layers[0].forward).tolist() == [1, -1, 0]  # type: ignore[arg-type]
    wrong = WEIGHT.copy()
    wrong[1, 0] = -0.25
    with pytest.raises(
        rb.ArgumentError, match=r"unit 0 breaks Dale's law: its weight to unit 0 is 0.5 and that to unit 1 -0.25"
    ):
        rb.dale_signs(cell(sparse.csc_array(wrong)))


def test_entries_of_one_place_add_up(backend: str) -> None:
    data, indices, indptr = np.array([1.0, 0.25, -0.5, 2.0]), np.array([0, 1, 0, 0]), np.array([0, 3, 4, 4])
    matrix = rb.Sparse.from_csr(data, indices, indptr, (3, 3))
    rnn = rb.RNN([cell(matrix)]).to(backend, "float32")
    assert rb.dale_signs(rnn.layers[0].forward).tolist() == [1, 1, 0]  # type: ignore[arg-type]
    data[2] = -1.5
    matrix = rb.Sparse.from_csr(data, indices, indptr, (3, 3))
    with pytest.raises(
        rb.ArgumentError, match=r"unit 0 breaks Dale's law: its weight to unit 1 is 2 and that to unit 0 -0\.5\."
    ):
        rb.dale_signs(cell(matrix))
