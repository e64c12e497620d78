"""What the readout of a network reads of each sequence as a whole, in memory that does not grow with the sequences.

Cells of one direction are run block by block, as in `rnn_backends.model.chunks`, and of a block no more is kept than
what is read of it.  Where cells walk both ways, they are run one after the other, backward cells from the last block
to the first.  A cell needs what the layers below it give in both directions: of their cells the states before each
block are kept, from which they are run again, which costs a network of n bidirectional layers n times the work.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rnn_backends.core.arrays import Array, array_namespace, device, widen
from rnn_backends.core.forward import encoded, initial_state, propagate, started, state_dtype
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
    last = walk.cell_by_cell() if walk.is_both_ways and call.seq_len > call.block else walk.all_layers()
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
        self.call, self.placed, self.after = call, call.placed, after
        self.layers = call.placed.network.layers
        self.cells = [(depth, *cell) for depth, layer in enumerate(self.layers) for cell in layer.cells]
        self.is_both_ways = len({reverse for _, _, reverse in self.cells}) == 2
        self.readings = [Reading(reads, reverse) for _, reverse in self.layers[-1].cells]
        self.h_0 = call.h_0 if call.is_batch or call.h_0 is None else tuple(h[None, :] for h in last_states(call.h_0))
        self.has_step: Array | None = None
        self.done = 0

    def all_layers(self) -> Sequence[Array]:
        """Run all layers, and return the last state of each cell of the last one."""
        state = self.h_0
        for start, stop in self._blocks(reverse=self.placed.has_backward):
            x, lengths, mask = self._arguments(start, stop)
            states, state = self.placed.run(x, state, lengths, mask)
            self._add(self.readings, states, last_states(state), lengths, mask)
            self._report(stop - start, last_states(state)[-1], of=1)
        return last_states(state)[-len(self.readings) :]

    def cell_by_cell(self) -> Sequence[Array]:
        """Run one cell after the other, and return the last state of each cell of the last layer."""
        x, *_ = self._arguments(0, 1)
        h_0 = started(self.placed.network, x, self.h_0)
        given = [None] * len(self.cells) if h_0 is None else last_states(h_0)
        kept: dict[int, list[Array]] = {start: [] for start, _ in self._blocks()}
        ends: list[Array] = []
        for h in given:
            state = h
            for start, stop in self._blocks(reverse=self.cells[len(ends)][-1]):
                state = self._one_block(len(ends), kept[start], state, start, stop)
                self._report(stop - start, state, of=len(self.cells))
            ends.append(state)
        return ends[-len(self.readings) :]

    def _one_block(self, place: int, before: list[Array], state: Array | None, start: int, stop: int) -> Array:
        """Run one of the cells through a block, and return its state after it.

        What comes to its layer, the layers below give when they are run again, from the states of their cells before
        the block, to which the cell adds its own.
        """
        depth, cell, reverse = self.cells[place]
        x, lengths, mask = self._arguments(start, stop)
        x = encoded(self.placed.network, x, lengths, mask)
        if depth:
            below = self.layers[:depth]
            h = tuple(before[: sum(len(layer.cells) for layer in below)])
            x, _ = propagate(below, x, h, lengths, self.placed.recurrence, mask)
        state = initial_state(cell, x, state_dtype(self.layers, x)) if state is None else state
        layer = Layer(backward=cell) if reverse else Layer(forward=cell)
        states, end = propagate((layer,), x, (state,), lengths, self.placed.recurrence, mask)
        if depth < len(self.layers) - 1:
            before.append(state)
        else:
            reading = self.readings[place - len(self.cells)]
            self._add([reading], states, last_states(end), lengths, mask)
        return last_states(end)[0]

    def _report(self, steps: int, state: Array, *, of: int) -> None:
        """Report that so many more steps are done, in one of several walks of the whole."""
        self.done += steps
        self.after(self.done // of, state)

    def _blocks(self, *, reverse: bool = False) -> list[tuple[int, int]]:
        """Return the ends of the blocks, in the order in which a cell walks them."""
        blocks = list(spans(0, self.call.seq_len, self.call.block))
        return blocks[::-1] if reverse else blocks

    def _arguments(self, start: int, stop: int) -> tuple[Any, Any, Any]:
        """Return the input of a block, with lengths and mask."""
        x, lengths, mask = self.call.arguments(start, stop)
        if self.call.is_batch:
            return x, lengths, mask
        return x[:, None, ...], lengths, None if mask is None else mask[:, None]

    def _add(
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
