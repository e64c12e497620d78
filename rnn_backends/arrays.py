"""What the array API standard leaves out and every room of this package needs."""

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace

Array: TypeAlias = Any
"""An array of any library that follows the array API standard."""

Host: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""An array of NumPy; `numpy.typing` would say it shorter, but takes its time to import."""

HALF = ("float16", "bfloat16")
FLOATING = (*HALF, "float32", "float64")


def is_array(value: object) -> bool:
    """Tell whether a value is an array, of whatever library."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def dtype_name(array: Array) -> str:
    """Return the name of an array's dtype, spelt alike for every library: ``"float32"``."""
    dtype = array.dtype
    return _name(hash(type(dtype)), dtype)


@cache
def _name(_: int, dtype: Hashable) -> str:  # of its type, for dtypes of two libraries cannot be compared
    return str(dtype).rpartition(".")[2]


def is_integer(array: Array) -> bool:
    """Tell whether an array holds integers (booleans are none)."""
    return "int" in dtype_name(array)


def widen(array: Array) -> Array:
    """Return float16 and bfloat16 as float32, in which they are summed; anything else as it is."""
    if dtype_name(array) not in HALF:
        return array
    xp = array_namespace(array)
    return xp.astype(array, xp.float32)


def where_valid(array: Array, valid: Array | None, other: float = 0) -> Array:
    """Return an array with another value wherever a step is not valid; None makes every step valid."""
    if valid is None:
        return array
    xp = array_namespace(array)
    return xp.where(valid, array, xp.full_like(array, other))


def cast(array: Array, dtype: Any) -> Array:
    """Return an array in a dtype, itself where it has that dtype already."""
    return array if array.dtype == dtype else array_namespace(array).astype(array, dtype)
