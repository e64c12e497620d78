"""A network in one line, without its numbers, as models and streams are shown."""

from collections.abc import Mapping
from typing import Any

from rnn_backends.core.network import Network, hidden_sizes
from rnn_backends.core.noise import Noise
from rnn_backends.core.rate import RateCell


def summary(network: Network, place: Mapping[str, Any]) -> str:
    """Return the sizes of a network, and where it is, in one line."""
    sizes = list(dict.fromkeys(hidden_sizes(network.layers)))
    sides = {"+".join(side for side in ("forward", "backward") if getattr(each, side)) for each in network.layers}
    cells = [cell for layer in network.layers for cell, _ in layer.cells]
    words = network.vocabulary
    parts = {
        "input_size": network.input_size,
        "encoder": " -> ".join(str(linear.output_size) for linear in network.encoder) or None,
        "hidden_size": None if None in sizes else ", ".join(map(str, sizes)),
        "num_layers": len(network.layers),
        "directions": ", ".join(sorted(sides)),
        "cells": ", ".join(dict.fromkeys(type(cell).__name__ for cell in cells if isinstance(cell, RateCell))) or None,
        "activation": ", ".join(dict.fromkeys(activation_name(activation_of(cell)) for cell in cells)),
        "reads": network.reads if network.reads != "steps" else None,
        "head": " -> ".join(str(linear.output_size) for linear in network.readout) if network.readout[1:] else None,
        "output_size": network.readout[-1].output_size if network.readout else None,
        "takes": network.takes,
        "vocabulary": words and f"{len(words)} {plural(len(words), 'character' if isinstance(words, str) else 'word')}",
        "noise": noise_text(network.noise),
        "h_0": "given" if network.h_0 is not None else None,
        "batch_first": network.batch_first or None,
        **place,
    }
    return ", ".join(f"{name}={value}" for name, value in parts.items() if value is not None)


def noise_text(noise: Noise | None) -> str | None:
    """Return a noise in a few words."""
    if noise is None:
        return None
    std = f"{min(noise.std):.4g} to {max(noise.std):.4g}" if isinstance(noise.std, tuple) else f"{noise.std:.4g}"
    return f"(std {std}, seed {noise.seed})"


def activation_of(cell: Any) -> Any:
    """Return the activation of a cell, or the cell where it is one of the user's own that has none."""
    activation = getattr(cell, "activation", None)
    return cell if activation is None else activation


def activation_name(activation: Any) -> str:
    """Return the name of an activation, of one of the user's own that of the function or its class."""
    if isinstance(activation, str):
        return activation
    return str(getattr(activation, "name", getattr(activation, "__name__", type(activation).__name__)))


def plural(count: int | None, what: str) -> str:
    """Return the word for so many of a thing, of which None is any number."""
    return what if count == 1 else f"{what}s"
