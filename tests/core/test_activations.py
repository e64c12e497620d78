"""Activations and losses: their formulas, far out and at their seams, on every backend."""

import importlib.util
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels import sources
from rnn_backends.core import losses
from rnn_backends.core.activations import ACTIVATIONS, sigmoid
from rnn_backends.core.arrays import Array
from rnn_backends.core.losses import index_of_largest, negative_log_likelihood
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.reference import FUNCTIONS


def on(backend: str, host: Any, dtype: str = "float32") -> Array:
    place = rb.get_backend(backend)
    return place.from_host(np.asarray(host), dtype, place.device_name(backend.partition(":")[2]))


def activation(name: str) -> rb.Activation:
    parameters = {"scaled_tanh": (0.75, 1.25), "clipped_relu": (0.75,)}
    return rb.Activation(name, *parameters.get(name, ()))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_formulas(backend: str, name: str, dtype: str) -> None:
    near = np.linspace(-9, 9, 181).astype(dtype)
    far = np.array([-1e30, -1000, -100, -89, 1e-30, -1e-30, 89, 100, 1000, 1e30, np.inf, -np.inf], dtype)
    precision = float(np.finfo(dtype).eps)
    chosen, (function, _) = activation(name), FUNCTIONS[name]
    z = np.concatenate([near, far[:-2] if name == "affine" else far])
    with np.errstate(all="ignore"):
        wanted = function(z.astype(np.float64), chosen.alpha, chosen.beta)
    wanted = np.where(np.isinf(z) & (name == "softsign"), np.sign(z), wanted)
    wanted = np.where(np.isneginf(z) & (name == "thresholded_relu"), 0.0, wanted)
    infinite = {"leaky_relu": {-np.inf: -np.inf, np.inf: np.inf}, "elu": {-np.inf: -1.0, np.inf: np.inf}}.get(name, {})
    for at, value in infinite.items():
        wanted[z == at] = value
    got = rb.to_numpy(chosen(on(backend, z, dtype)))
    np.testing.assert_allclose(got, wanted, rtol=4 * precision, atol=precision)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_is_not_lost(backend: str, name: str) -> None:
    got = rb.to_numpy(activation(name)(on(backend, [[np.nan]])))
    assert np.isnan(got).all()


def test_sigmoid_is_exact_far_out_and_has_small_values() -> None:
    got = rb.Activation("sigmoid")(np.array([-1000.0, 1000.0, -50.0]))
    assert got[:2].tolist() == [0.0, 1.0]
    assert got[2] == pytest.approx(math.exp(-50), rel=1e-15)


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("affine", 1, 0),
        ("leaky_relu", 0.01, None),
        ("thresholded_relu", 1, None),
        ("hard_sigmoid", 0.2, 0.5),
        ("elu", 1, None),
    ],
)
def test_defaults_are_those_of_the_onnx_operators(name: str, alpha: float, beta: float | None) -> None:
    made = rb.Activation(name)
    assert (made.alpha, made.beta) == (alpha, beta)
    assert made == rb.Activation(name, alpha=alpha)
    assert (
        repr(made)
        == f"Activation(name={name!r}, alpha={float(alpha)!r}, beta={None if beta is None else float(beta)!r})"
    )


def test_thresholded_relu_drops_the_threshold_itself() -> None:
    assert rb.Activation("thresholded_relu", 0.5)(np.array([0.5, 0.51])).tolist() == [0.0, 0.51]


def test_clipped_relu_is_between_0_and_its_ceiling(backend: str) -> None:
    clipped = rb.Activation("clipped_relu", alpha=6)
    assert rb.to_numpy(clipped(on(backend, [-np.inf, -1.0, 0.5, 6.0, 6.5, np.inf]))).tolist() == [0, 0, 0.5, 6, 6, 6]


