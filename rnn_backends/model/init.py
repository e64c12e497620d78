"""Random parameters to start from, and the check of sizes, seeds and lengths."""

from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import got, shown
from rnn_backends.core.network import Network
from rnn_backends.core.parameters import require_flag
from rnn_backends.errors import ArgumentError, DeviceMemoryError

LARGEST = 2**31 - 1
"""The largest size, length or number of sequences: the places of an axis that 32 bits count."""
LAYERS = 2**16 - 1
"""The most layers, each of which takes memory beside its parameters."""
LARGEST_NUMBER = 2**256 - 1
"""The largest seed, and the largest count of which no array is made."""


def initial_network(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bidirectional: bool,
    activation: Any,
    bias: bool,
    output_size: int | None,
    seed: int,
) -> Network:
    """Draw a network in float64, layer by layer, forward before backward, weights before biases."""
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
    for name, size in sizes.items() if output_size is None else [*sizes.items(), ("output_size", output_size)]:
        require_integer(name, size, 1, LAYERS if name == "num_layers" else LARGEST)
    require_integer("seed", seed, 0, LARGEST_NUMBER)
    require_flag("bidirectional", bidirectional)
    require_flag("bias", bias)
    generator = np.random.default_rng(seed)

    def of_terms(fan_in: int, *shape: int) -> Host:
        return uniform(generator, 1.0 / np.sqrt(fan_in), *shape)

    def cell(features: int) -> Cell:
        weight_ih, weight_hh = (
            of_terms(features, hidden_size, features),
            of_terms(hidden_size, hidden_size, hidden_size),
        )
        return Cell(weight_ih, weight_hh, of_terms(hidden_size, hidden_size) if bias else None, activation)

    directions = 2 if bidirectional else 1
    features = [input_size] + [directions * hidden_size] * (num_layers - 1)
    layers = tuple(Layer(cell(size), cell(size) if bidirectional else None) for size in features)
    if output_size is None:
        return Network(layers)
    width = directions * hidden_size
    weight = of_terms(width, output_size, width)
    return Network(layers, Linear(weight, of_terms(width, output_size) if bias else None))


def uniform(generator: "np.random.Generator", bound: float, *shape: int) -> Host:
    """Draw parameters uniformly from +-bound, in float64."""
    try:
        return generator.uniform(-bound, bound, shape)
    except (MemoryError, ValueError) as error:  # NumPy's of more bytes than there are addresses
        msg = f"the memory has no room for parameters of shape {shown(shape)}; make the model of smaller sizes."
        raise DeviceMemoryError(msg) from error


def require_integer(name: str, value: object, least: int, most: int = LARGEST) -> None:
    """Check that an argument is an integer, neither too small nor too large."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        msg = f"`{name}` must be an integer of at least {least}; got {got(value)}."
        raise ArgumentError(msg)
    if value > most:
        msg = f"`{name}` must be an integer of at most 2**{most.bit_length()} - 1; got {got(value)}."
        raise ArgumentError(msg)
