"""A network over long sequences, a piece of time after the other, in memory that does not grow with them.

Forward cells need no more of the past than their last state: the states of a stretch of time are computed,
then from them the logits in pieces, each dropped before the next is made.  What comes as host data, an
`np.memmap` perhaps, is moved to the device a stretch at a time.  Backward cells need the whole input and
give the states of all steps; only the readout, which for a vocabulary is the larger by far, is in pieces.
"""

import sys
from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rnn_backends.backends.selection import owner_of
from rnn_backends.backends.transfer import ArraySpec, receive, spec_on_device
from rnn_backends.core import checks
from rnn_backends.core.activations import clamp
from rnn_backends.core.arrays import Array, array_namespace, is_integer, where_valid, widen
from rnn_backends.core.forward import propagate
from rnn_backends.core.layers import Linear, named_arrays
from rnn_backends.core.losses import negative_log_likelihood, require_fitting, sums_where
from rnn_backends.core.masking import valid_steps

if TYPE_CHECKING:
    from rnn_backends.model.rnn import RNN

Made = TypeVar("Made")

# Bytes of the logits of a piece, and of the inputs and states of a stretch; what is held at once is a few times
# as much, for each operation makes a new array.  As measured on a CPU with 8000 and 30000 outputs: below 8 MiB
# the weights, read anew for each piece, cost up to four times the rest; from 64 MiB on, the logits have left
# the caches when the next operation wants them.
BUDGET = 16 * 2**20


class Piece(NamedTuple):
    """What came of the steps from `start` to `stop`; all arrays with batch first if the model is."""

    start: int
    stop: int
    array: Array
    """The logits, or the states where there is no readout, (seq_len, batch, size)."""
    valid: Array | None
    """Which steps are valid, (seq_len, batch, 1); None if all are."""
    mask: Array | None
    """Which steps the mask takes, (seq_len, batch); None if all."""
    targets: Array | None


class Pieces:
    """One call of a model: its arguments, checked as soon as it is made, and the pieces that it runs in.

    Attributes
    ----------
    shape : tuple of int
        Of the ids, or of the features without their last axis: (seq_len, batch), (batch, seq_len) or (seq_len,).
    axis : int
        Which of its axes is time.
    seq_len : int
    """

    def __init__(
        self, rnn: "RNN", x: Any, h_0: Any = None, lengths: Any = None, mask: Any = None, targets: Any = None
    ) -> None:
        place, dtype, batch_first = rnn._placement, rnn.dtype, rnn.batch_first
        x, h_0, known = rnn._host("x", x), rnn._host("h_0", h_0), rnn._host("lengths", lengths)
        mask, targets = rnn._host("mask", mask), rnn._host("targets", targets)
        like = spec_on_device("x", x, place, dtype)
        h_0 = None if h_0 is None else receive("h_0", h_0, place, dtype)
        lengths = None if known is None else receive("lengths", known, place, dtype)
        steps_taken = None if mask is None else spec_on_device("mask", mask, place, dtype)
        checks.require_call(rnn.layers, like, h_0, lengths, steps_taken, batch_first)
        checks.require_values(rnn.layers, x, known, mask, batch_first)
        *steps, features = (*like.shape, 1) if is_integer(like) else like.shape
        if rnn.readout is not None and targets is not None:
            classes = rnn.readout.output_size
            require_fitting(ArraySpec((*steps, classes), dtype), spec_on_device("targets", targets, place, dtype))
            checks.require_ids("targets", targets, classes, "target", known, mask, batch_first)
        self._rnn, self._h_0, self._lengths = rnn, h_0, lengths
        self._given = {"x": x, "mask": mask, "targets": targets}
        self.axis = 1 if batch_first and len(steps) == 2 else 0
        self.shape, self.seq_len = tuple(steps), int(steps[self.axis])
        sequences = prod(steps) // max(1, self.seq_len)
        self._size, self._stretch = sizes(rnn, features, sequences)
        if min(self._size, self._stretch) < self.seq_len and self._is_traced():
            # A compiler would unroll the pieces, and plans its memory itself.
            self._size = self._stretch = self.seq_len

    def _is_traced(self) -> bool:
        """Tell whether an array is a tracer, which lies on no device."""
        backend = self._rnn.backend
        given = (*self._given.values(), self._h_0, self._lengths)
        arrays = [array for array in given if array is not None and owner_of(array) is backend]
        parameters = [array for _, array in named_arrays(self._rnn._network)]
        return any(backend.device_of(array) is None for array in (*arrays, *parameters))

    def each(self, use: Callable[[Piece], Made]) -> Iterator[Made]:
        """Yield what a function makes of each piece, in order of time; no step at all is one piece.

        The function runs on the model's device.
        """
        state = self._h_0
        for start, stop in spans(0, self.seq_len, self._stretch):
            states, state = self._run(start, stop, state)
            for first, last in spans(start, stop, self._size):
                yield self._used(use, cut(states, first - start, last - start, 0), first, last)

    def _run(self, start: int, stop: int, state: Array | None) -> tuple[Array, Array]:
        """Return the states of a stretch, time first, and the last one of each cell."""
        rnn = self._rnn
        with rnn._on_device():
            x, mask = self._part("x", start, stop), self._part("mask", start, stop)
            lengths = self._lengths_within(start, stop)
            mask = None if mask is None else rnn._swap(mask, is_ids=True)
            return propagate(rnn.layers, rnn._swap(x, is_integer(x)), state, lengths, rnn._recurrence, mask)

    def _used(self, use: Callable[[Piece], Made], states: Array, start: int, stop: int) -> Made:
        rnn = self._rnn
        with rnn._on_device():
            lengths = self._lengths_within(start, stop)
            valid = None if lengths is None else rnn._swap(valid_steps(lengths, stop - start))
            mask, targets = self._part("mask", start, stop), self._part("targets", start, stop)
            array = states if rnn.readout is None else rnn.readout(states)
            return use(Piece(start, stop, rnn._swap(array), valid, mask, targets))

    def _part(self, name: str, start: int, stop: int) -> Array | None:
        """Return the steps of an argument on the device, with the axes that it was given."""
        whole = self._given[name]
        if whole is None:
            return None
        return receive(name, cut(whole, start, stop, self.axis), self._rnn._placement, self._rnn.dtype)

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

    def joined(self, use: Callable[[Piece], Array]) -> Array:
        """Return what a function makes of the pieces as one array."""
        parts = list(self.each(use))
        if len(parts) == 1:
            return parts[0]
        with self._rnn._on_device():
            return self._rnn.backend.xp.concat(parts, axis=self.axis)


