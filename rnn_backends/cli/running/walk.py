"""The walks of the command `run`: through arrays, through a text as it is read, and through sequences in batches."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.cli.running.array_outputs import AnyOutput, ArrayOutput, Output, Part, WholeOutput
from rnn_backends.cli.running.arrays import Inputs
from rnn_backends.cli.running.samples import Sample, batches, windows
from rnn_backends.cli.running.streams import Reader
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Array, Host
from rnn_backends.core.losses import index_of_largest, mean_of
from rnn_backends.model.chunk import Chunk, counted, largest, loss_sums, probabilities
from rnn_backends.model.chunks import ChunkedCall
from rnn_backends.model.placed import Placed
from rnn_backends.model.reading import logits_of_whole, summarize
from rnn_backends.model.vocabulary import Encoder, Vocabulary

_OF_ACTIVATION = {
    "identity": "logits",
    "softmax": "probabilities",
    "sigmoid": "probabilities",
    "log_softmax": "log-probabilities",
}
Progress = Callable[[int], None]
"""A function that is given how much is done."""


class Walk:
    """A network and its clock: what its calls have in common.

    Parameters
    ----------
    placed : Placed
    reads : str
        What the readout reads.
    is_predicted : bool
        Whether the ids of the largest logits are wanted of each chunk, and not the probabilities.

    Attributes
    ----------
    seconds : float
        The time that the network took alone.
    steps, sequences, longest : int
        The valid steps and the sequences that were walked, and the steps of the longest.
    items, unknown : int
        The characters or words of a text that were read, and those of them that are not in the vocabulary.
    right, judged : int
        The predictions that are the target, of all those that have one.
    """

    def __init__(self, placed: Placed, reads: str, *, is_predicted: bool) -> None:
        self.placed, self.reads, self._is_predicted = placed, reads, is_predicted
        self.seconds, self.steps, self.sequences, self.longest = 0.0, 0, 0, 0
        self.items = self.unknown = self.right = self.judged = 0
        self._sums: list[tuple[Array, Array]] = []

    @property
    def what(self) -> str:
        """The results that are wanted: predictions, what the readout gives by its activation, or hidden states."""
        readout = self.placed.network.readout
        if not readout:
            return "hidden states"
        if self._is_predicted:
            return "predictions"
        activation = readout[-1].activation
        return _OF_ACTIVATION.get(activation.name, "outputs") if isinstance(activation, Activation) else "outputs"

    def chunks(self, call: ChunkedCall, report: Progress) -> Iterator[Chunk]:
        """Yield the chunks of a call, and take their losses; the results of whole sequences come as one."""
        start = perf_counter()
        for chunk in self._each(call, report):
            _wait_for(chunk.array)
            self.seconds += perf_counter() - start
            if chunk.targets is not None:
                self._take_losses(chunk, chunk.targets)
            yield chunk
            report(chunk.stop)
            del chunk  # or it would be held, here and by callers, while the next one is made
            start = perf_counter()

    def _take_losses(self, chunk: Chunk, targets: Array) -> None:
        with self.placed.on_device():
            best, counts = index_of_largest(chunk.array), counted(chunk)
            self._sums.append(loss_sums(chunk, best))
            is_right = to_numpy(best) == to_numpy(targets)
            is_counted = np.ones_like(is_right) if counts is None else to_numpy(counts)
        self.right += int((is_right & is_counted).sum())
        self.judged += int(is_counted.sum())

    def _each(self, call: ChunkedCall, report: Progress) -> Iterator[Chunk]:
        if self.reads == "steps":
            yield from call.each(lambda chunk: chunk)
            return

        def after(done: int, state: Array) -> None:
            _wait_for(state)
            report(done)

        with self.placed.on_device():
            read_out = logits_of_whole if self.placed.network.readout else summarize
            results, has_step = read_out(call, self.reads, after)
            targets = call.targets()
        # The mask of a chunk leaves results out of the loss, and out of nothing else.
        yield Chunk(0, call.seq_len, results, None, has_step, targets)

    def results(self, chunk: Chunk) -> Host:
        """Return what is wanted of a chunk, on the host."""
        readout, array = self.placed.network.readout, chunk.array
        with self.placed.on_device():
            if self._is_predicted:
                array = largest(chunk)
            elif readout:
                array = probabilities(readout[-1], chunk)
            return to_numpy(array)

    def loss(self) -> float | None:
        """Return the mean cross-entropy of the targets, in nats; None without targets."""
        if not self._sums:
            return None
        with self.placed.on_device():
            return float(to_numpy(mean_of(self._sums)))


def through_arrays(walk: Walk, call: ChunkedCall, inputs: Inputs, output: AnyOutput | None, report: Progress) -> None:
    """Walk through the arrays of one call."""
    walk.steps = inputs.count_steps(call.shape, call.axis)
    walk.sequences, walk.longest = call.shape[1 - call.axis] if call.is_batch else 1, call.seq_len
    is_streamed, kept = not call.is_batch and walk.reads == "steps", list[Host]()
    for chunk in walk.chunks(call, report):
        if output is None:
            continue
        values = walk.results(chunk)
        if isinstance(output, (ArrayOutput, WholeOutput)):
            output.write(chunk.start, values)
        elif is_streamed and output.takes_parts:
            output.write(Part(0, chunk.start, values))
        else:
            kept.append(values)
    if isinstance(output, Output) and kept:
        for index, values in enumerate(_split(walk, call, kept, inputs.lengths)):
            output.write(Part(index, 0, values))


def _split(walk: Walk, call: ChunkedCall, found: list[Host], lengths: Any) -> Iterator[Host]:
    """Yield the results of each sequence of a call, as long as it is, from those of all chunks."""
    if walk.reads != "steps":
        (whole,) = found
        yield from whole if call.is_batch else [whole]
        return
    steps = np.concatenate(found, axis=call.axis)
    if not call.is_batch:
        yield steps
        return
    for index, sequence in enumerate(steps if call.axis else steps.swapaxes(0, 1)):
        yield sequence if lengths is None else sequence[: lengths[index]]


def through_text(
    walk: Walk, reader: Reader, vocabulary: Vocabulary, output: Output | None, report: Progress, *, is_next: bool
) -> None:
    """Walk through a text as it is read, whose states and noise go on from piece to piece.

    Where a cell walks backward, all of the text is read first.  Where each item is to predict the next one, the
    last item of a piece is the first one of the next.
    """
    state, begun, held = None, 0, np.empty(0, np.int32)
    for ids, position in _encoded(reader, vocabulary, is_whole=walk.placed.has_backward):
        joined = np.concatenate([held, ids])
        x, targets = (joined[:-1], joined[1:]) if is_next else (joined, None)
        held = joined[-1:] if is_next else held
        walk.items += len(ids)
        walk.unknown += int((ids == vocabulary.other).sum())
        if not x.size:
            continue
        call = ChunkedCall(walk.placed, x, targets=targets, begun=walk.steps)
        call.h_0 = call.h_0 if state is None else state
        for chunk in walk.chunks(call, partial(_report_part, report, begun, position, len(x))):
            if output is not None:
                output.write(Part(0, walk.steps + chunk.start, walk.results(chunk)))
            del chunk
        state, begun = call.state, position
        walk.steps += len(x)
        if output is not None:
            output.flush()
    walk.sequences, walk.longest = 1, walk.steps


def _report_part(report: Progress, begun: int, end: int, count: int, done: int) -> None:
    report(begun + (end - begun) * done // count)


def _encoded(reader: Reader, vocabulary: Vocabulary, *, is_whole: bool) -> Iterator[tuple[Host, int]]:
    """Yield the token ids of each piece of a text, or of all, with the number of bytes up to its end."""
    encoder = Encoder(vocabulary)
    pieces = ((encoder.encode(text), reader.position) for text in reader.texts())
    if is_whole:
        found = [ids for ids, _ in pieces]
        yield np.concatenate([*found, encoder.encode("", is_last=True)]), reader.position
        return
    yield from pieces
    yield encoder.encode("", is_last=True), reader.position


def through_samples(
    walk: Walk, samples: Iterable[Iterable[Sample]], reader: Reader, output: Output | None, report: Progress
) -> None:
    """Walk through sequences in batches of similar lengths; their results are written in the order of the sequences."""
    begun = 0
    for steps, window in windows(samples, walk.placed):
        results: list[Any] = [None] * len(window)
        done = 0
        for batch in batches(window, steps, batch_first=walk.placed.network.batch_first):
            call = ChunkedCall(walk.placed, batch.x, None, batch.lengths, None, batch.targets, walk.reads)
            chunks = walk.chunks(call, lambda _: None)
            found = [walk.results(chunk) for chunk in chunks if output is not None]
            if output is not None:
                for place, values in zip(batch.places, _split(walk, call, found, batch.lengths), strict=True):
                    results[place] = values
            done += len(batch.places)
            report(begun + (reader.position - begun) * done // len(window))
        begun = reader.position
        walk.steps += sum(len(sample.x) for sample in window)
        walk.longest = max(walk.longest, *(len(sample.x) for sample in window))
        walk.sequences += len(window)
        if output is not None:
            for sample, values in zip(window, results, strict=True):
                output.write(Part(sample.label, 0, values))
            output.flush()


def _wait_for(array: Array) -> None:
    """Wait until an array is computed: a GPU is done no sooner than a value is on the host."""
    if prod(array.shape):
        to_numpy(array[(-1,) * array.ndim])
