"""Checks of the arrays that a network holds, and the replacement of all of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from operator import is_
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import FLOATING, Array, dtype_name, is_array, is_integer, is_masked
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError


def map_arrays(function: Callable[[Array], Array], record: Any) -> Any:
    """Return a record with every one of its arrays replaced; itself, if the function changed none."""
    if is_array(record):
        return function(record)
    if isinstance(record, tuple):
        items = tuple(map_arrays(function, item) for item in record)
        return record if all(map(is_, items, record)) else items
    if is_dataclass(record) and not isinstance(record, (type, Activation)):
        held = {entry.name: getattr(record, entry.name) for entry in fields(record)}
        made = {name: map_arrays(function, value) for name, value in held.items()}
        return record if all(map(is_, made.values(), held.values())) else replace(record, **made)
    return record


def dtype_name_of(dtype: object) -> str:
    """Return the name of a floating-point dtype given by name or as an object of NumPy, CuPy, JAX or torch.

    Raises
    ------
    DTypeError
        It is none of `FLOATING`, or of foreign byte order.
    """
    is_named = type(dtype).__name__.lower() == "dtype"  # torch.float32 has no other name than as a text
    name = dtype if isinstance(dtype, str) else str(dtype).rpartition(".")[2] if is_named else ""
    if name in FLOATING:
        return name
    known: np.dtype[Any] | None
    try:
        known = np.dtype(dtype) if isinstance(dtype, (str, type, np.dtype)) else None  # "f4", np.float32, float
    except (TypeError, ValueError):
        known = None
    if known is None or known.name not in FLOATING or not known.isnative:
        msg = (
            f"`dtype` must be one of {', '.join(FLOATING)}, by name or as an object of NumPy, CuPy, JAX or torch, in "
            f"native byte order; got {got(dtype)}."
        )
        raise DTypeError(msg)
    return str(known.name)


def require_shape(name: str, array: Array, wanted: str, shape: tuple[int, ...]) -> None:
    """Check that a parameter is a floating-point array of a shape."""
    require_floating(name, array)
    require_sizes(name, array.shape, wanted, shape)


def require_sizes(name: str, sizes: tuple[int, ...], wanted: str, shape: tuple[int, ...]) -> None:
    """Check the shape of a parameter."""
    if tuple(sizes) != shape:
        msg = f"`{name}` must have shape {wanted} = {shape}; got {shown(tuple(sizes))}."
        raise ShapeError(msg)


def require_matrix(name: str, array: Array) -> tuple[int, int]:
    """Check that a parameter is a floating-point matrix without an empty axis, and return its shape."""
    require_floating(name, array)
    if len(array.shape) != 2 or 0 in array.shape:
        msg = f"`{name}` must be a matrix with no empty axis; got shape {shown(tuple(array.shape))}."
        raise ShapeError(msg)
    return int(array.shape[0]), int(array.shape[1])


def require_floating(name: str, array: Array) -> None:
    """Check that a parameter is a floating-point array."""
    if not is_array(array):
        msg = f"`{name}` must be an array; got {type(array).__name__}. Convert it, e.g. with numpy.asarray."
        raise DTypeError(msg)
    require_unmasked(name, array)
    if hasattr(array, "todense"):
        msg = (
            f"`{name}` must be dense, as only `weight_hh` of a Cell may be sparse; got {type(array).__name__}. Make it "
            "dense first, by its `toarray` or `todense`."
        )
        raise DTypeError(msg)
    if dtype_name(array) not in FLOATING:
        msg = f"`{name}` must be one of {', '.join(FLOATING)}; got {dtype_name(array)}. Convert it to float32."
        raise DTypeError(msg)


def require_unmasked(name: str, value: object) -> None:
    """Check that a value is no masked array."""
    if is_masked(value):
        way = "fill it, and give `lengths` or `mask` for steps"
        msg = f"`{name}` must not be a masked array, whose mask would be lost; {way}."
        raise DTypeError(msg)


def require_dense(name: str, array: Array) -> None:
    """Check that an array is one whose elements lie in memory, each for itself; those of torch have flags that say."""
    if type(array) is np.ndarray:
        return
    is_other = any(getattr(array, flag, False) is True for flag in ("is_quantized", "is_nested", "is_mkldnn"))
    if is_other or "sparse" in str(getattr(array, "layout", "")):
        msg = (
            f"`{name}` must be a dense array; got {type(array).__name__} of another layout. Call its `to_dense` first."
        )
        raise DTypeError(msg)


def require_flag(name: str, value: object) -> None:
    """Check that an option is true or false, and no text that says so."""
    if not isinstance(value, bool):
        msg = f"`{name}` must be True or False; got {got(value)}."
        raise ArgumentError(msg)


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that an option is one of some names."""
    if not isinstance(value, str) or value not in choices:
        from rnn_backends.core.near import did_you_mean

        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        msg = f"`{name}` must be one of {listed(choices)}; got {got(value)}.{hint}"
        raise ArgumentError(msg)


def require_one_dtype(arrays: Iterable[tuple[str, Array]]) -> None:
    """Check that all arrays of a network have the dtype of the first, but for int32, which are places in others.

    No initial states are such.
    """
    first: tuple[str, str] | None = None
    for name, array in arrays:
        dtype, is_state = dtype_name(array), name.startswith("h_0")
        if dtype == "int32" and not is_state:
            continue
        first = first or (name, dtype)
        if dtype != first[1]:
            other = name.removesuffix(".values")  # a sparse matrix is converted as a whole
            msg = (
                f"all parameters must have one dtype; got {first[1]} for `{first[0]}` and {dtype} for `{other}`. "
                f"Convert `{other}` to {'int32' if is_integer(array) and not is_state else first[1]}."
            )
            raise DTypeError(msg)
