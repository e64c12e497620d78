"""Recurrent modules of a state dict, one on top of the other."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, permutations
from typing import NamedTuple

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.modules import Module
from rnn_backends.formats.names import Declared, layer_indices
from rnn_backends.formats.readings import Widths

_MOST = 5
"""The most modules whose order is inferred."""
_DECODER = re.compile(r"(?:^|[._])dec(?:oder)?(?:$|[._])", re.IGNORECASE)


class Stack(NamedTuple):
    """The recurrent modules of a network.

    Parameters
    ----------
    modules : list of Module
        From the input to the output.
    names : dict of str to str
        The names of their arrays in the file by those of the network: ``weight_ih_l1_reverse``.
    widths : Widths
    depths : dict of str to int
        The number of layers below each module, by its prefix.
    """

    modules: list[Module]
    names: dict[str, str]
    widths: Widths
    depths: dict[str, int]


def stacked(modules: Sequence[Module], roles: Mapping[str, str], declared: Declared, *, ordered: bool = True) -> Stack:
    """Return recurrent modules as the layers of one network, in the order that is given, or by their shapes.

    Where they stand in the order in which they were made, their shapes must allow that one.
    """
    if not modules:
        advice = _columns(declared) or f"if they have other names, {way('own_names')}"
        there = listed(declared)
        msg = f"there is no recurrent network, with names such as weight_ih_l0 or Whh, among {there}; {advice}."
        raise FormatError(msg)
    states = [each for each in modules if each.arrays.keys() == {"h_0"}]
    modules = [each for each in modules if each not in states] or modules
    chosen = [each for prefix, role in roles.items() for each in modules if (each.prefix, "layers") == (prefix, role)]
    left = [each for each in modules if each not in chosen]
    if left and chosen:
        msg = f"`roles` makes {listed(each.prefix for each in chosen)} the layers, but not {listed(_prefixes(left))}."
        raise FormatError(msg)
    found = chosen or _chained(modules, declared, ordered=ordered)
    widths = [_widths(module, declared) for module in found]
    names: dict[str, str] = {}
    depths: dict[str, int] = {}
    for module in (*found, *states):
        depths[module.prefix] = len(layer_indices(_places(names)))
        names |= _numbered(module, depths[module.prefix])
    return Stack(found, names, Widths(widths[0].input_size, widths[-1].output_size), depths)


def _columns(declared: Declared) -> str | None:
    """Return the way out for a Linear that may be applied to the input and the state, one after the other."""
    for name, (_, shape) in declared.items():
        bias = declared.get(f"{name.removesuffix('weight')}bias", ("", ()))[1]
        if name.endswith("weight") and len(shape) == 2 and bias == shape[:1] and shape[0] < shape[1]:
            return way("columns", name=shown(name), size=shape[1] - shape[0])
    return None


def _prefixes(modules: Sequence[Module]) -> list[str]:
    return [module.prefix for module in modules]


def _places(names: Iterable[str]) -> list[str]:
    """Return the places of cells in names, l0_reverse of weight_hh_l0_reverse."""
    return [name.removeprefix("weight_hh_") for name in names if name.startswith("weight_hh_")]


def _numbered(module: Module, first: int) -> dict[str, str]:
    """Return the names of a module's arrays, whose layers come after so many others."""
    found = {}
    for local, name in module.arrays.items():
        kind, mark, place = local.rpartition("_l")
        index, reverse, _ = place.partition("_reverse")
        number = 0 if local == "h_0" else int(index) + first
        found[local if local == "h_0" else f"{kind}{mark}{number}{reverse}"] = name
    return found


def _widths(module: Module, declared: Declared) -> Widths:
    """Return the features that a module takes and gives; 0 where it is not whole, which is refused later."""
    shapes = {local: declared[name][1] for local, name in module.arrays.items()}
    places = _places(shapes)
    last = max(layer_indices(places), default=0)
    first = shapes.get("weight_ih_l0", shapes.get("weight_ih_l0_reverse", ()))
    top = [shapes[f"weight_hh_{place}"] for place in places if layer_indices([place]) == [last]]
    return Widths(first[1] if len(first) == 2 else 0, sum(shape[0] for shape in top if shape))


def _chained(modules: Sequence[Module], declared: Declared, *, ordered: bool) -> list[Module]:
    """Return modules in the one order in which each takes what the one before gives, and nothing else it could take."""
    widths = {module.prefix: _widths(module, declared) for module in modules}
    orders = permutations(modules) if len(modules) <= _MOST else ()
    chains = [list(order) for order in orders if _fits([widths[module.prefix] for module in order])]
    inputs = {each.input_size for each in widths.values()}
    is_one = len(chains) == 1 and len(inputs) == len(modules) and (not ordered or chains[0] == list(modules))
    is_one = is_one and not any(is_decoder(module.prefix) for module in modules)
    if len(modules) == 1 or is_one:
        return chains[0]
    raise FormatError(_several(modules, [*widths.values()]))


def is_decoder(name: str) -> bool:
    """Return whether a module is that of a decoder by its name, and may take something else than an encoder gives."""
    return _DECODER.search(name) is not None


def _fits(widths: Sequence[Widths]) -> bool:
    """Return whether each takes what the one before gives."""
    return all(above.input_size == below.output_size for below, above in pairwise(widths))


def _several(modules: Sequence[Module], widths: Sequence[Widths]) -> str:
    """Return the refusal of several recurrent networks: parts of a checkpoint, layers, or networks of their own."""
    prefixes = _prefixes(modules)
    ends = {prefix.partition(".")[2] for prefix in prefixes}
    problem = f"there are several recurrent networks, {listed(prefixes)}"
    if len(ends) == 1 and "" not in ends:
        key = prefixes[0].partition(".")[0]
        return f"{problem}; {way('key', key=shown(key))}."
    fitting = _fits(widths) and not any(map(is_decoder, prefixes))
    roles = dict.fromkeys(prefixes[:1], "layers") | dict.fromkeys(prefixes[1:], "layers" if fitting else "ignore")
    return f"{problem}; {way('roles_of_layers', roles=roles)}."
