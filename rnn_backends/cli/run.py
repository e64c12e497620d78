"""The command `run`: a model run once over the arrays or the text of a file, with its speed and its loss.

All is done chunk by chunk: no more than one chunk of logits is held, however long the input is.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import log, prod
from pathlib import Path
from time import perf_counter
from typing import BinaryIO

from rnn_backends.backends.selection import parse
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.cli.contents import describe, sizes
from rnn_backends.cli.info import library_version
from rnn_backends.cli.inputs import Inputs, is_text, read_inputs
from rnn_backends.cli.loading import Loading
from rnn_backends.cli.outputs import ArrayOutput, Likeliest, TextOutput, WholeOutput
from rnn_backends.cli.progress import progress
from rnn_backends.cli.reports import Row
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Array
from rnn_backends.core.losses import mean_of, require_softmax
from rnn_backends.errors import ArgumentError
from rnn_backends.formats.files import replaced
from rnn_backends.model.chunk import Chunk, largest, loss_sums, probabilities
from rnn_backends.model.chunks import ChunkedCall
from rnn_backends.model.reading import logits_of_whole, summarize
from rnn_backends.model.rnn import RNN
from rnn_backends.model.vocabulary import require_vocabulary


@dataclass(frozen=True, kw_only=True)
class Request(Loading):
    """Arguments of `run`; an `argparse.ArgumentError` where they do not go together."""

    input: Path
    backend: str | None = None
    output: Path | None = None
    reads: str | None = None
    predictions: bool = False
    lengths: list[int] | None = None

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise argparse.ArgumentError(None, problem)

    def _problem(self) -> str | None:
        if self.lengths is not None and is_text(self.input):
            return "--lengths is for a batch of arrays, and those of text follow from it; leave it out"
        if self.output is None:
            return "--predictions chooses what --output writes; give --output too" if self.predictions else None
        if self.output.suffix not in {".npy", ".txt"}:
            return f"the suffix of --output must be .npy or .txt; got {str(self.output)!r}"
        if self.output.suffix == ".txt" and not self.predictions:
            return "a .txt file can hold predicted characters or words only; add --predictions or write a .npy file"
        if self.output.exists() and self.input.exists() and self.output.samefile(self.input):
            return f"--output would overwrite the input {str(self.input)!r}; choose another name"
        return None


def run(request: Request, note: Callable[[str], None]) -> list[Row]:
    """Run a model, and return the rows to print; remarks go to `note` at once."""
    with _opened(request.output) as file:
        if request.backend is not None:
            parse(request.backend, "option --backend")  # for errors that name what the user typed
        rnn = request.load(request.backend, request.reads)
        reads = rnn.placed.require_reads(request.reads)
        inputs = read_inputs(request.input, rnn.placed, request.lengths, reads)
        _require_possible(request, rnn, inputs, reads)
        if inputs.is_next and rnn.placed.has_backward:
            note(f"the model has backward cells, which see the {inputs.unit}s that they are to predict")
        chunks = ChunkedCall(rnn.placed, inputs.x, inputs.h_0, inputs.lengths, inputs.mask, inputs.targets, reads)
        output: _Output | Likeliest | None = None if file is None else _Output(file, request, rnn, chunks, reads)
        if output is None and reads != "steps" and rnn.readout is not None:
            output = Likeliest(rnn)
        counted = "steps" if chunks.is_batch else f"{inputs.unit}s"
        with progress(request.input.name, chunks.seq_len, counted) as report:
            seconds, sums = _walk(rnn, _each(chunks, reads, report), output, report)
        rows = [*_describe(request, rnn, reads), *_measures(inputs, chunks, seconds)]
        if sums:
            with rnn.placed.on_device():
                loss = float(to_numpy(mean_of(sums)))
            rows.append(
                (f"bits per {inputs.unit}", f"{loss / log(2):.6f}")
                if inputs.is_next
                else ("cross-entropy", f"{loss:.6f} nats")
            )
        if isinstance(output, _Output):
            rows.append(("output", f"{request.output}: {output}"))
        elif output is not None:
            rows.append((output.label, str(output)))
    return rows


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO | None]:
    """Open the output, if there is to be one, so that nothing is computed in vain."""
    with ExitStack() as stack:
        yield None if path is None else stack.enter_context(replaced(path))


def _require_possible(request: Request, rnn: RNN, inputs: Inputs, reads: str) -> None:
    """Check what the model must have for what is asked, before it is run."""
    placed = rnn.placed
    if inputs.targets is not None:
        require_softmax(placed.require_readout("loss"))
    if inputs.is_next:
        _require_predicting_its_input(rnn, inputs.unit)
    if not request.predictions:
        return
    *_, readout = placed.require_readout("--predictions")
    if readout.output_size == 1:
        msg = "--predictions writes the likeliest of several outputs, and this model has one; leave it out."
        raise ArgumentError(msg)
    if request.output is None or request.output.suffix != ".txt":
        return
    if reads != "steps":
        msg = (
            f"a .txt file holds a prediction for each step, and the model reads one of each sequence, its {reads!r}; "
            "write a .npy file."
        )
        raise ArgumentError(msg)
    if placed.vocabulary is None:
        msg = "a .txt file holds characters or words, and the model has no vocabulary; write a .npy file."
        raise ArgumentError(msg)
    if len(placed.vocabulary.items) < readout.output_size:
        msg = f"the model has {readout.output_size} outputs and a smaller vocabulary; write a .npy file."
        raise ArgumentError(msg)
    if inputs.x.dtype.kind in "iu" and inputs.x.ndim > 1:
        msg = f"a .txt file holds one sequence, and x is a batch, shape {inputs.x.shape}; write a .npy file."
        raise ArgumentError(msg)


def _require_predicting_its_input(rnn: RNN, unit: str) -> None:
    """Check that a model can predict each item of the text that it is given."""
    items, outputs = len(require_vocabulary(rnn.placed.vocabulary).items), rnn.placed.network.readout[-1].output_size
    if outputs < items:
        msg = (
            f"in text each {unit} is to predict the next one, and the model has {outputs} outputs for a vocabulary of "
            f"{items}; give it the token ids in a .npy file, or one output for each line with --reads last."
        )
        raise ArgumentError(msg)


def _each(call: ChunkedCall, reads: str, report: Callable[[int], None]) -> Iterator[Chunk]:
    """Yield the chunks of a call; the results of sequences that are read as a whole come as one."""
    if reads == "steps":
        yield from call.each(lambda chunk: chunk)
        return

    def after(done: int, state: Array) -> None:
        _wait_for(state)
        report(done)

    with call.placed.on_device():
        read_out = logits_of_whole if call.placed.network.readout else summarize
        results, has_step = read_out(call, reads, after)
        targets = call.targets()
    # The mask of a chunk leaves results out of the loss, and out of nothing else.
    yield Chunk(0, call.seq_len, results, None, has_step, targets)


def _wait_for(array: Array) -> None:
    """Wait until an array is computed: a GPU is done no sooner than a value is on the host."""
    if prod(array.shape):
        to_numpy(array[(-1,) * array.ndim])


def _walk(
    rnn: RNN, chunks: Iterable[Chunk], output: "_Output | Likeliest | None", report: Callable[[int], None]
) -> tuple[float, list[tuple[Array, Array]]]:
    """Run the network; return the seconds that it took alone, and the sums of the losses of each chunk."""
    seconds, sums = 0.0, []
    start = perf_counter()
    for chunk in chunks:
        _wait_for(chunk.array)
        seconds += perf_counter() - start
        if chunk.targets is not None:
            with rnn.placed.on_device():
                sums.append(loss_sums(chunk))
        if output is not None:
            output.write(chunk)
        report(chunk.stop)
        start = perf_counter()
    return seconds, sums


def _describe(request: Request, rnn: RNN, reads: str) -> list[Row]:
    return [
        ("model", f"{request.model}: {sizes(describe(rnn))}"),
        ("backend", f"{rnn.backend.name} {library_version(rnn.backend) or ''}".rstrip()),
        ("device", rnn.device),
        ("dtype", rnn.dtype),
        ("input", str(request.input)),
        *([("reads", reads)] if reads != "steps" else []),
    ]


def _measures(inputs: Inputs, chunks: ChunkedCall, seconds: float) -> list[Row]:
    steps = inputs.count_steps(chunks.shape, chunks.axis)
    return [
        ("sequence length", str(chunks.seq_len)),
        *([("batch", str(chunks.shape[1 - chunks.axis]))] if chunks.is_batch else []),
        ("time", f"{seconds:.6f} s"),
        ("speed", f"{steps / max(seconds, 1e-9):.0f} {inputs.unit}s/s"),
    ]


class _Output:
    """The output file, and what it is to hold."""

    def __init__(self, file: BinaryIO, request: Request, rnn: RNN, chunks: ChunkedCall, reads: str) -> None:
        self._rnn, self._predictions = rnn, request.predictions
        self._file: ArrayOutput | TextOutput | WholeOutput = WholeOutput(file)
        if reads == "steps":
            self._file = ArrayOutput(file, chunks.shape, chunks.axis)
        self._what = "probabilities, "
        if rnn.readout is None:
            self._what = "hidden states (the model has no readout), "
        elif request.predictions:
            self._what = "predicted ids, "
        elif rnn.placed.network.readout[-1].activation == Activation("identity"):
            self._what = "logits (the readout has no activation), "
        if request.output is not None and request.output.suffix == ".txt":
            self._what, self._file = "", TextOutput(file, require_vocabulary(rnn.placed.vocabulary))

    def write(self, chunk: Chunk) -> None:
        """Write what is wanted of a chunk."""
        readout, array = next(reversed(self._rnn.placed.network.readout), None), chunk.array
        with self._rnn.placed.on_device():
            if self._predictions:
                array = largest(chunk)
            elif readout is not None:
                array = probabilities(readout, chunk)
            self._file.write(chunk.start, to_numpy(array))

    def __str__(self) -> str:
        return f"{self._what}{self._file}"
