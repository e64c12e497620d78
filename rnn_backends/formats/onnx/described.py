"""The description that `write` leaves in the properties of a model, checked against its graph."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.layers import Layer
from rnn_backends.core.network import Network
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
    return Network(
        layers_,
        [replace(linear, activation=g2) for linear, g2 in zip(network.readout, noted.readout, strict=True)],
        reads=noted.reads,
        takes=noted.takes,
        batch_first=noted.batch_first,
        vocabulary=noted.vocabulary,
        unknown=noted.unknown,
        metadata=noted.metadata,
    )


def _require_noted(network: Network, noted: Description) -> None:
    """Check that a description and a graph agree on the readout and on batch_first."""
    readout = network.readout
    same = len(noted.readout) == len(readout)
    if same:
        same = all(_same(g2, linear.activation) for g2, linear in zip(noted.readout, readout, strict=True))
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
