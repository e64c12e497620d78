"""A run of a model over an input: which walk it is, and what is made of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

from rnn_backends.cli.progress import progress
from rnn_backends.cli.running.array_outputs import AnyOutput, ArrayOutput, Output, RowsOutput, Shape, WholeOutput
from rnn_backends.cli.running.arrays import Inputs, read_inputs
from rnn_backends.cli.running.formats import ARRAYS, format_that_begins
from rnn_backends.cli.running.names import Names
from rnn_backends.cli.running.parquet import ParquetReader
from rnn_backends.cli.running.parquet_output import ParquetOutput
from rnn_backends.cli.running.report import Report
from rnn_backends.cli.running.request import Request
from rnn_backends.cli.running.rows import DELIMITERS, rows_of_csv, rows_of_jsonl
from rnn_backends.cli.running.samples import Sample, require_no_noise_in_lines
from rnn_backends.cli.running.streams import Reader, head_of_stdin, name_of, reading, seekable
from rnn_backends.cli.running.tables import Columns, Table
from rnn_backends.cli.running.text_outputs import LinesOutput, Shown, TableOutput, TextOutput
from rnn_backends.cli.running.values import Values
from rnn_backends.cli.running.walk import Walk, through_arrays, through_samples, through_text
from rnn_backends.core.arrays import Host
from rnn_backends.core.linear import Linear
from rnn_backends.core.losses import require_softmax
from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import ArgumentError, VocabularyError
from rnn_backends.model.chunks import ChunkedCall
from rnn_backends.model.rnn import RNN
from rnn_backends.model.vocabulary import Encoder, Vocabulary, require_vocabulary


class Job:
    """A run of a model: what it reads, and what is made of it."""

    def __init__(self, request: Request, rnn: RNN, file: BinaryIO | None, note: Callable[[str], None]) -> None:
        self.request, self.rnn, self.placed, self._file, self._note = request, rnn, rnn.placed, file, note
        self.reads = self.placed.require_reads(request.reads)
        self.names = Names(self.placed)
        self.form = request.form or self._form_of_stdin()
        readout = self.placed.network.readout
        is_classes = bool(readout) and readout[-1].output_size > 1 and self._are_probabilities(readout[-1])
        is_predicted = request.predictions or (file is None and is_classes)
        self.walk = Walk(self.placed, self.reads, is_predicted=is_predicted)
        self._output: AnyOutput | None = None
        self._is_next = False
        self._label: str | None = None
        self._read_as = "text"
        request.require_fitting(self.form)
        if request.predictions and self.placed.require_readout("--predictions")[-1].output_size == 1:
            msg = "--predictions writes the likeliest of several outputs, and this model has one; leave it out."
            raise ArgumentError(msg)

    def _are_probabilities(self, readout: Linear) -> bool:
        return getattr(readout.activation, "name", None) in {"softmax", "log_softmax"} or self.names.items is not None

    def _form_of_stdin(self) -> str:
        head = head_of_stdin(6)
        if (form := format_that_begins(head)) is not None:
            return form
        if self.placed.vocabulary is not None:
            return "text"
        if not head:
            msg = "stdin is empty, and is to bring the input."
            raise ArgumentError(msg)
        msg = "what stdin brings is unknown, as the model has no vocabulary; name it by --from csv, jsonl or tsv."
        raise ArgumentError(msg)

    def run(self) -> Report:
        """Run the model, and return what is to be reported."""
        if self.form in ARRAYS:
            self._run_arrays()
        elif self.form == "parquet":
            with seekable(self.request.input) as source:
                self._run_read(ParquetReader(source, name_of(self.request.input)), "rows")
        else:
            guessed = self._note if self.request.input_format is None and self.form == "text" else None
            with reading(self.request.input, guessed) as reader:
                self._run_read(reader, "B")
        return self._report()

    # Arrays

    def _run_arrays(self) -> None:
        with seekable(self.request.input) as source:
            name = self.request.input.name
            given = self.request.lengths
            lengths = None if given is None else [length for part in given for length in part]
            # What is long is read as it is used.
            self._run_inputs(read_inputs(source, self.form, name, self.placed.network, lengths))

    def _run_inputs(self, inputs: Inputs) -> None:
        if inputs.targets is not None:
            require_softmax(self.placed.require_readout("loss"))
        call = ChunkedCall(self.placed, inputs.x, inputs.h_0, inputs.lengths, inputs.mask, inputs.targets, self.reads)
        self._read_as = f"x of shape {inputs.x.shape} as {_axes(call)}"
        self._label = "sequence" if call.is_batch else None
        self._output = self._array_output(call)
        with self._progress(call.seq_len, "steps") as report:
            through_arrays(self.walk, call, inputs, self._output, report)
        self._close()

    def _array_output(self, call: ChunkedCall) -> AnyOutput | None:
        if self._file is None or self.request.output_form(self.form) != "npy":
            return self._sequence_output("sequence" if call.is_batch else None)
        return ArrayOutput(self._file, call.shape, call.axis) if self.reads == "steps" else WholeOutput(self._file)

    # Text and tables, as they are read

    def _run_read(self, reader: Reader, unit: str) -> None:
        with self._progress(reader.size, unit) as report:
            if self.form == "text" and self.reads == "steps" and not self.request.lines:
                vocabulary = self._vocabulary()
                self._output = output = self._sequence_output(None)
                self._through_text(reader, vocabulary, output, report)
            else:
                samples, label = self._samples(reader)
                if label is not None:
                    require_no_noise_in_lines(self.placed)
                self._output = output = self._sequence_output(label)
                through_samples(self.walk, samples, reader, output, report)
            self._require_enough(reader)
        self._close()

    def _through_text(
        self, reader: Reader, vocabulary: Vocabulary, output: Output | None, report: Callable[[int], None]
    ) -> None:
        try:
            through_text(self.walk, reader, vocabulary, output, report, is_next=self._is_next)
        except VocabularyError as error:
            if "'\\n'" not in str(error):
                raise
            msg = f"{str(error).removesuffix('.')}; give --lines if each line is a sequence of its own."
            raise VocabularyError(msg) from error

    def _vocabulary(self) -> Vocabulary:
        """Return the vocabulary, and find out whether each item of the text is to predict the next one."""
        vocabulary, readout = require_vocabulary(self.placed.vocabulary), self.placed.network.readout
        self._is_next = self.reads == "steps" and bool(readout) and readout[-1].output_size >= len(vocabulary.items)
        if self._is_next:
            require_softmax(readout)
            if self.placed.has_backward:
                self._note(f"the model has backward cells, which see the {vocabulary.unit}s that they are to predict")
        return vocabulary

    def _samples(self, reader: Reader) -> tuple[Iterator[Iterator[Sample]], str | None]:
        """Return the sequences of the lines of a text or of the rows of a table, and the name of their ids."""
        if self.form == "text":
            return self._lines(reader, self._vocabulary()), "line"
        request = self.request
        if request.targets is not None:
            require_softmax(self.placed.require_readout("loss"))
        columns = Columns(request.id, request.x, request.targets)
        values = Values(self.placed, self._count_unknown, "row" if self.form == "parquet" else "line")
        table = Table(columns, values, self.names, self.reads, self._note_columns)
        if isinstance(reader, ParquetReader):
            return table.samples(reader.rows(table.needed)), request.id or "row"
        if self.form == "jsonl":
            return table.samples(rows_of_jsonl(reader.lines())), request.id or "line"
        is_one = request.id is None and self.placed.vocabulary is None
        return table.samples(rows_of_csv(reader.lines(), self.form)), request.id or (None if is_one else "line")

    def _note_columns(self, columns: Sequence[str]) -> None:
        """Keep the columns that are read as x, to be reported."""
        self._read_as = f"{listed(columns)} as {'text' if self.placed.vocabulary is not None else 'x'}"

    def _lines(self, reader: Reader, vocabulary: Vocabulary) -> Iterator[Iterator[Sample]]:
        number = 0
        for lines in reader.lines():
            yield (self._line(vocabulary, number + index, line) for index, line in enumerate(lines, 1))
            number += len(lines)

    def _line(self, vocabulary: Vocabulary, number: int, line: str) -> Sample:
        ids = Encoder(vocabulary, f"line {number}").encode(line.removesuffix("\r"), is_last=True)
        self._count_unknown(ids)
        return Sample(number, ids[:-1], ids[1:]) if self._is_next else Sample(number, ids)

    def _count_unknown(self, ids: Host) -> None:
        """Count the token ids of a text, and those that stand for what is not in the vocabulary."""
        self.walk.items += len(ids)
        self.walk.unknown += int((ids == require_vocabulary(self.placed.vocabulary).other).sum())

    def _require_enough(self, reader: Reader) -> None:
        walk, name, vocabulary = self.walk, reader.name, self.placed.vocabulary
        if walk.sequences and (walk.steps or self._label is not None):
            return
        if self.form == "text" and self._label is None and vocabulary is not None:
            least = "2" if self._is_next else "1"
            reason = ", one to predict the other" if self._is_next else ""
            msg = f"text must have at least {least} {vocabulary.unit}s{reason}; {name} has {walk.items}."
        elif self.form == "text":
            msg = f"text must have at least one line, each a sequence of its own; {name} is empty."
        else:
            msg = f"a table must have at least one row beside the names of its columns; {name} has none."
        raise ArgumentError(msg)

    # What is made of it

    def _sequence_output(self, label: str | None) -> Output | None:
        """Return the output of the results of one sequence after another, whose ids have this name."""
        self._label = label
        has_steps = self.reads == "steps"
        if self._file is None:
            if has_steps or not self.placed.network.readout:
                return None
            return Shown(Shape(self.walk.what, label, has_steps, self.names))
        shape, form = Shape(self.walk.what, label, has_steps, self.names), self.request.output_form(self.form)
        if label in {"step", "prediction", "predictions"} or (label == shape.key and form in {"jsonl", "parquet"}):
            msg = f"the ids are called {shown(label)}, as a column of the output is; give that column another name."
            raise ArgumentError(msg)
        if form == "npy" and has_steps and label is not None:
            msg = "sequences of several lengths make no array of their steps; write .jsonl or .csv, or --reads last."
            raise ArgumentError(msg)
        if form in {"jsonl", "parquet"} and label is None and self.form == "text":
            held = "JSON Lines hold an object" if form == "jsonl" else "Parquet holds a row"
            msg = f"{held} for each sequence, and a text is one; give --lines, or write .txt or .csv."
            raise ArgumentError(msg)
        if form in DELIMITERS:
            return TableOutput(self._file, shape, DELIMITERS[form])
        kinds: dict[str, type[RowsOutput | TextOutput | LinesOutput | ParquetOutput]] = {
            "npy": RowsOutput,
            "text": TextOutput,
            "jsonl": LinesOutput,
            "parquet": ParquetOutput,
        }
        return kinds[form](self._file, shape)

    def _progress(self, total: int | None, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        return progress(str(self.request.input), total, unit, quiet=self.request.quiet)

    def _close(self) -> None:
        if isinstance(self._output, Output):
            self._output.close()

    def _report(self) -> Report:
        request, vocabulary = self.request, self.placed.vocabulary
        target = None if not request.is_written else "-" if request.is_to_stdout else str(request.output)
        return Report(
            model=request.model,
            input=request.input,
            target=target,
            rnn=self.rnn,
            walk=self.walk,
            output=self._output,
            unit="step" if vocabulary is None or self.form in ARRAYS else vocabulary.unit,
            is_next=self._is_next,
            read_as=self._read_as,
            is_array=self.form in ARRAYS,
            is_batch=self._label is not None,
        )


def _axes(call: ChunkedCall) -> str:
    """Return how the axes of an input are read."""
    steps = ["seq_len"] if not call.is_batch else ["batch", "seq_len"] if call.axis else ["seq_len", "batch"]
    return f"({', '.join(steps)}, ...)"
