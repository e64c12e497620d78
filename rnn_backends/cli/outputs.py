"""Output files of the command `run`: an array or text, written chunk by chunk, or an array that comes whole."""

from math import prod
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.arrays import Host
from rnn_backends.model.chunk import Chunk, largest, probabilities
from rnn_backends.model.rnn import RNN
from rnn_backends.model.vocabulary import Vocabulary

SHOWN = 20
"""The results of sequences that are printed."""


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
            descr = npy.dtype_to_descr(chunk.dtype)
            header = {"descr": descr, "fortran_order": False, "shape": self._shape}
            npy.write_array_header_1_0(self._file, header)
            self._data = self._file.tell()
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


class TextOutput:
    """A text, of predicted ids that come in chunks of time."""

    def __init__(self, file: BinaryIO, vocabulary: Vocabulary) -> None:
        self._file, self._vocabulary, self._count = file, vocabulary, 0

    def write(self, _: int, chunk: Host) -> None:
        """Write the characters of the next steps, or their words, each with a space before it but the first."""
        between = " " if self._vocabulary.unit == "word" and self._count and chunk.size else ""
        self._file.write(f"{between}{self._vocabulary.decode(chunk)}".encode())
        self._count += chunk.size

    def __str__(self) -> str:
        return f"{self._count} predicted {self._vocabulary.unit}s"


class Likeliest:
    """The first results of sequences that are read as a whole, to be printed: the likeliest ids, or single outputs."""

    def __init__(self, rnn: RNN) -> None:
        self._rnn, self._shown = rnn, ""
        self.label = "likeliest ids" if rnn.placed.network.readout[-1].output_size > 1 else "outputs"

    def write(self, chunk: Chunk) -> None:
        """Keep the first results."""
        with self._rnn.placed.on_device():
            if self.label == "outputs":
                numbers = to_numpy(probabilities(self._rnn.placed.network.readout[-1], chunk)).reshape(-1)
                found = [f"{number:.6g}" for number in numbers[:SHOWN].tolist()]
            else:
                numbers = to_numpy(largest(chunk)).reshape(-1)
                found = [str(number) for number in numbers[:SHOWN].tolist()]
        self._shown = " ".join([*found, *(["..."] if numbers.size > SHOWN else [])])

    def __str__(self) -> str:
        return self._shown
