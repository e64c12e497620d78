"""Inputs of the command `run`: arrays of .npy and .npz files, and text."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.names import listed, require_initial_states
from rnn_backends.formats.npy import HEAD, Npz, parse_header
from rnn_backends.formats.source import Source, opened
from rnn_backends.model.padding import pad
from rnn_backends.model.placed import Placed
from rnn_backends.model.vocabulary import require_vocabulary

Host = NDArray[Any]

ARRAYS = ("x", "h_0", "lengths", "mask", "targets")

NUMBERS = ("|b1", "|i1", "|u1", *(f"{order}{kind}{size}" for kind in "fiu" for size in (2, 4, 8) for order in "<>"))
"""The dtypes of numbers and booleans."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of one call of a model, on the host, and what a step is called."""

    x: Host
    h_0: Host | tuple[Host, ...] | None = None
    lengths: Host | None = None
    mask: Host | None = None
    targets: Host | None = None
    unit: str = "step"

    @property
    def is_next(self) -> bool:
        """Whether each character or word of a text is to predict the next one."""
        return self.unit != "step" and self.targets is not None

    def count_steps(self, shape: tuple[int, ...], axis: int) -> int:
        """Return the number of steps that are taken, of all sequences together; `axis` is that of time."""
        taken = np.ones(shape, bool) if self.mask is None else self.mask
        if self.lengths is not None:
            valid = np.arange(shape[axis])[:, None] < self.lengths
            taken = taken & (valid.T if axis else valid)
        return int(taken.sum())


def is_text(path: Path) -> bool:
    """Return whether a file is read as text."""
    return path.suffix not in {".npy", ".npz"}


def read_inputs(path: Path, placed: Placed, lengths: Sequence[int] | None, reads: str) -> Inputs:
    """Read a file for a network whose readout reads this; `lengths` are those of the command line."""
    if is_text(path):
        return _read_text(path, placed, reads)
    arrays, h_0 = _read_arrays(path, placed.network)
    if lengths is not None:
        if "lengths" in arrays:
            msg = f"--lengths is given, and {str(path)!r} holds `lengths` too; leave out one of them"
            raise argparse.ArgumentError(None, msg)
        arrays["lengths"] = np.asarray(lengths)
    return Inputs(arrays["x"], h_0, arrays.get("lengths"), arrays.get("mask"), arrays.get("targets"))


def _read_text(path: Path, placed: Placed, reads: str) -> Inputs:
    """Read text, in which each item is to predict the next one, or each line is a sequence that is read as a whole."""
    with opened(path) as source:
        data = source.read(0, source.size, "the text")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        msg = (
            f"{str(path)!r} is not UTF-8 text: {error.reason} at byte {error.start}; "
            "arrays are read from files named .npy or .npz."
        )
        raise FormatError(msg) from error
    vocabulary = require_vocabulary(placed.vocabulary)
    if reads != "steps":
        if not (lines := text.splitlines()):
            msg = f"text must have at least one line, each a sequence of its own; {str(path)!r} is empty."
            raise ArgumentError(msg)
        x, lengths = pad([vocabulary.encode(line) for line in lines], placed.network.batch_first)
        return Inputs(x.astype(np.int32), lengths=lengths, unit=vocabulary.unit)
    ids = vocabulary.encode(text)
    if ids.size < 2:
        msg = f"text must have at least 2 {vocabulary.unit}s, one to predict the other; {str(path)!r} has {ids.size}."
        raise ArgumentError(msg)
    return Inputs(ids[:-1], targets=ids[1:], unit=vocabulary.unit)


def _read_arrays(path: Path, network: Network) -> tuple[dict[str, Host], Host | tuple[Host, ...] | None]:
    """Return the arrays of a file by name, and the initial states, which may be one array for each cell."""
    with opened(path) as source:
        if path.suffix == ".npz":
            return _read_npz(source, network)
        return {"x": _map_npy(source, path.name)}, None


def _map_npy(source: Source, name: str) -> Host:
    """Map a file into memory, so that of a long input no more is read at once than is used at once."""
    header = parse_header(source, source.read(0, min(HEAD, source.size)), source.size, name, NUMBERS)
    return header.array(source.mapped(header.start, header.elements, header.dtype))


def _read_npz(source: Source, network: Network) -> tuple[dict[str, Host], Host | tuple[Host, ...] | None]:
    held = Npz(source, lambda _: NUMBERS)
    cells = [
        f"l{index}{'_reverse' if reverse else ''}"
        for index, layer in enumerate(network.layers)
        for _, reverse in layer.cells
    ]
    states = [f"h_0_{place}" for place in cells]
    if unknown := sorted(held.members.keys() - {*ARRAYS, *states}):
        msg = f"it holds {listed(unknown)}, which run does not know; it reads {', '.join(ARRAYS)}."
        raise FormatError(msg)
    if "x" not in held.members:
        msg = f"it must hold the input as x; it holds {listed(held.members)}."
        raise FormatError(msg)
    require_initial_states(set(held.members), cells)
    arrays = {name: held.read(name) for name in held.members}
    h_0 = tuple(arrays[name] for name in states if name in arrays)
    return arrays, h_0 or arrays.get("h_0")
