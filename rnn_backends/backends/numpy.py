"""NumPy: arrays in host memory, computed on the CPU."""

from collections.abc import Callable
from typing import TypeAlias

import array_api_compat.numpy as xp
import numpy as np

from rnn_backends.activations import Activation
from rnn_backends.arrays import Host
from rnn_backends.backends.record import Backend
from rnn_backends.forward import Cell, valid_steps
from rnn_backends.protocols import RecurrentCell

Change: TypeAlias = Callable[[Host, Host], object]


def make() -> Backend:
    """Return the backend."""
    return Backend(
        name="numpy",
        xp=xp,
        owns=lambda array: isinstance(array, (np.ndarray, np.generic)),
        to_numpy=np.asarray,
        asarray=lambda host, dtype, _: np.asarray(host, dtype=dtype),
        devices=lambda: {"cpu": "cpu"},
        dtypes=lambda: ("float16", "float32", "float64"),
        recurrence=recurrence,
    )


def recurrence(cell: RecurrentCell, projected: Host, h_0: Host, lengths: Host | None, reverse: bool) -> Host | None:
    """Walk a `Cell` through time in place: each state is made where the result has it, without a copy."""
    if type(cell) is not Cell or h_0.dtype != projected.dtype:
        return None
    seq_len, batch = projected.shape[:2]
    states = np.empty((seq_len, *h_0.shape), h_0.dtype)
    held = None if lengths is None else ~valid_steps(lengths, seq_len)
    weight, changes = np.ascontiguousarray(cell.weight_hh.T), _changes(cell)
    h, inputs, outputs = h_0, projected, states
    if batch == 1 and held is None:  # vectors, for which BLAS has a quicker product
        h, inputs, outputs = h_0[0], projected[:, 0], states[:, 0]
    for t in reversed(range(seq_len)) if reverse else range(seq_len):
        z = outputs[t]
        np.dot(h, weight, out=z)
        np.add(z, inputs[t], out=z)
        for change in changes:
            change(z, h)
        if held is not None:
            np.copyto(z, h, where=held[t])
        h = z
    return states


def _changes(cell: Cell) -> list[Change]:
    """Return what is done in place to z = W_aa a<t-1> + W_ax x<t> + b_a, given a<t-1>, to make it a<t>."""
    changes: list[Change] = []
    if (clip := cell.clip) is not None:
        changes.append(lambda z, _: np.clip(z, -clip, clip, out=z))
    if cell.activation == Activation("tanh"):
        changes.append(lambda z, _: np.tanh(z, out=z))
    elif cell.activation == Activation("relu"):
        changes.append(lambda z, _: np.maximum(z, 0.0, out=z))
    else:
        changes.append(lambda z, _: np.copyto(z, cell.activate(z)))
    if (leak := cell.leak) is not None:
        changes.append(lambda z, h: np.add(leak * z, (1.0 - leak) * h, out=z))
    return changes