def test_relu6_is_here_by_another_name() -> None:
    with pytest.raises(rb.ArgumentError, match="got 'relu6'") as raised:
        rb.Activation("relu6")
    (advice,) = re.findall(r"Here it is (.*)\.$", str(raised.value))
    made = eval(advice, {"Activation": rb.Activation})
    assert made(np.array([-1.0, 5.0, 7.0])).tolist() == [0.0, 5.0, 6.0]


@given(rows=st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=4))
def test_softmax_of_anything_sums_to_one(rows: list[list[float]]) -> None:
    z = np.array(rows)
    p, log_p = rb.Activation("softmax")(z), rb.Activation("log_softmax")(z)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-14)
    wanted = [
        [float(v - max(row)) - math.log(math.fsum(math.exp(w - max(row)) for w in row)) for v in row] for row in rows
    ]
    np.testing.assert_allclose(log_p, wanted, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(p, np.exp(wanted), rtol=1e-11, atol=1e-300)


def test_softmax_sums_float16_in_float32() -> None:
    z = np.zeros((1, 5000), np.float16)
    p = rb.Activation("softmax")(z)
    assert p.dtype == np.float16
    np.testing.assert_allclose(p.astype(float), 1 / 5000, rtol=1e-3)


# Activations that no kernel has.

FASTER = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]


def of_no_kernel(z: Array, alpha: float = 1.0) -> Array:
    """Z sigmoid(alpha z)."""
    return z * sigmoid(alpha * z)


@pytest.mark.parametrize("place", ["numpy", "array_api_strict:device1", *FASTER])
@pytest.mark.parametrize("batch", [1, 3])
def test_an_activation_in_the_table_alone_runs_on_every_backend(
    place: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACTIVATIONS, "of_no_kernel", of_no_kernel)
    case = Draw("float32", 0).case(
        shape=(60, batch, 4, 5),
        sides="fb",
        h_0=True,
        lengths=[60, 0, 9][:batch],
        activation=rb.Activation("of_no_kernel", 0.5),
    )
    monkeypatch.setitem(FUNCTIONS, "of_no_kernel", (lambda z, alpha, _: z / (1 + np.exp(-alpha * z)), lambda *_: 1.1))
    for lengths in (case.lengths, None):
        got = rb.RNN(case.layers).to(place)(case.x, case.h_0, lengths=lengths)
        for actual, wanted in zip(got, reference(*case._replace(lengths=lengths), dtype="float32"), strict=True):
            assert excess(rb.to_numpy(actual), wanted) <= 1.0


def test_a_function_of_the_users_is_no_activation_of_its_name() -> None:
    class Doubled:
        name = "tanh"

        def __call__(self, z: Array) -> Array:
            return 2.0 * z

    cell = Draw("float64", 0).cell(3, 4)
    x = Draw("float64", 1).normal(5, 2, 3)
    got, _ = rb.RNN([replace(cell, activation=Doubled())])(x)
    wanted, _ = reference([replace(cell, activation=rb.Activation("affine", 2.0, 0.0))], x)
    assert excess(got, wanted) <= 1.0


