"""The choice of the backend and device that a model is placed on.

The argument `backend=`, then the owner of an array that is not NumPy's, then `use_backend`, then the
environment variable RNN_BACKEND, then NumPy.
"""

import os
from collections.abc import Iterable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.registry import BUILTIN, list_backends, load_backend, loaded_backends
from rnn_backends.core.arrays import FLOATING, Array, is_array
from rnn_backends.core.checks import library_name
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import ArgumentError, BackendMismatchError, DeviceError, UnknownBackendError

VARIABLE, ARGUMENT = "RNN_BACKEND", "argument backend="

DEVICES = {"cpu": ("numpy", "torch:cpu"), "gpu": ("cupy", "torch:cuda"), "cuda": ("cupy", "torch:cuda")}
"""Names of devices that are given for those of backends, and the backends of NumPy or CuPy and of torch to name."""


class Placement(NamedTuple):
    """A backend, and the full name of one of its devices."""

    backend: Backend
    device: str


_chosen: ContextVar[Placement | None] = ContextVar("rnn_backends.use_backend", default=None)


class use_backend:  # noqa: N801  # it reads as a verb: with use_backend("cupy:1")
    """Place the models that are made in a ``with`` block on a backend.

    It follows the rules of `contextvars`, as `numpy.errstate` does: the block holds for the thread and the asyncio task
    that entered it, and for tasks that are started in it.  Blocks nest.  A generator that yields inside a block shares
    the block with the code that iterates over it.

    Parameters
    ----------
    backend : str
        ``"name"`` or ``"name:device"``, e.g. ``"cupy:1"``.

    Raises
    ------
    RNNBackendError
        On entering, the backend is unknown or cannot run.
    ArgumentError
        The block is entered twice, or left twice, left before a block inside it, or on another thread or in another
        task than it was entered in.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> with rb.use_backend("numpy"):
    ...     rnn = rb.RNN.init(3, 4)
    >>> rnn.backend
    Backend('numpy')
    """

    def __init__(self, backend: str) -> None:
        self.name = backend
        self._token: Token[Placement | None] | None = None
        self._place: Placement | None = None

    def __enter__(self) -> Self:
        if self._token is not None:
            msg = f"use_backend({got(self.name)}) is entered already; make another one for a block inside its block."
            raise ArgumentError(msg)
        self._place = parse(self.name, "use_backend()")
        self._token = _chosen.set(self._place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is None:
            msg = f"use_backend({got(self.name)}) is left already; enter it once for each time that it is left."
            raise ArgumentError(msg)
        current = _chosen.get()
        try:
            _chosen.reset(self._token)
        except ValueError as reason:
            msg = (
                f"use_backend({got(self.name)}) must be left on the thread and in the task that entered it, and is "
                "left in another context; put the whole with block into one function."
            )
            raise ArgumentError(msg) from reason
        if current is not self._place:
            self._token = _chosen.set(current)
            msg = f"use_backend({got(self.name)}) must be left after the blocks inside it; leave the inner block first."
            raise ArgumentError(msg)
        self._token = None


def get_backend(name: str | None = None) -> Backend:
    """Return a backend that can run: the named one, or the one that a model would be placed on now.

    Parameters
    ----------
    name : str, optional
        ``"cupy"``; a device after a colon is checked and left out.

    Returns
    -------
    Backend

    Raises
    ------
    UnknownBackendError
        No backend has this name.
    BackendNotInstalledError, BackendLoadError, BackendUnavailableError, InvalidBackendError
        It cannot be loaded, or cannot run here; the message gives the reason.
    DeviceError
        It has no such device.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> rb.get_backend("numpy").device_names()
    ('cpu',)
    """
    return select(name).backend


def parse(name: object, source: str) -> Placement:
    """Return the backend and the device of ``"name:device"``, which `source` gave."""
    _require_no_dtype(name, source)
    if not isinstance(name, str):
        is_device = type(name).__module__.partition(".")[0] == "torch" and not is_array(name)
        hint = f" Write {shown(f'torch:{name}')}." if is_device else ""
        msg = f"a backend is named by a string such as 'cupy:0'; got {got(name)} (from {source}).{hint}"
        raise ArgumentError(msg)
    backend_name, _, device = name.strip().partition(":")
    if backend_name in DEVICES and backend_name not in list_backends():
        index = f":{device}" if device and backend_name != "cpu" else ""
        first, of_torch = (f"{choice}{index}" for choice in DEVICES[backend_name])
        msg = (
            f"{shown(name.strip())} is a device, not a backend (from {source}). Write {shown(first)}, or "
            f"{shown(of_torch)} for torch."
        )
        raise UnknownBackendError(msg)
    backend = load_backend(backend_name, source)
    try:
        return Placement(backend, backend.device_name(device))
    except DeviceError as error:
        msg = f"{error} It was asked for by {source}."
        raise DeviceError(msg) from error


def _require_no_dtype(name: object, source: str) -> None:
    """Check that a backend is not named by a dtype, by name or as NumPy's or torch's object."""
    is_named = isinstance(name, (str, type)) or type(name).__name__.lower().endswith(
        "dtype"
    )  # numpy.float32, "float32"
    dtype = str(name).strip().rpartition(".")[2].rstrip("'>") if is_named else ""
    if dtype in FLOATING:
        hint = f" Write dtype={shown(dtype)}." if source == ARGUMENT else ""
        msg = f"{got(name)} is a dtype, not a backend (from {source}).{hint}"
        raise UnknownBackendError(msg)


def select(name: str | None = None, arrays: Iterable[tuple[str, Array]] = ()) -> Placement:
    """Return where a model is placed, given the argument `backend=` and the arrays it is made of."""
    owners = [(array_name, array, require_owned(array_name, array)) for array_name, array in arrays]
    foreign = [item for item in owners if item[2].name != "numpy"]
    if name is not None:
        place = parse(name, ARGUMENT)
        for array_name, array, owner in foreign:
            require_owner(array_name, array, owner, place)
        return place
    if foreign:
        array_name, array, owner = foreign[0]
        place = Placement(owner, owner.device_of(array) or owner.device_name())
        for other_name, other, other_owner in owners:
            require_owner(other_name, other, other_owner, place)
            require_device(other_name, other, place)
        return place
    return preferred() or parse("numpy", "the default")


def preferred() -> Placement | None:
    """Return where models are placed by `use_backend` or RNN_BACKEND; None where neither says so."""
    held = _chosen.get()
    if held is not None:
        return held
    variable = os.environ.get(VARIABLE, "").strip()
    return parse(variable, f"environment variable {VARIABLE}") if variable else None


def owner_of(array: object) -> Backend | None:
    """Return the backend that owns an array, None for what no backend owns."""
    if type(array) is np.ndarray:
        return load_backend("numpy", "the default")
    for backend in loaded_backends():
        if backend.name not in BUILTIN and backend.owns(array):  # before NumPy, which owns its subclasses
            return backend
    packages = {ancestor.__module__.partition(".")[0] for ancestor in type(array).__mro__}
    for name, builtin in BUILTIN.items():
        if not packages.isdisjoint(builtin.packages):
            backend = load_backend(name, f"the type of an array, {type(array).__name__}")
            if backend.owns(array):
                return backend
    return None


def require_owned(name: str, array: object) -> Backend:
    """Return the backend that owns an array, which there must be."""
    owner = owner_of(array)
    if owner is None:
        msg = (
            f"`{name}` belongs to no loaded backend; it is of type {type(array).__name__:.80}. Nothing is converted "
            "implicitly: give a NumPy array, or register the backend of its library."
        )
        raise BackendMismatchError(msg)
    return owner


def require_owner(name: str, array: Array, owner: Backend, place: Placement) -> None:
    """Check that an array of a model belongs to the model's backend."""
    if owner is not place.backend:
        device, library = owner.device_of(array), library_name(place.backend.xp)
        shared = f"with {library}.from_dlpack, on its device, or " if device == place.device else ""
        msg = (
            f"`{name}` is of {owner.name} ({device}), but the model is on {place.backend.name} ({place.device}). "
            f"Nothing is moved implicitly: convert it, e.g. {shared}with rnn_backends.to_numpy."
        )
        raise BackendMismatchError(msg)


def require_device(name: str, array: Array, place: Placement) -> None:
    """Check that an array of a model's backend is on the model's device; a tracer is on none."""
    device = "meta" if getattr(array, "is_meta", False) else place.backend.device_of(array)
    if device not in {place.device, None}:
        msg = f"`{name}` is on {device}, but the model is on {place.device}. Move one to the other's device."
        raise DeviceError(msg)
