"""The steps of a sequence to take: `lengths`, beyond which there are none, and masks with holes.

A step that a mask leaves out changes no state of any layer.  So a network is run over the other steps alone,
moved together to the front, with their number as the length, and its states are then spread over all steps.
Every recurrence that knows lengths so knows masks, in both directions, and does not walk what is left out.
"""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

from rnn_backends.core.arrays import Array, array_namespace, cast, device, where_valid
from rnn_backends.core.layers import Layer, outputs_of


def valid_steps(lengths: Array, seq_len: int) -> Array:
    """Return which steps lie within the sequences: (batch,) -> booleans (seq_len, batch, 1)."""
    xp = array_namespace(lengths)
    steps = xp.arange(seq_len, dtype=lengths.dtype, device=device(lengths))
    return steps[:, None, None] < lengths[None, :, None]


def steps_taken(lengths: Array | None, mask: Array | None, seq_len: int) -> Array | None:
    """Return which steps are taken, with the axes of the mask, else (seq_len, batch); None if all are."""
    if lengths is None:
        return mask
    valid = valid_steps(lengths, seq_len)[..., 0]
    return valid if mask is None else valid & mask


def zeroed(x: Array, lengths: Array | None, mask: Array | None) -> Array:
    """Return an input, features or ids, with zeros at the steps that are not taken."""
    valid = steps_taken(lengths, mask, x.shape[0])
    return where_valid(x, valid if valid is None or valid.ndim == x.ndim else valid[..., None])


def zero_padding(x: Array, h_0: Array, lengths: Array | None) -> tuple[Array, Array, Array | None]:
    """Return an input whose padding is zeros, the initial state, and which steps are valid.

    Whatever padding held, NaN or ids of -1, no product and no gradient sees it.
    """
    if lengths is None:
        return x, h_0, None
    valid = valid_steps(lengths, x.shape[0])
    x = where_valid(x, valid if x.ndim == valid.ndim else valid[..., 0])
    return x, nan_if_impossible(h_0, lengths, x.shape[0]), valid


def nan_if_impossible(h_0: Array, lengths: Array, seq_len: int) -> Array:
    """Return initial states that are NaN where a length is impossible: lengths on a device are not read."""
    xp = array_namespace(h_0)
    possible = (lengths >= 0) & (lengths <= seq_len)
    return cast(xp.where(possible[:, None], h_0, xp.full_like(h_0, nan)), h_0.dtype)


class KeptSteps(NamedTuple):
    """The steps that a mask keeps, of sequences of at least one step."""

    order: Array
    """The steps of each sequence, those that are kept first, (seq_len, batch)."""
    counts: Array
    """How many are kept, (batch,); a length that is impossible stays so."""
    before: Array
    """How many are kept before each step, (seq_len, batch)."""
    after: Array
    """How many are kept up to each step, itself included."""
    valid: Array | None
    """Which steps lie within the lengths, (seq_len, batch, 1)."""

    @classmethod
    def of(cls, mask: Array, lengths: Array | None) -> "KeptSteps":
        """Return those of a mask, (seq_len, batch), within lengths, (batch,)."""
        xp, seq_len = array_namespace(mask), mask.shape[0]
        valid = None if lengths is None else valid_steps(lengths, seq_len)
        mask = mask if valid is None else mask & valid[..., 0]
        kept = xp.astype(mask, xp.int32)
        counts = within = xp.sum(kept, axis=0, dtype=xp.int32)
        if lengths is not None:
            counts = xp.where((lengths < 0) | (lengths > seq_len), xp.full_like(counts, seq_len + 1), counts)
        order = xp.argsort(1 - kept, axis=0, stable=True)
        rank = xp.astype(xp.argsort(order, axis=0), xp.int32)
        steps = xp.arange(seq_len, dtype=xp.int32, device=device(mask))[:, None]
        before = xp.where(mask, rank, steps - rank + within)
        return cls(order, counts, before, before + kept, valid)

    def together(self, x: Array) -> Array:
        """Move the steps that are kept to the front: (seq_len, batch, ...) of the same shape."""
        return rows(x, self.order)

    def spread(self, output: Array, layer: Layer, h_0: Sequence[Array]) -> Array:
        """Return the output of all steps, held where a step is left out.

        Parameters
        ----------
        output : array, shape (seq_len, batch, width)
            That of the steps that are kept, together.
        layer : Layer
            The layer that gave it.
        h_0 : sequence of array, shape (batch, hidden_size) each
            The initial states of its cells.
        """
        xp, seq_len, begin, parts = array_namespace(output), output.shape[0], 0, []
        for (cell, reverse), state in zip(layer.cells, h_0, strict=True):
            end, first = begin + state.shape[-1], outputs_of(cell, state)
            part, begin = output[..., begin:end], end
            if reverse:
                at = xp.where(self.before == self.counts, xp.full_like(self.before, seq_len), self.before)
                parts.append(rows(xp.concat([part, first[None, ...]]), at))
            else:
                parts.append(rows(xp.concat([first[None, ...], part]), self.after))
        return where_valid(parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1), self.valid)


def rows(array: Array, steps: Array) -> Array:
    """Return the given steps of each sequence: (N, batch, ...), (seq_len, batch) -> (seq_len, batch, ...)."""
    xp, (count, batch, *rest) = array_namespace(array), array.shape
    columns = xp.arange(batch, device=device(array))
    index = xp.astype(steps, columns.dtype) * batch + columns
    taken = xp.take(xp.reshape(array, (count * batch, *rest)), xp.reshape(index, (steps.shape[0] * batch,)), axis=0)
    return xp.reshape(taken, (*steps.shape, *rest))
