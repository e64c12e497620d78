"""What the native formats have in common: the names of the arrays, and what weights cannot tell.

Arrays carry torch's names: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_l0`` of the first layer, with
``_reverse`` for its backward cell, then ``readout.weight`` and ``readout.bias``.  torch's own two biases,
``bias_ih_l0`` and ``bias_hh_l0``, are read too, and added.  All else is one JSON text.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnn_backends.activations import Activation
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.forward import Cell
from rnn_backends.parameters import Layer, Linear, Network, named_arrays

VERSION = 1
KEY = "rnn_backends"
_NAME = re.compile(r"(weight_ih|weight_hh|bias|bias_ih|bias_hh)_(l[0-9]{1,4}(?:_reverse)?)|readout\.(weight|bias)")

Host: TypeAlias = NDArray[Any]


class Description(NamedTuple):
    """What weights cannot tell."""

    cells: Mapping[str, Mapping[str, Any]]
    readout: Activation
    batch_first: bool
    vocabulary: str | None
    metadata: Mapping[str, str]


def pack(network: Network) -> tuple[dict[str, Host], str]:
    """Return the arrays of a network by name, and the JSON text that describes the rest."""
    arrays: dict[str, Host] = {}
    cells: dict[str, Any] = {}
    for index, layer in enumerate(network.layers):
        for cell, reverse in layer.cells:
            place = f"l{index}_reverse" if reverse else f"l{index}"
            if not isinstance(cell, Cell):
                msg = f"a file cannot hold the cell {type(cell).__name__} of layer {index}; only a Cell can be saved."
                raise FormatError(msg)
            arrays |= {f"{name}_{place}": array for name, array in named_arrays(cell)}
            cells[place] = {"activation": _describe(cell.activation), "clip": cell.clip, "leak": cell.leak}
    readout = None
    if network.readout is not None:
        arrays |= {f"readout.{name}": array for name, array in named_arrays(network.readout)}
        readout = _describe(network.readout.activation)
    description = {
        "format_version": VERSION,
        "cells": cells,
        "readout": readout,
        "batch_first": network.batch_first,
        "vocabulary": network.vocabulary,
        "metadata": dict(network.metadata),
    }
    # safetensors writes the memory of an array as it lies, transposed or not.
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, json.dumps(description)


def unpack(
    declared: Mapping[str, tuple[str, tuple[int, ...]]],
    text: str | bytes | None,
    activation: Callable[..., Any] | None,
    read: Callable[[str], Host],
) -> Network:
    """Return the network of a file that declares these dtypes and shapes, by name.

    The network is first made of arrays that take no memory, so that all is checked before any is read.
    """
    places = _places(declared)
    description = _describe_file(text, places, activation)
    try:
        stand_ins = {name: np.broadcast_to(np.zeros((), dtype), shape) for name, (dtype, shape) in declared.items()}
        _build(stand_ins, places, description)
        return _build({name: read(name) for name in declared}, places, description)
    except (TypeError, ValueError) as error:
        msg = f"the file's arrays make no network: {error}"
        raise FormatError(msg) from error


def _build(arrays: Mapping[str, Host], places: list[str], description: Description) -> Network:
    cells = {}
    for place in places:
        bias = arrays.get(f"bias_{place}")
        if f"bias_ih_{place}" in arrays:
            bias = arrays[f"bias_ih_{place}"] + arrays[f"bias_hh_{place}"]
        weights = (arrays[f"weight_ih_{place}"], arrays[f"weight_hh_{place}"], bias)
        cells[place] = Cell(*weights, **description.cells[place])
    readout = None
    if "readout.weight" in arrays:
        readout = Linear(arrays["readout.weight"], arrays.get("readout.bias"), description.readout)
    layers = [Layer(cells.get(f"l{k}"), cells.get(f"l{k}_reverse")) for k in sorted(_layers(places))]
    return Network(tuple(layers), readout, description.batch_first, description.vocabulary, description.metadata)


def parse_json(text: str | bytes, what: str) -> dict[str, Any]:
    """Return a JSON object; a key that stands in it twice is refused, as readers differ on what it means."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            msg = "a key stands in it twice"
            raise ValueError(msg)
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        msg = f"{what} is not valid JSON: {error}."
        raise FormatError(msg) from error
    if not isinstance(value, dict):
        msg = f"{what} must be a JSON object; got {type(value).__name__}."
        raise FormatError(msg)
    return value


