"""The registry of backends, and loading the one that was chosen, and only that."""

import importlib
import os
from threading import RLock, get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rnn_backends.backends.backend import Backend
from rnn_backends.core.messages import fitted, listed, short, shown
from rnn_backends.errors import (
    BackendLoadError,
    BackendNotInstalledError,
    BackendUnavailableError,
    DuplicateBackendError,
    InvalidBackendError,
    UnknownBackendError,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "rnn_backends.backends"


class Builtin(NamedTuple):
    """Facts of a shipped backend that are known without importing its library."""

    packages: tuple[str, ...]
    """The packages that the types of its arrays are defined in; the first is the one to install."""
    install: str


BUILTIN = {
    "numpy": Builtin(("numpy",), "pip install numpy"),
    "cupy": Builtin(
        ("cupy",),
        "pip install 'cupy-cuda13x[ctk]' for CUDA 13 or 'cupy-cuda12x[ctk]' for CUDA 12, not both",
    ),
    "torch": Builtin(("torch",), "pip install torch"),
    "jax": Builtin(("jax", "jaxlib"), "pip install jax"),
    "array_api_strict": Builtin(("array_api_strict",), "pip install array-api-strict"),
}

GONE = {
    "numba": "the numpy backend walks by compiled kernels and is as fast; choose 'numpy', or unset what names 'numba'",
}
"""Backends that were built in once, and what to do without them."""

_backends: dict[str, Backend] = {}
"""Changed by single operations of a dict, which need no lock: a process that is forked could find one held."""

_loading: dict[str, tuple[Any, int]] = {}
"""The backends that are being loaded: the lock for which others wait that want the same, and the thread that loads."""
_torn: set[str] = set()
"""The backends that another thread was loading when this process was forked: half of their libraries is there."""


class Registration:
    """The registration of a backend, which `unregister` or the end of a ``with`` block takes back.

    Parameters
    ----------
    backend : Backend
        The backend; `register_backend` makes its registration.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import rnn_backends as rb
    >>> mine = replace(rb.get_backend("numpy"), name="mine")
    >>> with rb.register_backend(mine) as registration:
    ...     registration.backend
    Backend('mine')
    >>> "mine" in rb.list_backends()
    False
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def unregister(self) -> None:
        """Take the backend out of the registry; models that are on it keep it."""
        if _backends.get(self.backend.name) is self.backend:
            _backends.pop(self.backend.name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unregister()


def register_backend(spec: Backend) -> Registration:
    """Add a backend to the registry for as long as the process, or the returned registration, lasts.

    Installed packages need not call this: they name a function that returns their `Backend` as an entry
    point of the group ``rnn_backends.backends``, and it is called when the backend is first chosen.

    Parameters
    ----------
    spec : Backend
        The backend.

    Returns
    -------
    Registration
        To take the backend out of the registry.

    Raises
    ------
    InvalidBackendError
        The object is not a `Backend`.
    DuplicateBackendError
        The name is taken.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import rnn_backends as rb
    >>> mine = replace(rb.get_backend("numpy"), name="mine")
    >>> registration = rb.register_backend(mine)
    >>> rb.RNN.init(3, 4, backend="mine").backend
    Backend('mine')
    >>> registration.unregister()
    """
    if not isinstance(spec, Backend):
        msg = f"`spec` must be a rnn_backends.Backend; got {type(spec).__name__}."
        raise InvalidBackendError(msg)
    if spec.name in list_backends() or _backends.setdefault(spec.name, spec) is not spec:
        msg = f"a backend named {shown(spec.name)} exists already; choose another name, or unregister that one."
        raise DuplicateBackendError(msg)
    return Registration(spec)


def list_backends() -> dict[str, str]:
    """Return the name of every backend with its origin, without loading any.

    A backend that is listed may lack its library or device: `get_backend` says so.

    Returns
    -------
    dict of str to str
        ``"built in"``, the distribution that offers the backend, or ``"registered by this process"``.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> rb.list_backends()["numpy"]
    'built in'
    """
    names = dict.fromkeys(BUILTIN, "built in")
    for name, points in _entry_points().items():
        names.setdefault(name, " and ".join(_origin(point) for point in points))
    for name in list(_backends):
        names.setdefault(name, "registered by this process")
    return names


def loaded_backends() -> tuple[Backend, ...]:
    """Return the backends that are loaded already."""
    return tuple(_backends.values())


def load_backend(name: str, source: str) -> Backend:
    """Return a backend by name, loading it first if it is not loaded; `source` is who named it, for messages."""
    if (known := _backends.get(name)) is not None:  # those who compute wait for nobody's import
        return known
    if name in _torn:
        msg = (
            f"the backend {shown(name)} (from {source}) was being loaded by another thread when this process was "
            "forked, and half of its library is here; load it before the fork, or start processes by spawn."
        )
        raise BackendUnavailableError(msg)
    lock, _ = _loading.setdefault(name, (RLock(), get_ident()))
    with lock:
        try:
            if (known := _backends.get(name)) is None:
                known = _load_builtin(name, source) if name in BUILTIN else _load_installed(name, source)
                _backends[name] = known
            return known
        finally:
            _loading.pop(name, None)


def _after_fork() -> None:
    """Let go of the locks of threads that a forked process does not have."""
    for name, (_, thread) in list(_loading.items()):
        if thread != get_ident():
            _torn.add(name)
            del _loading[name]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _load_builtin(name: str, source: str) -> Backend:
    package, install = BUILTIN[name].packages[0], BUILTIN[name].install
    try:
        module = importlib.import_module(f"rnn_backends.backends.{name}")
    except Exception as error:  # libraries raise OSError and RuntimeError too: for a broken CUDA, say
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == package
        what = "is not installed" if missing else f"fails to import: {type(error).__name__}: {short(error)}"
        msg = (
            f"the backend {shown(name)} (from {source}) needs the package {shown(package)}, which {what}. "
            f"Install it: {install}."
        )
        raise BackendNotInstalledError(msg) from error
    try:
        made: Backend = module.make()
    except BackendUnavailableError as error:
        msg = fitted(f"the backend {shown(name)} (from {source}) {error}")
        raise BackendUnavailableError(msg) from error
    return made


def _load_installed(name: str, source: str) -> Backend:
    points = _entry_points().get(name, [])
    if not points and name in GONE:
        msg = f"there is no backend {shown(name)} any more (from {source}): {GONE[name]}."
        raise UnknownBackendError(msg)
    if not points:
        from rnn_backends.core.near import did_you_mean

        known = list_backends()
        msg = (
            f"unknown backend {shown(name)} (from {source}). Known: {listed(known)}."
            f"{did_you_mean(name, known)} Third-party backends register under the "
            f"entry-point group {shown(GROUP)}."
        )
        raise UnknownBackendError(msg)
    if len(points) > 1:
        origins = listed(map(_origin, points))
        msg = f"the backend {shown(name)} (from {source}) is offered by {origins}; uninstall all but one of them."
        raise DuplicateBackendError(msg)
    (point,) = points
    try:
        made = point.load()()
    except (BackendUnavailableError, InvalidBackendError) as error:
        msg = fitted(f"the backend {shown(name)} (from {source}) of {_origin(point)}: {error}")
        raise type(error)(msg) from error
    except Exception as error:  # of whatever type: the message names the distribution at fault
        msg = (
            f"the backend {shown(name)} (from {source}) of {_origin(point)} failed to load (entry point "
            f"{shown(point.value)}): {type(error).__name__}: {short(error)}"
        )
        raise BackendLoadError(msg) from error
    if not isinstance(made, Backend) or made.name != name:
        other = f"a Backend named {shown(made.name)}" if isinstance(made, Backend) else type(made).__name__
        msg = (
            f"the entry point {shown(point.value)} of {_origin(point)} must return a Backend named {shown(name)}; "
            f"got {other}."
        )
        raise InvalidBackendError(msg)
    return made


def _entry_points() -> "dict[str, list[EntryPoint]]":
    from importlib.metadata import entry_points  # a third of this package's import time

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _origin(point: "EntryPoint") -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
