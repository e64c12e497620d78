"""A network over long sequences, one chunk of time after another, in memory that does not grow with them.

Forward cells need no more of the past than their last state: the states of a block of time are computed,
then from them the logits in chunks, each dropped before the next is made.  Host data, an `np.memmap` perhaps,
is moved to the device one block at a time.  Backward cells need the whole input and return the states of all
steps; only the readout, which for a vocabulary is the larger by far, runs in chunks.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, TypeVar

import numpy as np

from rnn_backends.backends.selection import owner_of
from rnn_backends.backends.transfer import ArraySpec
from rnn_backends.core import checks
from rnn_backends.core.activations import clamp
from rnn_backends.core.arrays import Array, array_namespace, is_integer
from rnn_backends.core.layers import named_arrays
from rnn_backends.core.losses import require_fitting
from rnn_backends.core.masking import valid_steps
from rnn_backends.core.stored import Stored, steps_of
from rnn_backends.model.chunk import Chunk
from rnn_backends.model.placed import Placed
from rnn_backends.model.prepared import Call

Made = TypeVar("Made")

# Bytes of the logits of a chunk, and of the inputs and states of a block; a few times as much is held at once,
# for each operation makes a new array.  As measured on a CPU with 8000 and 30000 outputs: below 8 MiB the
# weights, read anew for each chunk, cost up to four times the rest; from 64 MiB on, the logits have left the
# caches when the next operation wants them.
BUDGET = 16 * 2**20


class ChunkedCall:
    """One call of a network: its arguments, checked as soon as it is made, and the chunks that it runs in.

    Parameters
    ----------
    placed : Placed
    x, h_0, lengths, mask, targets, reads
        As for the methods of a model.
    begun : int, default 0
        The number of steps of the same sequences that came before those of `x`: noise goes on from there.

    Attributes
    ----------
    shape : tuple of int
        Of the ids, or of the features without their last axis: (seq_len, batch), (batch, seq_len) or (seq_len,).
    axis : int
        The place of time among these axes.
    seq_len, sequences : int
    block : int
        The number of steps whose states are held at once, unless a cell walks backward and every step is read.
    h_0 : arrays
        The states before the first step.
    state : arrays
        Those after the last step that was walked, from which a call of the next steps may go on.
    """

    def __init__(
        self,
        placed: Placed,
        x: Any,
        h_0: Any = None,
        lengths: Any = None,
        mask: Any = None,
        targets: Any = None,
        reads: str = "steps",
        begun: int = 0,
    ) -> None:
        network, host = placed.network, placed.as_host
        like_x = x.stand_in() if isinstance(x, Stored) else x
        given = placed.with_texts({"x": like_x, "h_0": h_0, "lengths": lengths, "mask": mask, "targets": targets})
        held = {name: host(name, value) for name, value in given.items()}
        like, steps_kept = placed.spec("x", held["x"]), placed.spec("mask", held["mask"])
        self.h_0, self.lengths = (placed.to_device(name, held[name]) for name in ("h_0", "lengths"))
        self.state = self.h_0
        checks.require_call(network, like, self.h_0, self.lengths, steps_kept)
        held["x"] = x if isinstance(x, Stored) else held["x"]
        checks.require_values(network, held["x"], held["lengths"], held["mask"])
        *steps, features = (*like.shape, 1) if is_integer(like) else like.shape
        self.placed, self.is_batch, self._begun = placed, len(steps) == 2, begun
        self._given = {name: held[name] for name in ("x", "mask", "targets")}
        self.axis = 1 if network.batch_first and self.is_batch else 0
        self.shape, self.seq_len = tuple(steps), int(steps[self.axis])
        self.sequences = prod(steps) // max(1, self.seq_len)
        if network.readout and targets is not None:
            self._require_targets(held, reads)
        is_zeroed = self.lengths is not None or held["mask"] is not None
        self._chunk, self.block = sizes(placed, features, self.sequences, is_zeroed=is_zeroed)
        if min(self._chunk, self.block) < self.seq_len and self._is_traced():
            # A compiler would unroll the chunks, and plans its memory itself.
            self._chunk = self.block = self.seq_len

    def _require_targets(self, held: dict[str, Any], reads: str) -> None:
        """Check the ids of the right classes, one a step, or one a sequence where a readout reads it as a whole."""
        targets, placed = held["targets"], self.placed
        classes = placed.network.readout[-1].output_size
        wanted = self.shape if reads == "steps" else self.shape[1 - self.axis :][:1] if self.is_batch else ()
        require_fitting(ArraySpec((*wanted, classes), placed.dtype), placed.spec("targets", targets), reads)
        if reads == "steps":
            batch_first = placed.network.batch_first
            checks.require_ids("targets", targets, classes, "target", held["lengths"], held["mask"], batch_first)
        else:
            lengths, mask = held["lengths"], held["mask"]
            checks.require_one_each("targets", targets, classes, "target", lengths, mask, self.axis, self.seq_len)

    def _is_traced(self) -> bool:
        """Return whether an array is a tracer, which is on no device."""
        backend = self.placed.placement.backend
        states = self.h_0 if isinstance(self.h_0, tuple) else (self.h_0,)
        given = (*self._given.values(), *states, self.lengths)
        arrays = [array for array in given if array is not None and owner_of(array) is backend]
        parameters = [array for _, array in named_arrays(self.placed.network)]
        return any(backend.device_of(array) is None for array in (*arrays, *parameters))

    def each(self, use: Callable[[Chunk], Made]) -> Iterator[Made]:
        """Yield the result of a function for each chunk, in order of time; no step at all is one chunk.

        The function runs on the network's device.
        """
        for start, stop, states, _ in self._blocks():
            for first, last in spans(start, stop, self._chunk):
                yield self._used(use, steps_of(states, first - start, last - start, 0), first, last)
            del states  # or they would be held while the next ones are made

    def _blocks(self) -> Iterator[tuple[int, int, Array, Any]]:
        """Yield start and stop of each block, its states, time first, and the last ones of all cells."""
        state = self.h_0
        # Backward cells start at the end of a sequence.
        block = max(1, self.seq_len) if self.placed.has_backward else self.block
        for start, stop in spans(0, self.seq_len, block):
            with self.placed.on_device():
                x, lengths, mask = self.arguments(start, stop)
                states, state = self.placed.run(x, state, lengths, mask, self.place_of(start))
            self.state = state
            yield start, stop, states, state
            del x, states

    def place_of(self, step: int) -> int:
        """Return the place of a step of the input in the whole sequences, by which noise is drawn."""
        return self._begun + step

    def run(self) -> tuple[Array, Any]:
        """Return the output of all steps, time first, and the last states of all cells."""
        output: Any = None
        parts: list[Array] = []
        for start, stop, states, last in self._blocks():
            h_n = last
            if stop - start == self.seq_len:
                return states, h_n
            if not isinstance(states, np.ndarray):  # which may not be written to, or is recorded for gradients
                parts.append(states)
                continue
            if output is None:
                output = np.empty((self.seq_len, *states.shape[1:]), states.dtype)
            output[start:stop] = states
        if not parts:
            return output, h_n
        with self.placed.on_device():
            return self.placed.placement.backend.xp.concat(parts), h_n

    def arguments(self, start: int, stop: int) -> tuple[Array, Array | None, Array | None]:
        """Return the input, lengths and mask of some steps on the device, time first."""
        x = self._part("x", start, stop)
        mask = self._part("mask", start, stop)
        mask = None if mask is None else self.placed.swap_time_axis(mask, is_ids=True)
        return self.placed.swap_time_axis(x, is_integer(x)), self._lengths_within(start, stop), mask

    def _used(self, use: Callable[[Chunk], Made], states: Array, start: int, stop: int) -> Made:
        placed, readout = self.placed, self.placed.network.readout
        with placed.on_device():
            lengths = self._lengths_within(start, stop)
            valid = None if lengths is None else placed.swap_time_axis(valid_steps(lengths, stop - start))
            mask, targets = self._part("mask", start, stop), self._part("targets", start, stop)
            array = placed.logits(states) if readout else states
            return use(Chunk(start, stop, placed.swap_time_axis(array), valid, mask, targets))

    def _part(self, name: str, start: int, stop: int) -> Any:
        """Return the steps of an argument on the device, with the axes of the argument."""
        whole = self._given[name]
        return None if whole is None else self.placed.to_device(name, steps_of(whole, start, stop, self.axis))

    def targets(self) -> Any:
        """Return the targets on the device."""
        return self.placed.to_device("targets", self._given["targets"])

    def _lengths_within(self, start: int, stop: int) -> Array | None:
        """Return how many steps of each sequence are valid from `start` to `stop`.

        A length that is impossible, on a device where it is not read, stays so, and its sequence NaN.
        """
        lengths = self.lengths
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
        with self.placed.on_device():
            return self.placed.placement.backend.xp.concat(parts, axis=self.axis)


def sizes(placed: Placed, features: int, sequences: int, *, is_zeroed: bool = False) -> tuple[int, int]:
    """Return the number of steps of a chunk and of a block, which is of whole chunks where no cell walks backward.

    Where steps are left out, what comes to a layer and what it gives are copied with zeros in their places.  Noise is
    as large as the states, and is drawn in float64.
    """
    itemsize = 8 if placed.dtype == "float64" else 4  # float16 and bfloat16 are summed in float32
    inner, outputs = placed.widths
    states = (features + inner) * (1 + is_zeroed + 2 * (placed.network.noise is not None))
    outputs = outputs or states
    chunk, block = (max(1, BUDGET // max(1, width * sequences * itemsize)) for width in (outputs, states))
    if placed.has_backward:  # where every step is read, the states of all are held, and the block is of no use
        return chunk, block
    chunk = min(chunk, block)
    return chunk, block // chunk * chunk


def batch_steps(placed: Placed, features: int) -> int:
    """Return the number of padded steps of a batch of sequences that are run at once, features being those of a step.

    As many as a block holds, or more where the parameters take more: they are read anew for each batch.
    """
    itemsize = 8 if placed.dtype == "float64" else 4
    inner, outputs = placed.widths
    held = max(BUDGET, placed.num_parameters * itemsize)
    return max(1, held // (max(2 * (features + inner), outputs) * itemsize))


def is_in_blocks(placed: Placed, x: Any, lengths: Any, mask: Any) -> bool:
    """Return whether a run of all steps is to be made in blocks, for it would hold much beside input and output.

    So it would where noise is drawn, or on NumPy where the input is converted or copied, or steps are left out, or
    layers stand on each other.
    """
    network, is_zeroed = placed.network, lengths is not None or mask is not None
    if network.noise is not None:
        return True  # the whole in one block where a cell walks backward
    if not placed.is_plain or placed.has_backward or not isinstance(x, np.ndarray) or x.ndim == 0:
        return False
    like = placed.spec("x", x)
    *steps, features = (*x.shape, 1) if is_integer(like) else x.shape
    if not steps or not x.size:
        return False
    is_copied = x.dtype != np.dtype(like.dtype) or not x.flags.aligned
    is_copied = is_copied or (not is_integer(like) and features > 1 and x.strides[-1] != x.itemsize)
    if len(network.layers) == 1 and not (network.encoder or is_zeroed or is_copied):
        return False
    seq_len = steps[1 if network.batch_first and len(steps) == 2 else 0]
    _, block = sizes(placed, features, prod(steps) // max(1, seq_len), is_zeroed=is_zeroed)
    return bool(seq_len > block)


def is_one_chunk(call: Call) -> bool:
    """Return whether all steps of a call are few enough to be run and read out at once."""
    return call.nbytes <= BUDGET or call.steps[0] == 1


def spans(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ends of spans of a size, the last one shorter; an empty one for no step."""
    for first in range(start, max(stop, start + 1), size):
        yield first, min(first + size, stop)
