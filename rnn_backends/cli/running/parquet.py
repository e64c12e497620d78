"""The rows of Parquet, by pyarrow."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import RawIOBase
from typing import Any

import numpy as np

from rnn_backends.cli.running.formats import require_parquet
from rnn_backends.cli.running.rows import Row
from rnn_backends.cli.running.streams import PIECE, Reader
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import listed, short
from rnn_backends.errors import FormatError
from rnn_backends.formats.source import Source

BYTES, MOST = 2**23, 2**15
"""The bytes, and the most rows, that are unpacked at once."""
_VALUE = 8
"""The bytes of a number, which may be packed in less than a bit."""


class ParquetReader(Reader):
    """A file of Parquet, of which no more is held than some rows, however large its groups of rows are.

    Its size and its position are counted in rows.

    Parameters
    ----------
    source : Source
    name : str
        What errors call it.

    Raises
    ------
    FormatError
        It is no such file, or pyarrow is not installed.
    """

    def __init__(self, source: Source, name: str) -> None:
        require_parquet()
        from pyarrow.parquet import ParquetFile

        source.require_content()
        with _named():
            self._file = ParquetFile(_File(source), buffer_size=PIECE, pre_buffer=False)
        super().__init__(name, iter(()), self._file.metadata.num_rows)

    def rows(self, needed: Callable[[Sequence[str]], list[str]]) -> Iterator[Iterator[Row]]:
        """Yield the rows, those that are unpacked together together.

        Parameters
        ----------
        needed : callable
            Returns the columns to read of those that there are.
        """
        names = self._file.schema_arrow.names
        if len(set(names)) != len(names):
            msg = f"the schema must name each column once; got {listed(names)}."
            raise FormatError(msg)
        chosen = needed(names)
        batches = self._file.iter_batches(self._rows_at_once(), columns=chosen, use_threads=False)
        while True:
            with _named():
                batch = next(batches, None)
            if batch is None:
                return
            columns = [_values(batch.column(name)) for name in chosen]
            begin, self.position = self.position + 1, self.position + batch.num_rows
            rows = zip(*columns, strict=True)
            yield ((number, dict(zip(chosen, row, strict=True))) for number, row in enumerate(rows, begin))

    def _rows_at_once(self) -> int:
        metadata, size = self._file.metadata, 0
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            numbers = sum(group.column(column).num_values for column in range(group.num_columns))
            size += max(group.total_byte_size, _VALUE * numbers)
        return int(max(1, min(MOST, BYTES * metadata.num_rows // max(size, 1))))


class _File(RawIOBase):
    """A source as a file."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source, self._place = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = (0, self._place, self._source.size)[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), self._source.size - self._place))
        self._source.fill(self._place, memoryview(buffer)[:size])
        self._place += size
        return size


@contextmanager
def _named() -> Iterator[None]:
    """Have pyarrow's errors be of this package."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:  # as which Arrow has what it cannot unpack
        msg = f"it is no Parquet, or is damaged: {short(error)}."
        raise FormatError(msg) from error


def _values(column: Any) -> Sequence[Any]:
    """Return the values of a column: numbers and texts of Python, lists of numbers as arrays, None for null."""
    if (numbers := _numbers(column)) is None:
        return _lists(column)
    if numbers.ndim == 1 and not _is_list(column.type):
        return numbers.tolist()  # type: ignore[no-any-return]
    return numbers  # type: ignore[return-value]  # whose rows are arrays


def _lists(column: Any) -> list[Any]:
    from pyarrow.compute import list_value_length

    if _is_list(column.type) and not column.null_count:
        numbers = _numbers(column.flatten())
        if numbers is not None:
            ends = np.cumsum(list_value_length(column).to_numpy(zero_copy_only=False))
            return np.split(numbers, ends[:-1])
    return column.to_pylist()  # type: ignore[no-any-return]


def _numbers(column: Any) -> Host | None:
    """Return numbers, or lists of them that are of one length, as an array; None of anything else."""
    from pyarrow import types
    from pyarrow.compute import list_value_length

    if column.null_count:
        return None
    if types.is_integer(column.type) or types.is_floating(column.type):
        return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    if not _is_list(column.type):
        return None
    lengths, numbers = list_value_length(column).to_numpy(zero_copy_only=False), _numbers(column.flatten())
    if numbers is None or numbers.ndim != 1 or (lengths != lengths[:1]).any():
        return None
    return numbers.reshape(len(lengths), *lengths[:1].tolist())


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))
