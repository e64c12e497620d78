"""Facts that weights do not record, as a JSON text: kinds of cells, activations, noise, reads, vocabulary and so on."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rnn_backends.core.activations import Activation
from rnn_backends.core.affine import AffineCell
from rnn_backends.core.cell import Cell
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.core.network import READS, TAKES, Network
from rnn_backends.core.noise import Noise
from rnn_backends.core.rate import RateCell
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.json_text import parse_json, require_keys
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.values import KINDS

VERSION = 3
"""The version of what is written, and the newest that is read.

Version 1 had no encoder, one Linear as readout, and no word on reads and takes; version 2 had no kinds of cells, no
noise and no sparse matrices.
"""
KEY = "rnn_backends"
"""The name of the description in a file."""
_WHAT = "the description of the network"


class Description(NamedTuple):
    """Facts about a network that its weights do not record."""

    cells: Mapping[str, Mapping[str, Any]]
    readout: Sequence[Callable[..., Any]]
    batch_first: bool
    vocabulary: str | Sequence[str] | None
    metadata: Mapping[str, str]
    encoder: Sequence[Callable[..., Any]] = ()
    reads: str = "steps"
    takes: str | None = None
    unknown: str | None = None
    noise: Noise | None = None


def describe(network: Network, cells: Mapping[str, AffineCell]) -> str:
    """Return the JSON text of a network, whose cells are given by their places: l0, l0_reverse, l1."""
    for linear in (*network.encoder, *network.readout):
        if type(linear) is not Linear:
            msg = f"a file can hold Linear readouts and encoders only, not a {type(linear).__name__}."
            raise FormatError(msg)
    what, held = "the model", vars(network)
    found = {
        "format_version": VERSION,
        "cells": {place: _describe_cell(cell) for place, cell in cells.items()},
        "encoder": [_describe_activation(linear.activation) for linear in network.encoder],
        "readout": [_describe_activation(linear.activation) for linear in network.readout],
        "reads": network.reads,
        "takes": network.takes,
        "noise": None if network.noise is None else {"std": network.noise.std, "seed": network.noise.seed},
        "batch_first": _get(what, held, "batch_first", bool),
        "vocabulary": network.vocabulary,
        "unknown": network.unknown,
        "metadata": _notes(dict(network.metadata)),
    }
    try:
        text = json.dumps(found, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which UTF-8 has not
        return json.dumps(found)
    return text


def parse(text: str | bytes, places: list[str], account: Account) -> Description:
    """Return the facts in a JSON text, whose cells must be those at these places."""
    return described(parsed(text, account), places, account)


def parsed(text: str | bytes, account: Account) -> dict[str, Any]:
    """Return what a JSON text of a known version holds."""
    held = parse_json(text, _WHAT, account)
    version = held.get("format_version")
    if type(version) is not int or not 1 <= version <= VERSION:
        hint = " A newer one has written it." if type(version) is int and version > VERSION else ""
        msg = f"the file has format version {got(version)}; this version of the package reads 1 to {VERSION}.{hint}"
        raise FormatError(msg)
    return held


def described(held: dict[str, Any], places: list[str], account: Account) -> Description:
    """Return the facts that a JSON text holds, whose cells must be those at these places."""
    what, version = _WHAT, held["format_version"]
    if version == 1:
        require_keys(what, held, {"format_version", "cells", "readout", "batch_first", "vocabulary", "metadata"})
        readout = [] if held["readout"] is None else [held["readout"]]
        held = {**held, "readout": readout, "encoder": [], "reads": "steps", "takes": None, "unknown": None}
    if version < 3:
        require_keys(what, held, {"format_version", *Description._fields} - {"noise"})
        held = {**held, "noise": None}
    require_keys(what, held, {"format_version", *Description._fields})
    cells = _get(what, held, "cells", dict)
    require_keys("cells", cells, set(places))
    reads, takes = _get(what, held, "reads", str), _get(what, held, "takes", str, type(None))
    for name, value, choices in (("reads", reads, READS), ("takes", takes, (*TAKES, None))):
        if value not in choices:
            msg = f"{shown(name)} of {what} must be one of {listed(choices)}; got {got(value)}."
            raise FormatError(msg)
    return Description(
        {place: _cell_options(place, _get("cells", cells, place, dict), version) for place in places},
        _activations(what, held, "readout"),
        _get(what, held, "batch_first", bool),
        _vocabulary(_get(what, held, "vocabulary", str, list, type(None)), account),
        _notes(_get(what, held, "metadata", dict)),
        _activations(what, held, "encoder"),
        reads,
        takes,
        _get(what, held, "unknown", str, type(None)),
        _noise(_get(what, held, "noise", dict, type(None))),
    )


def _activations(what: str, held: dict[str, Any], name: str) -> list[Activation]:
    """Return the activations of several Linear in a row."""
    count = "the " + name if len(_get(what, held, name, list)) == 1 else name
    return [_activation(count, each) for each in held[name]]


def _noise(held: dict[str, Any] | None) -> Noise | None:
    if held is None:
        return None
    require_keys("the noise", held, {"std", "seed"})
    try:
        return Noise(_get("the noise", held, "std", int, float, list), _get("the noise", held, "seed", int))
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"the noise is wrong: {error}"
        raise FormatError(msg) from error


def _vocabulary(held: Any, account: Account) -> Any:
    if isinstance(held, str):  # the items of a list are counted before they are parsed
        account.take("the vocabulary", "items", len(held))
    if isinstance(held, list) and not all(isinstance(item, str) for item in held):
        msg = "the vocabulary must be a text or a list of texts."
        raise FormatError(msg)
    return held


def undescribed(options: LoadOptions, places: list[str]) -> Description:
    """Return the description of weights without a JSON text, but for their encoder and readout: the options given."""
    if options.activation is None:
        msg = f"weights alone do not record the activation of the cells; {way('activation')}."
        raise FormatError(msg)
    kind = options.cell or Cell.__name__
    if kind == RateCell.__name__ and options.leak is None:
        msg = f"weights alone do not record the leak of a RateCell, dt / tau; {way('leak')}."
        raise FormatError(msg)
    cell = {"kind": kind, "activation": options.activation, "leak": options.leak}
    cells = dict.fromkeys(places, cell)
    reads, takes = options.reads or "steps", options.takes or "features"
    return Description(cells, (), bool(options.batch_first), None, {}, reads=reads, takes=takes)


def _describe_cell(cell: AffineCell) -> dict[str, Any]:
    held = vars(cell)
    return {
        "kind": type(cell).__name__,
        "activation": _describe_activation(cell.activation),
        "clip": None if held.get("clip") is None else float(held["clip"]),
        "leak": held["leak"] if isinstance(held["leak"], float) else None,  # one a unit is an array beside the weights
    }


def _describe_activation(activation: Any) -> dict[str, Any]:
    if type(activation) is not Activation:
        name = getattr(activation, "__name__", type(activation).__name__)
        msg = f"a file cannot hold the function {shown(name)}; only the activations of the table can be saved."
        raise FormatError(msg)
    return {"name": activation.name, "alpha": activation.alpha, "beta": activation.beta}


def _cell_options(place: str, held: dict[str, Any], version: int) -> dict[str, Any]:
    require_keys(place, held, {"activation", "clip", "leak", *(["kind"] if version >= 3 else [])})
    held = {"kind": Cell.__name__, **held}
    number = (int, float, type(None))
    clip, leak = _get(place, held, "clip", *number), _get(place, held, "leak", *number)
    if (kind := _get(place, held, "kind", str)) not in KINDS:
        msg = f"'kind' of {place} must be one of {listed(KINDS)}; got {got(kind)}."
        raise FormatError(msg)
    return {"kind": kind, "activation": _activation(place, held["activation"]), "clip": clip, "leak": leak}


def _activation(place: str, held: Any) -> Activation:
    if not isinstance(held, dict):
        msg = f"the activation of {place} must be a JSON object; got {got(held)}."
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
            msg = f"metadata must be text by name; got {got(name)}: {got(note)}."
            raise FormatError(msg)
    return held


def _get(what: str, held: Mapping[str, Any], key: str, *kinds: type) -> Any:
    value = held[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        msg = f"{shown(key)} of {what} must be {wanted}; got {got(value)}."
        raise FormatError(msg)
    return value
