"""Flax's parameters of SimpleCell, of linen and of nnx: trees of arrays, in memory or in a .msgpack file.

A cell is ``{"i": {"kernel", "bias"}, "h": {"kernel"}}`` in linen, ``dense_i`` and ``dense_h`` in nnx; kernels
are (from, to), so W_ax and W_aa are their transposes.  The tree does not record what feeds what.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from rnn_backends.core.arrays import is_array
from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.arrays import ToHost, declare
from rnn_backends.formats.names import Declared, listed, require_no_gates, shown
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account
from rnn_backends.formats.transposed import ArraySource, declared_of, made, require_foldable
from rnn_backends.formats.weights import from_weights

_PART = re.compile(r"(?:(.*)/)?(?:dense_)?(i/kernel|i/bias|h/kernel)", re.DOTALL)
_GATES = re.compile(r"(?:.*/)?(?:[ih][ifgorzn]/(?:kernel|bias)|(?:dense_)?h/bias)", re.DOTALL)
MAX_PATH = 2000
_SIDES = ("forward_rnn", "backward_rnn")

Layers: TypeAlias = Sequence[str | tuple[str | None, str | None]]
Tree: TypeAlias = Mapping[str, Any]
"""Arrays by path, its parts joined by slashes."""


def from_tree(params: Mapping[Any, Any], options: LoadOptions, to_host: ToHost, account: Account) -> Network:
    """Return the network of NumPy arrays that a tree of parameters holds; see `rnn_backends.from_flax`."""
    if options.residual is None:
        msg = (
            "parameters of a SimpleCell do not record whether it is residual; pass residual=False, or True if it was "
            "made so."
        )
        raise ArgumentError(msg)
    tree = flattened(params)
    cells: dict[str, dict[str, str]] = {}
    others = []
    for path in tree:
        if _GATES.fullmatch(path):
            msg = f"there is {shown(path)}, which belongs to a cell with gates; this package runs SimpleCell."
            raise FormatError(msg)
        if match := _PART.fullmatch(path):
            cells.setdefault(match[1] or "", {})[match[2]] = path
        else:
            others.append(path)
    places = _places(cells, options.layers)
    held = declare(tree)
    sources = _sources(cells, places, others, held, options.residual)
    require_foldable(sources, held, account)
    if options.batch_first is None:
        options = replace(options, batch_first=True)  # as flax's time_major=False
    if table := next((path for path in others if path.rpartition("/")[2] == "embedding"), None):
        options = options.taking_tokens(table)
    return from_weights(
        declared_of(sources, held), options, lambda name: made(sources[name], lambda path: to_host(tree[path]))
    )


def flattened(params: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the arrays of a tree of mappings by path, without the collection ``params`` that linen puts around."""
    if not isinstance(params, Mapping):
        msg = f"parameters of Flax, a mapping of mappings of arrays, are wanted; got {type(params).__name__}."
        raise FormatError(msg)
    if set(params) == {"params"} and isinstance(params["params"], Mapping):
        params = params["params"]
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", params)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Mapping):
            parts = [(f"{place}/{name}" if place else str(name), part) for name, part in value.items()]
            if len(place) > MAX_PATH:
                msg = f"the tree goes deeper than any network's, at {shown(place)}."
                raise FormatError(msg)
            waiting.extend(reversed(parts))
        elif place in found:
            msg = f"{shown(place)} stands in the tree twice; a name may have no slash."
            raise FormatError(msg)
        elif is_array(value) and not hasattr(value, "value"):
            found[place] = value
        else:
            msg = (
                f"{shown(place)} must be an array, or a mapping of them; got {type(value).__name__}. "
                "Of an nnx model pass nnx.to_pure_dict(nnx.state(model, nnx.Param))."
            )
            raise FormatError(msg)
    return found


