"""A Linear before the first layer, multiplied into the weights of its cells where that makes no more numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Layer
from rnn_backends.core.network import Network
from rnn_backends.formats.account import Account
from rnn_backends.formats.assembly import assemble, join_biases
from rnn_backends.formats.description import Description
from rnn_backends.formats.made import Made, closed, declared_of, in_tiles, of_array
from rnn_backends.formats.names import linear_names, places
from rnn_backends.formats.source import BLOCK

_MOST = 2 * BLOCK
"""The most elements of a matrix that are held in float64 at a time, to be multiplied."""


def assembled(arrays: Mapping[str, Made], description: Description, account: Account) -> Network:
    """Return the network of arrays by its own names, with its encoder folded into the first layer as `folded` does.

    The weight of the encoder is read as it is multiplied, and not held beside the product.
    """
    if len(description.encoder) == 1:
        stand_ins = {name: np.broadcast_to(np.ones((), each.dtype), each.shape) for name, each in arrays.items()}
        checked = assemble(declared_of(arrays), description, stand_ins.__getitem__)
        if _is_folded(checked, account):
            arrays, description = _taken_in(arrays), description._replace(encoder=[])
    return assemble(declared_of(arrays), description, lambda name: arrays[name].make())


def folded(network: Network, account: Account) -> Network:
    """Return a network with its encoder folded into the first layer, where that makes no more numbers.

    An embedding, or a Linear without an activation, is folded where the product is no larger than its factors.
    """
    if not _is_folded(network, account):
        return network
    (linear,), layer = network.encoder, network.layers[0]
    cells: list[Any] = [cell for cell, _ in layer.cells]
    products = _products([cell.weight_ih for cell in cells], of_array(np.asarray(linear.weight)))
    both = iter(
        [
            replace(cell, weight_ih=weight_ih, bias=_shifted(cell.weight_ih, linear.bias, cell.bias))
            for cell, weight_ih in zip(cells, products, strict=True)
        ]
    )
    first = Layer(layer.forward and next(both), layer.backward and next(both))
    return replace(network, encoder=(), layers=(first, *network.layers[1:]))


def _is_folded(network: Network, account: Account) -> bool:
    """Return whether the encoder of a network is folded, and account for the product if it is."""
    encoder, layer = network.encoder, network.layers[0]
    if len(encoder) != 1 or encoder[0].activation != Activation("identity"):
        return False
    (linear,) = encoder
    cells: list[Any] = [cell for cell, _ in layer.cells]
    hidden_size = sum(cell.hidden_size for cell in cells)
    if hidden_size * linear.input_size > linear.output_size * (linear.input_size + hidden_size):
        return False
    nbytes = hidden_size * (linear.input_size + 1) * cells[0].weight_ih.dtype.itemsize
    # A readout may have the same numbers, as tied weights do, and is held beside the product, which is no larger.
    account.size += nbytes
    account.take("the weights that its embedding is folded into", "bytes", nbytes)
    return True


def _taken_in(arrays: Mapping[str, Made]) -> dict[str, Made]:
    """Return the arrays of a network without those of its encoder, which its first layer takes in."""
    declared = declared_of(arrays)
    joined, read = join_biases(declared, places(declared), lambda name: arrays[name].make())
    (name,) = linear_names(declared, "encoder")
    shift = arrays[f"{name}.bias"].make() if f"{name}.bias" in arrays else None
    first = [place for place in ("l0", "l0_reverse") if f"weight_ih_{place}" in arrays]
    weights = [arrays[f"weight_ih_{place}"].passing() for place in first]
    found: dict[str, Made] = {each: array for each, array in arrays.items() if not each.startswith("encoder.")}
    for place, weight in zip(first, weights, strict=True):
        bias = _shifted(weight, shift, read(f"bias_{place}") if f"bias_{place}" in joined else None)
        if bias is not None:
            found = {
                each: array for each, array in found.items() if each not in {f"bias_ih_{place}", f"bias_hh_{place}"}
            }
            found[f"bias_{place}"] = of_array(bias)
    for place, product in zip(first, _products(weights, arrays[f"{name}.weight"]), strict=True):
        found[f"weight_ih_{place}"] = of_array(product)
    return found


def _shifted(weight: Host, shift: Any, bias: Host | None) -> Host | None:
    """Return the bias of a cell that takes what a Linear takes, rounded once, given that of the Linear."""
    if shift is None:
        return bias
    with np.errstate(all="ignore"):
        total = _times(weight, np.asarray(shift, np.float64))
        found: Host = (total if bias is None else total + bias).astype(weight.dtype)
        return found


def _products(weights: Sequence[Host], table: Made) -> list[Host]:
    """Return the products of several matrices and one; their sums are made in float64 and rounded once."""
    found = [np.empty((len(weight), table.shape[1]), weight.dtype, "F") for weight in weights]
    wide = [weight.astype(np.float64) if weight.size <= _MOST else weight for weight in weights]
    with np.errstate(all="ignore"):  # as where they are made at every step
        for columns, part in _columns(table):
            for product, weight in zip(found, wide, strict=True):
                product[:, columns] = _times(weight, part)
    return [closed(product) for product in found]


def _times(weight: Host, right: Host) -> Host:
    """Return the product of a matrix and one in float64, which is small."""
    found = np.zeros((len(weight), *right.shape[1:]))
    for (rows, columns), part in in_tiles(weight, size=_MOST):
        product = part.astype(np.float64, copy=False) @ right[columns]
        found[rows] = found[rows] + product if columns.start else product
    return found


def _columns(table: Made) -> Iterator[tuple[slice, Host]]:
    """Yield the columns of a matrix in float64, some at a time, with their places."""
    height, width = table.shape
    step = max(1, _MOST // max(height, 1))
    if table.place is not None and table.place.outer == 1:
        for begin in range(0, width, step):
            columns = slice(begin, min(begin + step, width))
            yield columns, table.place.read((slice(0, height), columns)).astype(np.float64)
        return
    if table.place is None:
        whole = table.make()
        yield from ((index[1], part.astype(np.float64)) for index, part in in_tiles(whole, 1, _MOST))
        return
    # Of rows that lie one after another all must be read first; columns that are used up give their memory back.
    held: Host = np.empty(table.shape, table.dtype, "F")
    for index, part in table.parts():
        held[index] = part
    for end in range(width, 0, -step):
        columns = slice(max(0, end - step), end)
        yield columns, held[:, columns].astype(np.float64)
        held.resize((height, columns.start), refcheck=False)
