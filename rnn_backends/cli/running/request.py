"""The request of the command `run`, checked before anything is read."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from rnn_backends.cli.loading import Loading
from rnn_backends.cli.paths import is_same
from rnn_backends.cli.running.formats import ARRAYS, OUTPUTS, TABLES, WRITTEN, format_of, require_parquet
from rnn_backends.cli.running.streams import STDIN
from rnn_backends.core.messages import shown_path

STDOUT = Path("-")
UNREAD = (".json", ".gz", ".bz2", ".xz", ".zip", ".xlsx", ".hdf5", ".mat", ".pkl", ".pickle", ".wav")
"""Suffixes of files that are neither text nor tables nor arrays that are read."""


@dataclass(frozen=True, kw_only=True)
class Request(Loading):
    """Arguments of `run`; an `argparse.ArgumentError` where they do not go together."""

    input: Path
    input_format: str | None = None
    lines: bool = False
    id: str | None = None
    x: tuple[str, ...] | None = None
    targets: str | None = None
    lengths: list[list[int]] | None = None
    reads: str | None = None
    backend: str | None = None
    output: Path | None = None
    output_format: str | None = None
    predictions: bool = False
    json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.input_format is None and self.input.suffix.lower() in UNREAD:
            msg = (
                f"files named {self.input.suffix} are not read, but .npy, .npz, .csv, .tsv, .jsonl, .parquet and text; "
                f"convert '{shown_path(self.input)}', or name what it is by --from"
            )
            raise argparse.ArgumentError(None, msg)
        if self.form is not None:
            self.require_fitting(self.form)
        if problem := self._problem_of_output():
            raise argparse.ArgumentError(None, problem)
        if "parquet" in {self.form, self.is_written and self.output_form(self.form or "text")}:
            require_parquet()

    @property
    def form(self) -> str | None:
        """The format of the input; None where it is known from what stdin brings."""
        return self.input_format or (None if self.input == STDIN else format_of(self.input) or "text")

    @property
    def is_written(self) -> bool:
        """Whether results are to be written."""
        return self.output is not None or self.predictions or self.output_format is not None

    @property
    def is_to_stdout(self) -> bool:
        """Whether results go to stdout."""
        return self.is_written and self.output in {None, STDOUT}

    def output_form(self, form: str) -> str:
        """Return the format of the output: the one that is named, that of its suffix, or that of the input.

        Rows of Parquet, which no terminal shows, are JSON Lines on stdout.
        """
        if self.output_format is not None:
            return self.output_format
        if not self.is_to_stdout and self.output is not None:
            return format_of(self.output) or ""
        return "jsonl" if form == "parquet" else form if form in TABLES else "text"

    def require_fitting(self, form: str) -> None:
        """Check that the options are for a format of the input."""
        for name, given, forms, what in (
            ("--lengths", self.lengths is not None, ARRAYS, "a batch of arrays"),
            ("--lines", self.lines, ("text",), "text"),
            ("--id", self.id is not None, TABLES, "tables"),
            ("--x", self.x is not None, TABLES, "tables"),
            ("--targets", self.targets is not None, TABLES, "tables"),
        ):
            if given and form not in forms:
                msg = f"{name} is for {what}, and the input is {form}; leave it out, or name the format by --from"
                raise argparse.ArgumentError(None, msg)

    def _problem_of_output(self) -> str | None:
        if not self.is_written:
            return None
        form, name = self.output_form(self.form or "text"), shown_path(self.output or STDOUT)
        named = None if self.is_to_stdout or self.output is None else format_of(self.output)
        if self.output_format is not None and named not in {None, self.output_format}:
            return f"--to {self.output_format} and the name '{name}' are of two formats; leave out one"
        if form not in OUTPUTS:
            return (
                f"the suffix of --output must be one of {', '.join(WRITTEN)}; got '{name}'; or name the format by --to"
            )
        if form == "text" and not self.predictions:
            if self.is_to_stdout and self.output_format is None:
                return "--output - writes predictions, or another format than text; add --predictions, or --to csv"
            return "text can hold predictions only; add --predictions, or write .npy, .csv or .jsonl"
        if form in {"npy", "parquet"} and self.is_to_stdout and sys.stdout and sys.stdout.isatty():
            return f"the .{form} format is nothing for a terminal; give --output FILE, or --to csv"
        for path, what in ((self.input, "input"), (self.model, "model")):
            if not self.is_to_stdout and is_same(self.output, path):
                return f"--output would overwrite the {what} '{shown_path(path)}'; choose another name"
        return None
