"""A Linear before the first layer, multiplied into the weights of its cells where that makes no more numbers."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network
from rnn_backends.formats.arrays import embedded
from rnn_backends.formats.source import Account


def folded(network: Network, account: Account) -> Network:
    """Return a network with its encoder folded into the first layer, where that makes no more numbers.

    An embedding, or a Linear without an activation, is folded where the product is no larger than its factors.
    """
    encoder, layer = network.encoder, network.layers[0]
    if len(encoder) != 1 or encoder[0].activation != Activation("identity"):
        return network
    (linear,) = encoder
    cells: list[Any] = [cell for cell, _ in layer.cells]
    hidden_size = sum(cell.hidden_size for cell in cells)
    if hidden_size * linear.input_size > linear.output_size * (linear.input_size + hidden_size):
        return network
    nbytes = hidden_size * (linear.input_size + 1) * cells[0].weight_ih.itemsize
    account.take("the weights that its embedding is folded into", "bytes", nbytes)
    first = Layer(*(cell and _taken_in(linear, cell) for cell in (layer.forward, layer.backward)))  # type: ignore[arg-type]  # they are Cells
    return replace(network, encoder=(), layers=(first, *network.layers[1:]))


def _taken_in(linear: Linear, cell: Cell) -> Cell:
    """Return a cell that takes what a Linear takes; its sums are made in float64 and rounded once."""
    weight_ih = embedded(cell.weight_ih, np.asarray(linear.weight).T)
    if linear.bias is None:
        return replace(cell, weight_ih=weight_ih)
    with np.errstate(all="ignore"):
        bias = np.asarray(cell.weight_ih, np.float64) @ np.asarray(linear.bias, np.float64)
        bias = bias if cell.bias is None else bias + cell.bias
        return replace(cell, weight_ih=weight_ih, bias=bias.astype(cell.weight_ih.dtype))
