"""Inputs of the command `run`: arrays of .npy and .npz files, and text."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.names import listed
from rnn_backends.formats.npy import HEAD, Npz, parse_header
from rnn_backends.formats.source import Source, opened
from rnn_backends.model.vocabulary import Vocabulary, require_vocabulary

Host = NDArray[Any]

ARRAYS = ("x", "h_0", "lengths", "mask", "targets")

NUMBERS = ("|b1", "|i1", "|u1", *(f"{order}{kind}{size}" for kind in "fiu" for size in (2, 4, 8) for order in "<>"))
"""The dtypes of numbers and booleans."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of one call of a model, on the host, and what its steps are called."""

    x: Host
    h_0: Host | None = None
    lengths: Host | None = None
    mask: Host | None = None
    targets: Host | None = None
    unit: str = "steps"

    @property
    def is_batch(self) -> bool:
        """Whether there is a batch axis."""
        return self.x.ndim + (self.x.dtype.kind in "iu") == 3

    def seq_len(self, *, batch_first: bool) -> int:
        """Return the number of steps."""
        return int(self.x.shape[1 if batch_first and self.is_batch else 0])

    def count_steps(self, *, batch_first: bool) -> int:
        """Return the number of steps that are taken, of all sequences together."""
        batch_first = batch_first and self.is_batch
        taken = np.ones(self.x.shape[: 1 + self.is_batch], bool) if self.mask is None else self.mask
        if self.lengths is not None:
            valid = np.arange(self.seq_len(batch_first=batch_first))[:, None] < self.lengths
            taken = taken & (valid.T if batch_first else valid)
        return int(taken.sum())


def is_text(path: Path) -> bool:
    """Return whether a file is read as text."""
    return path.suffix not in {".npy", ".npz"}


def read_inputs(path: Path, vocabulary: Vocabulary | None, lengths: Sequence[int] | None) -> Inputs:
    """Read a file; `lengths` are those of the command line."""
    if is_text(path):
        return _read_text(path, vocabulary)
    arrays = _read_arrays(path)
    if lengths is not None:
        if "lengths" in arrays:
            msg = f"--lengths is given, and {str(path)!r} holds `lengths` too; leave out one of them"
            raise argparse.ArgumentError(None, msg)
        arrays["lengths"] = np.asarray(lengths)
    return Inputs(arrays["x"], arrays.get("h_0"), arrays.get("lengths"), arrays.get("mask"), arrays.get("targets"))


def _read_text(path: Path, vocabulary: Vocabulary | None) -> Inputs:
    """Read text, in which each character is to predict the next one."""
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
    ids = require_vocabulary(vocabulary).encode(text)
    if ids.size < 2:
        msg = f"text must have at least 2 characters, one to predict the other; {str(path)!r} has {ids.size}."
        raise ArgumentError(msg)
    return Inputs(ids[:-1], targets=ids[1:], unit="characters")


def _read_arrays(path: Path) -> dict[str, Host]:
    with opened(path) as source:
        return _read_npz(source) if path.suffix == ".npz" else {"x": _map_npy(source, path.name)}


def _map_npy(source: Source, name: str) -> Host:
    """Map a file into memory, so that of a long input no more is read at once than is used at once."""
    header = parse_header(source, source.read(0, min(HEAD, source.size)), source.size, name, NUMBERS)
    return header.array(source.mapped(header.start, header.elements, header.dtype))


def _read_npz(source: Source) -> dict[str, Host]:
    held = Npz(source, lambda _: NUMBERS)
    if unknown := sorted(held.members.keys() - set(ARRAYS)):
        msg = f"it holds {listed(unknown)}, which run does not know; it reads {', '.join(ARRAYS)}."
        raise FormatError(msg)
    if "x" not in held.members:
        msg = f"it must hold the input as x; it holds {listed(held.members)}."
        raise FormatError(msg)
    return {name: held.read(name) for name in held.members}
