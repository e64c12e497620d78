"""The in-place recurrence of NumPy where the small cases of the conformance tests do not reach."""

from typing import Any

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends import numpy as numpy_backend
from rnn_backends.core.recurrence import scan
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", ["1", "2"])
@pytest.mark.parametrize("hidden_size", [600, 725])
def test_a_matrix_larger_than_the_cache(
    monkeypatch: pytest.MonkeyPatch, dtype: str, count: str, hidden_size: int
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", count)
    case = Draw(dtype, 0).case(shape=(5, 1, 7, hidden_size), sides="fb", h_0=True)
    assert case.layers[0].cells[0][0].weight_hh.nbytes > numpy_backend.CACHE  # type: ignore[attr-defined]
    wanted = reference(*case, dtype=dtype)
    for got, bounded in zip(rb.RNN(case.layers)(case.x, case.h_0), wanted, strict=True):
        assert excess(got, bounded) <= 1


@pytest.mark.parametrize("lengths", [None, [0, 30, 11], [29, 30, 11]])
def test_several_blocks(monkeypatch: pytest.MonkeyPatch, lengths: list[int] | None) -> None:
    case = Draw("float64", 1).case(shape=(30, 3, 4, 5), sides="fb", layers=2, h_0=True, lengths=lengths)
    whole = rb.RNN(case.layers)(case.x, case.h_0, lengths=lengths)
    for steps in (1, 7, 29):
        monkeypatch.setattr(numpy_backend, "BLOCK", steps * 3 * 5 * 8)
        pieces = rb.RNN(case.layers)(case.x, case.h_0, lengths=lengths)
        wanted = reference(*case, dtype="float64")
        for got, bounded, other in zip(pieces, wanted, whole, strict=True):
            assert excess(got, bounded) <= 1
            assert excess(other, bounded) <= 1


@pytest.mark.parametrize(
    "settings", [{}, {"OMP_NUM_THREADS": "3"}, {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "2"}]
)
def test_the_threads_of_blas_as_its_settings_tell(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert numpy_backend.threads() == (5, 3, 2)[len(settings)]


def test_the_arguments_are_left_as_they_are() -> None:
    case = Draw("float32", 2).case(shape=(70, 1, 4, 5), h_0=True)
    cell, h_0 = case.layers[0].cells[0][0], np.asarray(case.h_0)[0]
    before = [array.copy() for array in (case.x, h_0)]
    for reverse in (False, True):
        for lengths in (None, np.array([69])):
            walked = numpy_backend.walk_cell(cell, case.x, h_0, lengths, reverse)
            assert walked is not None
            for got, wanted in zip(walked, scan(cell, case.x, h_0, lengths, reverse), strict=True):
                np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    for array, old in zip((case.x, h_0), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("steps", [3, 70])
def test_a_function_of_the_users_gets_a_batch_of_one(steps: int) -> None:
    def activation(z: Any) -> Any:
        return z / (1.0 + np.sum(abs(z), axis=1, keepdims=True))

    cell = Draw("float64", 0).cell(4, 3, activation=activation)
    x = np.ones((steps, 1, 4))
    for got, wanted in zip(rb.RNN([cell])(x), rb.forward([cell], x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)
