"""The backends that installed packages offer by entry points; importlib.metadata takes a third of an import's time."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from rnn_backends.backends.backend import Backend
from rnn_backends.core.messages import fitted, listed, short, shown
from rnn_backends.core.near import did_you_mean
from rnn_backends.errors import (
    BackendLoadError,
    BackendUnavailableError,
    DuplicateBackendError,
    InvalidBackendError,
    UnknownBackendError,
)

GROUP = "rnn_backends.backends"
GONE = {
    "numba": "the numpy backend walks by compiled kernels and is as fast; choose 'numpy', or unset what names 'numba'",
}
"""Backends that were built in once, and what to do without them."""


def origins() -> dict[str, str]:
    """Return the names of the backends that packages offer, each with the packages that do."""
    return {name: " and ".join(map(_origin, points)) for name, points in _entry_points().items()}


def load_installed(name: str, source: str, known: Iterable[str]) -> Backend:
    """Return a backend that a package offers; where there is none, say which are `known`."""
    points = _entry_points().get(name, [])
    if not points and name in GONE:
        msg = f"there is no backend {shown(name)} any more (from {source}): {GONE[name]}."
        raise UnknownBackendError(msg)
    if not points:
        known = list(known)
        msg = (
            f"unknown backend {shown(name)} (from {source}). Known: {', '.join(sorted(known))}."
            f"{did_you_mean(name, known)} Third-party backends register under the "
            f"entry-point group {shown(GROUP)}."
        )
        raise UnknownBackendError(fitted(msg))
    if len(points) > 1:
        offered = listed(map(_origin, points))
        msg = f"the backend {shown(name)} (from {source}) is offered by {offered}; uninstall all but one of them."
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


def _entry_points() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
