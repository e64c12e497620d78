"""The number of threads that a call may use."""

import os
from functools import cache
from math import ceil

from rnn_backends.core.messages import shown
from rnn_backends.errors import ArgumentError

VARIABLE = "RNN_NUM_THREADS"
MOST = 65536
_NEW, _OLD = ("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")
"""Files of the second and the first version of control groups: a quota, and the period that it is for."""


@cache
def thread_count() -> int:
    """Return RNN_NUM_THREADS, or the processors that this process may use by its affinity and its container's quota.

    Raises
    ------
    ArgumentError
        The variable is not an integer of 1 to 65536.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return processors()
    if not value.isdecimal() or len(value) > len(str(MOST)) or not 1 <= int(value) <= MOST:
        msg = (
            f"{VARIABLE} must be an integer of 1 to {MOST}; got {shown(value)}. Unset it, and the processors are "
            "counted."
        )
        raise ArgumentError(msg)
    return int(value)


def processors() -> int:
    """Return the processors that this process may use by its affinity and its container's quota."""
    return max(1, int(min(_processors(), ceil(min(_quota(), 1 << 20)))))


if hasattr(os, "register_at_fork"):  # a child may be bound to other processors
    os.register_at_fork(after_in_child=thread_count.cache_clear)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> float:
    """Return the processors that control groups of Linux grant this process, infinity where none sets a limit."""
    least = float("inf")
    for line in _lines(own):
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder, names = (f"{root}/cpu", _OLD) if controllers else (root, _NEW)
        for part in ["", *group.split("/")]:  # a group has no more than those that it is in
            folder = f"{folder}/{part}" if part else folder
            words = [word for name in names for line in _lines(f"{folder}/{name}") for word in line.split()]
            if len(words) == 2 and all(map(str.isdecimal, words)) and int(words[1]) > 0:
                least = min(least, int(words[0]) / int(words[1]))
    return least


def _lines(path: str) -> list[str]:
    """Return the lines of a file, none where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib takes longer to import than all else here
            return file.read().splitlines()
    except OSError:
        return []
