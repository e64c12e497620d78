"""Arrays of .npy and .npz files, as the arguments of one call of a model."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.network import Network
from rnn_backends.core.stored import Stored
from rnn_backends.errors import FormatError
from rnn_backends.formats.names import require_initial_states
from rnn_backends.formats.npy import HEAD, Npz, parse_header
from rnn_backends.formats.npy_steps import Steps
from rnn_backends.formats.source import Source
from rnn_backends.model import chunks

NAMES = ("x", "h_0", "lengths", "mask", "targets")

PIECES = 4
"""How many blocks of steps are read at once of an array in which each lies in many pieces."""
NUMBERS = ("|b1", "|i1", "|u1", *(f"{order}{kind}{size}" for kind in "fiu" for size in (2, 4, 8) for order in "<>"))
"""The dtypes of numbers and booleans."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of one call of a model, on the host."""

    x: Host | Stored
    h_0: Host | tuple[Host, ...] | None = None
    lengths: Host | None = None
    mask: Host | None = None
    targets: Host | None = None

    def count_steps(self, shape: tuple[int, ...], axis: int) -> int:
        """Return the number of steps that are taken, of all sequences together; `axis` is that of time."""
        if self.mask is None:
            return prod(shape) if self.lengths is None else int(self.lengths.sum())
        taken = self.mask
        if self.lengths is not None:
            valid = np.arange(shape[axis])[:, None] < self.lengths
            taken = taken & (valid.T if axis else valid)
        return int(taken.sum())


def read_inputs(source: Source, form: str, name: str, network: Network, lengths: Sequence[int] | None) -> Inputs:
    """Read a .npy or .npz file; `lengths` are those of the command line."""
    source.require_content()
    given = None if lengths is None else np.asarray(lengths)
    if form != "npz":
        return Inputs(_npy(source, name), lengths=given)
    arrays, h_0 = _read_npz(source, network)
    if given is not None:
        if "lengths" in arrays:
            msg = f"--lengths is given, and {shown(name)} holds `lengths` too; leave out one of them"
            raise argparse.ArgumentError(None, msg)
        arrays["lengths"] = given
    return Inputs(arrays["x"], h_0, arrays.get("lengths"), arrays.get("mask"), arrays.get("targets"))


def _npy(source: Source, name: str) -> Host | Stored:
    """Return an array, or, of a long one, what reads no more of it at once than is used at once."""
    header = parse_header(source, source.look(0, min(HEAD, source.size)), source.size, name, NUMBERS)
    steps = Steps(source, header, PIECES * chunks.BUDGET)
    is_long = source.size > chunks.BUDGET and len(header.shape) > 0
    return steps if is_long else steps.whole()


def _read_npz(source: Source, network: Network) -> tuple[dict[str, Host], Host | tuple[Host, ...] | None]:
    held = Npz(source, lambda _: NUMBERS)
    cells = [
        f"l{index}{'_reverse' if reverse else ''}"
        for index, layer in enumerate(network.layers)
        for _, reverse in layer.cells
    ]
    states = [f"h_0_{place}" for place in cells]
    if unknown := sorted(held.members.keys() - {*NAMES, *states}):
        msg = f"it holds {listed(unknown)}, which run does not know; it reads {', '.join(NAMES)}."
        raise FormatError(msg)
    if "x" not in held.members:
        msg = f"it must hold the input as x; it holds {listed(held.members)}."
        raise FormatError(msg)
    require_initial_states(set(held.members), cells)
    arrays = {name: held.read(name, as_stored=True) for name in held.members}
    h_0 = tuple(arrays[name] for name in states if name in arrays)
    return arrays, h_0 or arrays.get("h_0")
