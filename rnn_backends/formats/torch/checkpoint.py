"""The state dict in what a .pt file holds: it alone, or in a checkpoint or a module, with anything beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.modules import is_recurrent
from rnn_backends.formats.names import listed, shown
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account
from rnn_backends.formats.torch.pickled import Opaque
from rnn_backends.formats.torch.tensors import Tensor

_PARTS = ("_parameters", "_buffers", "_modules")
"""The attributes of a module that hold its arrays and its modules, by name."""


def state_dict(held: Any, options: LoadOptions, account: Account) -> tuple[Mapping[Any, Any], LoadOptions]:
    """Return the one mapping, at whatever depth, that holds the weights of a recurrent network.

    What is left of `key` in the options is the beginning of the names in it.
    """
    path = (options.key,) if isinstance(options.key, str) else options.key or ()
    rest: tuple[str, ...] = ()
    for place, part in enumerate(path):
        held = _module_arrays(held, account) if isinstance(held, Opaque) else held
        if not isinstance(held, dict) or part not in held:
            rest = path[place:]
            break
        held = held[part]
    found = dict(_state_dicts(held, set(options.names or ()), account))
    if len(found) == 1:
        return next(iter(found.values())), replace(options, key=rest or None)
    if found:
        places = [place[0] if len(place) == 1 else place for place in ((*path, *each) for each in found)]
        example = next((place for place in places if place), "model")
        msg = f"it holds several recurrent networks, in {listed(places)}; {way('key', key=repr(example))}."
        raise FormatError(msg)
    msg = (
        "it holds no recurrent network, no arrays with names such as weight_ih_l0, rnn.weight_hh_l0 or Whh"
        f"{f', in {shown(options.key)}' if path else ''}; if they have other names, {way('own_names')}."
    )
    raise FormatError(msg)


def tensors_of(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict; what is neither an array nor of torch computes nothing."""
    found = {}
    for name, value in state.items():
        if isinstance(value, Opaque) and value.name.startswith("torch"):
            what = shown(value.name.replace(" ", ".", 1))
            msg = f"{shown(name)} is made by {what}, and is no plain tensor; {way('ignore', roles={name: 'ignore'})}."
            raise FormatError(msg)
        if isinstance(name, str) and isinstance(value, Tensor):
            found[name] = value
    return found


def _state_dicts(held: Any, names: set[str], account: Account) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Yield the mappings that hold a recurrent network by place; what stands in two places comes once."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), held)]
    seen = set()
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Opaque):
            value = _module_arrays(value, account) or value.state
        if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
            continue
        seen.add(id(value))
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        tensors = {name for name, part in items if isinstance(name, str) and isinstance(part, Tensor)}
        if tensors and (names & tensors or is_recurrent(tensors)):
            yield place, value  # type: ignore[misc]  # only names of a dict are texts
        elif len(place) < _DEEPEST:
            waiting.extend(((*place, str(name)[:_LONGEST]), part) for name, part in reversed(items))


_DEEPEST, _LONGEST = 16, 60


def _module_arrays(held: Opaque, account: Account) -> dict[str, Any]:
    """Return the arrays of a module that was saved whole, without its code, by the names that its state dict has."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any, int]] = [("", held, 0)]
    while waiting:
        prefix, module, depth = waiting.pop()
        state = module.state if isinstance(module, Opaque) else None
        account.take("its modules", "depth", depth)
        account.take("its modules", "items", 1 + len(prefix))
        if not isinstance(state, dict) or not all(isinstance(state.get(part), dict) for part in _PARTS):
            continue
        own, buffers, modules = (state[part] for part in _PARTS)
        found |= {f"{prefix}{name}": part for name, part in {**own, **buffers}.items() if part is not None}
        waiting += [(f"{prefix}{name}.", part, depth + 1) for name, part in reversed(modules.items())]
    return found