def _places(cells: Mapping[str, Any], layers: Layers | None) -> dict[str, str]:
    """Return the paths of the cells by place: l0, l0_reverse, l1."""
    if layers is None:
        pair = _pair("", cells)
        if pair is None and len(cells) != 1:
            msg = (
                f"the tree does not record the order of its cells, {listed(cells)}; pass `layers`, the list of their "
                "paths from the input to the output, with a pair (forward, backward) for a layer of both directions."
            )
            raise FormatError(msg)
        layers = [pair or (next(iter(cells)), None)]
    places = {}
    for index, layer in enumerate(_require_layers(layers)):
        sides = (_pair(layer, cells) or (layer, None)) if isinstance(layer, str) else layer
        for path, side in zip(sides, ("", "_reverse"), strict=True):
            if path is not None:
                places[f"l{index}{side}"] = _cell(path, cells)
    if unused := set(cells) - set(places.values()):
        msg = f"`layers` leaves out {listed(sorted(unused))}; name every cell, or take those out of the tree."
        raise FormatError(msg)
    if len(set(places.values())) != len(places):
        msg = "`layers` names a cell twice; the arrays of each would be the same."
        raise FormatError(msg)
    return places


def _require_layers(layers: Any) -> Layers:
    is_list = isinstance(layers, (list, tuple))
    pairs = [(layer, None) if isinstance(layer, str) else layer for layer in layers] if is_list else []
    for pair in pairs:
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(path, str | None) for path in pair) or set(pair) == {None}:
            is_list = False
    if not is_list or not layers:
        msg = f"`layers` must be a list of paths, or of pairs (forward, backward) of them; got {layers!r}."
        raise ArgumentError(msg)
    found: Layers = layers
    return found


def _pair(path: str, cells: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
    """Return the two cells of a Bidirectional at or below a path, if that is all there is there."""
    below = [cell for cell in cells if _within(cell, path)]
    sides = [[cell for cell in below if side in cell.split("/")] for side in _SIDES]
    if len(below) == 2 and all(len(side) == 1 for side in sides):
        return sides[0][0], sides[1][0]
    return None


def _cell(path: str, cells: Mapping[str, Any]) -> str:
    below = [cell for cell in cells if _within(cell, path)]
    if len(below) != 1:
        msg = f"{shown(path)} in `layers` must be the path of one SimpleCell; there are {listed(cells)}."
        raise FormatError(msg)
    return below[0]


def _within(cell: str, path: str) -> bool:
    return not path or cell == path or cell.startswith(f"{path}/")


def _sources(
    cells: Mapping[str, Mapping[str, str]], places: Mapping[str, str], others: list[str], held: Declared, residual: bool
) -> dict[str, ArraySource]:
    """Return the sources of the arrays of the network, by name."""
    tables = [path for path in others if path.rpartition("/")[2] == "embedding"]
    dense = [path for path in others if path.rpartition("/")[2] != "embedding"]
    owners = {path.rpartition("/")[0] for path in dense}
    odd = [path for path in dense if path.rpartition("/")[2] not in {"kernel", "bias"}]
    if odd or len(owners) > 1 or len(tables) > 1:
        got = listed(odd or dense + tables)
        msg = f"beside SimpleCells there may be one Dense, the readout, and one Embed, before them; got {got}."
        raise FormatError(msg)
    table = tables[0] if tables else None
    sources = {}
    for place, cell in places.items():
        parts = cells[cell]
        first = table if place.removesuffix("_reverse") == "l0" else None
        if {"i/kernel", "h/kernel"} - parts.keys():
            msg = f"{shown(cell)} must have the kernels of i and of h; it has {', '.join(sorted(parts))}."
            raise FormatError(msg)
        require_no_gates(parts["h/kernel"], held[parts["h/kernel"]][1][::-1])
        sources[f"weight_ih_{place}"] = ArraySource(parts["i/kernel"], table=first)
        sources[f"weight_hh_{place}"] = ArraySource(parts["h/kernel"], residual=residual)
        if "i/bias" in parts:
            sources[f"bias_{place}"] = ArraySource(parts["i/bias"])
    for path in dense:
        name = path.rpartition("/")[2].replace("kernel", "weight")
        sources[f"readout.{name}"] = ArraySource(path)
    return sources
