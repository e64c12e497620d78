"""The description that `write` leaves in the properties of a model, checked against its graph."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import fitted, got, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.account import Account
from rnn_backends.formats.assembly import plain_cells
from rnn_backends.formats.description import Description, parse
from rnn_backends.formats.onnx.graph import held_in
from rnn_backends.formats.onnx.node import spoken

_SINGLE = np.dtype(np.float32)


def described(network: Network, text: str, account: Account) -> Network:
    """Return a network with what its writer noted: numbers in full precision, reads, vocabulary, metadata."""
    cells = plain_cells(network, "a graph")
    noted = parse(text, list(cells), account)
    options: dict[str, Any] = {}
    for place, cell in cells.items():
        held = dict(noted.cells[place])
        if (kind := held.pop("kind")) != Cell.__name__:
            msg = f"the description of {place} is of a {kind}, which no graph has."
            raise FormatError(msg)
        activation, clip = spoken(held["activation"], held["clip"])
        same = _same(activation, cell.activation) and held["leak"] is None
        if not same or _rounded(clip) != cell.clip:
            noted_, own = held["activation"], cell.activation
            msg = (
                f"the description of {place} has the activation {_outlined(noted_)}, clip {got(held['clip'])} and leak "
                f"{got(held['leak'])}, where the graph has {_outlined(own)}, clip {got(cell.clip)} and no leak."
            )
            raise FormatError(msg)
        options[place] = held
    _require_noted(network, noted)
    layers_ = tuple(
        Layer(*(
            cells[f"l{k}{side}"] and replace(cells[f"l{k}{side}"], **options[f"l{k}{side}"])
            if f"l{k}{side}" in cells else None
            for side in ("", "_reverse")
        ))
        for k in range(len(network.layers))
    )  # fmt: skip
    try:
        return replace(
            network,
            layers=layers_,
            readout=_noted(network.readout, noted.readout),
            encoder=_noted(network.encoder, noted.encoder),
            reads=noted.reads,
            takes=noted.takes,
            vocabulary=noted.vocabulary if isinstance(noted.vocabulary, str | None) else tuple(noted.vocabulary),
            unknown=noted.unknown,
            metadata=noted.metadata,
        )
    except RNNBackendError as error:
        msg = fitted(f"the description fits no network: {error}")
        raise FormatError(msg) from error


def _noted(linears: Sequence[Linear], activations: Sequence[Any]) -> tuple[Linear, ...]:
    return tuple(replace(linear, activation=g) for linear, g in zip(linears, activations, strict=True))


def _require_noted(network: Network, noted: Description) -> None:
    """Check that a description and a graph agree on all that a graph shows."""
    takes = "tokens" if noted.vocabulary is not None else noted.takes or "features"
    top = network.layers[-1]
    # Of forward cells alone the last step and the final states are one.
    last = "last" if top.backward is None and noted.reads == "final" else noted.reads
    alike = {
        "the encoder": _all_same(noted.encoder, network.encoder),
        "the readout": _all_same(noted.readout, network.readout),
        "reads": not network.readout or last == network.reads,
        "takes": takes == network.takes,
        "noise": noted.noise is None,
        "batch_first": noted.batch_first == network.batch_first,
    }
    if differing := [what for what, same in alike.items() if not same]:
        msg = f"the description of {' and of '.join(differing)} differs from the graph."
        raise FormatError(msg)


def _all_same(noted: Sequence[Any], linears: Sequence[Linear]) -> bool:
    """Return whether a description names the activations of the Linears of a graph."""
    return len(noted) == len(linears) and all(
        _same(activation, linear.activation, held_in(linear)) for activation, linear in zip(noted, linears, strict=True)
    )


def _same(noted: Any, held: Any, dtype: np.dtype[Any] = _SINGLE) -> bool:
    """Return whether a description and a graph, whose numbers are of some dtype, name the same activation."""
    if noted == Activation("identity"):
        return held in {noted, Activation("affine")}
    numbers = [_rounded(number, dtype) for number in (noted.alpha, noted.beta)]
    return noted.name == held.name and numbers == [held.alpha, held.beta]


def _outlined(activation: Any) -> str:
    """Return an activation for a message."""
    numbers = {key: getattr(activation, key) for key in ("alpha", "beta")}
    found = " and ".join(f"{key} {got(number)}" for key, number in numbers.items() if number is not None)
    return f"{shown(activation.name)}{found and f' of {found}'}"


def _rounded(number: float | None, dtype: np.dtype[Any] = _SINGLE) -> float | None:
    """Return a number rounded to a dtype."""
    if number is None:
        return None
    try:
        with np.errstate(over="ignore"):
            return float(dtype.type(number))
    except OverflowError:  # an integer of more digits than any float has
        return np.inf
