"""Host data to a device, on its own; from a device to the host only when `to_numpy` is called."""

from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np

from rnn_backends.arrays import Array, Host, dtype_name
from rnn_backends.arrays import cast as cast_array
from rnn_backends.backends.selection import (
    Placement,
    owner_of,
    require_device,
    require_owned,
    require_owner,
)
from rnn_backends.errors import DTypeError
from rnn_backends.parameters import Network, map_arrays

Kind: TypeAlias = Literal["numbers", "reals", "integers"]


def as_host(name: str, value: Any, kind: Kind = "numbers") -> Any:
    """Return host data (NumPy arrays, numbers, nested lists) as an array of numbers, all else as it is.

    Integers are floating point where reals are wanted; an empty list is what is wanted.
    """
    if type(value) is np.ndarray and value.dtype.kind == "f" and value.dtype.isnative and kind != "integers":
        return value  # the rule, at no cost
    owner = owner_of(value)
    if owner is None and (hasattr(value, "__array_namespace__") or hasattr(value, "__dlpack__")):
        owner = require_owned(name, value)  # nobody's: NumPy might copy it to the host, unasked
    if owner is not None and owner.name != "numpy":
        return value
    # numpy.ma, which takes its time to import, is not asked of what cannot be masked.
    if type(value) is not np.ndarray and isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
        msg = f"`{name}` must not be a masked array, whose mask would be lost; fill it, and give `lengths` instead."
        raise DTypeError(msg)
    try:
        host = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        msg = (
            f"`{name}` must be an array or nested lists of numbers, of equal lengths; got {type(value).__name__}. "
            "Pad sequences to one length, and give theirs as `lengths`."
        )
        raise DTypeError(msg) from error
    if kind == "integers" and isinstance(value, (list, tuple)) and not host.size:
        host = host.astype(np.int64)
    if host.dtype.kind not in ("iu" if kind == "integers" else "iuf"):
        wanted = "integers" if kind == "integers" else "real numbers"
        msg = f"`{name}` must hold {wanted}; got {type(value).__name__} of dtype {host.dtype}."
        raise DTypeError(msg)
    host = host.astype(host.dtype.newbyteorder("="), copy=False)
    return host.astype(np.float64) if kind == "reals" and host.dtype.kind != "f" else host


class Announced(NamedTuple):
    """The shape and the name of the dtype that an argument on the host will have on the device."""

    shape: tuple[int, ...]
    dtype: str


def announce(name: str, value: Any, place: Placement, dtype: str) -> Array | Announced:
    """Tell of host data what `receive` would make of it, and do with all else as `receive` does."""
    owner = owner_of(value)
    if owner is None or owner.name == "numpy":
        return Announced(tuple(value.shape), dtype if value.dtype.kind == "f" else "int32")
    return receive(name, value, place, dtype)


def receive(name: str, value: Any, place: Placement, dtype: str) -> Array:
    """Return an argument on a model's backend and device: host data moves, all else must be there.

    Integers on the host become int32, everything else there the given dtype.
    """
    host = as_host(name, value)
    owner = owner_of(host)
    if owner is None or owner.name == "numpy":
        return place.backend.from_host(host, dtype if host.dtype.kind == "f" else "int32", place.device)
    require_owner(name, value, owner, place)
    require_device(name, value, place)
    return value


def move(network: Network, place: Placement, dtype: str | None = None) -> Network:
    """Return a network on a backend and device and in a dtype; through the host if that changes."""
    if dtype is not None:
        place.backend.dtype(dtype)

    moved: dict[int, Array] = {}  # an array that is there twice stays one

    def move_once(array: Array) -> Array:
        if id(array) not in moved:
            moved[id(array)] = move_array(array)
        return moved[id(array)]

    def move_array(array: Array) -> Array:
        owner = require_owned("a parameter", array)
        name = dtype or dtype_name(array)
        if owner is place.backend and owner.device_of(array) in {place.device, None}:
            with owner.on(owner.device(place.device)):
                return frozen(cast_array(array, owner.dtype(name)))
        return frozen(place.backend.from_host(np.asarray(owner.to_numpy(array)), name, place.device))

    return cast(Network, map_arrays(move_once, network))


def frozen(array: Array) -> Array:
    """Return a NumPy array that nobody can write to, a copy if need be; other libraries have no such thing.

    The copy lies in memory column by column, so that the rows of W^T, which the products use, are contiguous.
    """
    if isinstance(array, np.ndarray) and (_is_writable(array) or not array.flags.f_contiguous):
        array = array.copy(order="F")
        array.flags.writeable = False
    return array


def _is_writable(array: Host) -> bool:
    """Tell whether an array, or one that it is a view of, can be written to."""
    return array.flags.writeable or (isinstance(array.base, np.ndarray) and _is_writable(array.base))


def to_numpy(array: Array) -> Host:
    """Copy an array of any backend to the host: the only way in this package from a device to the host.

    Parameters
    ----------
    array : array

    Returns
    -------
    numpy.ndarray
        Of the same shape and dtype; bfloat16, which NumPy lacks, becomes float32, exactly.

    Raises
    ------
    BackendMismatchError
        No loaded backend owns the object.
    """
    return np.asarray(require_owned("array", array).to_numpy(array))
