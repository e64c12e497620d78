"""Types of arrays, and the operations on them that the array API standard leaves out."""

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from math import nan
from typing import Any, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""An array of any library that follows the array API standard, to compute with or returned."""


class ArrayArgument(Protocol):
    """An array of any library, as an argument: what its attributes say is checked, and no operation is assumed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""

    @property
    def ndim(self) -> int:
        """The number of axes."""

    @property
    def dtype(self) -> Any:
        """The dtype, an object of the library."""


ArrayLike: TypeAlias = ArrayArgument | float | Sequence["ArrayLike"]
"""An argument of a model: an array, a number, or nested sequences of numbers."""

Input: TypeAlias = ArrayLike | str | Sequence[str]
"""The input of a model: features, token ids, or the text that ids stand for, one or several."""

Host: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""An array of NumPy; `numpy.typing` would say it shorter, but takes its time to import."""

HALF = ("float16", "bfloat16")
FLOATING = (*HALF, "float32", "float64")


def array_namespace(array: Array) -> Any:
    """Return the functions of an array's library, by the array API standard."""
    # NumPy's own are, from 2.0 on.  The copy of them that array_api_compat makes, for NumPy before 2.0,
    # imports all that NumPy has, which takes as long as NumPy does.
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    from array_api_compat import array_namespace as namespace

    return namespace(array)


def device(array: Array) -> Any:
    """Return the device that an array is on, an object of its library."""
    if isinstance(array, (np.ndarray, np.generic)):
        return "cpu"
    from array_api_compat import device as device_of

    return device_of(array)


def is_array(value: object) -> bool:
    """Return whether a value is an array, of whatever library."""
    try:
        shape = getattr(value, "shape", None)
    except RuntimeError:  # by a nested tensor of torch, which has no shape
        return False
    # Classes of arrays, and modules, have functions and descriptors of these names.
    is_shaped = hasattr(shape, "__len__") and not isinstance(value, type)
    return is_shaped and hasattr(value, "dtype") and type(value.dtype).__hash__ is not None


def dtype_name(array: Array) -> str:
    """Return the name of an array's dtype, spelt alike for every library: ``"float32"``."""
    dtype = array.dtype
    return _name(hash(type(dtype)), dtype)


@cache
def _name(_: int, dtype: Hashable) -> str:  # of its type, for dtypes of two libraries cannot be compared
    if isinstance(dtype, np.dtype):
        return dtype.name  # in any byte order
    name = str(dtype).rpartition(".")[2]
    return name if name.isidentifier() else type(dtype).__name__


def quiet() -> AbstractContextManager[Any]:
    """Return a context in which NumPy does not warn of inf and NaN, which are results like others."""
    return np.errstate(all="ignore")


def is_integer(array: Array) -> bool:
    """Return whether an array holds integers (booleans are none)."""
    return "int" in dtype_name(array)


def native(array: Array) -> Array:
    """Return a NumPy array of foreign byte order in the processor's own, which is what libraries compute in."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def as_indices(array: Array) -> Array:
    """Return integers as int32 or int64, in which ids and lengths are compared; anything else as it is.

    What neither can hold becomes negative, and so stays out of range.
    """
    name = dtype_name(array)
    if name in {"int32", "int64"} or "int" not in name:
        return array
    xp = array_namespace(array)
    return xp.astype(array, xp.int64 if name == "uint64" else xp.int32)


def rows_of_ids(table: Array, ids: Array) -> Array:
    """Return the rows of a table, (I, K), for token ids, (N,): NaN for an id that is out of range."""
    xp = array_namespace(table)
    inside = (ids >= 0) & (ids < table.shape[0])
    rows = xp.take(table, xp.where(inside, ids, xp.zeros_like(ids)), axis=0)
    return cast(xp.where(inside[:, None], rows, xp.full_like(rows, nan)), table.dtype)


def is_masked(value: object) -> bool:
    """Return whether a value is a masked array of NumPy, whose mask no other function heeds."""
    # numpy.ma takes its time to import, and is there where such an array is.
    is_derived = type(value) is not np.ndarray and isinstance(value, np.ndarray)
    return is_derived and isinstance(value, np.ma.MaskedArray)


def widen(array: Array) -> Array:
    """Return float16 and bfloat16 as float32, in which they are summed; anything else as it is."""
    if dtype_name(array) not in HALF:
        return array
    return cast(array, array_namespace(array).float32)


def where_valid(array: Array, valid: Array | None, other: float = 0) -> Array:
    """Return an array with another value wherever a step is not valid; None makes every step valid."""
    if valid is None:
        return array
    xp = array_namespace(array)
    # CuPy's `where` makes float32 of bfloat16.
    return cast(xp.where(valid, array, xp.asarray(other, dtype=array.dtype, device=device(array))), array.dtype)


def cast(array: Array, dtype: Any) -> Array:
    """Return an array in a dtype, itself where it has that dtype already."""
    if array.dtype == dtype:
        return array
    xp = array_namespace(array)
    return xp.astype(xp.asarray(array), dtype)  # NumPy 2.0 refuses a scalar, such as its sums are
