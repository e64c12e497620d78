"""A network over long sequences, one chunk of time after another, in memory that does not grow with them.

Forward cells need no more of the past than their last state: the states of a block of time are computed,
then from them the logits in chunks, each dropped before the next is made.  Host data, an `np.memmap` perhaps,
is moved to the device one block at a time.  Backward cells need the whole input and return the states of all
steps; only the readout, which for a vocabulary is the larger by far, runs in chunks.
"""

import sys
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple, TypeVar

from rnn_backends.backends.selection import owner_of
from rnn_backends.backends.transfer import ArraySpec, receive, spec_on_device
from rnn_backends.core import checks
from rnn_backends.core.activations import clamp
from rnn_backends.core.arrays import Array, array_namespace, is_integer, where_valid, widen
from rnn_backends.core.forward import propagate
from rnn_backends.core.layers import Linear, named_arrays
from rnn_backends.core.losses import negative_log_likelihood, require_fitting, sums_where
from rnn_backends.core.masking import valid_steps
from rnn_backends.model.placed import Placed

Made = TypeVar("Made")

# Bytes of the logits of a chunk, and of the inputs and states of a block; a few times as much is held at once,
# for each operation makes a new array.  As measured on a CPU with 8000 and 30000 outputs: below 8 MiB the
# weights, read anew for each chunk, cost up to four times the rest; from 64 MiB on, the logits have left the
# caches when the next operation wants them.
BUDGET = 16 * 2**20


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


class ChunkedCall:
    """One call of a network: its arguments, checked as soon as it is made, and the chunks that it runs in.

    Attributes
    ----------
    shape : tuple of int
        Of the ids, or of the features without their last axis: (seq_len, batch), (batch, seq_len) or (seq_len,).
    axis : int
        The place of time among these axes.
    seq_len : int
    """

    def __init__(
        self, placed: Placed, x: Any, h_0: Any = None, lengths: Any = None, mask: Any = None, targets: Any = None
    ) -> None:
        network, place, dtype, host = placed.network, placed.placement, placed.dtype, placed.as_host
        layers, batch_first = network.layers, network.batch_first
        x, h_0, known = host("x", x), host("h_0", h_0), host("lengths", lengths)
        mask, targets = host("mask", mask), host("targets", targets)
        like = spec_on_device("x", x, place, dtype)
        h_0 = None if h_0 is None else receive("h_0", h_0, place, dtype)
        lengths = None if known is None else receive("lengths", known, place, dtype)
        steps_taken = None if mask is None else spec_on_device("mask", mask, place, dtype)
        checks.require_call(layers, like, h_0, lengths, steps_taken, batch_first)
        checks.require_values(layers, x, known, mask, batch_first)
        *steps, features = (*like.shape, 1) if is_integer(like) else like.shape
        if network.readout is not None and targets is not None:
            classes = network.readout.output_size
            require_fitting(ArraySpec((*steps, classes), dtype), spec_on_device("targets", targets, place, dtype))
            checks.require_ids("targets", targets, classes, "target", known, mask, batch_first)
        self._placed, self._h_0, self._lengths = placed, h_0, lengths
        self._given = {"x": x, "mask": mask, "targets": targets}
        self.axis = 1 if batch_first and len(steps) == 2 else 0
        self.shape, self.seq_len = tuple(steps), int(steps[self.axis])
        sequences = prod(steps) // max(1, self.seq_len)
        self._chunk, self._block = sizes(placed, features, sequences)
        if min(self._chunk, self._block) < self.seq_len and self._is_traced():
            # A compiler would unroll the chunks, and plans its memory itself.
            self._chunk = self._block = self.seq_len

    def _is_traced(self) -> bool:
        """Return whether an array is a tracer, which is on no device."""
        backend = self._placed.placement.backend
        given = (*self._given.values(), self._h_0, self._lengths)
        arrays = [array for array in given if array is not None and owner_of(array) is backend]
        parameters = [array for _, array in named_arrays(self._placed.network)]
        return any(backend.device_of(array) is None for array in (*arrays, *parameters))

    def each(self, use: Callable[[Chunk], Made]) -> Iterator[Made]:
        """Yield the result of a function for each chunk, in order of time; no step at all is one chunk.

        The function runs on the network's device.
        """
        state = self._h_0
        for start, stop in spans(0, self.seq_len, self._block):
            states, state = self._run(start, stop, state)
            for first, last in spans(start, stop, self._chunk):
                yield self._used(use, cut(states, first - start, last - start, 0), first, last)

    def _run(self, start: int, stop: int, state: Array | None) -> tuple[Array, Array]:
        """Return the states of a block, time first, and the last one of each cell."""
        placed = self._placed
        with placed.on_device():
            x, mask = self._part("x", start, stop), self._part("mask", start, stop)
            x = placed.swap_time_axis(x, is_integer(x))
            mask = None if mask is None else placed.swap_time_axis(mask, is_ids=True)
            lengths = self._lengths_within(start, stop)
            return propagate(placed.network.layers, x, state, lengths, placed.recurrence, mask)

    def _used(self, use: Callable[[Chunk], Made], states: Array, start: int, stop: int) -> Made:
        placed, readout = self._placed, self._placed.network.readout
        with placed.on_device():
            lengths = self._lengths_within(start, stop)
            valid = None if lengths is None else placed.swap_time_axis(valid_steps(lengths, stop - start))
            mask, targets = self._part("mask", start, stop), self._part("targets", start, stop)
            array = states if readout is None else readout(states)
            return use(Chunk(start, stop, placed.swap_time_axis(array), valid, mask, targets))

    def _part(self, name: str, start: int, stop: int) -> Array | None:
        """Return the steps of an argument on the device, with the axes of the argument."""
        whole = self._given[name]
        if whole is None:
            return None
        return receive(name, cut(whole, start, stop, self.axis), self._placed.placement, self._placed.dtype)

    def _lengths_within(self, start: int, stop: int) -> Array | None:
        """Return how many steps of each sequence are valid from `start` to `stop`.

        A length that is impossible, on a device where it is not read, stays so, and its sequence NaN.
        """
        lengths = self._lengths
        if lengths is None or (start, stop) == (0, self.seq_len):
            return lengths
        xp = array_namespace(lengths)
        within = clamp(lengths - start, 0, stop - start)
        within = xp.where(lengths > self.seq_len, xp.full_like(lengths, stop - start + 1), within)
        return xp.where(lengths < 0, xp.full_like(lengths, -1), within)

    def joined(self, use: Callable[[Chunk], Array]) -> Array:
        """Return the results of a function for all chunks as one array."""
        parts = list(self.each(use))
        if len(parts) == 1:
            return parts[0]
        with self._placed.on_device():
            return self._placed.placement.backend.xp.concat(parts, axis=self.axis)


