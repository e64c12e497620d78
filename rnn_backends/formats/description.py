"""Facts that weights do not record, as a JSON text: activations, clip, leak, batch_first, vocabulary, metadata."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rnn_backends.core.activations import Activation
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Network
from rnn_backends.core.linear import Linear
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.json_text import parse_json, require_keys
from rnn_backends.formats.names import shown_value
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account

VERSION = 1
KEY = "rnn_backends"
"""The name of the description in a file."""


class Description(NamedTuple):
    """Facts about a network that its weights do not record."""

    cells: Mapping[str, Mapping[str, Any]]
    readout: Callable[..., Any] | None
    batch_first: bool
    vocabulary: str | None
    metadata: Mapping[str, str]


def describe(network: Network, cells: Mapping[str, Cell]) -> str:
    """Return the JSON text of a network, whose cells are given by their places: l0, l0_reverse, l1."""
    if network.readout is not None and type(network.readout) is not Linear:
        msg = f"a file can hold a Linear readout only, not a {type(network.readout).__name__}."
        raise FormatError(msg)
    what, held = "the model", vars(network)
    return json.dumps(
        {
            "format_version": VERSION,
            "cells": {place: _describe_cell(cell) for place, cell in cells.items()},
            "readout": None if network.readout is None else _describe_activation(network.readout.activation),
            "batch_first": _get(what, held, "batch_first", bool),
            "vocabulary": _get(what, held, "vocabulary", str, type(None)),
            "metadata": _notes(dict(network.metadata)),
        }
    )


def parse(text: str | bytes, places: list[str], account: Account) -> Description:
    """Return the facts in a JSON text, whose cells must be those at these places."""
    what = "the description of the network"
    held = parse_json(text, what, account)
    version = held.get("format_version")
    if version != VERSION or type(version) is not int:
        msg = f"the file has format version {version!r}; this version of the package reads {VERSION}."
        raise FormatError(msg)
    require_keys(what, held, {"format_version", *Description._fields})
    cells = _get(what, held, "cells", dict)
    require_keys("cells", cells, set(places))
    return Description(
        {place: _cell_options(place, _get("cells", cells, place, dict)) for place in places},
        None if held["readout"] is None else _activation("the readout", held["readout"]),
        _get(what, held, "batch_first", bool),
        _get(what, held, "vocabulary", str, type(None)),
        _notes(_get(what, held, "metadata", dict)),
    )


def undescribed(options: LoadOptions, places: list[str]) -> Description:
    """Return the description of weights without a JSON text: the options of the caller."""
    if options.activation is None:
        msg = "weights alone do not record the activation of the cells; pass the right one, e.g. activation='tanh'."
        raise FormatError(msg)
    cells = {place: {"activation": options.activation} for place in places}
    return Description(cells, options.readout_activation, bool(options.batch_first), vocabulary=None, metadata={})


def _describe_cell(cell: Cell) -> dict[str, Any]:
    return {
        "activation": _describe_activation(cell.activation),
        "clip": None if cell.clip is None else float(cell.clip),
        "leak": None if cell.leak is None else float(cell.leak),
    }


def _describe_activation(activation: Any) -> dict[str, Any]:
    if type(activation) is not Activation:
        name = getattr(activation, "__name__", type(activation).__name__)
        msg = f"a file cannot hold the function {name}; only the activations of the table can be saved."
        raise FormatError(msg)
    return {"name": activation.name, "alpha": activation.alpha, "beta": activation.beta}


def _cell_options(place: str, held: dict[str, Any]) -> dict[str, Any]:
    require_keys(place, held, {"activation", "clip", "leak"})
    number = (int, float, type(None))
    clip, leak = _get(place, held, "clip", *number), _get(place, held, "leak", *number)
    return {"activation": _activation(place, held["activation"]), "clip": clip, "leak": leak}


def _activation(place: str, held: Any) -> Activation:
    if not isinstance(held, dict):
        msg = f"the activation of {place} must be a JSON object; got {shown_value(held)}."
        raise FormatError(msg)
    require_keys(f"the activation of {place}", held, {"name", "alpha", "beta"})
    try:
        return Activation(**held)
    except (ArgumentError, OverflowError) as error:
        msg = f"the activation of {place} is wrong: {error}"
        raise FormatError(msg) from error


def _notes(held: dict[Any, Any]) -> dict[str, str]:
    for name, note in held.items():
        if not (isinstance(name, str) and isinstance(note, str)):
            msg = f"metadata must be text by name; got {shown_value(name)}: {shown_value(note)}."
            raise FormatError(msg)
    return held


def _get(what: str, held: Mapping[str, Any], key: str, *kinds: type) -> Any:
    value = held[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        msg = f"{key!r} of {what} must be {wanted}; got {shown_value(value)}."
        raise FormatError(msg)
    return value
