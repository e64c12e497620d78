"""The walk by NumPy, where there is no kernel, beyond the small cases of the conformance tests."""

from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends import numpy_walk
from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.core.noise import NoisyCell
from rnn_backends.core.recurrence import scan
from rnn_backends.testing import Case, excess, reference
from rnn_backends.testing.cases import ACTIVATIONS, Draw


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, choice.OFF)


def check(case: Case, dtype: str) -> None:
    wanted = reference(*case, dtype=dtype)
    for got, bounded in zip(rb.RNN(case.layers)(case.x, case.h_0, lengths=case.lengths), wanted, strict=True):
        assert excess(got, bounded) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_parts_of_a_product(monkeypatch: pytest.MonkeyPatch, dtype: str, batch: int) -> None:
    """A few sequences are multiplied one after the other, with a part of the weights at a time."""
    for size, part in ((40, 400), (41, 400), (41, 41), (41, 1), (41, 1681)):
        monkeypatch.setattr(numpy_walk, "PART", part)
        check(Draw(dtype, 0).case(shape=(5, batch, 7, size), sides="fb", h_0=True, lengths=None), dtype)


def test_no_part_of_a_product_wakes_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).normal(size=(700, 700))
    multiply, product = numpy_walk.multiplication(weight, 3), np.empty((3, 700))
    h = np.random.default_rng(1).normal(size=(3, 700))
    multiply(h, product)
    np.testing.assert_allclose(product, h @ weight.T, rtol=0, atol=1e-11)
    parts: list[int] = []

    class Noted(np.ndarray[Any, Any]):
        def dot(self, other: Any, out: Any = None) -> Any:
            parts.append(self.size)
            return np.asarray(self).dot(other, out)

    monkeypatch.setattr(np, "ascontiguousarray", lambda array: array.view(Noted))
    numpy_walk.multiplication(weight, 3)(h, product)
    assert (len(parts), sum(parts), max(parts) <= numpy_walk.PART) == (6, 3 * 490_000, True)


@pytest.mark.parametrize("lengths", [None, [0, 30, 11], [29, 30, 11]])
def test_several_blocks(monkeypatch: pytest.MonkeyPatch, lengths: list[int] | None) -> None:
    case = Draw("float64", 1).case(shape=(30, 3, 4, 5), sides="fb", layers=2, h_0=True, lengths=lengths)
    check(case, "float64")
    for steps in (0, 1, 7, 29):
        monkeypatch.setattr(numpy_walk, "BLOCK", steps * 3 * 5 * 8)
        check(case, "float64")


def test_blocks_are_all_steps_in_the_order_of_the_walk() -> None:
    for count in (1, 2, 9, 64):
        for nbytes in (1, numpy_walk.BLOCK, 3 * numpy_walk.BLOCK, 200 * numpy_walk.BLOCK):
            for reverse in (False, True):
                found = numpy_walk.blocks(count, nbytes, reverse)
                steps = [step for block in (found[::-1] if reverse else found) for step in range(count)[block]]
                assert steps == list(range(count))
                held = max(block.stop - block.start for block in found)
                assert held == 1 or held * nbytes <= numpy_walk.BLOCK * count


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_activations(activation: rb.Activation) -> None:
    every: list[dict[str, Any]] = [{}, {"clip": 0.5}, {"leak": 0.75, "clip": 0.5}]
    for options in every:
        for lengths in (None, [9, 0, 4, 9]):
            check(
                Draw("float32", 3).case(shape=(9, 4, 3, 5), lengths=lengths, activation=activation, **options),
                "float32",
            )


@pytest.mark.parametrize("batch", [1, 4])
def test_the_arguments_are_left_as_they_are(batch: int) -> None:
    case = Draw("float32", 2).case(shape=(70, batch, 4, 5), h_0=True)
    cell, h_0 = case.layers[0].cells[0][0], np.asarray(case.h_0)[0]
    before = [array.copy() for array in (case.x, h_0)]
    for reverse in (False, True):
        for lengths in (None, np.arange(69, 69 - batch, -1)):
            walked = numpy_walk.walk_cell(cell, case.x, h_0, lengths, reverse)
            assert walked is not None
            for got, wanted in zip(walked, scan(cell, case.x, h_0, lengths, reverse), strict=True):
                np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    for array, old in zip((case.x, h_0), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("steps", [2, 100])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, np.array([3, 9, 0, 9])])
@pytest.mark.parametrize("rates", [False, True])
def test_cells_with_noise_are_walked_in_place(
    monkeypatch: pytest.MonkeyPatch, rates: bool, lengths: Any, reverse: bool, steps: int
) -> None:
    monkeypatch.setattr(numpy_walk, "BLOCK", steps * 4 * 5 * 8)
    draw = Draw("float64", 6)
    cell: Any = draw.rate_cell(3, 5, leak=0.5)
    if not rates:
        cell = rb.Cell(draw.normal(5, 3), draw.normal(5, 5), draw.normal(5))
    noisy, x, h_0 = NoisyCell(cell, draw.normal(9, 4, 5)), draw.normal(9, 4, 3), draw.normal(4, 5)
    walked = numpy_walk.walk_cell(noisy, x, h_0, lengths, reverse)
    assert walked is not None
    for got, wanted in zip(walked, scan(noisy, x, h_0, lengths, reverse), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [None, np.array([3, 7, 0, 7])])
def test_initial_states_in_any_order(lengths: Any) -> None:
    case = Draw("float32", 0).case(shape=(7, 4, 4, 5), h_0=True, leak=0.5)
    (cell, _), h_0 = case.layers[0].cells[0], np.asarray(case.h_0)[0]
    wide = np.zeros((8, 10), np.float32)
    wide[::2, ::-2] = h_0
    wanted = numpy_walk.walk_cell(cell, case.x, h_0, lengths, False)
    for laid in (np.asfortranarray(h_0), wide[::2, ::-2]):
        found = numpy_walk.walk_cell(cell, case.x, laid, lengths, False)
        assert found is not None
        assert wanted is not None
        for got, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, other, rtol=0, atol=1e-6)


def test_what_is_no_cell_or_of_another_dtype_is_declined() -> None:
    class Other(rb.Cell):
        pass

    case = Draw("float32", 0).case(h_0=True)
    (cell, _), h_0 = case.layers[0].cells[0], np.asarray(case.h_0)[0]
    assert isinstance(cell, rb.Cell)
    other = Other(cell.weight_ih, cell.weight_hh)
    for declined in (other, NoisyCell(other, np.zeros((*case.x.shape[:2], 5), np.float32))):
        assert numpy_walk.walk_cell(declined, case.x, h_0, None, False) is None
    assert numpy_walk.walk_cell(cell, case.x, h_0.astype(np.float64), None, False) is None


@pytest.mark.parametrize("steps", [3, 70])
def test_a_function_of_the_users_gets_a_batch_of_one(steps: int) -> None:
    def activation(z: Any) -> Any:
        return z / (1.0 + np.sum(abs(z), axis=1, keepdims=True))

    cell = Draw("float64", 0).cell(4, 3, activation=activation)
    x = np.ones((steps, 1, 4))
    for got, wanted in zip(rb.RNN([cell])(x), rb.forward([cell], x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)
