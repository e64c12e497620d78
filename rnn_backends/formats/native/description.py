"""What weights cannot tell, as a JSON text: activations, clip, leak, batch_first, vocabulary, metadata."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

from rnn_backends.core.activations import Activation, as_activation
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Network
from rnn_backends.core.linear import Linear
from rnn_backends.errors import ArgumentError, FormatError

VERSION = 1


class Description(NamedTuple):
    """What weights cannot tell."""

    cells: Mapping[str, Mapping[str, Any]]
    readout: Callable[..., Any] | None
    batch_first: bool
    vocabulary: str | None
    metadata: Mapping[str, str]


class LoadOptions(NamedTuple):
    """What the caller tells of weights that do not tell it themselves; None where nothing is told."""

    activation: Callable[..., Any] | None = None
    batch_first: bool | None = None
    readout_activation: Callable[..., Any] | None = None

    @classmethod
    def of(cls, activation: Any, batch_first: Any, readout_activation: Any) -> Self:
        """Return the options of a call, checked."""
        if not isinstance(batch_first, bool | None):
            msg = f"`batch_first` must be True or False; got {batch_first!r}."
            raise ArgumentError(msg)
        g1 = None if activation is None else as_activation(activation)
        try:
            g2 = None if readout_activation is None else as_activation(readout_activation)
        except ArgumentError as error:
            msg = f"`readout_activation` is none: {error}"
            raise ArgumentError(msg) from error
        return cls(g1, batch_first, g2)

    def left_out(self, source: str, facts: Mapping[str, Any]) -> Self:
        """Return what is told together with the facts that a source tells, which the caller must leave out."""
        for name, fact in facts.items():
            if fact is not None and getattr(self, name) is not None:
                msg = f"{source} tells {_TELLS[name]}; leave `{name}` out."
                raise FormatError(msg)
        return self._replace(**{name: fact for name, fact in facts.items() if fact is not None})


_TELLS = {
    "activation": "the activation of its cells",
    "batch_first": "which axis is the batch",
    "readout_activation": "the activation of its readout",
}


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


def parse(text: str | bytes, places: list[str]) -> Description:
    """Return what a JSON text says, and check that it speaks of the cells that there are."""
    what = "the description of the network"
    held = parse_json(text, what)
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


def undescribed(told: LoadOptions, places: list[str]) -> Description:
    """Return what holds of weights without a JSON text: what the caller tells."""
    if told.activation is None:
        msg = "weights alone do not tell the activation of the cells; pass the right one, e.g. activation='tanh'."
        raise FormatError(msg)
    cells = {place: {"activation": told.activation} for place in places}
    return Description(cells, told.readout_activation, bool(told.batch_first), vocabulary=None, metadata={})


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


def require_keys(what: str, held: Mapping[str, Any], wanted: set[str]) -> None:
    """Check that a JSON object has the keys that it must have, and no other."""
    if (missing := wanted - held.keys()) or (unknown := held.keys() - wanted):
        problem = f"lacks {sorted(missing)}" if missing else f"has unknown keys {sorted(unknown)}"
        msg = f"{what} {problem}; expected {sorted(wanted)}."
        raise FormatError(msg)


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
        msg = f"the activation of {place} must be a JSON object; got {held!r}."
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
            msg = f"metadata must be text by name; got {name!r}: {note!r}."
            raise FormatError(msg)
    return held


def _get(what: str, held: Mapping[str, Any], key: str, *kinds: type) -> Any:
    value = held[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        msg = f"{key!r} of {what} must be {wanted}; got {value!r}."
        raise FormatError(msg)
    return value
