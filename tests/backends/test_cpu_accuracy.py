"""The activations of the kernels of the CPU, one number at a time."""

from typing import Any

import numpy as np
import pytest
from cpu_walks import EACH_COMPILED, EACH_DTYPE, EACH_KERNEL, Walk

import rnn_backends as rb
from rnn_backends.core.arrays import Host
from rnn_backends.testing.cases import ACTIVATIONS
from rnn_backends.testing.reference import FUNCTIONS

WIDER: dict[str, Any] = {"float32": np.float64, "float64": np.longdouble}
BITS: dict[str, Any] = {"float32": np.uint32, "float64": np.uint64}
ULPS = {"tanh": 2.0, "sigmoid": 2.0, "elu": 2.0, "softplus": 4.0}
"""Errors in units in the last place of the result; log1p and exp add up in the last."""

IS_WIDER = np.finfo(np.longdouble).nmant >= 63


def applied(kernel: str, activation: rb.Activation, numbers: Host, width: int) -> Host:
    """Return an activation of numbers, so many states of which W_ih is the identity and W_hh is 0."""
    eye = np.eye(width, dtype=numbers.dtype)
    x = np.zeros((-(-numbers.size // width), 1, width), numbers.dtype)
    x.reshape(-1)[: numbers.size] = numbers
    if width == 1:  # what is not finite reaches no other
        x = x.swapaxes(0, 1)
    states = np.zeros((x.shape[1], width), numbers.dtype)
    layer = rb.Layer(rb.Cell(eye, 0 * eye, activation=activation))
    return Walk(layer, x, [states]).by(kernel)[0].reshape(-1)[: numbers.size]


def of_all_sizes(dtype: str, count: int) -> Host:
    """Return finite numbers, as many of each exponent, with all that are next to a power of 2."""
    bits, info = BITS[dtype], np.finfo(dtype)
    end = int(np.array(np.inf, dtype).view(bits))
    positive = np.linspace(0, end - 1, count // 2, dtype=np.float64).astype(bits)
    seams = np.arange(0, end, 1 << info.nmant, dtype=bits)
    near = (seams[:, None].astype(np.int64) + np.arange(-3, 4)).reshape(-1).clip(0, end - 1).astype(bits)
    found = np.concatenate([positive[positive < end], near]).view(dtype)
    bends = np.random.default_rng(0).uniform(0, 60, count // 4).astype(dtype)
    return np.concatenate([found, -found, bends, -bends])


def errors(actual: Host, truth: Host) -> Host:
    """Return the errors in units in the last place of the truth."""
    with np.errstate(over="ignore"):  # beside the largest number
        off: Host = np.abs(actual - truth) / np.spacing(np.abs(truth.astype(actual.dtype)))
    return off


@EACH_COMPILED
@EACH_DTYPE
@pytest.mark.parametrize("name", ULPS)
def test_errors_in_units_in_the_last_place(kernel: str, dtype: str, name: str) -> None:
    if dtype == "float64" and not IS_WIDER:
        pytest.skip("no type is wider than float64 here")
    numbers = of_all_sizes(dtype, 1_000_000 if dtype == "float32" else 200_000)
    activation = rb.Activation(name, 1.0) if name == "elu" else rb.Activation(name)
    with np.errstate(all="ignore"):
        wide = numbers.astype(WIDER[dtype])
        small = np.exp(-abs(wide))
        truth = np.where(wide < 0, small, 1) / (1 + small)
        if name != "sigmoid":
            truth = FUNCTIONS[name][0](wide, 1.0, None)
    for width, each in ((64, 1), (63, 7)):
        off = errors(applied(kernel, activation, numbers[::each], width), truth[::each])
        assert off.max() <= ULPS[name], (numbers[::each][off.argmax()], off.max())


@EACH_KERNEL
@EACH_DTYPE
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_the_ends_of_all_numbers(kernel: str, dtype: str, activation: rb.Activation) -> None:
    info: Any = np.finfo(dtype)
    positive: list[Any] = [
        0.0,
        info.smallest_subnormal,
        info.tiny,
        1e-30,
        info.eps,
        1,
        88,
        104,
        746,
        1000,
        1e30,
        info.max,
        np.inf,
    ]
    numbers = np.array([*positive, *(-number for number in positive), np.nan, 0.25], dtype)
    with np.errstate(all="ignore"):
        wanted = activation(numbers)
        actual = applied(kernel, activation, numbers, 1)
    np.testing.assert_allclose(actual, wanted, rtol=8 * info.eps, atol=8 * info.smallest_subnormal)
    assert np.isnan(actual[-2])
