"""Text and tables of the results of the command `run`: .txt, .csv and .jsonl, and the first ones to be printed."""

import csv
import json
from collections.abc import Iterable, Sequence
from io import StringIO
from math import prod
from typing import Any, BinaryIO

import numpy as np

from rnn_backends.cli.running.array_outputs import Output, Part, Shape
from rnn_backends.core.arrays import Host

SLICE = 2**16
"""The numbers that are spelled at once; as text they take many times as much memory."""
SHOWN = 20
"""The results of sequences that are printed."""


class TextOutput(Output):
    """Text of predictions, a line for each of several sequences."""

    takes_parts = True

    def __init__(self, file: BinaryIO, shape: Shape) -> None:
        self._file, self._shape, self._count, self._in_line = file, shape, 0, False

    def write(self, part: Part) -> None:
        """Write predictions after one another, and the end of a line after those of a sequence."""
        ids = part.values.reshape(-1)
        between = " " if self._in_line and ids.size and self._shape.names.unit != "character" else ""
        end = "\n" if (self._shape.label is not None or not self._shape.has_steps) else ""
        self._file.write(f"{between}{self._shape.names.text(ids)}{end}".encode())
        self._in_line = not end and (self._in_line or bool(ids.size))
        self._count += ids.size

    def __str__(self) -> str:
        return counted(self._count, f"predicted {self._shape.names.unit}")


class TableOutput(Output):
    """CSV: a row for each step, or for each sequence."""

    takes_parts = True

    def __init__(self, file: BinaryIO, shape: Shape, delimiter: str) -> None:
        self._file, self._shape, self._delimiter, self._count = file, shape, delimiter, -1

    def write(self, part: Part) -> None:
        """Write rows."""
        values = part.values if self._shape.has_steps else part.values[None]
        if self._count < 0:
            self._write_rows([self._head(values)])
            self._count = 0
        before = [] if self._shape.label is None else [part.label]
        size = max(1, SLICE // max(1, prod(values.shape[1:])))
        for first in range(0, len(values), size):
            steps = enumerate(self._cells(values[first : first + size]), part.start + first)
            self._write_rows([*before, *([step] if self._shape.has_steps else []), *row] for step, row in steps)
        self._count += len(values)

    def _cells(self, values: Host) -> list[list[Any]]:
        if self._shape.is_predicted:
            return [[name] for name in self._shape.names.of(values)]
        return values.astype("U32").tolist()  # type: ignore[no-any-return]

    def _write_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        text = StringIO()
        csv.writer(text, delimiter=self._delimiter, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())

    def _head(self, values: Host) -> list[str]:
        before = [] if self._shape.label is None else [self._shape.label]
        before += ["step"] if self._shape.has_steps else []
        if self._shape.is_predicted:
            return [*before, "prediction"]
        width = values.shape[-1]
        items = self._shape.names.items
        if self._shape.what == "hidden states" or items is None or len(items) != width:
            return [*before, *(f"{self._shape.what[0]}{index}" for index in range(width))]
        return [*before, *items]

    def __str__(self) -> str:
        return counted(max(0, self._count), "row")


class LinesOutput(Output):
    """JSON Lines: an object for each sequence."""

    takes_parts = False

    def __init__(self, file: BinaryIO, shape: Shape) -> None:
        self._file, self._shape, self._count = file, shape, 0

    def write(self, part: Part) -> None:
        """Write an object."""
        names = self._shape.names
        found: Any
        if not self._shape.is_predicted:
            found = shortest(part.values)
        elif self._shape.has_steps:
            found = names.of(part.values) if names.vocabulary is None else names.text(part.values)
        else:
            (found,) = names.of(part.values[None])
        before = {} if self._shape.label is None else {self._shape.label: part.label}
        self._file.write(f"{json.dumps({**before, self._shape.key: found}, ensure_ascii=False)}\n".encode())
        self._count += 1

    def __str__(self) -> str:
        return counted(self._count, "object")


class Shown(Output):
    """The first results of sequences that are read as a whole, to be printed: the likeliest ids, or single outputs."""

    takes_parts = False

    def __init__(self, shape: Shape) -> None:
        self._shape, self._found, self._count = shape, list[str](), 0

    def flush(self) -> None:
        """Do nothing: nothing is written."""

    def write(self, part: Part) -> None:
        """Keep the first results."""
        self._count += 1
        if self._count <= SHOWN:
            values = part.values.reshape(-1)
            found = self._shape.names.of(values) if self._shape.is_predicted else [f"{each:.6g}" for each in values]
            self._found += map(str, found)

    @property
    def label(self) -> str:
        """The kind of the results."""
        if not self._shape.is_predicted:
            return "outputs"
        return "likeliest ids" if self._shape.names.items is None else "likeliest"

    @property
    def results(self) -> list[str]:
        """The results as text."""
        return self._found

    def __str__(self) -> str:
        return " ".join([*self._found, *(["..."] if self._count > SHOWN else [])])


def shortest(values: Host) -> Any:
    """Return numbers as lists of the shortest that are read as the same in their dtype, None for what is no number."""
    found = values.astype(np.float64)
    if values.dtype != np.float64:
        for first in range(0, values.size, SLICE):
            part = slice(first, first + SLICE)
            found.reshape(-1)[part] = values.reshape(-1)[part].astype("U32").astype(np.float64)
    if np.isfinite(found).all():
        return found.tolist()
    known: Host = found.astype(object)
    known[~np.isfinite(found)] = None
    return known.tolist()


def counted(count: int, what: str) -> str:
    """Return a number of things."""
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count} {what if count == 1 else plural}"
