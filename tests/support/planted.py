"""Contestants on the stand-in that lie, break, hang and die: `python -m planted MAKER THREADS BACKEND`."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cuda_standin
import pytest

CHECKED = 3
"""The calls before anything is timed."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def give_up() -> None:
    msg = "out of patience"
    raise RuntimeError(msg)


PLANTED: dict[str, tuple[int, Callable[[], object]]] = {
    "raises": (0, give_up),
    "dies": (0, die),
    **dict.fromkeys(("hangs", "hangs, too"), (0, lambda: time.sleep(60))),
    "dies later": (CHECKED + 4, die),
}
"""What a contestant does at a call after so many."""


def planted(name: str, contestant: Any) -> Any:
    """Return a contestant with the fault that its name says."""
    calls = 0

    def call(x: Any) -> Any:
        nonlocal calls
        calls += 1
        if name in PLANTED and calls > PLANTED[name][0]:
            PLANTED[name][1]()
        result = contestant.call(x)
        is_wrong = name == "lies" or (name == "lies later" and calls > CHECKED)
        return result + 1e-3 if is_wrong else result

    return replace(contestant, name=name, call=call)


def prepare(name: str, drawn: Any, _: int, gpu: Any) -> Any:
    """Return a contestant, in place of what makes all competitors."""
    from harness.contestant import ours_on_gpu

    return planted(name, ours_on_gpu(f"cupy:{gpu.index}", drawn))


def main() -> None:
    with cuda_standin.installed(with_torch=False), pytest.MonkeyPatch.context() as patch:
        if sys.argv[1] == "does not begin":
            die()
        from harness import gpu_child

        patch.setattr(gpu_child, "prepare", prepare)
        gpu_child.main()


if __name__ == "__main__":
    main()