def sizes(placed: Placed, features: int, sequences: int) -> tuple[int, int]:
    """Return the number of steps of a chunk and of a block, which is of whole chunks."""
    itemsize = 8 if placed.dtype == "float64" else 4  # float16 and bfloat16 are summed in float32
    layers, readout = placed.network.layers, placed.network.readout
    states = features + sum(getattr(cell, "hidden_size", 0) for cell in placed.cells)
    outputs = states if readout is None else readout.output_size
    chunk, block = (max(1, BUDGET // max(1, width * sequences * itemsize)) for width in (outputs, states))
    if any(layer.backward is not None for layer in layers):
        return chunk, sys.maxsize
    chunk = min(chunk, block)
    return chunk, block // chunk * chunk


def spans(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ends of spans of a size, the last one shorter; an empty one for no step."""
    for first in range(start, max(stop, start + 1), size):
        yield first, min(first + size, stop)


def cut(array: Array, start: int, stop: int, axis: int) -> Array:
    """Return the steps of an array on an axis, 0 or 1."""
    if (start, stop) == (0, array.shape[axis]):
        return array
    return array[:, start:stop, ...] if axis else array[start:stop, ...]


def logits(chunk: Chunk) -> Array:
    """Return the logits, 0 where a step is not valid."""
    return where_valid(chunk.array, chunk.valid)


def probabilities(readout: Linear, chunk: Chunk) -> Array:
    """Return g2(logits), 0 where a step is not valid."""
    return where_valid(readout.activate(chunk.array), chunk.valid)


def largest(chunk: Chunk) -> Array:
    """Return the ids of the largest logits, -1 where a step is not valid."""
    ids = array_namespace(chunk.array).argmax(chunk.array, axis=-1)
    return where_valid(ids, None if chunk.valid is None else chunk.valid[..., 0], -1)


def loss_sums(chunk: Chunk) -> tuple[Array, Array]:
    """Return the sum of the cross-entropies of the targets at the valid steps, and the number of these."""
    losses = negative_log_likelihood(widen(chunk.array), chunk.targets)
    valid = None if chunk.valid is None else chunk.valid[..., 0]
    if chunk.mask is not None:
        valid = chunk.mask if valid is None else chunk.mask & valid
    return sums_where(losses, valid)
