"""The steps of an array in an .npy file, read as they are used.

The file is not mapped into memory: the system kills a process that touches a map of a file that has become shorter.
"""

from math import prod

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.stored import Stored
from rnn_backends.formats.npy import Header
from rnn_backends.formats.source import Source


class Steps(Stored):
    """An array in a file.

    Parameters
    ----------
    source : Source
        What an array in a file begins with, and the array.
    header : Header
    most : int
        The bytes that are read at once, and kept, of steps that do not lie in one piece: these are many short ones.
    """

    def __init__(self, source: Source, header: Header, most: int) -> None:
        self._stored = np.dtype(header.dtype)
        super().__init__(header.shape, self._stored.newbyteorder("="))
        self._source, self._start, self._is_turned = source, header.start, header.fortran_order
        self._most = most
        self._held: tuple[int, int, int, Host] | None = None

    def steps(self, start: int, stop: int, axis: int) -> Host:
        """Return some steps, of which the axis is given."""
        if self._is_in_one_piece(axis):
            return self._read(start, stop, axis)
        if self._held is None or self._held[0] != axis or not self._held[1] <= start <= stop <= self._held[2]:
            self._held = None  # or both would be held
            count = max(1, self._most * self.shape[axis] // max(1, self._stored.itemsize * prod(self.shape)))
            last = min(self.shape[axis], max(stop, start + count))
            self._held = axis, start, last, self._read(start, last, axis)
        _, first, _, held = self._held
        part = held[:, start - first : stop - first] if axis else held[start - first : stop - first]
        return part.copy()  # what is kept may be dropped by then

    def whole(self) -> Host:
        """Return the array."""
        flat = self._source.block(self._start, prod(self.shape), self._stored)
        found: Host = flat.reshape(self.shape, order="F" if self._is_turned else "C")
        return found.astype(self.dtype, copy=False)

    def _is_in_one_piece(self, axis: int) -> bool:
        before = self.shape[axis + 1 :] if self._is_turned else self.shape[:axis]
        return prod(before) == 1

    def _read(self, start: int, stop: int, axis: int) -> Host:
        # An array column by column is its transpose row by row.
        shape = self.shape[::-1] if self._is_turned else self.shape
        place = len(shape) - 1 - axis if self._is_turned else axis
        count, rest = shape[place], prod(shape[place + 1 :])
        pieces = prod(shape[:place])
        found = np.empty((pieces, (stop - start) * rest), self._stored)
        octets = found.view(np.uint8)
        for number in range(pieces):
            begin = (number * count + start) * rest * self._stored.itemsize
            self._source.fill(self._start + begin, octets[number].data)
        found = found.reshape(*shape[:place], stop - start, *shape[place + 1 :])
        found = found.T if self._is_turned else found
        return found.astype(self.dtype, copy=False)
