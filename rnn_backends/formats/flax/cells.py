"""The cells in a tree of parameters, and their places in the network, as far as it records them."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import LONGEST, way
from rnn_backends.formats.names import is_within

_FLAX = re.compile(r"(?:(.*)/)?(?:dense_)?(i/kernel|i/bias|h/kernel)", re.DOTALL)
_HAIKU = re.compile(r"((?:.*/)?vanilla_rnn(?:_[0-9]+)?)/(linear(?:_1)?/[wb])", re.DOTALL)
_HAIKUS = {"linear/w": "i/kernel", "linear/b": "i/bias", "linear_1/w": "h/kernel", "linear_1/b": "h/bias"}
_GATES = re.compile(r"(?:.*/)?(?:[ih][ifgorzn]/(?:kernel|bias)|(?:dense_)?h/bias)", re.DOTALL)
_FEW = 5
_SIDES = ("forward_rnn", "backward_rnn")

Layers: TypeAlias = Sequence[str | tuple[str | None, str | None]]


def cells_of(paths: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the cells by path, each as the paths of its arrays by their names in it: ``i/kernel``, ``h/kernel``."""
    cells: dict[str, dict[str, str]] = {}
    for path in paths:
        if _GATES.fullmatch(path):
            msg = f"there is {shown(path)}, which belongs to a cell with gates; this package runs SimpleCell."
            raise FormatError(msg)
        if match := _FLAX.fullmatch(path):
            cells.setdefault(match[1] or "", {})[match[2]] = path
        elif match := _HAIKU.fullmatch(path):
            cells.setdefault(match[1], {})[_HAIKUS[match[2]]] = path
    if not cells:
        msg = f"the tree holds no SimpleCell; its arrays are {listed(paths)}."
        raise FormatError(msg)
    for cell, parts in cells.items():
        if {"i/kernel", "h/kernel"} - parts.keys():
            msg = f"{shown(cell)} must have the kernels of i and of h; it has {', '.join(sorted(parts))}."
            raise FormatError(msg)
    return cells


def is_haiku(parts: Mapping[str, str]) -> bool:
    """Return whether a cell is one of Haiku's, which are never residual."""
    return parts["i/kernel"].endswith("/w")


def places_of(
    cells: Mapping[str, Mapping[str, str]], layers: Layers | None, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """Return the paths of the cells by place, l0, l0_reverse, l1; shapes are those of their arrays by path."""
    if layers is None:
        pair = _pair("", cells)
        if pair is None and len(cells) != 1:
            example = _example(cells, shapes)
            advice = way("layers", layers=example) if len(repr(example)) <= LONGEST else way("layers_in_order")
            msg = f"the tree does not record the order of its cells, {listed(cells)}; {advice}."
            raise FormatError(msg)
        layers = [pair or (next(iter(cells)), None)]
    places = {}
    for index, layer in enumerate(_require_layers(layers)):
        sides = (_pair(layer, cells) or (layer, None)) if isinstance(layer, str) else layer
        for path, side in zip(sides, ("", "_reverse"), strict=True):
            if path is not None:
                places[f"l{index}{side}"] = _cell(path, cells)
    if unused := set(cells) - set(places.values()):
        roles = dict.fromkeys(sorted(unused), "ignore")
        msg = f"`layers` leaves out {listed(roles)}; {way('every_cell', roles=roles)}."
        raise FormatError(msg)
    if len(set(places.values())) != len(places):
        msg = "`layers` names a cell twice; the arrays of each would be the same."
        raise FormatError(msg)
    return places


def _example(cells: Mapping[str, Mapping[str, str]], shapes: Mapping[str, tuple[int, ...]]) -> list[Any]:
    """Return an order of cells that their shapes allow: two of one input as a pair, else one on the other."""
    sizes = {cell: tuple(shapes[parts["i/kernel"]]) for cell, parts in cells.items()}
    first, *rest = list(cells)[:_FEW]
    found: list[Any] = [first]
    for cell in rest:
        below = found[-1]
        if isinstance(below, str) and sizes[cell][:1] == sizes[below][:1] != sizes[below][1:]:
            found[-1] = (below, cell)
        else:
            found.append(cell)
    return found


def _require_layers(layers: Any) -> Layers:
    is_list = isinstance(layers, (list, tuple))
    pairs = [(layer, None) if isinstance(layer, str) else layer for layer in layers] if is_list else []
    for pair in pairs:
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(path, str | None) for path in pair) or set(pair) == {None}:
            is_list = False
    if not is_list or not layers:
        msg = f"`layers` must be a list of paths, or of pairs (forward, backward) of them; got {got(layers)}."
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
    return not path or is_within(cell, path, "/")
