"""What the native formats have in common: the names of the arrays, and a check before any is read.

Arrays carry torch's names: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_l0`` of the first layer, with
``_reverse`` for its backward cell, then ``readout.weight`` and ``readout.bias``.  torch's own two biases,
``bias_ih_l0`` and ``bias_hh_l0``, are read too, and added.  All else is one JSON text.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from rnn_backends.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.description import Description, describe, parse, undescribed
from rnn_backends.forward import Cell
from rnn_backends.parameters import Layer, Linear, Network

KEY = "rnn_backends"
_PLACE = r"l(?:0|[1-9][0-9]{0,3})(?:_reverse)?"
_NAME = re.compile(rf"(weight_ih|weight_hh|bias|bias_ih|bias_hh)_({_PLACE})|readout\.(weight|bias)")

Declared: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""The dtypes and shapes of arrays by name."""


def pack(network: Network) -> tuple[dict[str, Host], str]:
    """Return the arrays of a network by name, and the JSON text that describes the rest."""
    cells = plain_cells(network)
    found: dict[str, Any] = {}
    for place, cell in cells.items():
        found[f"weight_ih_{place}"] = cell.weight_ih
        found[f"weight_hh_{place}"] = cell.weight_hh
        found[f"bias_{place}"] = cell.bias
    if network.readout is not None:
        found["readout.weight"], found["readout.bias"] = network.readout.weight, network.readout.bias
    # safetensors writes the memory of an array as it lies, transposed or not.
    arrays = {name: np.ascontiguousarray(array) for name, array in found.items() if array is not None}
    return arrays, describe(network, cells)


def unpack(
    declared: Declared, text: str | bytes | None, activation: Callable[..., Any] | None, read: Callable[[str], Host]
) -> Network:
    """Return the network of a file that declares these dtypes and shapes, by name.

    The network is first made of arrays that take no memory, so that all is checked before any is read.
    """
    places = _places(declared)
    description = _description(declared, places, text, activation)
    joined, read_joined = _join_biases(declared, places, read)
    try:
        stand_ins = {name: np.broadcast_to(np.zeros((), dtype), shape) for name, (dtype, shape) in joined.items()}
        _build(stand_ins, places, description)
        return _build({name: read_joined(name) for name in joined}, places, description)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"the file's arrays make no network: {error}"
        raise FormatError(msg) from error


def plain_cells(network: Network) -> dict[str, Cell]:
    """Return the cells of a network by their places, l0, l0_reverse, l1; each must be a `Cell`."""
    cells: dict[str, Cell] = {}
    for index, layer in enumerate(network.layers):
        for cell, reverse in layer.cells:
            if type(cell) is not Cell:
                msg = f"a file can hold a Cell only, not a {type(cell).__name__} as in layer {index}."
                raise FormatError(msg)
            cells[f"l{index}_reverse" if reverse else f"l{index}"] = cell
    return cells


def _places(names: Iterable[str]) -> list[str]:
    """Check the names of the arrays, and return the places of the cells: l0, l0_reverse, l1."""
    places: dict[str, set[str]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            known = "weight_ih_l0, weight_hh_l0, bias_l0, ..._reverse, readout.weight, readout.bias"
            msg = f"the file holds {name!r}, which is no parameter of an RNN; those are {known}."
            raise FormatError(msg)
        if match[2]:
            places.setdefault(match[2], set()).add(match[1])
    layers = _layers(places)
    if not places or layers != list(range(len(layers))):
        msg = f"the file must hold layers 0, 1, ... without a gap; it has {layers or 'no weights'}."
        raise FormatError(msg)
    for place, kinds in places.items():
        biases = kinds - {"weight_ih", "weight_hh"}
        if len(kinds - biases) != 2 or biases not in ({"bias"}, {"bias_ih", "bias_hh"}, set()):
            wanted = "weight_ih, weight_hh and bias, or bias_ih and bias_hh, or no bias"
            msg = f"{place} must have {wanted}; it has {', '.join(sorted(kinds))}."
            raise FormatError(msg)
    if "readout.bias" in names and "readout.weight" not in names:
        msg = "the file has readout.bias but no readout.weight."
        raise FormatError(msg)
    return list(places)


def _layers(places: Iterable[str]) -> list[int]:
    return sorted({int(place.removesuffix("_reverse")[1:]) for place in places})


def _description(
    declared: Declared, places: list[str], text: str | bytes | None, activation: Callable[..., Any] | None
) -> Description:
    if text is None:
        return undescribed(activation, places)
    if activation is not None:
        msg = "the file tells the activation of its cells; leave `activation` out."
        raise FormatError(msg)
    description = parse(text, places)
    if (description.readout is not None) != ("readout.weight" in declared):
        msg = "the file must have both or neither of readout.weight and a description of the readout."
        raise FormatError(msg)
    return description


def _join_biases(
    declared: Declared, places: list[str], read: Callable[[str], Host]
) -> tuple[Declared, Callable[[str], Host]]:
    """Put one bias in the place of torch's two, as declared and as read: their sum."""
    joined, pairs = dict(declared), {}
    for place in places:
        first, second = pair = f"bias_ih_{place}", f"bias_hh_{place}"
        if first in declared:
            if declared[first] != declared[second]:
                msg = f"{first} and {second} must be alike; got {declared[first]} and {declared[second]}."
                raise FormatError(msg)
            pairs[f"bias_{place}"] = pair
            joined[f"bias_{place}"] = joined.pop(first)
            del joined[second]

    def read_joined(name: str) -> Host:
        if name not in pairs:
            return read(name)
        first, second = pairs[name]
        total: Host = read(first) + read(second)
        return total

    return joined, read_joined


def _build(arrays: Mapping[str, Host], places: list[str], description: Description) -> Network:
    cells = {}
    for place in places:
        weights = (arrays[f"weight_ih_{place}"], arrays[f"weight_hh_{place}"], arrays.get(f"bias_{place}"))
        try:
            cells[place] = Cell(*weights, **description.cells[place])
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"the cell {place} is wrong: {error}"
            raise FormatError(msg) from error
    readout = None
    if "readout.weight" in arrays:
        g2 = description.readout or "softmax"
        readout = Linear(arrays["readout.weight"], arrays.get("readout.bias"), g2)
    layers = tuple(Layer(cells.get(f"l{k}"), cells.get(f"l{k}_reverse")) for k in _layers(places))
    _, _, batch_first, vocabulary, metadata = description
    return Network(layers, readout, batch_first, vocabulary, metadata)
