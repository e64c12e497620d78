"""What the command `run` reads: arrays of .npy and .npz files, and text."""

import argparse
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.model.vocabulary import encode

Host = NDArray[Any]

ARRAYS = ("x", "h_0", "lengths", "mask", "targets")

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TokenError,
    ValueError,
)
"""What zip and .npy files raise that are cut short, changed, encrypted, too large or something else."""


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
    """Tell whether a file is read as text."""
    return path.suffix not in {".npy", ".npz"}


def read_inputs(path: Path, vocabulary: str | None, lengths: Sequence[int] | None) -> Inputs:
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


def _read_text(path: Path, vocabulary: str | None) -> Inputs:
    """Read text, in which each character is to predict the next one."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        msg = (
            f"{str(path)!r} is not UTF-8 text: {error.reason} at byte {error.start}; "
            "arrays are read from files named .npy or .npz."
        )
        raise FormatError(msg) from error
    ids = encode(text, vocabulary)
    if ids.size < 2:
        msg = f"text must have at least 2 characters, one to predict the other; {str(path)!r} has {ids.size}."
        raise ArgumentError(msg)
    return Inputs(ids[:-1], targets=ids[1:], unit="characters")


def _read_arrays(path: Path) -> dict[str, Host]:
    with path.open("rb") as file:
        try:
            return {"x": _map_npy(path, file)} if path.suffix == ".npy" else _read_npz(file)
        except FormatError as error:
            msg = f"{str(path)!r} {error}"
            raise FormatError(msg) from error
        except DAMAGE as error:
            msg = f"{str(path)!r} cannot be read as a {path.suffix} file of numbers: {error}."
            raise FormatError(msg) from error


def _map_npy(path: Path, file: BinaryIO) -> Host:
    """Map a file into memory, so that of a long input no more is read at once than is used at once."""
    if path.is_file():
        with suppress(*DAMAGE):  # what cannot be mapped is read, or tells what is wrong with it
            return np.asarray(npy.open_memmap(path, mode="r"))
    return _read_npy(file)


def _read_npy(file: BinaryIO) -> Host:
    return npy.read_array(file, allow_pickle=False)


def _read_npz(file: BinaryIO) -> dict[str, Host]:
    with zipfile.ZipFile(file) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if unknown := sorted(members.keys() - set(ARRAYS)):
            msg = f"holds {', '.join(unknown)}, which run does not know; it reads {', '.join(ARRAYS)}."
            raise FormatError(msg)
        if "x" not in members:
            msg = f"must hold the input as x; it holds {', '.join(members) or 'nothing'}."
            raise FormatError(msg)
        return {name: _read_member(archive, member) for name, member in members.items()}


def _read_member(archive: zipfile.ZipFile, member: str) -> Host:
    with archive.open(member) as file:
        return _read_npy(cast(BinaryIO, file))
