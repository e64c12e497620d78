"""The state dict in what a .pt file holds: it alone, or in a checkpoint or a module, with anything beside it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rnn_backends.core.activations import Activation
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.modules import is_recurrent
from rnn_backends.formats.names import listed, shown
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account
from rnn_backends.formats.torch.pickled import Opaque
from rnn_backends.formats.torch.tensors import Tensor

_RNN, _CELL = "torch.nn.modules.rnn RNN", "torch.nn.modules.rnn RNNCell"
_MODES = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}
_PARTS = ("_parameters", "_buffers", "_modules")
"""The attributes of a module that hold its arrays and its modules, by name."""


class Facts(NamedTuple):
    """What an nn.RNN records beside its weights."""

    activation: Activation
    batch_first: bool | None


def _facts_of(module: Opaque, state: Mapping[str, Any]) -> Facts | None:
    """Return what the state of an nn.RNN or an nn.RNNCell records; None of any other module."""
    named = state.get("mode") if module.name == _RNN else f"RNN_{state.get('nonlinearity')}".upper()
    if module.name not in {_RNN, _CELL} or not isinstance(named, str) or named not in _MODES:
        return None
    batch_first = state.get("batch_first")
    return Facts(Activation(_MODES[named]), batch_first if isinstance(batch_first, bool) else None)


def state_dict(held: Any, options: LoadOptions, account: Account) -> tuple[Mapping[Any, Any], LoadOptions]:
    """Return the one mapping, at whatever depth, that holds the weights of a recurrent network.

    What is left of `key` in the options is the beginning of the names in it.
    """
    path = (options.key,) if isinstance(options.key, str) else options.key or ()
    rest: tuple[str, ...] = ()
    for place, part in enumerate(path):
        held = _module_arrays(held, account, []) if isinstance(held, Opaque) else held
        if not isinstance(held, dict) or part not in held:
            rest = path[place:]
            break
        held = held[part]
    facts: list[Facts] = []
    found = dict(_state_dicts(held, set(options.names or ()), account, facts))
    if rest and len(found) > 1:
        begin = f"{'.'.join(rest)}."
        found = {
            place: each for place, each in found.items() if any(str(name).startswith(begin) for name in each)
        } or found
        if len(found) > 1:
            msg = f"`key` names {shown('.'.join(rest))}, which is no part of it; {_parts(found, ())}."
            raise FormatError(msg)
    if len(found) == 1:
        return next(iter(found.values())), replace(_with_facts(options, facts), key=rest or None)
    if found:
        msg = f"it holds several recurrent networks; {_parts(found, path)}."
        raise FormatError(msg)
    msg = (
        "it holds no recurrent network, no arrays with names such as weight_ih_l0, rnn.weight_hh_l0 or Whh"
        f"{f', in {shown(options.key)}' if path else ''}; if they have other names, {way('own_names')}."
    )
    raise FormatError(msg)


def _parts(found: Iterable[tuple[str, ...]], path: tuple[str, ...]) -> str:
    """Return the places of networks, and the way to one of them."""
    places = [place[0] if len(place) == 1 else place for place in ((*path, *each) for each in found)]
    example = next((place for place in places if place), "model")
    return f"they are in {listed(places)}; {way('key', key=repr(example))}"


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


def _with_facts(options: LoadOptions, facts: Sequence[Facts]) -> LoadOptions:
    """Return the options with what a module that was saved whole records, where its nn.RNN all record the same."""
    if len(set(facts)) != 1:
        return options
    return options.completed("the module in it", facts[0]._asdict())


def _state_dicts(
    held: Any, names: set[str], account: Account, facts: list[Facts]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Yield the mappings that hold a recurrent network by place; what stands in two places comes once.

    What modules that were saved whole record is added to `facts`.
    """
    waiting: list[tuple[tuple[str, ...], Any]] = [((), held)]
    seen = set()
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Opaque):
            value = _module_arrays(value, account, facts) or value.state
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


def _module_arrays(held: Opaque, account: Account, facts: list[Facts]) -> dict[str, Any]:
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
        if (found_facts := _facts_of(module, state)) is not None:
            facts.append(found_facts)
        found |= {f"{prefix}{name}": part for name, part in {**own, **buffers}.items() if part is not None}
        waiting += [(f"{prefix}{name}.", part, depth + 1) for name, part in reversed(modules.items())]
    return found
