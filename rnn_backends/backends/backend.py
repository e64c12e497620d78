"""`Backend`: the record of an array library."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Array, Host, quiet
from rnn_backends.core.arrays import device as device_of_array
from rnn_backends.core.messages import fitted, got, short, shown
from rnn_backends.core.parameters import dtype_name_of
from rnn_backends.core.recurrence import Recurrence
from rnn_backends.errors import BackendUnavailableError, DeviceError, DTypeError, InvalidBackendError

PROTOCOL_VERSION = 1
NEEDED_FUNCTIONS = (
    *("arange", "asarray", "full_like", "ones_like", "zeros", "zeros_like"),
    *("astype", "broadcast_to", "concat", "permute_dims", "reshape", "stack", "take", "where"),
    *("abs", "argmax", "argsort", "exp", "expm1", "log", "log1p", "matmul", "max", "sign", "sum", "tanh"),
)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Backend:
    """An array library that networks can run on.

    Parameters
    ----------
    name : str
        The name by which it is chosen, a lower-case identifier.
    xp : namespace
        The library's functions, by the array API standard 2022.12 or later.
    owns : callable
        Returns whether an object is an array of this library.  It must not raise.
    to_numpy : callable
        Copies an array of this library to the host; the only way from the device to the host.
    asarray : callable, optional
        ``asarray(host, dtype, device)`` copies a NumPy array to a device of the library, ``dtype`` and
        ``device`` being the library's own objects; the only way from the host to the device.  Default:
        ``xp.asarray(host, dtype=dtype, device=device, copy=True)``.
    devices : callable, optional
        Returns the library's device objects by name, the default one first.  Default: what
        ``xp.__array_namespace_info__().devices()`` lists.
    dtypes : callable, optional
        Returns the names of the dtypes that the library has, of float16, bfloat16, float32 and float64; or a
        mapping from them to the library's own objects, where ``xp`` does not have those by their names.  Default:
        float32 and float64.
    on : callable, optional
        ``on(device)`` is a context in which arrays are made on that device, for a library whose
        functions take no ``device``.  Default: none is needed.
    recurrence : Recurrence, optional
        Walks a layer through time, faster than the default, which takes over what it declines; see `Recurrence`.
    protocol_version : int, default 1
        The version of this record that the backend was written for.

    Raises
    ------
    InvalidBackendError
        The record is not one; the message lists everything that is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> class Mine(np.ndarray): ...
    >>> backend = rb.Backend(
    ...     name="mine",
    ...     xp=np,
    ...     devices=lambda: {"cpu": "cpu"},
    ...     owns=lambda array: isinstance(array, Mine),
    ...     to_numpy=lambda array: np.array(array, subok=False),
    ...     asarray=lambda host, dtype, device: np.array(host, dtype).view(Mine),
    ... )
    >>> with rb.register_backend(backend):
    ...     rnn = rb.RNN.init(3, 4, backend="mine")
    >>> rnn.device
    'cpu'
    """

    name: str
    xp: Any
    owns: Callable[[object], bool]
    to_numpy: Callable[[Array], Host]
    asarray: Callable[[Host, Any, Any], Array] | None = None
    devices: Callable[[], Mapping[str, Any]] | None = None
    dtypes: Callable[[], Collection[str]] = lambda: ("float32", "float64")
    on: Callable[[Any], AbstractContextManager[Any]] = nullcontext
    recurrence: Recurrence | None = None
    protocol_version: int = PROTOCOL_VERSION

    def __post_init__(self) -> None:
        needed, optional = ("owns", "to_numpy", "dtypes", "on"), ("asarray", "devices", "recurrence")
        unfit = [name for name in needed if not callable(getattr(self, name))]
        wrong = [name for name in optional if getattr(self, name) is not None and not callable(getattr(self, name))]
        problems = [] if _is_name(self.name) else [f"name {got(self.name)} is not a lower-case identifier"]
        if unfit:
            problems.append(f"{', '.join(unfit)} must be callable")
        if wrong:
            problems.append(f"{', '.join(wrong)} must be callable or None")
        if missing := [name for name in NEEDED_FUNCTIONS if not hasattr(self.xp, name)]:
            problems.append(f"xp has no function {', '.join(missing)}")
        if self.devices is None and not hasattr(self.xp, "__array_namespace_info__"):
            problems.append("xp has no function __array_namespace_info__, so devices must be given")
        if type(self.protocol_version) is not int or self.protocol_version != PROTOCOL_VERSION:
            problems.append(f"protocol_version is {got(self.protocol_version)}, this package knows {PROTOCOL_VERSION}")
        if problems:
            msg = fitted(f"the backend {got(self.name)} cannot be used: {'; '.join(problems)}.")
            raise InvalidBackendError(msg)

    def __repr__(self) -> str:
        return f"Backend({self.name!r})"

    def device_names(self) -> tuple[str, ...]:
        """Return the names of the devices.

        Returns
        -------
        tuple of str
            The default one first.

        Raises
        ------
        BackendUnavailableError
            The library cannot list its devices, or has none.
        """
        return tuple(self._devices())

    def device_name(self, name: str | None = None) -> str:
        """Return the full name of a device.

        Parameters
        ----------
        name : str, optional
            The full name; its last part, ``"1"`` for ``"cuda:1"``; or its first, ``"cuda"``, for the first such device.
            Default: the default device.

        Returns
        -------
        str

        Raises
        ------
        DeviceError
            The library has no such device.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rb.get_backend("numpy").device_name()
        'cpu'
        """
        names = self.device_names()
        if not name:
            return names[0]
        for known in names:
            if name in {known, known.rpartition(":")[2], known.partition(":")[0]}:
                return known
        msg = fitted(f"the backend {shown(self.name)} has no device {shown(name)}; it has {', '.join(names)}.")
        raise DeviceError(msg)

    def device(self, name: str) -> Any:
        """Return the library's object for a device.

        Parameters
        ----------
        name : str
            As of `device_name`.

        Returns
        -------
        object

        Raises
        ------
        DeviceError
            The library has no such device.
        """
        return self._devices()[self.device_name(name)]

    def device_of(self, array: Array) -> str | None:
        """Return the name of the device that an array is on.

        Parameters
        ----------
        array : array
            Of this library.

        Returns
        -------
        str or None
            None for a tracer, which is on no device.
        """
        place = device_of_array(array)
        return next((name for name, known in self._devices().items() if known == place), None)

    def dtype(self, dtype: object) -> Any:
        """Return the library's object for a dtype.

        Parameters
        ----------
        dtype : str or object
            The name, such as ``"float32"``, or an object of NumPy, CuPy, JAX or torch.

        Returns
        -------
        object

        Raises
        ------
        DTypeError
            The library has no such dtype.
        """
        name, available = dtype_name_of(dtype), self.dtypes()
        if name not in available:
            msg = f"`dtype` {shown(name)} is not on the backend {shown(self.name)}; use one of {', '.join(available)}."
            raise DTypeError(msg)
        return available[name] if isinstance(available, Mapping) else getattr(self.xp, name)

    def from_host(self, host: Host, dtype: str, device: str) -> Array:
        """Copy a NumPy array to a device.

        Parameters
        ----------
        host : numpy.ndarray
            In any memory layout and byte order.
        dtype : str
            A name of `dtypes`; ``"int32"`` for ids and lengths, ``"bool"`` for masks.
        device : str
            As of `device_name`.

        Returns
        -------
        array
            Of this library.

        Raises
        ------
        DTypeError, DeviceError
            The library has no such dtype or device.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> rb.get_backend("numpy").from_host(np.ones(3), "float32", "cpu").dtype
        dtype('float32')
        """
        own_dtype = getattr(self.xp, dtype) if dtype in {"int32", "bool"} else self.dtype(dtype)
        place = self.device(device)
        # Libraries differ in the foreign byte orders and long doubles that they take; NumPy takes all.
        with quiet():
            host = np.asarray(host, dtype="float32" if dtype == "bfloat16" else dtype)
        if self.asarray is not None:
            return self.asarray(host, own_dtype, place)
        with self.on(place):
            return self.xp.asarray(host, dtype=own_dtype, device=place, copy=True)

    def _devices(self) -> Mapping[str, Any]:
        try:
            known = self.devices() if self.devices else self.xp.__array_namespace_info__().devices()
        except Exception as error:  # of whatever type: the message names the library at fault
            msg = f"the backend {shown(self.name)} cannot list its devices: {type(error).__name__}: {short(error)}"
            raise BackendUnavailableError(msg) from error
        if not known:
            msg = f"the backend {shown(self.name)} has no device to run on."
            raise BackendUnavailableError(msg)
        return known if isinstance(known, Mapping) else {str(device): device for device in known}


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier() and name == name.lower()
