"""State dicts that belong together: of modules that were saved one by one, and of one module under two names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import LONGEST, way
from rnn_backends.formats.modules import LOSS, is_recurrent
from rnn_backends.formats.names import is_within

_CELLS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def joined(
    held: Any, place: Sequence[str], state: Any, is_tensor: Callable[[Any], bool], path: Sequence[str] = ()
) -> Any:
    """Return a state dict with those of the modules beside it, where they were saved one by one, under their names.

    That is so where the recurrent one is nothing else, or where the others are single modules and it has no readout.

    Parameters
    ----------
    held : object
        What holds it at a place.
    place : sequence of str
    state : object
    is_tensor : callable
    path : sequence of str
        Where that is in the whole.
    """
    for part in place[:-1]:
        held = held.get(part) if isinstance(held, Mapping) else None
    if not (place and isinstance(held, Mapping)) or held.get(place[-1]) is not state or not isinstance(state, Mapping):
        return state
    modules: dict[str, Mapping[Any, Any]] = {
        name: part
        for name, part in held.items()
        if isinstance(name, str) and isinstance(part, Mapping) and (part is state or _is_module_of(part, is_tensor))
    }
    others = {name: part for name, part in modules.items() if part is not state and not LOSS.search(name)}
    if not others:
        return state
    own = [name for name, value in state.items() if isinstance(name, str) and is_tensor(value)]
    rest = [name for name in own if not _is_of_cells(name)]
    single = all("." not in name for part in others.values() for name in map(str, part))
    if rest and not (single and _are_tables(state, rest)):
        key = (*path, *place)
        msg = (
            f"beside the network in {shown('.'.join(key))} there are weights in {listed(others)}, which may be of "
            f"another one; {way_to(key)}."
        )
        raise FormatError(msg)
    return {f"{module}.{name}": value for module, part in modules.items() for name, value in part.items()}


def way_to(key: Sequence[str]) -> str:
    """Return the way out of several networks: the key of one."""
    text = repr(key[0] if len(key) == 1 else tuple(key))
    return way("key", key=text) if len(text) <= LONGEST else way("key_of_one")


def _is_module_of(part: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> bool:
    """Return whether a mapping holds weights, as no state of an optimizer does."""
    return any(is_tensor(value) and str(name).rpartition(".")[2] in {"weight", "bias"} for name, value in part.items())


def _is_of_cells(name: str) -> bool:
    return is_recurrent([name]) or name.rpartition(".")[2].startswith(_CELLS)


def _are_tables(state: Mapping[Any, Any], rest: Iterable[str]) -> bool:
    """Return whether arrays may be embeddings: matrices without a bias that are declared before the cells."""
    own = [name for name in state if isinstance(name, str)]
    # Cells may have names that the caller gives: nothing is known to stand before them.
    first = next((place for place, name in enumerate(own) if _is_of_cells(name)), 0)
    before = {*own[:first]}
    return all(name in before and name.endswith("weight") and len(state[name].shape) == 2 for name in rest)


def without_twins(keys: Mapping[str, Any], begin: str, said: Mapping[str, str]) -> set[str]:
    """Return the names to leave out of arrays that are those of a module which has another name, too.

    A network that has a module under two names applies it once, but where both are in one nn.Sequential.  An
    embedding and a Linear that share a weight, which has no bias then, are two.

    Parameters
    ----------
    keys : mapping of str to hashable
        What is equal of arrays that are the same memory, by name.
    begin : str
        The beginning of the names that are read.
    said : mapping of str to str
        Roles that are given, by names without that beginning: what has one is left.
    """
    modules: dict[str, dict[str, Any]] = {}
    for name, key in keys.items():
        if name.startswith(begin):
            prefix, _, leaf = name.removeprefix(begin).rpartition(".")
            modules.setdefault(prefix, {})[leaf] = key
    seen: dict[Any, str] = {}
    left_out: list[str] = []
    for prefix, arrays in modules.items():
        if not ({"weight", "bias"} <= arrays.keys() or is_recurrent(arrays)):
            continue
        # Of those that are no twins of the first, all are numbered beside it, so that the first stands for them.
        twin = seen.setdefault(frozenset(arrays.items()), prefix)
        if twin == prefix or _are_numbered(twin, prefix):
            continue
        if _role(prefix, said) is None:
            left_out.append(prefix)
        elif _role(twin, said) is None and _role(prefix, said) != "ignore":
            left_out.append(twin)
    return {f"{begin}{prefix}{'.' * bool(prefix)}{leaf}" for prefix in left_out for leaf in modules[prefix]}


def _role(prefix: str, said: Mapping[str, str]) -> str | None:
    return next((role for key, role in said.items() if is_within(prefix, key)), None)


def _are_numbered(one: str, other: str) -> bool:
    """Return whether two modules are those of an nn.Sequential, or of another list."""
    (parent, _, number), (same, _, another) = one.rpartition("."), other.rpartition(".")
    return parent == same and number.isdecimal() and another.isdecimal()
