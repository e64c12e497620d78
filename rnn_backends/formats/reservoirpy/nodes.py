"""The nodes of reservoirpy: what each is, and its numbers as those of a cell or a readout."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnn_backends.core.activations import ACTIVATIONS, Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import got, shown
from rnn_backends.core.sparse import is_sparse
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way

KINDS = {
    "reservoirpy.nodes.reservoir.Reservoir": "reservoir",
    "reservoirpy.nodes.ridge.Ridge": "readout",
    "reservoirpy.nodes.io.Input": "plain",
    "reservoirpy.nodes.io.Output": "plain",
}
"""Nodes that have a place in a network, by the whole names of their classes; those that are plain compute nothing."""
_FUNCTIONS = "reservoirpy.activationsfunc"


def kind_of(node: Any) -> str:
    """Return the kind of a node; one of another class is refused by its name, for it may compute anything."""
    owner = type(node)
    name = f"{owner.__module__}.{owner.__qualname__}"
    if name not in KINDS:
        msg = (
            f"the node {shown(name)} has no place in a network here; a Reservoir of reservoirpy 0.4 has, several of "
            "them one on the other, and a Ridge after them."
        )
        raise FormatError(msg)
    return KINDS[name]


def cell_of(node: Any) -> Cell:
    """Return the cell of a Reservoir: (1 - lr) a<t-1> + lr f(W a<t-1> + Win x<t> + bias)."""
    units = int(node.units)
    weight_ih, weight_hh = _given("Win", node), _given("W", node)
    leak = _vector("lr", node, units)
    if not ((leak > 0) & (leak <= 1)).all():
        msg = f"`lr` of {_name(node)} must be in 0 < lr <= 1 for every unit; got {got(node.lr)}."
        raise FormatError(msg)
    bias = _vector("bias", node, units)
    held = weight_hh.astype(np.float64) if is_sparse(weight_hh) else _dense(weight_hh)
    return Cell(
        _dense(weight_ih),
        held,
        np.array(np.broadcast_to(bias, (units,))) if bias.any() else None,
        _activation(node),
        leak=None if (leak == 1).all() else leak if leak.ndim else float(leak),
    )


def readout_of(node: Any) -> Linear:
    """Return the readout of a Ridge: x Wout + bias."""
    weight = _dense(_given("Wout", node))
    bias = _vector("bias", node, weight.shape[1])
    return Linear(weight.T, np.array(np.broadcast_to(bias, weight.shape[1:])) if bias.any() else None, "identity")


def _activation(node: Any) -> Callable[..., Any]:
    """Return the activation of a Reservoir, which must be one of reservoirpy's own, whose numbers are known."""
    function = node.activation
    name = getattr(function, "__name__", "")
    if getattr(function, "__module__", "") != _FUNCTIONS or name not in ACTIVATIONS:
        msg = (
            f"`activation` of {_name(node)} must be a function of reservoirpy.activationsfunc; got "
            f"{shown(name) if name else got(function)}; {way('reservoirpy_function')}."
        )
        raise FormatError(msg)
    return Activation(name)


def _given(name: str, node: Any) -> Any:
    """Return the weights of a node, which has none before it has seen data."""
    value = getattr(node, name)
    if value is None or callable(value):
        key = "reservoirpy_fit" if name in {"Wout", "bias"} else "reservoirpy_run"
        msg = f"{_name(node)} has no numbers in `{name}` yet; {way(key)}."
        raise FormatError(msg)
    return value


def _vector(name: str, node: Any, size: int) -> Host:
    """Return a number, or one for each unit or output."""
    value = _dense(_given(name, node))
    if value.shape not in {(), (size,)}:
        msg = f"`{name}` of {_name(node)} must be a number or of shape ({size},); got shape {shown(value.shape)}."
        raise FormatError(msg)
    return value


def _dense(value: Any) -> Host:
    """Return numbers in float64, in which reservoirpy computes: the states of all nodes begin in it."""
    return np.array(value.toarray() if is_sparse(value) else value, np.float64)


def _name(node: Any) -> str:
    """Return what messages call a node: its own name, or that of its class."""
    return shown(getattr(node, "name", None) or type(node).__name__)