def _describe(activation: Any) -> dict[str, Any]:
    if not isinstance(activation, Activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        msg = f"a file cannot hold the function {name}; only the activations of the table can be saved."
        raise FormatError(msg)
    return {"name": activation.name, "alpha": activation.alpha, "beta": activation.beta}


def _layers(places: Iterable[str]) -> set[int]:
    return {int(place.removesuffix("_reverse")[1:]) for place in places}


def _places(names: Iterable[str]) -> list[str]:
    """Check the names of the arrays, and return the places of the cells: l0, l0_reverse, l1."""
    places: dict[str, set[str]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            msg = f"the file holds {name!r}, which is no parameter of an RNN; remove or rename it."
            raise FormatError(msg)
        if match[2]:
            places.setdefault(match[2], set()).add(match[1])
    if not places or _layers(places) != set(range(len(_layers(places)))):
        msg = f"the file must hold layers 0, 1, ... without a gap; it has {sorted(_layers(places)) or 'none'}."
        raise FormatError(msg)
    for place, kinds in places.items():
        biases = kinds - {"weight_ih", "weight_hh"}
        if len(kinds - biases) != 2 or biases not in ({"bias"}, {"bias_ih", "bias_hh"}, set()):
            msg = f"{place} must have weight_ih, weight_hh and bias, or bias_ih and bias_hh; it has {sorted(kinds)}."
            raise FormatError(msg)
    if "readout.bias" in names and "readout.weight" not in names:
        msg = "the file has readout.bias but no readout.weight."
        raise FormatError(msg)
    return list(places)


def _describe_file(text: str | bytes | None, places: list[str], activation: Callable[..., Any] | None) -> Description:
    """Return what the JSON text says, and check that it speaks of the cells that there are."""
    if text is None:
        if activation is None:
            msg = "the file does not tell the activation of its cells, which weights cannot; pass activation='tanh', say."
            raise FormatError(msg)
        cells = {place: {"activation": activation} for place in places}
        return Description(cells, Activation("softmax"), False, None, {})
    if activation is not None:
        msg = "the file tells the activation of its cells; leave `activation` out."
        raise FormatError(msg)
    what = "the description of the network"
    held = parse_json(text, what)
    if held.get("format_version") != VERSION:
        msg = f"the file has format version {held.get('format_version')!r}; this version of the package reads {VERSION}."
        raise FormatError(msg)
    _require_keys(what, held, {"format_version", *Description._fields})
    cells = _get(what, held, "cells", dict)
    _require_keys("cells", cells, set(places))
    return Description(
        {place: _cell_options(place, _get("cells", cells, place, dict)) for place in places},
        Activation("softmax") if held["readout"] is None else _activation("readout", held["readout"]),
        _get(what, held, "batch_first", bool),
        _get(what, held, "vocabulary", str, type(None)),
        _notes(_get(what, held, "metadata", dict)),
    )


def _cell_options(place: str, held: dict[str, Any]) -> dict[str, Any]:
    _require_keys(place, held, {"activation", "clip", "leak"})
    number = (int, float, type(None))
    clip, leak = _get(place, held, "clip", *number), _get(place, held, "leak", *number)
    return {"activation": _activation(place, held["activation"]), "clip": clip, "leak": leak}


def _activation(place: str, held: Any) -> Activation:
    if not isinstance(held, dict):
        msg = f"the activation of {place} must be a JSON object; got {held!r}."
        raise FormatError(msg)
    _require_keys(f"the activation of {place}", held, {"name", "alpha", "beta"})
    try:
        return Activation(**held)
    except ArgumentError as error:
        msg = f"the activation of {place} is wrong: {error}"
        raise FormatError(msg) from error


def _notes(held: dict[str, Any]) -> dict[str, str]:
    return {name: _get("metadata", held, name, str) for name in held}


def _require_keys(what: str, held: Mapping[str, Any], wanted: set[str]) -> None:
    if (missing := wanted - held.keys()) or (unknown := held.keys() - wanted):
        problem = f"lacks {sorted(missing)}" if missing else f"has unknown keys {sorted(unknown)}"
        msg = f"{what} {problem}; expected {sorted(wanted)}."
        raise FormatError(msg)


def _get(what: str, held: Mapping[str, Any], key: str, *kinds: type) -> Any:
    value = held[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        msg = f"{key!r} of {what} must be {' or '.join(kind.__name__ for kind in kinds)}; got {value!r}."
        raise FormatError(msg)
    return value
