"""The way of host data to a device, in every call, and from there to the host, in `to_numpy` alone."""

from dataclasses import is_dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from rnn_backends.backends.nested import from_lists
from rnn_backends.backends.selection import (
    Placement,
    owner_of,
    require_device,
    require_owned,
    require_owner,
)
from rnn_backends.core.arrays import (
    Array,
    ArrayArgument,
    Host,
    as_indices,
    dtype_name,
    is_array,
    is_integer,
    native,
    quiet,
)
from rnn_backends.core.arrays import cast as cast_array
from rnn_backends.core.messages import shown
from rnn_backends.core.network import Network
from rnn_backends.core.parameters import dtype_name_of, map_arrays, require_dense, require_unmasked
from rnn_backends.errors import ArgumentError, DeviceError, DTypeError

NUMBERS = ("real numbers", "iuf")
KINDS = {**dict.fromkeys(("lengths", "targets", "ids"), ("integers", "iu")), "mask": ("booleans", "b")}
"""The dtypes of arguments that are not numbers of any kind, in words and as NumPy's codes."""

EXCHANGED = ("__array_namespace__", "__dlpack__", "__cuda_array_interface__")
"""Attributes by which libraries exchange arrays; those of Numba on a GPU have the last alone."""


def as_host(name: str, value: Any, *, batch_first: bool = False) -> Any:
    """Return host data (NumPy arrays, numbers, nested lists) as the array of an argument, all else as it is.

    The integers of an initial state become floating point; an empty list has the dtype that is wanted.
    """
    wanted, codes = KINDS.get(name, NUMBERS)
    if type(value) is np.ndarray and value.dtype.kind == "f" and value.dtype.isnative and "f" in codes:
        return value  # the rule, at no cost
    owner = owner_of(value)
    if owner is None and any(hasattr(value, each) for each in EXCHANGED):
        owner = require_owned(name, value)  # nobody's: NumPy might copy it to the host, unasked
    if owner is not None and owner.name != "numpy":
        return value
    require_unmasked(name, value)
    try:
        host = from_lists(name, value) if isinstance(value, (list, tuple)) else np.asarray(value)
    except DTypeError:  # of what is masked in lists
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        msg = f"`{name}` must be an array or nested lists of numbers, of equal lengths; got {type(value).__name__}."
        if name == "x":
            option = ", batch_first=True" if batch_first else ""
            msg += (
                f" x, lengths = rnn_backends.pad(sequences{option}) makes one batch of sequences of different lengths."
            )
        raise DTypeError(msg) from error
    if host is None:
        msg = f"`{name}` must hold {wanted}; got {type(value).__name__} of text, bytes or records."
        raise DTypeError(msg)
    if isinstance(value, (list, tuple)) and not host.size and "f" not in codes:
        host = host.astype(np.bool if codes == "b" else np.int64)
    if host.dtype.kind not in codes:
        msg = f"`{name}` must hold {wanted}; got {type(value).__name__} of dtype {host.dtype.name}."
        raise DTypeError(msg)
    host = native(host)
    return host.astype(np.float64) if name == "h_0" and host.dtype.kind != "f" else host


class ArraySpec(NamedTuple):
    """The shape and the name of the dtype that an argument on the host will have on the device."""

    shape: tuple[int, ...]
    dtype: str


def spec_on_device(
    name: str, value: Any, place: Placement, dtype: str, *, is_features: bool = False
) -> Array | ArraySpec:
    """Return the shape and dtype that host data will have on the device, and all else as `receive` does."""
    owner = owner_of(value)
    if owner is None or owner.name == "numpy":
        return ArraySpec(tuple(value.shape), _dtype_there(value, dtype, is_features))
    return receive(name, value, place, dtype, is_features=is_features)


def receive(name: str, value: Any, place: Placement, dtype: str, *, is_features: bool = False) -> Array:
    """Return an argument on a model's backend and device: host data moves, all else must be there.

    Integers on the host become int32, booleans stay so, and everything else there becomes the given dtype, as do the
    integers of features, wherever they are.
    """
    host = as_host(name, value)
    owner = owner_of(host)
    if owner is None or owner.name == "numpy":
        return place.backend.from_host(host, _dtype_there(host, dtype, is_features), place.device)
    require_owner(name, value, owner, place)
    require_device(name, value, place)
    require_dense(name, value)
    if is_features and is_integer(value):
        return place.backend.xp.astype(value, place.backend.dtype(dtype))
    return as_indices(value)


def _dtype_there(host: Host, dtype: str, is_features: bool) -> str:
    return {"f": dtype, "b": "bool"}.get(host.dtype.kind, dtype if is_features else "int32")


