"""Which backend and device a model is placed on.

The argument `backend=`, then the owner of an array that is not NumPy's, then `use_backend`, then the
environment variable RNN_BACKEND, then NumPy.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import NamedTuple, Self

import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.registry import BUILTIN, load_backend, loaded_backends
from rnn_backends.core.arrays import Array
from rnn_backends.errors import ArgumentError, BackendMismatchError, DeviceError

VARIABLE = "RNN_BACKEND"
_GENERATOR = 0x20 | 0x200  # code flags of a generator and of an asynchronous one (inspect.CO_*)
_MANAGERS = frozenset({"contextlib", "_pytest", "pluggy", "pytest_asyncio", "anyio"})  # drive them in pairs


class Placement(NamedTuple):
    """A backend, and the full name of one of its devices."""

    backend: Backend
    device: str


class _Entry:
    """One use of `use_backend` that has not ended."""

    def __init__(self, place: Placement, entered_by: FrameType) -> None:
        self.place = place
        self.generators = _unmanaged_generators(entered_by)

    def holds(self) -> bool:
        """Tell whether the code that asks is inside the block: all generators it was entered in are running.

        A generator that yields inside the block gives control back to code that did not ask for it.
        """
        return not self.generators or self.generators.issubset(_callers(sys._getframe(1)))


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _unmanaged_generators(frame: FrameType) -> frozenset[FrameType]:
    """Return the generators that are running, but those of context managers and fixtures.

    These yield to have the code run that did ask for the block.  The frames of what drives a generator
    are not kept, for they would keep the generator alive, and with it a block that nothing else ends.
    """
    return frozenset(
        caller
        for caller in _callers(frame)
        if caller.f_code.co_flags & _GENERATOR and _package(caller.f_back) not in _MANAGERS
    )


def _package(frame: FrameType | None) -> str:
    return "" if frame is None else str(frame.f_globals.get("__name__")).partition(".")[0]


_entries: ContextVar[tuple[_Entry, ...]] = ContextVar("rnn_backends.use_backend", default=())


class use_backend:  # noqa: N801  # it reads as a verb: with use_backend("cupy:1")
    """Place the models that are made in a ``with`` block on a backend.

    It holds for the thread and the asyncio task that entered the block (and for tasks started in it).
    In a generator it holds only while the generator runs, not for the code that iterates over it, unless
    the generator is that of a context manager (contextlib) or of a fixture (pytest).

    Parameters
    ----------
    backend : str
        ``"name"`` or ``"name:device"``, e.g. ``"cupy:1"``.

    Raises
    ------
    RNNBackendError
        On entering, if the backend is unknown or cannot run.
    """

    def __init__(self, backend: str) -> None:
        self.name = backend
        self._entry: _Entry | None = None

    def __enter__(self) -> Self:
        if self._entry is not None:
            msg = "this use_backend is entered already; make another one."
            raise ArgumentError(msg)
        place = parse(self.name, "use_backend()")
        self._entry = _Entry(place, sys._getframe(1))
        _entries.set((*_entries.get(), self._entry))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not by a token: blocks of generators may end in another order than they began.
        _entries.set(tuple(entry for entry in _entries.get() if entry is not self._entry))
        self._entry = None


def get_backend(name: str | None = None) -> Backend:
    """Return a backend that can run: the named one, or the one that a model would be placed on now.

    Parameters
    ----------
    name : str, optional
        ``"cupy"``; a device after a colon is checked and left out.

    Raises
    ------
    UnknownBackendError
        No backend has this name.
    BackendNotInstalledError, BackendLoadError, BackendUnavailableError, InvalidBackendError
        It cannot be loaded, or cannot run here; the message gives the reason.
    DeviceError
        It has no such device.
    """
    return select(name).backend


def parse(name: object, source: str) -> Placement:
    """Return the backend and the device that ``"name:device"`` says; `source` tells who said it."""
    if not isinstance(name, str):
        msg = f"a backend is named by a string such as 'cupy:0'; got {name!r} (from {source})."
        raise ArgumentError(msg)
    backend_name, _, device = name.strip().partition(":")
    backend = load_backend(backend_name, source)
    try:
        return Placement(backend, backend.device_name(device))
    except DeviceError as error:
        msg = f"{error} It was asked for by {source}."
        raise DeviceError(msg) from error


def select(name: str | None = None, arrays: Iterable[tuple[str, Array]] = ()) -> Placement:
    """Return where a model is placed, given the argument `backend=` and the arrays it is made of."""
    owners = [(array_name, array, require_owned(array_name, array)) for array_name, array in arrays]
    foreign = [item for item in owners if item[2].name != "numpy"]
    if name is not None:
        place = parse(name, "argument backend=")
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
    held = next((entry.place for entry in reversed(_entries.get()) if entry.holds()), None)
    if held is not None:
        return held
    variable = os.environ.get(VARIABLE, "").strip()
    return parse(variable, f"environment variable {VARIABLE}") if variable else parse("numpy", "the default")


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
            f"`{name}` belongs to no loaded backend; it is of type {type(array).__name__}. Nothing is converted "
            "implicitly: give a NumPy array, or register the backend of its library."
        )
        raise BackendMismatchError(msg)
    return owner


def require_owner(name: str, array: Array, owner: Backend, place: Placement) -> None:
    """Check that an array of a model belongs to the model's backend."""
    if owner is not place.backend:
        msg = (
            f"`{name}` is of {owner.name} ({owner.device_of(array)}), but the model is on {place.backend.name} "
            f"({place.device}). Nothing is moved implicitly: convert it, e.g. with rnn_backends.to_numpy."
        )
        raise BackendMismatchError(msg)


def require_device(name: str, array: Array, place: Placement) -> None:
    """Check that an array of a model's backend lies on the model's device; a tracer lies on none."""
    if (device := place.backend.device_of(array)) not in {place.device, None}:
        msg = f"`{name}` is on {device}, but the model is on {place.device}. Move one to the other's device."
        raise DeviceError(msg)
