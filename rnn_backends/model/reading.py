"""What the readout of a network reads of each sequence as a whole, in memory that does not grow with the sequences.

Forward cells are run block by block, as in `rnn_backends.model.chunks`, and of a block no more is kept than what is
read of it.  The last layer of a network with backward cells is run one direction after the other, backward cells
from the last block to the first; the layers below it, of which it needs every step in both directions, are held.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rnn_backends.core.arrays import Array, array_namespace, device, widen
from rnn_backends.core.forward import encoded, propagate, started
from rnn_backends.core.layers import Layer
from rnn_backends.core.linear import logits_of
from rnn_backends.core.losses import negative_log_likelihood, sums_where
from rnn_backends.core.masking import steps_taken
from rnn_backends.core.reading import Reading, add_states, joined
from rnn_backends.core.recurrence import last_states
from rnn_backends.model.chunks import ChunkedCall, spans

After = Callable[[int, Array], None]
"""A function that is called after each block, with the number of steps that are done and the state that they leave."""


class Summary(NamedTuple):
    """What is read of the sequences of a call."""

    read: Array
    """The states that are read, or what is made of them, (batch, width) or (width,)."""
    has_step: Array | None
    """Whether each sequence has a step, (batch,) or (); None if all have."""


def summarize(call: ChunkedCall, reads: str, after: After | None = None) -> Summary:
    """Return what is read of each sequence of a call, on its device, which must be the current one."""
    walk = _Walk(call, reads, after or (lambda *_: None))
    last = walk.each_direction() if call.placed.has_backward and call.seq_len > call.block else walk.all_layers()
    read = joined(walk.readings, last, call.lengths, call.seq_len)
    if call.is_batch:
        return Summary(read, walk.has_step)
    return Summary(read[0, :], None if walk.has_step is None else walk.has_step[0, ...])


def logits_of_whole(call: ChunkedCall, reads: str, after: After | None = None) -> Summary:
    """Return the logits of what is read of each sequence; see `summarize`."""
    read, has_step = summarize(call, reads, after)
    return Summary(logits_of(call.placed.network.readout, read), has_step)


def loss_sums_of_whole(call: ChunkedCall, reads: str) -> tuple[Array, Array]:
    """Return the sum of the cross-entropies of the targets of sequences that have a step, and their number."""
    with call.placed.on_device():
        logits, has_step = logits_of_whole(call, reads)
        return sums_where(negative_log_likelihood(widen(logits), call.targets()), has_step)


class _Walk:
    """A walk of a network through the blocks of a call, a single sequence as a batch of one."""

    def __init__(self, call: ChunkedCall, reads: str, after: After) -> None:
        self.after = after
        self.call, self.placed, self.layers = call, call.placed, call.placed.network.layers
        self.readings = [Reading(reads, reverse) for _, reverse in self.layers[-1].cells]
        self.blocks = list(spans(0, call.seq_len, call.block))
        self.h_0 = call.h_0 if call.is_batch or call.h_0 is None else tuple(h[None, :] for h in last_states(call.h_0))
        self.has_step: Array | None = None

    def all_layers(self) -> Sequence[Array]:
        """Run all layers, and return the last state of each cell of the last one."""
        state = self.h_0
        for start, stop in self.blocks:
            x, lengths, mask = self.arguments(start, stop)
            states, state = self.placed.run(x, state, lengths, mask)
            self.add(self.readings, states, last_states(state), lengths, mask)
            self.after(stop, last_states(state)[-1])
        return last_states(state)[-len(self.readings) :]

    def each_direction(self) -> Sequence[Array]:
        """Run the last layer one direction after the other, and return the last state of each of its cells."""
        x, lengths, mask = self.arguments(0, self.call.seq_len if len(self.layers) > 1 else 1)
        network, count = self.placed.network, len(self.readings)
        ends: list[Array] = []
        h_0 = started(network, x, self.h_0)
        states: Sequence[Any] = [None] * count if h_0 is None else last_states(h_0)
        below = None
        if len(self.layers) > 1:
            first = None if h_0 is None else tuple(states[:-count])
            x = encoded(network, x, lengths, mask)
            below, _ = propagate(self.layers[:-1], x, first, lengths, self.placed.recurrence, mask)
        for reading, (cell, reverse), state in zip(self.readings, self.layers[-1].cells, states[-count:], strict=True):
            layer = Layer(backward=cell) if reverse else Layer(forward=cell)
            end = None if state is None else (state,)
            for start, stop in reversed(self.blocks) if reverse else self.blocks:
                x, lengths, mask = self.arguments(start, stop, below)
                x = encoded(network, x, lengths, mask) if below is None else x
                output, end = propagate((layer,), x, end, lengths, self.placed.recurrence, mask)
                self.add([reading], output, last_states(end), lengths, mask)
                self.after(self._done(len(ends), start if reverse else stop, reverse), last_states(end)[0])
            ends += last_states(end)
        return ends

    def _done(self, cells: int, walked_to: int, reverse: bool) -> int:
        """Return how many steps are done in effect, where the cells of the last layer walk one after the other."""
        seq_len = self.call.seq_len
        return (cells * seq_len + (seq_len - walked_to if reverse else walked_to)) // len(self.readings)

    def arguments(self, start: int, stop: int, below: Array | None = None) -> tuple[Any, Any, Any]:
        """Return what comes to all layers, or from those below to the last one, with lengths and mask."""
        if below is None:
            x, lengths, mask = self.call.arguments(start, stop)
            x = x if self.call.is_batch else x[:, None, ...]
        else:
            x, (lengths, mask) = below[start:stop, ...], self.call.limits(start, stop)
        return x, lengths, mask if mask is None or self.call.is_batch else mask[:, None]

    def add(
        self, readings: list[Reading], states: Array, last: Sequence[Array], lengths: Array | None, mask: Array | None
    ) -> None:
        """Give a block of states to the readings of its cells."""
        valid = steps_taken(lengths, mask, states.shape[0])
        add_states(readings, states, last[-len(readings) :], valid)
        if valid is None and self.call.seq_len:
            return
        xp, batch = array_namespace(states), states.shape[1]
        none = xp.zeros((batch,), dtype=xp.bool, device=device(states))
        found = none if valid is None else xp.any(valid, axis=0)
        self.has_step = found if self.has_step is None else self.has_step | found
