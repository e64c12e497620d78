"""Nested lists become the arrays that NumPy makes of them, and text among them no array of text."""

import tracemalloc
from typing import Any, NamedTuple

import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends.nested import DEEPEST, from_lists

LONG = "a" * 10**6


class Step(NamedTuple):
    """A tuple of a class of its own."""

    first: Any
    second: Any


def itself(count: int) -> list[Any]:
    held: list[Any] = []
    held += [held] * count
    return held


@pytest.mark.parametrize(
    "value",
    [
        [], [[]], [[], []], [[[]]], (), [()], [1], [1, 2.5], [1.5, -0.0, float("nan"), float("inf")], [[1, 2], (3, 4)],
        [[[1.0, 2.0]], [[3.0, 4.0]]], [True, False], [1, True], [1.0, True], [2**63, 1], [2**64, 1.0], [10**400],
        [-(2**63), 2**63 - 1], [None], [1.0, None], [1j, 2.0], [np.float32(1), 2.0], [np.int8(1), 2], [np.ones(3), np.zeros(3)],
        [np.ones((2, 3)), np.ones((2, 3), "i4")], [[np.float64(1)], [2]], [[1.0] * 50] * 50, [range(3), range(3)], [{}, 1],
        [Step(1.0, 2.0), Step(3.0, 4.0)], [[1.0, 2.0], Step(3.0, 4.0)], Step([1], [2]),
    ],
    ids=str,
)  # fmt: skip
def test_the_array_is_that_of_numpy(value: Any) -> None:
    made, wanted = from_lists("x", value), np.asarray(value)
    assert made is not None
    assert (made.dtype, made.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(made, wanted)
    assert made.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        [[LONG, 1.0]], [[1.0, LONG]] * 300, [b"a" * 10**6, 1.0], [np.str_(LONG), 1], [[[1.0, "2.5", 3.0]]] * 300,
        [np.array(LONG)] * 300, [np.void(b"a" * 10**6)] * 300, [np.array(b"a" * 10**6), np.array(1.0)], ["1", 2],
        [np.zeros((), [("a", "f4")])], [[1.0], [LONG]], [np.array(["a"], np.dtypes.StringDType()), np.array(["b"])],
    ],
    ids=range(12),
)  # fmt: skip
def test_text_is_found_before_an_array_is_made_of_it(value: Any) -> None:
    tracemalloc.start()
    try:
        assert from_lists("x", value) is None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "value",
    [[1, [2]], [[1], 2], [[1], [1, 2]], [[[1]], [1]], [[LONG], 1], itself(1), itself(2), itself(3), [[[]], []]],
    ids=range(9),
)
def test_lists_that_differ_or_have_no_end(value: Any) -> None:
    with pytest.raises(ValueError, match=r"differ in length|inhomogeneous|sequence"):
        from_lists("x", value)


def test_the_deepest_lists() -> None:
    value: Any = 1.0
    for _ in range(DEEPEST):
        value = [value]
    made = from_lists("x", value)
    assert made is not None
    assert made.shape == (1,) * DEEPEST
    with pytest.raises(ValueError, match="nested too deep"):
        from_lists("x", [value])


MODEL = rb.RNN.init(3, 4, output_size=3)
X = np.ones((5, 2, 3), np.float32)


@pytest.mark.parametrize(
    ("name", "call", "wanted"),
    [
        ("x", lambda: MODEL([[[LONG, 1.0, 2.0]]] * 200), "real numbers"),
        ("h_0", lambda: MODEL(X, [[[LONG, 1.0, 2.0, 3.0]] * 200]), "real numbers"),
        ("lengths", lambda: MODEL(X, lengths=[1, LONG] * 200), "integers"),
        ("mask", lambda: MODEL(X, mask=[[True, LONG]] * 200), "booleans"),
        ("targets", lambda: MODEL.loss(X, [[0, LONG]] * 200), "integers"),
        ("prompt", lambda: MODEL.generate([0, LONG] * 200, 3), "real numbers"),
        ("x", lambda: MODEL.stream()([[LONG, 1.0, 2.0]] * 200), "real numbers"),
        ("sequences[0]", lambda: rb.pad([[[LONG, 1.0]] * 200]), "real numbers"),
    ],
    ids=range(8),
)
def test_arguments_of_text_are_refused_without_making_more_of_it(name: str, call: Any, wanted: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(rb.DTypeError) as caught:
            call()
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    assert str(caught.value) == f"`{name}` must hold {wanted}; got list of text, bytes or records."
