"""Parquet of the results of the command `run`, by pyarrow: a row for each sequence."""

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from rnn_backends.cli.running.array_outputs import Output, Part, Shape
from rnn_backends.cli.running.formats import require_parquet
from rnn_backends.cli.running.text_outputs import counted
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.errors import ArgumentError

GROUP = 2**25
"""The bytes of a group of rows, which is held until it is written."""
_ROW = 64
"""The bytes that an id takes, and an array beside its numbers."""


class ParquetOutput(Output):
    """Parquet: the id of each sequence, and its predictions or a list of numbers for each step.

    The bytes depend on the rows alone, not on how they came.
    """

    takes_parts = False

    def __init__(self, file: BinaryIO, shape: Shape) -> None:
        require_parquet()
        self._file, self._shape, self._count, self._held = file, shape, 0, 0
        self._labels: list[int | str] = []
        self._values: list[Any] = []
        self._writer: Any = None
        self._is_text = shape.is_predicted and shape.has_steps and shape.names.vocabulary is not None
        # As far as is known before there is a row
        self._is_named, self._kind = False, np.dtype(np.int64 if shape.is_predicted else np.float32)

    def write(self, part: Part) -> None:
        """Take a row."""
        if not self._count:
            self._is_named = isinstance(part.label, str)
            if not self._shape.is_predicted:  # of half precision few readers of Parquet know
                self._kind = np.result_type(part.values.dtype, np.float32)
        self._labels.append(part.label)
        self._values.append(self._shape.names.text(part.values) if self._is_text else part.values)
        self._held += _ROW + part.values.nbytes
        self._count += 1
        if self._held >= GROUP:
            self._write_group()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        if self._labels or self._writer is None:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        columns = {} if self._shape.label is None else {self._shape.label: self._ids(self._shape.label)}
        columns[self._shape.key] = self._results()
        table = pa.table(columns)
        if self._writer is None:
            self._writer = ParquetWriter(self._file, table.schema, store_schema=False)
        self._writer.write_table(table)
        self._labels, self._values, self._held = [], [], 0

    def _ids(self, name: str) -> Any:
        import pyarrow as pa

        kind = pa.string() if self._is_named else pa.int64()
        try:
            return pa.array(self._labels, kind)
        except (pa.ArrowException, OverflowError) as error:
            msg = (
                f"the ids {shown(name)} are not all {'text' if self._is_named else 'integers of 64 bits'}, as the "
                "first one is, and a column of Parquet is of one type; write .jsonl."
            )
            raise ArgumentError(msg) from error

    def _results(self) -> Any:
        import pyarrow as pa

        if self._is_text:
            return pa.array(self._values, pa.string())
        numbers = np.concatenate(
            [np.empty(0, self._kind), *(np.ravel(each) for each in self._values)], dtype=self._kind
        )
        found = self._named(numbers) if self._shape.is_predicted else pa.array(numbers)
        if not self._shape.is_predicted:
            steps = sum(map(len, self._values)) if self._shape.has_steps else len(self._values)
            found = _lists(found, np.full(steps, len(numbers) // max(steps, 1)))
        return _lists(found, [len(each) for each in self._values]) if self._shape.has_steps else found

    def _named(self, ids: Host) -> Any:
        """Return ids, or the names that they have; null for a step that is left out."""
        import pyarrow as pa

        items, found = self._shape.names.items, pa.array(ids, mask=ids < 0)
        return found if items is None else pa.array(items, pa.string()).take(found)

    def __str__(self) -> str:
        return counted(self._count, "row")


def _lists(values: Any, lengths: Sequence[int] | Host) -> Any:
    """Return values that lie one after another as lists of these lengths."""
    import pyarrow as pa

    return pa.LargeListArray.from_arrays(np.cumsum([0, *lengths]), values)
