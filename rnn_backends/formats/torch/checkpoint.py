"""The state dict in what a .pt file or a caller holds: alone, or in a checkpoint or a module, beside anything."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import LONGEST, way
from rnn_backends.formats.modules import is_recurrent
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.torch.joined import joined, way_to
from rnn_backends.formats.torch.module import is_module
from rnn_backends.formats.torch.placeholders import Opaque
from rnn_backends.formats.torch.restored import module_of
from rnn_backends.formats.torch.saved import Module
from rnn_backends.formats.torch.tensors import Tensor
from rnn_backends.formats.torch.whole import as_read


def state_dict(
    held: Any, options: LoadOptions, account: Account, is_tensor: Callable[[Any], bool] | None = None
) -> tuple[Any, LoadOptions]:
    """Return the one mapping, at whatever depth, that holds the weights of a recurrent network; or a live module.

    What is left of `key` in the options is the beginning of the names in it.

    Parameters
    ----------
    held : object
    options : LoadOptions
    account : Account
    is_tensor : callable, optional
        Of an object in memory: whether a value is an array.  Its arrays may have any names then.
    """
    path = options.key or ()
    held, rest = _at(held, path, account)
    found = _found(held, options, account, is_tensor)
    if rest and len(found) > 1:
        begin = f"{'.'.join(rest)}."
        found = {place: each for place, each in found.items() if _begins(each, begin)} or found
        if len(found) > 1:
            msg = f"`key` names {shown('.'.join(rest))}, which is no part of it; {_parts(found, ())}."
            raise FormatError(msg)
    if len(found) == 1:
        ((place, state),) = found.items()
        state = joined(held, place, state, is_tensor or _is_tensor, path)
        return as_read(state, replace(options, key=rest or None))
    if found:
        msg = f"it holds several recurrent networks; {_parts(found, path)}."
        raise FormatError(msg)
    msg = (
        "it holds no recurrent network, no arrays with names such as weight_ih_l0, rnn.weight_hh_l0 or Whh"
        f"{f', in {listed(path)}' if path else ''}; if they have other names, {way('own_names')}."
    )
    raise FormatError(msg)


def _found(
    held: Any, options: LoadOptions, account: Account, is_tensor: Callable[[Any], bool] | None
) -> dict[tuple[str, ...], Any]:
    """Return the networks in something by place."""
    wanted = _Wanted(is_tensor or _is_tensor, frozenset(options.names or ()), _ignored(options))
    found = dict(_state_dicts(held, wanted, account))
    if not found and is_tensor and isinstance(held, Mapping) and (not held or any(map(is_tensor, held.values()))):
        return {(): held}
    # What may be numbers is refused by its name where there is no tensor; beside a network it may be a log of it.
    return found or dict(_state_dicts(held, wanted._replace(is_tensor=_is_like_one), account))


def _at(held: Any, path: Sequence[str], account: Account) -> tuple[Any, tuple[str, ...]]:
    """Return what stands where a key leads, as far as there are parts of its names, and the rest of it."""
    for place, part in enumerate(path):
        held = _opened(held, account) if isinstance(held, Opaque) else held
        if isinstance(held, Module) and (inner := held.within(part)) is not None:
            held = inner
            continue
        if not isinstance(held, Mapping) or part not in held:
            return held, tuple(path[place:])
        held = held[part]
    return held, ()


def _parts(found: Iterable[tuple[str, ...]], path: tuple[str, ...]) -> str:
    """Return the places of networks, and the way to one of them, in which there is no other."""
    there = list(found)
    outer = {place[:depth] for place in there for depth in range(len(place))}
    inner = min((place for place in there if place and place not in outer), key=_length, default=())
    keys = [place[0] if len(place) == 1 else place for place in ((*path, *each) for each in there)]
    text = way_to((*path, *inner) or ("model",))
    if () in there:
        ignored = way("ignore", roles={inner[0]: "ignore"})
        return f"beside its own weights there are those in {listed(keys[1:])}; {ignored}, else {text}"
    return f"they are in {listed(keys)}; {text}"


def _length(place: tuple[str, ...]) -> int:
    """Return how long a place is in a message, but no less than one that fits."""
    return max(len(repr(place)), LONGEST)


class _Wanted(NamedTuple):
    """Which values are tensors, names of arrays of any notation, and names of what is ignored."""

    is_tensor: Callable[[Any], bool]
    names: frozenset[str]
    ignored: frozenset[str]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_like_one(value: Any) -> bool:
    """Return whether a value may be numbers that were a tensor."""
    return isinstance(value, (list, tuple)) or (isinstance(value, Opaque) and value.module.startswith("numpy"))


def _ignored(options: LoadOptions) -> frozenset[str]:
    return frozenset(name for name, role in (options.roles or {}).items() if role == "ignore")


def _state_dicts(held: Any, wanted: _Wanted, account: Account) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the mappings and live modules that hold a recurrent network by place; what stands in two comes once."""
    # Each container is gone through where it lies, as many may refer to the same, and each by many names.
    waiting: list[Iterator[tuple[tuple[str, ...], Any]]] = [iter([((), held)])]
    seen: dict[int, Any] = {}
    while waiting:
        place, value = next(waiting[-1], (None, None))
        if place is None:
            waiting.pop()
            continue
        if not _is_open(value) or not _is_new(value, seen):
            continue
        if isinstance(value, Opaque):
            value = _opened(value, account)
            if not isinstance(value, Module) and not _is_new(value, seen):
                continue
        if is_module(value):
            names = list(_names(value))
            if is_recurrent(names) or (isinstance(value, Module) and wanted.names & {*names}):
                yield place, value
            continue
        if not isinstance(value, (Mapping, list, tuple)):
            continue
        tensors = {name for name, part in _items(value) if isinstance(name, str) and wanted.is_tensor(part)}
        is_one = bool(tensors) and (bool(wanted.names & tensors) or is_recurrent(tensors))
        if is_one:
            yield place, value
        if len(place) < _DEEPEST:
            left = wanted.ignored if is_one else frozenset()
            waiting.append(_inside(place, value, left))


_DEEPEST = 16


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return what a container holds, by name or number."""
    return value.items() if isinstance(value, Mapping) else enumerate(value)


def _inside(place: tuple[str, ...], value: Any, left: frozenset[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what may hold a network in a container, by place."""
    return (((*place, str(name)), part) for name, part in _items(value) if _is_open(part) and name not in left)


def _is_new(value: Any, seen: dict[int, Any]) -> bool:
    """Return whether a value is seen for the first time; it is kept, for what is gone leaves its id to others."""
    found = id(value) not in seen
    seen[id(value)] = value
    return found


def _is_open(value: Any) -> bool:
    """Return whether a value may hold a network."""
    return isinstance(value, (Mapping, list, tuple, Opaque)) or is_module(value)


def _names(held: Any) -> Iterator[str]:
    """Yield the names of the arrays of a state dict or of a live module."""
    own = held.state_dict() if isinstance(held, Module) else held
    yield from map(str, own) if isinstance(own, Mapping) else (name for name, _ in own.named_parameters())


def _begins(held: Any, begin: str) -> bool:
    return any(name.startswith(begin) for name in _names(held))


def _opened(held: Opaque, account: Account) -> Any:
    """Return a module that was saved whole, or the state of another object."""
    module = module_of(held, account)
    return held.state if module is None or not module.state_dict() else module
