"""What the readout of a network reads of each sequence as a whole, in the memory of a block of steps.

Cells of one direction are run block by block, as in `rnn_backends.model.chunks`, and of a block no more is kept than
what is read of it.  Where cells walk both ways, they are run one after the other, backward cells from the last block
to the first.  A cell needs what the layers below it give in both directions: of their cells the states before each
block are kept, from which they are run again, so n bidirectional layers take n times the work.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from math import isqrt
from typing import Any, NamedTuple

from rnn_backends.core.arrays import Array, array_namespace, device
from rnn_backends.core.forward import encoded, initial_state, propagate, started, state_dtype
from rnn_backends.core.layers import Layer, named_arrays
from rnn_backends.core.losses import negative_log_likelihood, sums_where
from rnn_backends.core.masking import steps_taken
from rnn_backends.core.reading import Reading, add_states, joined, read_whole, readings_of
from rnn_backends.core.recurrence import last_states
from rnn_backends.model.chunks import ChunkedCall, spans
from rnn_backends.model.placed import Placed
from rnn_backends.model.prepared import Call

# So many blocks are run as one, in some 100 MiB, where layers would be run again for each.
AS_ONE = 4

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
    walk = _Walk(call, readings_of(call.placed.network.layers[-1], reads), after or (lambda *_: None))
    read = joined(walk.layers[-1], walk.readings, walk.run(), call.lengths, call.seq_len)
    if call.is_batch:
        return Summary(read, walk.has_step)
    return Summary(read[0, :], None if walk.has_step is None else walk.has_step[0, ...])


def read_on(call: ChunkedCall, readings: list[Reading]) -> Any:
    """Run forward cells over the steps of a call, add these to readings, and return the states that they leave."""
    walk = _Walk(call, readings, lambda *_: None)
    walk.run()
    return walk.state


def logits_of_whole(call: ChunkedCall, reads: str, after: After | None = None) -> Summary:
    """Return the logits of what is read of each sequence; see `summarize`."""
    read, has_step = summarize(call, reads, after)
    return Summary(call.placed.logits(read), has_step)


def loss_sums_of_whole(call: ChunkedCall, reads: str) -> tuple[Array, Array]:
    """Return the sum of the cross-entropies of the targets of sequences that have a step, and their number."""
    with call.placed.on_device():
        logits, has_step = logits_of_whole(call, reads)
        return sums_where(negative_log_likelihood(logits, call.targets()), has_step)


def read_at_once(placed: Placed, call: Call, x: Any, reads: str) -> Array:
    """Return what the readout reads of an input that is run at once."""
    output, h_n = call.run(call.take(x), None)
    if reads == "steps":
        return call.give(output)
    layer = placed.network.layers[-1]
    read = read_whole(layer, reads, output, last_states(h_n)[-len(layer.cells) :], None, None)
    return read if call.has_batch else read[0]


class _Cell(NamedTuple):
    """A cell as a layer of its own."""

    layer: Layer
    place: int
    """Its place among all cells."""
    depth: int
    """The number of layers below that of the cell."""
    reading: Reading | None
    """What is read of it, if it is of the last layer."""


class _Walk:
    """A walk of a network through the blocks of a call, a single sequence as a batch of one."""

    def __init__(self, call: ChunkedCall, readings: list[Reading], after: After) -> None:
        self.call, self.placed, self.after = call, call.placed, after
        self.layers, self.readings = call.placed.network.layers, readings
        self.state: Any = None
        self.h_0 = call.h_0 if call.is_batch or call.h_0 is None else tuple(h[None, :] for h in last_states(call.h_0))
        self.has_step: Array | None = None
        self.done = 0

    def run(self) -> Sequence[Array]:
        """Run the network, and return the last state of each cell of the last layer."""
        seq_len, size = max(1, self.call.seq_len), self.call.block
        is_one_way = len({reverse for layer in self.layers for _, reverse in layer.cells}) == 1
        if not is_one_way and len(self.layers) > 1:
            # For each block states are kept: least is held where there are as many blocks as steps of one.
            size = seq_len if seq_len <= AS_ONE * size or self._is_recorded() else max(size, isqrt(seq_len))
        return self._all_layers(size) if is_one_way or seq_len <= size else self._cell_by_cell(size)

    def _is_recorded(self) -> bool:
        """Return whether torch records for gradients, and so holds all results, twice where layers are run twice."""
        given = (self.placed.network, self._arguments(0, 1)[0], self.h_0)
        return any(getattr(array[None, ...], "requires_grad", False) for _, array in named_arrays(given))

    def _all_layers(self, size: int) -> Sequence[Array]:
        """Run all layers in blocks of a size."""
        state = self.h_0
        for start, stop in self._blocks(size, reverse=self.placed.has_backward):
            x, lengths, mask = self._arguments(start, stop)
            states, state = self.placed.run(x, state, lengths, mask, self.call.place_of(start))
            self._add(self.readings, states, last_states(state), lengths, mask)
            self._report(stop - start, last_states(state)[-1], of=1)
        self.state = state
        return last_states(state)[-len(self.readings) :]

    def _cell_by_cell(self, size: int) -> Sequence[Array]:
        """Run one cell after the other in blocks of a size."""
        x, *_ = self._arguments(0, 1)
        h_0 = started(self.placed.network, x, self.h_0)
        cells = list(self._cells())
        states = [None] * len(cells) if h_0 is None else last_states(h_0)
        kept: dict[int, list[Array]] = {start: [] for start, _ in self._blocks(size)}
        ends: list[Array] = []
        for cell, state in zip(cells, states, strict=True):
            num_below = sum(below.depth < cell.depth for below in cells)
            end = state
            for start, stop in self._blocks(size, reverse=cell.layer.backward is not None):
                before, end = self._one_block(cell, kept[start][:num_below], end, start, stop)
                if cell.reading is None:
                    kept[start].append(before)
                self._report(stop - start, end, of=len(cells))
            ends.append(end)
        return ends[-len(self.readings) :]

    def _cells(self) -> Iterator[_Cell]:
        """Yield all cells, layer by layer."""
        places = count()
        for depth, layer in enumerate(self.layers):
            is_last = depth == len(self.layers) - 1
            for k, (cell, reverse) in enumerate(layer.cells):
                alone = Layer(backward=cell) if reverse else Layer(forward=cell)
                yield _Cell(alone, next(places), depth, self.readings[k] if is_last else None)

    def _one_block(
        self, cell: _Cell, below: list[Array], state: Array | None, start: int, stop: int
    ) -> tuple[Array, Array]:
        """Run a cell through a block, the layers below from the states of their cells before it.

        Returns the state of the cell before the block, zeros where it is not given, and after it.
        """
        network, recurrence = self.placed.network, self.placed.recurrence
        x, lengths, mask = self._arguments(start, stop)
        x = encoded(network, x, lengths, mask)
        dtype = state_dtype(self.layers, x)
        if below:
            noise = self.placed.noise(self.call.place_of(start), x, slice(len(below)))
            x, _ = propagate(self.layers[: cell.depth], x, tuple(below), lengths, recurrence, mask, noise)
        before = initial_state(cell.layer.cells[0][0], x, dtype) if state is None else state
        noise = self.placed.noise(self.call.place_of(start), x, slice(cell.place, cell.place + 1))
        states, end = propagate((cell.layer,), x, (before,), lengths, recurrence, mask, noise)
        if cell.reading is not None:
            self._add([cell.reading], states, last_states(end), lengths, mask)
        return before, last_states(end)[0]

    def _report(self, steps: int, state: Array, *, of: int) -> None:
        """Report that so many more steps are done, in one of several walks of the whole."""
        self.done += steps
        self.after(self.done // of, state)

    def _blocks(self, size: int, *, reverse: bool = False) -> list[tuple[int, int]]:
        """Return start and stop of each block of a size, in the order in which a cell walks them."""
        blocks = list(spans(0, self.call.seq_len, size))
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
