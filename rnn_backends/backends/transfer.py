"""Host data to a device, on its own; from a device to the host only when `to_numpy` is called."""

from typing import Any, cast

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


def as_host(name: str, value: Any, *, integers: bool = False) -> Any:
    """Return host data (NumPy arrays, numbers, nested lists) as a float or integer array, all else as it is."""
    owner = owner_of(value)
    if owner is None and (hasattr(value, "__array_namespace__") or hasattr(value, "__dlpack__")):
        owner = require_owned(name, value)  # nobody's: NumPy might copy it to the host, unasked
    if owner is not None and owner.name != "numpy":
        return value
    if isinstance(value, np.ma.MaskedArray):
        msg = f"`{name}` must not be a masked array, whose mask would be lost; fill it, and give `lengths` instead."
        raise DTypeError(msg)
    try:
        host = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        msg = f"`{name}` must be an array or nested lists of numbers; got {type(value).__name__}: {error}."
        raise DTypeError(msg) from error
    if integers and isinstance(value, list) and not host.size:
        host = host.astype(np.int64)
    if host.dtype.kind not in "iuf":
        msg = f"`{name}` must hold real numbers; got {type(value).__name__} of dtype {host.dtype}."
        raise DTypeError(msg)
    return host.astype(host.dtype.newbyteorder("="), copy=False)


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

    def move_array(array: Array) -> Array:
        owner = require_owned("a parameter", array)
        if owner is place.backend and owner.device_of(array) in {place.device, None}:
            with owner.on(owner.device(place.device)):
                return cast_array(array, owner.dtype(dtype or dtype_name(array)))
        return place.backend.from_host(np.asarray(owner.to_numpy(array)), dtype or dtype_name(array), place.device)

    return cast(Network, map_arrays(move_array, network))


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
