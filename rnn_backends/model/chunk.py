"""`Chunk`: the results of some steps, and what is made of them: logits, probabilities, predictions, losses."""

from typing import NamedTuple

from rnn_backends.core.arrays import Array, where_valid
from rnn_backends.core.linear import Linear
from rnn_backends.core.losses import index_of_largest, negative_log_likelihood, sums_where


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


def largest(chunk: Chunk) -> Array:
    """Return the ids of the largest logits, -1 where a step is not valid."""
    return where_valid(index_of_largest(chunk.array), _valid(chunk), -1)


def loss_sums(chunk: Chunk, best: Array | None = None) -> tuple[Array, Array]:
    """Return the sum of the cross-entropies of the targets at the valid steps, and the number of these.

    `best` are the ids of the largest logits, where they are known.
    """
    return sums_where(negative_log_likelihood(chunk.array, chunk.targets, best), counted(chunk))


def counted(chunk: Chunk) -> Array | None:
    """Return whether each step counts, being valid and not left out by the mask; None if all do."""
    valid = _valid(chunk)
    if chunk.mask is None:
        return valid
    return chunk.mask if valid is None else chunk.mask & valid


def _valid(chunk: Chunk) -> Array | None:
    return None if chunk.valid is None else chunk.valid[..., 0]
