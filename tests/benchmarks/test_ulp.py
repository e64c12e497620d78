"""tests/benchmarks/ulp.py: errors in units in the last place, and what computes the numbers that have them."""

import numpy as np
import pytest
import ulp
from ulp import errors

from rnn_backends.core.arrays import Host


def test_errors_in_units_in_the_last_place() -> None:
    eps = float(np.finfo(np.float32).eps)
    actual = np.array([1.0, 1.0, 2.0, 0.0, np.inf, np.inf, np.nan, np.nan, 1.0], np.float32)
    truth = np.array([1.0, 1.0 + eps, 2.0 + eps, 1e-45, 1e60, 1.0, np.nan, 1.0, np.nan])
    off = errors(actual, truth)
    np.testing.assert_allclose(off[:4], [0, 1, 0.5, 1e-45 / 2.0**-149], rtol=1e-6)
    assert off[4:].tolist() == [0, np.inf, 0, np.inf, np.inf]


def test_the_worst_argument_is_found() -> None:
    def twice_wrong(x: Host) -> Host:
        off = np.where(x == np.float32(0.5), x + 3 * np.spacing(x), x)
        return np.where(np.isfinite(x), off, np.float32(0))

    xs = [np.linspace(start, start + 1, 33).astype(np.float32) for start in (1, 0)]
    others = np.array([np.nan, np.inf], np.float32)
    assert ulp.worst(twice_wrong, lambda z: z, [*xs, others]) == (3.0, 0.5)


@pytest.mark.parametrize("dtype", ulp.WIDER)
@pytest.mark.parametrize("activation", ulp.TRUTHS)
def test_the_numbers_are_those_of_the_backend(dtype: str, activation: str) -> None:
    x = np.linspace(-9, 9, 1001).astype(dtype)
    x[3] = np.nan
    found = ulp.walked(activation, x)
    x[3] = 0.0
    np.testing.assert_allclose(found, ulp.TRUTHS[activation](x.astype(np.float64)), rtol=8 * float(np.finfo(dtype).eps))


def test_every_pattern_of_bits_has_its_turn() -> None:
    assert sum(x.size for x in ulp.all_float32(stride=65536)) == 65536
    assert all(x.dtype == np.float64 for x in ulp.some_float64(10))
