"""Names of dtypes, as users of any library give them."""

from typing import Any

import array_api_strict
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.core.arrays import dtype_name
from rnn_backends.core.messages import got
from rnn_backends.core.parameters import dtype_name_of

NAMED = [
    *("float16", "bfloat16", "float32", "float64"),
    *("f4", "=f4", "half", float, np.float16, np.float32, np.dtype("float64"), array_api_strict.float32),
]


@pytest.mark.parametrize("dtype", NAMED, ids=str)
def test_dtypes_of_the_host(dtype: Any) -> None:
    wanted = {"f4": "float32", "=f4": "float32", "half": "float16", float: "float64"}.get(dtype)
    name = dtype_name_of(dtype)
    assert name == (wanted or getattr(dtype, "__name__", str(dtype)).rpartition(".")[2])
    if name != "bfloat16":
        assert rb.RNN.init(2, 3, backend="numpy").to(dtype=dtype).dtype == name


def test_dtypes_of_jax() -> None:
    numbers = pytest.importorskip("jax.numpy")
    for name in ("float16", "bfloat16", "float32", "float64"):
        assert dtype_name_of(getattr(numbers, name)) == dtype_name_of(np.dtype(getattr(numbers, name))) == name


def test_dtypes_of_torch(torch: Any) -> None:
    for name in ("float16", "bfloat16", "float32", "float64"):
        assert dtype_name_of(getattr(torch, name)) == name
    assert rb.RNN.init(2, 3).to("torch", torch.bfloat16).dtype == "bfloat16"
    assert rb.get_backend("torch").dtype(np.float32) is torch.float32


SWAPPED = np.dtype("float32").newbyteorder("S")


@pytest.mark.parametrize(
    "dtype",
    ["float65", "int32", "", "f4, f4", None, 32, int, np.int64, bool, SWAPPED, SWAPPED.str, [], object],
    ids=str,
)
def test_what_is_no_floating_point_dtype(dtype: Any) -> None:
    for call in (dtype_name_of, rb.get_backend("numpy").dtype):
        with pytest.raises(rb.DTypeError, match="`dtype` must be one of float16, bfloat16, float32, float64") as caught:
            call(dtype)
        assert str(caught.value).endswith(f"; got {got(dtype)}.")


def test_the_name_of_an_arrays_dtype_does_not_depend_on_its_byte_order() -> None:
    for dtype in ("float32", "int64", "bool", "float16"):
        assert dtype_name(np.zeros(2, np.dtype(dtype).newbyteorder("S"))) == dtype_name(np.zeros(2, dtype)) == dtype
