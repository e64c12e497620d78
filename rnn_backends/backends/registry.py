"""The registry of backends, and loading the one that was chosen, and only that."""

import importlib
import os
from threading import RLock, get_ident
from types import TracebackType
from typing import Any, NamedTuple, Self

from rnn_backends.backends.backend import Backend
from rnn_backends.core.messages import fitted, short, shown
from rnn_backends.errors import (
    BackendNotInstalledError,
    BackendUnavailableError,
    DuplicateBackendError,
    InvalidBackendError,
)


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
    from rnn_backends.backends.installed import origins  # takes its time

    names = dict.fromkeys(BUILTIN, "built in")
    for name, origin in origins().items():
        names.setdefault(name, origin)
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
    from rnn_backends.backends.installed import load_installed  # takes its time

    return load_installed(name, source, list_backends())
