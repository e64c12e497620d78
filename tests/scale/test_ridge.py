"""Readouts that are fitted are those of scikit-learn and of reservoirpy, on the same states."""

from collections.abc import Iterator
from typing import Any

import array_api_strict
import numpy as np
import pytest
from places import in_float64

import rnn_backends as rb

RANDOM = np.random.default_rng(4)
X, Y = RANDOM.standard_normal((400, 3)), RANDOM.normal([5.0, -2.0], 1.0, (400, 2))


@pytest.fixture(autouse=True)
def algebra(strictest: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Eigenvalues are of an extension of the standard."""
    array_api_strict.set_array_api_strict_flags(enabled_extensions=("linalg",))
    with in_float64(request):
        yield


def readout(ridge: float, backend: str) -> tuple[Any, Any, Any]:
    """Return states after the washout, and the weight and bias of the readout that is fitted to them."""
    rnn = rb.reservoir(3, 80, leak=0.5, seed=1, backend=backend)
    fitted = rnn.fit_readout(X, Y, ridge=ridge, washout=50).readout
    return rb.to_numpy(rnn(X)[0])[50:], rb.to_numpy(fitted.weight), rb.to_numpy(fitted.bias)


@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0, 1e3])
def test_it_is_that_of_scikit_learn(ridge: float, backend: str) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    states, weight, bias = readout(ridge, backend)
    known = linear_model.Ridge(alpha=ridge).fit(states, Y[50:])
    np.testing.assert_allclose(weight, known.coef_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(bias, known.intercept_, rtol=0, atol=1e-8)


@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0, 1e3])
def test_it_is_that_of_reservoirpy(ridge: float, backend: str) -> None:
    nodes = pytest.importorskip("reservoirpy.nodes")
    states, weight, bias = readout(ridge, backend)
    known = nodes.Ridge(ridge).fit(states, Y[50:])
    np.testing.assert_allclose(weight, known.Wout.T, rtol=0, atol=1e-8)
    np.testing.assert_allclose(bias, known.bias, rtol=0, atol=1e-8)
