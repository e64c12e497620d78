"""Output of the command `run`: arrays, text and tables, written as the results come."""

from math import prod
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
from numpy.lib import format as npy

from rnn_backends.cli.running.names import Names
from rnn_backends.core.arrays import Host


class Part(NamedTuple):
    """Results of a sequence: those of some of its steps, or the one that it has as a whole."""

    label: int | str
    start: int
    values: Host


class Shape(NamedTuple):
    """The kind of results that an output is to hold."""

    what: str
    """Predictions, probabilities, log-probabilities, logits, outputs or hidden states."""
    label: str | None
    """The name of the ids of the sequences; None for one sequence without an id."""
    has_steps: bool
    names: Names

    @property
    def is_predicted(self) -> bool:
        """Whether the results are ids of outputs."""
        return self.what == "predictions"

    @property
    def key(self) -> str:
        """The name of the results of a sequence."""
        one = {"predictions": "prediction", "hidden states": "hidden_state"}
        what = self.what if self.has_steps else one.get(self.what, self.what)
        return what.replace(" ", "_").replace("-", "_")


class Output:
    """An output that takes the results of one sequence after another."""

    takes_parts: ClassVar[bool]
    """Whether it takes the steps of a sequence in parts."""
    _file: BinaryIO

    def write(self, part: Part) -> None:
        """Write results."""
        raise NotImplementedError

    def flush(self) -> None:
        """Let readers have what is written."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left."""


class ArrayOutput:
    """A .npy file, the same as `numpy.save` would write, of an array that comes in chunks of time.

    Parameters
    ----------
    file : binary file
        Open for writing, and empty.
    shape : tuple of int
        The first axes of the whole array, (seq_len, batch), (batch, seq_len) or (seq_len,).
    axis : int
        Which of them is time.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], axis: int) -> None:
        self._file, self._shape, self._axis = file, shape, axis
        self._data = 0  # where the header ends
        self._dtype = ""

    def write(self, start: int, chunk: Host) -> None:
        """Write the steps from `start` on to their place; the first chunk gives the other axes and the dtype."""
        if not self._data:
            self._shape = (*self._shape, *chunk.shape[len(self._shape) :])
            self._dtype = str(chunk.dtype)
            self._data = write_header(self._file, self._shape, chunk.dtype)
        step = prod(self._shape[self._axis + 1 :]) * chunk.itemsize
        for index, sequences in enumerate(chunk if self._axis else chunk[None]):
            self._file.seek(self._data + (index * self._shape[self._axis] + start) * step)
            self._file.write(np.ascontiguousarray(sequences).data)

    def __str__(self) -> str:
        return f"shape {self._shape}, {self._dtype}"


class WholeOutput:
    """A .npy file of an array without an axis of time, which comes whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._written = file, ""

    def write(self, _: int, array: Host) -> None:
        """Write the array, row by row as `ArrayOutput` does."""
        npy.write_array(self._file, np.asarray(array, order="C"), allow_pickle=False)
        self._written = f"shape {array.shape}, {array.dtype}"

    def __str__(self) -> str:
        return self._written


class RowsOutput(Output):
    """A .npy file of rows, whose number is known at the end: of the steps of a text, or one for each sequence."""

    takes_parts = True

    def __init__(self, file: BinaryIO, shape: Shape) -> None:
        self._file, self._has_steps = file, shape.has_steps
        self._dtype, self._row, self._count, self._data = np.dtype("f4"), (), 0, 0

    def write(self, part: Part) -> None:
        """Write a row for each step, or for the sequence."""
        rows = part.values if self._has_steps else part.values[None]
        if not self._data:
            self._dtype, self._row = rows.dtype, rows.shape[1:]
            self._data = write_header(self._file, (0, *self._row), self._dtype)
        self._file.write(np.ascontiguousarray(rows).data)
        self._count += len(rows)

    def close(self) -> None:
        """Write how many rows there are, in the place that NumPy leaves for that."""
        self._file.seek(0)
        end = write_header(self._file, (self._count, *self._row), self._dtype)
        assert end == (self._data or end)
        self._file.seek(0, 2)

    def __str__(self) -> str:
        return f"shape {(self._count, *self._row)}, {self._dtype}"


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> int:
    """Write the header of a .npy file, and return where it ends."""
    npy.write_array_header_1_0(file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    return file.tell()


AnyOutput = ArrayOutput | WholeOutput | Output
