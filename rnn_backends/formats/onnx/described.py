"""The description that `write` leaves in the properties of a model, checked against its graph."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.layers import Layer, Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.assembly import plain_cells
from rnn_backends.formats.description import Description, parse
from rnn_backends.formats.source import Account


def described(network: Network, text: str, account: Account) -> Network:
    """Return a network with what its writer noted: numbers in full precision, vocabulary, metadata."""
    cells = plain_cells(network)
    noted = parse(text, list(cells), account)
    for place, cell in cells.items():
        held = noted.cells[place]
        same = _same(held["activation"], cell.activation) and held["leak"] is None
        if not same or _single(held["clip"]) != cell.clip:
            msg = f"the description of {place} is {held}, where the graph has {cell}."
            raise FormatError(msg)
    _require_noted(network, noted)
    layers_ = tuple(
        Layer(*(
            cells[f"l{k}{side}"] and replace(cells[f"l{k}{side}"], **noted.cells[f"l{k}{side}"])
            if f"l{k}{side}" in cells else None
            for side in ("", "_reverse")
        ))
        for k in range(len(network.layers))
    )  # fmt: skip
    readout = network.readout and replace(network.readout, activation=noted.readout)  # type: ignore[arg-type]
    return Network(layers_, readout, noted.batch_first, noted.vocabulary, noted.metadata)


def _require_noted(network: Network, noted: Description) -> None:
    """Check that a description and a graph agree on the readout and on batch_first."""
    readout = network.readout
    same = (noted.readout is None) == (readout is None)
    if readout is not None and noted.readout is not None:
        same = _same(noted.readout, readout.activation)
    if not same or noted.batch_first != network.batch_first:
        msg = "the description of the readout or of batch_first differs from the graph."
        raise FormatError(msg)


def _same(noted: Any, held: Any) -> bool:
    """Return whether a description and a graph, whose numbers are float32, name the same activation."""
    if noted == Activation("identity"):
        return held in {noted, Activation("affine")}
    return bool(Activation(noted.name, _single(noted.alpha), _single(noted.beta)) == held)


def _single(number: float | None) -> float | None:
    """Return a number rounded to float32."""
    with np.errstate(over="ignore"):
        return None if number is None else float(np.float32(number))
