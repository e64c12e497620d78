"""What a message says of a value."""

from typing import Any

import numpy as np
import pytest

from rnn_backends.core.messages import MOST, fitted, got, listed, short, shown, shown_path


class Hostile:
    """An object that cannot be quoted."""

    def __repr__(self) -> str:
        raise RuntimeError


DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "None"), (True, "True"), (-3, "-3"), (0.5, "0.5"), (float("nan"), "nan"), (1 + 2j, "(1+2j)"),
        ("tanh", "'tanh'"), (b"tanh", "b'tanh'"), ("a\nb", r"'a\nb'"), ("é\ud800", r"'\xe9\ud800'"),
        (10**40, str(10**40)), (-(10**5000), "an integer of some 5001 digits"),
        (np.float32(2.5), "np.float32(2.5)"), (np.dtype("i4"), "dtype('int32')"), (int, "'int'"),
        ([], "[]"), ({}, "{}"), ((1, 2), "tuple"), (DEEP, "list"), ({"a": 1}, "dict"), (Hostile(), "Hostile"),
        (np.zeros((2, 3)), "ndarray of shape (2, 3)"), (np.zeros(()), "ndarray of shape ()"), (len, "builtin_function_or_method"),
    ],
    ids=range(24),
)  # fmt: skip
def test_a_value_is_said_without_its_data(value: object, said: str) -> None:
    assert got(value) == said


@pytest.mark.parametrize("value", ["a" * 10**6, b"\xff" * 10**6, "\n" * 500, tuple(range(200)), "é" * 90])
def test_what_is_long_is_cut(value: object) -> None:
    assert len(shown(value)) <= 80
    assert shown(value).endswith("...")
    assert shown(value).isascii()


def test_the_first_names_are_listed() -> None:
    assert listed([]) == "none"
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed("abcdefgh") == "'a', 'b', 'c', 'd', 'e' and 3 more"
    assert listed(["a" * 100, "b" * 100, "c"]) == f"'{'a' * 76}... and 2 more"


def test_the_end_of_a_path_is_shown() -> None:
    assert shown_path("models/é.npz") == "models/é.npz"
    assert shown_path(b"a\xff\nb") == r"a\udcff\nb"
    long = shown_path("/" + "d/" * 2000 + "m.npz")
    assert long.startswith("...")
    assert long.endswith("/d/m.npz")
    assert len(long) == 153
    assert len(shown_path("\n" * 149)) == 153


def test_an_error_of_a_library_is_one_short_line() -> None:
    assert short(ValueError("it's\nover")) == r"it's\nover"
    assert len(short(ValueError("a" * 10**6))) == 200


def test_a_message_keeps_both_ends() -> None:
    whole = "begin " + "-" * 1000 + " end."
    assert fitted(whole[:MOST]) == whole[:MOST]
    cut = fitted(whole)
    assert (len(cut), cut[:6], cut[-4:]) == (MOST, "begin ", "end.")
