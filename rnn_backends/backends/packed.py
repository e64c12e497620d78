"""Sequences of different lengths without their padding, as rows of one matrix: NumPy's way to skip steps."""

from typing import NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host


class Packed(NamedTuple):
    """The places of the valid steps of a batch: step by step, and within a step the longest sequence first."""

    at: Host
    """The row of each valid step in an array of shape (seq_len * batch, ...)."""
    starts: list[int]
    """The first row of each step up to the longest length, and the end of the last step."""
    order: Host
    """The sequences, from the longest to the shortest."""
    ranks: Host
    """The rank of the sequence that each last valid step is of: 0, 1, 2, ..., of all that have a step."""
    ends: Host
    """The packed row of the last valid step, by rank."""

    @classmethod
    def of(cls, lengths: Host) -> "Packed":
        """Return the places for lengths, (batch,)."""
        order = np.argsort(-lengths, kind="stable")
        longest = int(lengths.max(initial=0))
        steps = np.arange(longest)[:, None]
        valid = steps < lengths[order]
        starts = np.concatenate([[0], np.cumsum(valid.sum(axis=1))])
        ranks = np.flatnonzero(lengths[order])
        ends = starts[lengths[order[ranks]] - 1] + ranks
        return cls((steps * len(order) + order)[valid], starts.tolist(), order, ranks, ends)

    def rows(self, x: Host) -> Host:
        """Return the valid steps alone: (seq_len, batch, ...) -> (N, ...)."""
        return x.reshape(-1, *x.shape[2:]).take(self.at, axis=0)

    def padded(self, rows: Host, seq_len: int) -> Host:
        """Return rows at their places, among zeros: (N, size) -> (seq_len, batch, size)."""
        states = np.zeros((seq_len * len(self.order), rows.shape[-1]), rows.dtype)
        states[self.at] = rows
        return states.reshape(seq_len, len(self.order), rows.shape[-1])

    def last(self, rows: Host, h_0: Host, reverse: bool) -> Host:
        """Return the state after the last step that was taken of each sequence, (batch, size)."""
        last = h_0.copy()
        last[self.order[self.ranks]] = rows[self.ranks if reverse else self.ends]
        return last
