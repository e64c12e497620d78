"""The parts of a network in words, as a diagram shows them: no numbers are read but sizes."""

from dataclasses import dataclass
from typing import Any

from rnn_backends.core.affine import AffineCell
from rnn_backends.core.arrays import is_array
from rnn_backends.core.layers import Layer, RecurrentCell
from rnn_backends.core.network import Network
from rnn_backends.core.rate import RateCell
from rnn_backends.model.summary import activation_name, plural
from rnn_backends.plot.letters import visible

READS = {
    "steps": "reads each step",
    "last": "reads the last step",
    "final": "reads the final states",
    "mean": "reads the mean of the steps",
    "max": "reads the maximum of the steps",
}


@dataclass(frozen=True)
class Part:
    """A box of a diagram: input, encoder, cell or readout.

    Parameters
    ----------
    kind : {"input", "encoder", "cell", "readout"}
    title : str
    notes : tuple of str
        Its size and activation, then its options.
    symbol : str
        What it computes, in the notation of the text-books, for steps of time; ``{t}`` stands for the step.
    weight : str
        The weight by which it takes what is before it, with its shape.
    loop : str
        That by which a cell takes its own state.
    reverse : bool
        Whether a cell walks from the last step to the first.
    """

    kind: str
    title: str
    notes: tuple[str, ...]
    symbol: str
    weight: str = ""
    loop: str = ""
    reverse: bool = False


Row = tuple[Part, ...]
"""The parts that stand side by side: the two cells of a layer, or one part."""


def rows_of(network: Network) -> list[Row]:
    """Return the parts of a network from the input to the readout."""
    encoder = tuple((_encoder(network, index),) for index in range(len(network.encoder)))
    is_stored = network.h_0 is not None
    layers = tuple(_layer(index, layer, is_stored) for index, layer in enumerate(network.layers))
    readout = tuple((_readout(network, index),) for index in range(len(network.readout)))
    return [(_input(network),), *encoder, *layers, *readout]


def width_of(layer: Layer) -> int | None:
    """Return the number of features that a layer gives, None where a cell does not state its size."""
    sizes = [getattr(cell, "hidden_size", None) for cell, _ in layer.cells]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _input(network: Network) -> Part:
    size, words = network.input_size, network.vocabulary
    kinds = {"tokens": ("token id",), "features": ("feature",), None: ("feature", "token id")}[network.takes]
    what = " or ".join(plural(size, kind) for kind in kinds)
    note = f"{what}, any number" if size is None else f"{size} {what}"
    if words is not None:
        note = _count(len(words), "character" if isinstance(words, str) else "word")
        if size is not None and size != len(words):
            note = f"{note}, {_count(size, 'token id')}"
    return Part("input", "Input", (note,), r"$x^{{\langle {t} \rangle}}$")


def _encoder(network: Network, index: int) -> Part:
    linear, several = network.encoder[index], len(network.encoder) > 1
    name = "W_{e}" if not several else f"W_{{e,{index}}}"
    if index == 0 and network.takes == "tokens":
        name = "E^{T}"
    return Part(
        "encoder",
        f"Encoder {index}" if several else "Encoder",
        (_size(linear.output_size, linear.activation, "feature"),),
        r"$e^{{\langle {t} \rangle}}$",
        _weight(name, linear.weight),
    )


def _readout(network: Network, index: int) -> Part:
    linear, several = network.readout[index], len(network.readout) > 1
    is_last = index == len(network.readout) - 1
    time = r"^{{\langle {t} \rangle}}" if network.reads == "steps" else ""
    return Part(
        "readout",
        f"Readout {index}" if several else "Readout",
        (_size(linear.output_size, linear.activation, "output" if is_last else "unit"),),
        f"${'y' if is_last else 'z'}{time}$",
        _weight(f"W_{{ya,{index}}}" if several else "W_{ya}", linear.weight),
    )


def _layer(index: int, layer: Layer, is_stored: bool) -> Row:
    both = len(layer.cells) > 1
    return tuple(_cell(f"Layer {index}", cell, reverse, both, is_stored) for cell, reverse in layer.cells)


def _cell(name: str, cell: RecurrentCell, reverse: bool, both: bool, is_stored: bool) -> Part:
    title = f"{name} {'backward' if reverse else 'forward'}" if both or reverse else name
    size = getattr(cell, "hidden_size", None)
    if isinstance(cell, AffineCell):
        notes: tuple[str, ...] = (_size(size, cell.activation, "unit"), *_options(cell))
    else:
        notes = (visible(type(cell).__name__), "units not stated" if size is None else _count(size, "unit"))
    if is_stored:  # where a call gives none
        notes = (*notes, "initial state stored")
    arrow = "" if not both else r"\overleftarrow" if reverse else r"\overrightarrow"
    symbol = f"{arrow}{{{{a}}}}" if arrow else "a"
    space = r"\," if arrow else ""
    return Part(
        "cell",
        title,
        notes,
        rf"${symbol}^{{{{{space}\langle {{t}} \rangle}}}}$",
        _weight("W_{ax}", getattr(cell, "weight_ih", None)),
        _weight("W_{aa}", getattr(cell, "weight_hh", None)) or rf"$a^{{\langle t{'+' if reverse else '-'}1 \rangle}}$",
        reverse,
    )


def _options(cell: AffineCell) -> tuple[str, ...]:
    options, clip, leak = [], getattr(cell, "clip", None), getattr(cell, "leak", None)
    if isinstance(cell, RateCell):
        options.append("rates")
    if clip is not None:
        options.append(f"clip {clip:.4g}")
    if leak is not None:
        options.append("leak of each unit" if is_array(leak) else f"leak {leak:.4g}")
    return (", ".join(options),) if options else ()


def _size(size: int | None, activation: Any, what: str) -> str:
    name = activation_name(activation)
    return _count(size, what) if name == "identity" else f"{_count(size, what)}, {visible(name)}"


def _count(size: int | None, what: str) -> str:
    return f"{size} {plural(size, what)}"


def _weight(name: str, array: Any) -> str:
    """Return the name of a weight with its shape; nothing where there is none."""
    shape = getattr(array, "shape", None)
    return "" if shape is None else f"${name}$ ({', '.join(map(str, shape))})"