def test_the_gpu_kernels_have_the_activations_that_they_claim_and_no_other() -> None:
    text = (Path(sources.__file__).parent / "equation.cu").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^DEVICE real g1_(\w+)\(", text, re.MULTILINE)) == sources.ELEMENTWISE
    assert set(sources.ELEMENTWISE) < set(ACTIVATIONS)


# Losses.


def by_hand(logits: Any, targets: Any) -> float:
    rows = zip(np.reshape(logits, (-1, logits.shape[-1])).tolist(), np.ravel(targets).tolist(), strict=True)
    terms = [max(row) + math.log(math.fsum(math.exp(v - max(row)) for v in row)) - row[target] for row, target in rows]
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_cross_entropy(backend: str, scale: float) -> None:
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(4, 3, 5)) * scale, random.integers(0, 5, (4, 3))
    moved = on(backend, logits, "float64"), on(backend, targets, "int32")
    assert float(rb.cross_entropy(*moved)) == pytest.approx(by_hand(logits, targets), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_logit_may_be_known(backend: str, dtype: str) -> None:
    """Of equal, infinite and missing logits, too: the first of the largest, and NaN where there is one."""
    inf, nan = math.inf, math.nan
    rows = [[1, 3, 3, 2], [-1e30, 1e30, 0, 0], [0, -inf, 0, 0], [0, 0, inf, 0], [-inf] * 4, [5, nan, 7, 0]]
    logits, targets = on(backend, rows, dtype), on(backend, [2, 1, 0, 1, 0, 0], "int32")
    best = index_of_largest(logits)
    assert rb.to_numpy(best).tolist() == [1, 1, 0, 2, 0, 1]
    with np.errstate(invalid="ignore"):
        found, searched = (rb.to_numpy(negative_log_likelihood(logits, targets, known)) for known in (best, None))
    np.testing.assert_allclose(found, [np.log(2 + np.exp(-1) + np.exp(-2)), 0, np.log(3), nan, nan, nan], rtol=1e-6)
    np.testing.assert_array_equal(found, searched)


def test_logits_that_32_bits_cannot_count(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = Draw("float64", 0).normal(4, 3), np.array([0, 2, 1, 1])
    wanted = negative_log_likelihood(logits, targets)
    monkeypatch.setattr(losses, "prod", lambda _: 2**31)
    np.testing.assert_array_equal(negative_log_likelihood(logits, targets), wanted)


def test_gradient_of_cross_entropy(backend: str) -> None:
    random = np.random.default_rng(1)
    logits, targets = random.normal(size=(2, 3, 4)), random.integers(0, 4, (2, 3))
    got = rb.to_numpy(rb.cross_entropy_grad(on(backend, logits, "float64"), on(backend, targets, "int32")))
    for place in np.ndindex(logits.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = logits.copy()
            moved[place] += step
            values.append(by_hand(moved, targets))
        assert got[place] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-9)


def test_targets_that_cannot_be_read_make_nan() -> None:
    logits, targets = on("array_api_strict", np.ones((2, 3))), on("array_api_strict", [0, 3], "int32")
    assert math.isnan(float(rb.cross_entropy(logits, targets)))
    gradient = rb.to_numpy(rb.cross_entropy_grad(logits, targets))
    assert np.isnan(gradient[1]).all()
    assert not np.isnan(gradient[0]).any()


def test_the_mean_of_nothing_is_nan() -> None:
    assert math.isnan(float(rb.cross_entropy(np.ones((0, 3)), np.ones(0, int))))
    assert rb.cross_entropy_grad(np.ones((0, 3)), np.ones(0, int)).shape == (0, 3)


Z = np.ones((2, 3))
REFUSED = [
    (
        (Z, np.zeros(3, int)),
        rb.ShapeError,
        r"`targets` must have shape \(2,\), that of the logits without their last axis; got \(3,\)",
    ),
    ((Z, np.zeros(2)), rb.DTypeError, "`targets` must be integers; got float64"),
    ((Z.astype(int), np.zeros(2, int)), rb.DTypeError, "`logits` must be floating point; got int64"),
    (
        (np.ones(()), np.zeros(2, int)),
        rb.ShapeError,
        r"`logits` must have a last axis of at least one class; got shape \(\)",
    ),
    ((np.ones((2, 0)), np.zeros(2, int)), rb.ShapeError, "`logits` must have a last axis"),
    ((Z, np.array([0, 3])), rb.ArgumentError, r"every target in `targets` must be in 0..2; got 3 at \[1\]"),
    ((Z, [0, 1]), rb.DTypeError, "`targets` must be an array; got list"),
    ((Z, None), rb.DTypeError, "`targets` must be an array; got NoneType"),
    ((Z, np.ma.zeros(2, int)), rb.DTypeError, "`targets` must not be a masked array"),
]


@pytest.mark.parametrize("function", [rb.cross_entropy, rb.cross_entropy_grad])
@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
def test_what_is_refused(function: Any, arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function(*arguments)
