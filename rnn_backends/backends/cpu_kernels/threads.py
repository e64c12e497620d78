"""The number of threads that a call may use."""

import os
from functools import cache
from math import ceil

from rnn_backends.errors import ArgumentError

VARIABLE = "RNN_NUM_THREADS"
MOST = 65536


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
        return max(1, int(min(_processors(), ceil(min(_quota(), 1 << 20)))))
    if not value.isdecimal() or len(value) > len(str(MOST)) or not 1 <= int(value) <= MOST:
        msg = f"{VARIABLE} must be an integer of 1 to {MOST}; got {value!r}. Unset it, and the processors are counted."
        raise ArgumentError(msg)
    return int(value)


if hasattr(os, "register_at_fork"):  # a child may be bound to other processors
    os.register_at_fork(after_in_child=thread_count.cache_clear)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: str | os.PathLike[str] = "/sys/fs/cgroup") -> float:
    """Return the processors that a control group of Linux grants, infinity where it sets no limit."""
    for quota, period in (("cpu.max", ""), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = [word for name in (quota, period) if name for word in _words(f"{root}/{name}")]
        except OSError:
            continue
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]) > 0:
            return int(words[0]) / int(words[1])
    return float("inf")


def _words(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib takes longer to import than all else here
        return file.read().split()
