"""Whether a file is written to while it is read, as far as a system can tell.

A file that is replaced, as `RNN.save` does it, is read as it was.  One that is rewritten in place shows it by its time
of modification, which has two gaps: it is no finer than the tick of a clock, and it is set when a write begins, before
the bytes are there.  So of a file that was modified a moment ago, the tick is waited for, and some of its bytes are
compared after it was read; any other costs two calls of the system.
"""

import io
import os
import sys
import time

_RECENT = 2_500_000_000
"""Nanoseconds; the times of FAT, the coarsest, are two seconds apart."""
_TICK = 20_000_000
"""Nanoseconds; the ticks of the clocks that file systems take times from are 1 to 16 ms."""
_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE of Linux, which a file system takes its times from; Python has no name for it."""
_SAMPLE, _MOST = 64, 1024
_WHOLE = 2**18
"""A file of fewer bytes is compared whole, a larger one by samples."""


class Seen:
    """A file as it is before it is read."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.found = os.fstat(file.fileno())
        self._samples: list[bytes] | None = None
        if abs(time.time_ns() - self.found.st_mtime_ns) < _RECENT:
            self.found = _settled(file, self.found)
            self._samples = _samples(file, self.found.st_size)

    def change(self) -> str | None:
        """Return how the file has changed since; None where nothing shows that it has."""
        before, after = self.found, os.fstat(self._file.fileno())
        if after.st_size < before.st_size:
            return "became shorter" if after.st_size else "was emptied"
        same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if same and (self._samples is None or self._samples == _samples(self._file, after.st_size)):
            return None
        return "was written to"


def _settled(file: io.FileIO, found: os.stat_result) -> os.stat_result:
    """Return the state of a file after the tick of its last modification: the next one has a later time."""
    end = time.monotonic_ns() + 2 * _TICK
    while 0 <= (left := found.st_mtime_ns - _clock()) <= _TICK and time.monotonic_ns() < end:
        time.sleep((left + 1_000_000) / 1e9)
        found = os.fstat(file.fileno())
    return found


def _clock() -> int:
    """Return a time that is later than the modifications that a later one could be mistaken for."""
    if sys.platform == "linux":
        return time.clock_gettime_ns(_COARSE_CLOCK)
    return time.time_ns() - _TICK


def _samples(file: io.FileIO, size: int) -> list[bytes]:
    """Return some bytes of a file, from its beginning to its end."""
    if size <= _WHOLE:
        file.seek(0)
        return [file.read(size)]
    found = []
    for place in range(_MOST + 1):
        file.seek(place * (size - _SAMPLE) // _MOST)
        found.append(file.read(_SAMPLE))
    return found
