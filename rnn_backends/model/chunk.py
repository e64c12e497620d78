"""`Chunk`: the results of some steps, and what is made of them: logits, probabilities, predictions, losses."""

from typing import NamedTuple

import numpy as np

from rnn_backends.core.arrays import Array, array_namespace, where_valid, widen
from rnn_backends.core.linear import Linear
from rnn_backends.core.losses import negative_log_likelihood, sums_where


class Chunk(NamedTuple):
    """The results of the steps from `start` to `stop`; all arrays with batch first if the network is."""

    start: int
    stop: int
    array: Array
    """The logits, or the states where there is no readout, (seq_len, batch, size)."""
    valid: Array | None
    """Whether each step is valid, (seq_len, batch, 1); None if all are."""
    mask: Array | None
    """Whether the mask takes each step, (seq_len, batch); None if it takes all."""
    targets: Array | None


def logits(chunk: Chunk) -> Array:
    """Return the logits, 0 where a step is not valid."""
    return where_valid(chunk.array, chunk.valid)


def probabilities(readout: Linear, chunk: Chunk) -> Array:
    """Return g2(logits), 0 where a step is not valid."""
    return where_valid(readout.activate(chunk.array), chunk.valid)


def index_of_largest(array: Array) -> Array:
    """Return the ids of the largest logits."""
    if type(array) is np.ndarray:
        return array.argmax(axis=-1)  # the function of NumPy takes five times as long for a few
    return array_namespace(array).argmax(array, axis=-1)


def largest(chunk: Chunk) -> Array:
    """Return the ids of the largest logits, -1 where a step is not valid."""
    ids = index_of_largest(chunk.array)
    return where_valid(ids, None if chunk.valid is None else chunk.valid[..., 0], -1)


def loss_sums(chunk: Chunk) -> tuple[Array, Array]:
    """Return the sum of the cross-entropies of the targets at the valid steps, and the number of these."""
    losses = negative_log_likelihood(widen(chunk.array), chunk.targets)
    valid = None if chunk.valid is None else chunk.valid[..., 0]
    if chunk.mask is not None:
        valid = chunk.mask if valid is None else chunk.mask & valid
    return sums_where(losses, valid)