def move(network: Network, place: Placement, dtype: object = None) -> Network:
    """Return a network on a backend and device and in a dtype; through the host if that changes."""
    wanted = None if dtype is None else dtype_name_of(dtype)
    if wanted is not None:
        place.backend.dtype(wanted)
    _require_moving(network, place, wanted)
    moved: dict[int, Array] = {}  # an array that is there twice stays one

    def move_once(array: Array) -> Array:
        if id(array) not in moved:
            moved[id(array)] = move_array(array)
        return moved[id(array)]

    def move_array(array: Array) -> Array:
        owner = require_owned("a parameter", array)
        name = dtype_name(array) if is_integer(array) or wanted is None else wanted
        if owner is place.backend and owner.device_of(array) in {place.device, None}:
            with quiet(), owner.on(owner.device(place.device)):
                return frozen(array if is_integer(array) else cast_array(array, owner.dtype(name)))
        return frozen(place.backend.from_host(np.asarray(owner.to_numpy(array)), name, place.device))

    return cast(Network, map_arrays(move_once, network))


def _require_moving(network: Network, place: Placement, dtype: str | None) -> None:
    """Check that no cell of one's own keeps an array where it would stay behind."""
    for layer in network.layers:
        for cell, _ in layer.cells:
            held = {} if is_dataclass(cell) else getattr(cell, "__dict__", {})
            for name, array in held.items():
                if is_array(array) and not (owner_of(array) is place.backend and dtype in {None, dtype_name(array)}):
                    msg = (
                        f"the array {shown(name)} of {type(cell).__name__} would stay behind when the model moves; "
                        "make the class a dataclass(frozen=True, eq=False), whose arrays move with it."
                    )
                    raise ArgumentError(msg)


def frozen(array: Array) -> Array:
    """Return a NumPy array that nobody can write to, a copy if need be; other libraries have no such thing.

    The copy is stored column by column, so that the rows of W^T, which the products use, are contiguous.
    """
    if not isinstance(array, np.ndarray):
        return array
    if not _is_frozen(array):
        return _in_bytes(array)
    return array if _owner(array) is not None else _hidden(array)


def sealed(network: Network) -> Network:
    """Return a network that shares no memory with the caller's NumPy arrays, which he may make writable again."""
    own: dict[int, Host] = {}  # an array that is there twice stays one

    def sealed_once(array: Array) -> Array:
        if not isinstance(array, np.ndarray) or isinstance(_owner(array), bytes):
            return array
        if id(array) not in own:
            own[id(array)] = _in_bytes(array)
        return own[id(array)]

    return cast(Network, map_arrays(sealed_once, network))


def _in_bytes(array: Host) -> Host:
    """Return a copy in memory of Python that cannot be written to: that of an array can, once its flag is set."""
    return np.ndarray(array.shape, array.dtype, array.tobytes("F"), order="F")


def _hidden(array: Host) -> Host:
    """Return a view of an array of NumPy's own memory, whose `base` is not the array that could be made writable."""
    octets: Any = array.reshape(-1, order="F").view(np.uint8)
    return np.frombuffer(memoryview(octets), array.dtype).reshape(array.shape, order="F")


def _is_frozen(array: Host) -> bool:
    """Return whether an array is stored column by column, in bytes or as a view of read-only arrays of NumPy alone."""
    if not array.flags.f_contiguous:
        return False
    owner: Any = array
    held: Any = array
    while isinstance(held, (np.ndarray, memoryview)):
        if isinstance(held, np.ndarray) and held.flags.writeable:
            return False
        owner, held = held, held.base if isinstance(held, np.ndarray) else held.obj
    return isinstance(held, bytes) or (held is None and isinstance(owner, np.ndarray) and owner is not array)


def _owner(array: Host) -> Any:
    """Return what the memory of an array belongs to, None for an array."""
    held: Any = array
    while isinstance(held, np.ndarray):
        held = held.base
    return held


def to_numpy(array: ArrayArgument) -> Host:
    """Copy an array of any backend to the host: the only way in this package from a device to the host.

    Parameters
    ----------
    array : array
        Of a backend that is loaded.

    Returns
    -------
    numpy.ndarray
        Of the same shape and dtype; bfloat16, which NumPy lacks, becomes float32, exactly.

    Raises
    ------
    BackendMismatchError
        No loaded backend owns the object.
    DTypeError, DeviceError
        It is masked, sparse or quantized, or has no values.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> output, h_n = rb.RNN.init(3, 4)([[1.0, 2.0, 3.0]])
    >>> rb.to_numpy(output).shape
    (1, 4)
    """
    owner = require_owned("array", array)
    require_unmasked("array", array)
    require_dense("array", array)
    if getattr(array, "is_meta", False):
        msg = "`array` must have values; got one of the device meta, which has a shape alone."
        raise DeviceError(msg)
    return np.asarray(owner.to_numpy(array))
