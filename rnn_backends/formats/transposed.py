"""Kernels, (from, to), as Flax and Keras have them, and the arrays of a network that are made of them."""

from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.arrays import embedded
from rnn_backends.formats.names import Declared, shown
from rnn_backends.formats.source import Account


class ArraySource(NamedTuple):
    """The source of an array of the network: the paths of a kernel or bias, and of an embedding below it."""

    path: str
    table: str | None = None
    residual: bool = False


def declared_of(sources: Mapping[str, ArraySource], held: Declared) -> Declared:
    """Return the dtypes and shapes of a network's arrays by name, given those of their sources by path."""
    return {name: _declared(name, source, held) for name, source in sources.items()}


def require_foldable(sources: Mapping[str, ArraySource], held: Declared, account: Account) -> None:
    """Account the embeddings that are folded into a kernel, each of which may take far more than in its file."""
    for name, (dtype, shape) in declared_of(sources, held).items():
        table = sources[name].table
        if table is None:
            continue
        width = {"float16": 2, "float32": 4}.get(dtype, 8)
        account.take(f"{shown(table)}, folded into {name},", "bytes", prod(shape) * width)


def made(source: ArraySource, array: Callable[[str], Host]) -> Host:
    """Return an array of the network, given what returns those at its paths."""
    found: Host = array(source.path).T
    if source.table is not None:
        found = embedded(found, array(source.table))
    if source.residual:
        # act(W_i x + b + W_h h + h) is act(W_i x + b + (W_h + 1) h): a Cell, which every backend runs and every file
        # holds.  The sum is rounded once, by no more than a product of the same step is.
        found = found.copy()
        np.fill_diagonal(found, found.diagonal().astype(np.float64) + 1.0)
    return found


def _declared(name: str, source: ArraySource, held: Declared) -> tuple[str, tuple[int, ...]]:
    dtype, shape = held[source.path]
    shape = shape[::-1]
    if source.table is None:
        return dtype, shape
    kind, rows = held[source.table]
    if len(shape) != 2 or len(rows) != 2 or shape[1] != rows[1] or kind != dtype:
        found = f"{shown(source.path)} is {dtype} of shape {shape[::-1]}"
        msg = f"{shown(source.table)}, {kind} of shape {rows}, does not fit {name}: {found}."
        raise FormatError(msg)
    return dtype, (shape[0], rows[0])
