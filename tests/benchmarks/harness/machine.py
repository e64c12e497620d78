"""The machine that measures, and the process that does."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

import rnn_backends


def about() -> dict[str, Any]:
    """Return the machine and the versions that a reader of the figures must know, as JSON can hold them."""
    return {
        "rnn_backends": rnn_backends.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "processors": processors(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # of others, if nothing was measured yet
    }


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(allowed())


def allowed() -> list[int]:
    """Return the numbers of these processors."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))


def instructions() -> list[str]:
    """Return NumPy's names of the instruction sets that it was built for, that this processor has and may lack."""
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return found


def cpu_name() -> str:
    """Return the name of the processor that Linux gives, or the one that Python knows."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        known = []
    names = [line.partition(":")[2].strip() for line in known if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def stay_on(count: int) -> None:
    """Keep all threads of this process to some processors, as many as it may have threads."""
    if sys.platform == "linux":
        kept = allowed()[:count]
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), kept)
