"""The steps of an array in an .npy file, read as they are used.

The file is not mapped into memory: the system kills a process that touches a map of a file that has become shorter.
"""

from math import prod

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.stored import Stored, steps_of
from rnn_backends.formats.npy import Header
from rnn_backends.formats.source import Source

_PIECE = 2**14
"""The bytes that a piece has if there is memory for it; each costs a call of the system."""


class Steps(Stored):
    """An array in a file.

    Parameters
    ----------
    source : Source
        What an array in a file begins with, and the array.
    header : Header
    most : int
        The most bytes that are read at once, and kept, of steps that lie in many short pieces.
    """

    def __init__(self, source: Source, header: Header, most: int) -> None:
        self._stored = np.dtype(header.dtype)
        super().__init__(header.shape, self._stored.newbyteorder("="))
        self._source, self._start, self._is_turned = source, header.start, header.fortran_order
        self._most = most
        self._held: tuple[int, int, int, Host] | None = None

    def steps(self, start: int, stop: int, axis: int) -> Host:
        """Return some steps, of which the axis is given."""
        shape, place = self._rows(axis)
        if prod(shape[:place]) == 1:
            return self._read(start, stop, axis)
        if self._held is None or self._held[0] != axis or not self._held[1] <= start <= stop <= self._held[2]:
            self._held = None  # or both would be held
            wanted = _PIECE // (self._stored.itemsize * prod(shape[place + 1 :]))
            room = self._most * shape[place] // (self._stored.itemsize * prod(shape))
            count = max(1, min(wanted, room) // (stop - start)) * (stop - start)
            last = min(shape[place], start + count)
            self._held = axis, start, last, self._read(start, last, axis)
        _, first, _, held = self._held
        return steps_of(held, start - first, stop - first, axis)  # type: ignore[no-any-return]

    def whole(self) -> Host:
        """Return the array."""
        flat = self._source.block(self._start, prod(self.shape), self._stored)
        found: Host = flat.reshape(self.shape, order="F" if self._is_turned else "C")
        return found.astype(self.dtype, copy=False)

    def _rows(self, axis: int) -> tuple[tuple[int, ...], int]:
        """Return the shape row by row, and the place of an axis in it: column by column is the transpose of that."""
        return (self.shape[::-1], len(self.shape) - 1 - axis) if self._is_turned else (self.shape, axis)

    def _read(self, start: int, stop: int, axis: int) -> Host:
        shape, place = self._rows(axis)
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
