"""Arrays in memory that are not of plain numbers: left out where they are no weights, else refused by name."""

from typing import Any

import numpy as np
import pytest
from plain import X, fully, linear, network, of_torch
from ways import follow, refused

import rnn_backends as rb


class Foreign:
    """A tensor of a dtype that NumPy lacks, which no function of NumPy reads."""

    def __init__(self, dtype: str, *shape: int) -> None:
        self.dtype, self.shape = dtype, shape

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError


class Nested:
    """A nested tensor of torch."""

    dtype = "torch.float32"

    @property
    def shape(self) -> Any:
        message = "NestedTensorImpl doesn't support sizes"
        raise RuntimeError(message)


def read(held: Any, **options: Any) -> rb.RNN:
    return rb.from_torch(held, activation="tanh", readout_activation="identity", **options)


OTHERS = {
    "texts": np.array(["a", "b"]), "octets": np.array([b"a"]), "day": np.array("2020-01-01", "datetime64[D]"),
    "record": np.zeros(2, [("a", "f4")]), "objects": np.array([None]),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_arrays_of_no_numbers_beside_the_weights_are_left_out(kind: str) -> None:
    state = network() | fully("fc", 2, 4)
    rnn = read(state | {"vocab": OTHERS[kind]})
    np.testing.assert_allclose(rnn.logits(X), linear(state, "fc", of_torch(state, X, "rnn.")))


@pytest.mark.parametrize("kind", ["texts", "octets", "record", "objects"])
@pytest.mark.parametrize("name", ["fc.weight", "rnn.weight_ih_l0"])
def test_weights_of_no_numbers_are_refused(kind: str, name: str) -> None:
    state = network() | fully("fc", 2, 4)
    assert f"{name!r} is of dtype" in refused("plain_dtype", lambda: read(state | {name: OTHERS[kind]}))


@pytest.mark.parametrize("dtype", ["torch.float8_e4m3fn", "torch.qint8"])
@pytest.mark.parametrize("name", ["fc.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0"])
def test_weights_of_dtypes_that_numpy_lacks_are_converted_first(dtype: str, name: str) -> None:
    state = network() | fully("fc", 2, 4)
    foreign = state | {name: Foreign(dtype, *state[name].shape)}
    wanted = linear(state, "fc", of_torch(state, X, "rnn."))
    follow("plain_dtype", lambda **_: read(foreign), wanted, lambda rnn: rnn.logits(X), then=lambda: read(state))


def test_what_is_ignored_may_be_of_any_dtype() -> None:
    state = network() | fully("fc", 2, 4)
    rnn = read(state | {"scale.weight": Foreign("torch.float8_e4m3fn", 2)}, roles={"scale": "ignore"})
    np.testing.assert_allclose(rnn.logits(X), linear(state, "fc", of_torch(state, X, "rnn.")))


def test_nested_tensors_are_no_arrays() -> None:
    state = network() | fully("fc", 2, 4)
    rnn = read(state | {"lengths": Nested()})
    np.testing.assert_allclose(rnn.logits(X), linear(state, "fc", of_torch(state, X, "rnn.")))
    with pytest.raises(rb.FormatError, match=r"the value of 'fc.weight' must be an array"):
        read(state | {"fc.weight": Nested()})
