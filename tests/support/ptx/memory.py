"""Memories: every access is held against the arrays that are there, and against those of other threads."""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

UNSIGNED: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
GRAIN = 2
"""The bytes of which it is known who accessed them: those of the smallest number."""

NOBODY, SEVERAL, RELAXED = -1, -2, -3
"""Who accessed a grain, where that is not the one thread whose number is there; relaxed accesses are all alike."""


class PtxError(AssertionError):
    """An access or a wait that a kernel must not make."""


class Range(NamedTuple):
    """Where an array lies, and whether it may be written."""

    start: int
    end: int
    is_written: bool


class Memory:
    """Ranges of bytes.  `data` are all from the address `base` on, those between the ranges included."""

    def __init__(self, data: Any, base: int, ranges: Sequence[Range]) -> None:
        self.data, self.base = data, base
        self.starts = np.array([each.start for each in ranges], np.int64)
        self.ends = np.array([each.end for each in ranges], np.int64)
        self.is_written = np.array([each.is_written for each in ranges], bool)
        self.grains = np.concatenate([[0], np.cumsum(-((self.starts - self.ends) // GRAIN))])
        self.writer = np.full(self.grains[-1], NOBODY, np.int32)
        self.reader = self.writer.copy()

    def range_of(self, addresses: Any) -> Any:
        """Return the number of the range in which an address lies if it lies in any."""
        return np.maximum(np.searchsorted(self.starts, addresses, side="right") - 1, 0)

    def load(self, addresses: Any, size: int, count: int, threads: Any, ranges: Any, is_relaxed: bool = False) -> Any:
        """Return for each thread so many neighbouring numbers of so many bytes, as unsigned integers."""
        self.check(addresses, size * count, ranges, "load")
        if self.is_written[ranges].any():
            self.note_load(*self.accessed(addresses, size * count, threads, ranges, is_relaxed))
        return self.data.view(UNSIGNED[size])[((addresses - self.base) // size)[:, None] + np.arange(count)]

    def store(self, addresses: Any, values: Any, threads: Any, ranges: Any, is_relaxed: bool = False) -> None:
        """Store a row of unsigned integers for each thread."""
        size, count = values.itemsize, values.shape[1]
        self.check(addresses, size * count, ranges, "store")
        if not self.is_written[ranges].all():
            msg = "a store to an array that is only read"
            raise PtxError(msg)
        self.note_store(*self.accessed(addresses, size * count, threads, ranges, is_relaxed))
        self.data.view(UNSIGNED[size])[((addresses - self.base) // size)[:, None] + np.arange(count)] = values

    def check(self, addresses: Any, nbytes: int, ranges: Any, access: str) -> None:
        if (addresses % nbytes).any():
            msg = f"a misaligned {access} of {nbytes} bytes"
            raise PtxError(msg)
        outside = (addresses < self.starts[ranges]) | (addresses + nbytes > self.ends[ranges])
        if outside.any():
            msg = f"a {access} outside of every array, by {outside.sum()} threads"
            raise PtxError(msg)

    def accessed(self, addresses: Any, nbytes: int, threads: Any, ranges: Any, is_relaxed: bool) -> tuple[Any, Any]:
        """Return the grains that each thread accesses, and as whom."""
        first = self.grains[ranges] + (addresses - self.starts[ranges]) // GRAIN
        grains = first[:, None] + np.arange(max(1, nbytes // GRAIN))
        me = np.int32(RELAXED) if is_relaxed else threads[:, None].astype(np.int32)
        return grains, np.broadcast_to(me, grains.shape)

    def note_load(self, grains: Any, me: Any) -> None:
        self.refuse(self.writer[grains], me, "a load of what another thread has stored")
        before = self.reader[grains]
        now = np.where((before == NOBODY) | (before == me), me, np.int32(SEVERAL))
        self.reader[grains] = now
        self.reader[grains[self.reader[grains] != now]] = SEVERAL  # threads that load one grain at once

    def note_store(self, grains: Any, me: Any) -> None:
        self.refuse(self.writer[grains], me, "a store over what another thread has stored")
        self.refuse(self.reader[grains], me, "a store over what another thread has loaded")
        self.writer[grains] = me
        self.refuse(self.writer[grains], me, "stores of two threads at once")

    @staticmethod
    def refuse(others: Any, me: Any, what: str) -> None:
        if ((others != NOBODY) & (others != me)).any():
            msg = f"a race: {what}, without a barrier in between"
            raise PtxError(msg)

    def forget(self, number: int) -> None:
        """Forget who accessed a range: a barrier puts all that was before it in order."""
        grains = slice(self.grains[number], self.grains[number + 1])
        self.writer[grains] = self.reader[grains] = NOBODY


def of_arrays(arrays: Iterable[tuple[Any, bool]]) -> Memory:
    """Return the memory of this process, of which a kernel may access some arrays and write those marked so."""
    ranges: list[Range] = []
    for array, is_written in sorted(arrays, key=lambda each: int(each[0].ctypes.data)):
        start = array.ctypes.data
        new = Range(start, start + array.nbytes, is_written)
        if ranges and start < ranges[-1].end:  # two views of one array
            last = ranges.pop()
            new = Range(last.start, max(last.end, new.end), last.is_written or is_written)
        ranges.append(new)
    base = ranges[0].start // 16 * 16
    room = (ctypes.c_uint8 * (-(-(ranges[-1].end - base) // 16) * 16)).from_address(base)
    return Memory(np.ctypeslib.as_array(room), base, ranges)


def of_bytes(data: bytes) -> Memory:
    """Return a memory of its own that begins at 0 and is only read."""
    return Memory(np.frombuffer(data + bytes(-len(data) % 16), np.uint8), 0, [Range(0, len(data), is_written=False)])


def of_blocks(blocks: int, nbytes: int, base: int) -> Memory:
    """Return the shared memories of blocks, one range each: the first begins at `base`, and all as NaN."""
    pitch = -(-nbytes // 16) * 16
    starts = range(base, base + blocks * pitch, pitch) if nbytes else [base] * blocks
    data = np.full(blocks * pitch, 0xFF, np.uint8)
    return Memory(data, base, [Range(start, start + nbytes, is_written=True) for start in starts])