def sizes(rnn: "RNN", features: int, sequences: int) -> tuple[int, int]:
    """Return how many steps make a piece and how many a stretch, which is of whole pieces."""
    itemsize = 8 if rnn.dtype == "float64" else 4  # float16 and bfloat16 are summed in float32
    states = features + sum(getattr(cell, "hidden_size", 0) for layer in rnn.layers for cell, _ in layer.cells)
    outputs = states if rnn.readout is None else rnn.readout.output_size
    size, stretch = (max(1, BUDGET // max(1, width * sequences * itemsize)) for width in (outputs, states))
    if any(layer.backward is not None for layer in rnn.layers):
        return size, sys.maxsize
    size = min(size, stretch)
    return size, stretch // size * size


def spans(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ends of spans of a size, the last one shorter; an empty one for no step."""
    for first in range(start, max(stop, start + 1), size):
        yield first, min(first + size, stop)


def cut(array: Array, start: int, stop: int, axis: int) -> Array:
    """Return the steps of an array on an axis, 0 or 1."""
    if (start, stop) == (0, array.shape[axis]):
        return array
    return array[:, start:stop, ...] if axis else array[start:stop, ...]


def logits(piece: Piece) -> Array:
    """Return the logits, 0 where a step is not valid."""
    return where_valid(piece.array, piece.valid)


def probabilities(readout: Linear, piece: Piece) -> Array:
    """Return g2(logits), 0 where a step is not valid."""
    return where_valid(readout.activate(piece.array), piece.valid)


def largest(piece: Piece) -> Array:
    """Return the ids of the largest logits, -1 where a step is not valid."""
    ids = array_namespace(piece.array).argmax(piece.array, axis=-1)
    return where_valid(ids, None if piece.valid is None else piece.valid[..., 0], -1)


def loss_sums(piece: Piece) -> tuple[Array, Array]:
    """Return the sum of the cross-entropies of the targets at the valid steps, and how many these are."""
    losses = negative_log_likelihood(widen(piece.array), piece.targets)
    valid = None if piece.valid is None else piece.valid[..., 0]
    if piece.mask is not None:
        valid = piece.mask if valid is None else piece.mask & valid
    return sums_where(losses, valid)
