"""The process that measures, one for each number of threads: libraries read it when they are loaded.

It reads a `Task` as JSON from stdin, and writes one JSON object to stdout for each problem: what was
measured, or why nothing more can be.  Remarks go to stderr as they come.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rnn_backends.backends.selection import get_backend
from rnn_backends.commands.benchmark.competitors import LIBRARIES, distribution_version, prepare
from rnn_backends.commands.benchmark.contestant import AbsentError, Contestant, check, ours
from rnn_backends.commands.benchmark.problem import Drawn, Problem
from rnn_backends.commands.benchmark.timing import interleave
from rnn_backends.commands.info import library_version
from rnn_backends.commands.reports import one_line
from rnn_backends.errors import RNNBackendError

COUNTED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
INTERRUPTED = 130
DEFAULT_BACKENDS = ("numpy", "numba")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one process is to measure; JSON can hold it."""

    problems: list[Problem]
    backends: list[str] | None
    against: list[str]
    threads: int
    seconds: float
    rounds: int

    @classmethod
    def of(cls, held: dict[str, Any]) -> "Task":
        """Return the task that JSON holds."""
        return cls(**held | {"problems": [Problem(**problem) for problem in held["problems"]]})


def environment(threads: int, outside: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process in which every library uses a number of threads (XLA counts NPROC)."""
    several = str(threads > 1).lower()
    flags = f"--xla_cpu_multi_thread_eigen={several} intra_op_parallelism_threads={threads}"
    return {**outside, **dict.fromkeys(COUNTED, str(threads)), "XLA_FLAGS": flags}


def main() -> None:
    """Measure what stdin asks for."""
    task, results = Task.of(json.load(sys.stdin)), sys.stdout
    _stay_on(task.threads)
    with redirect_stdout(sys.stderr):  # whatever a library prints
        try:
            backends = _working(task.backends)
            for problem in task.problems:
                _tell(f"{problem}, {_threads(task.threads)}")
                results.write(json.dumps(measure(problem, backends, task)) + "\n")
                results.flush()
        except RNNBackendError as error:
            results.write(json.dumps({"error": type(error).__name__, "message": one_line(error)}) + "\n")
        except KeyboardInterrupt:  # the process that started this one tells
            sys.exit(INTERRUPTED)


def measure(problem: Problem, backends: list[str], task: Task) -> dict[str, Any]:
    """Check all contestants of a problem, then time them in turn.

    Returns
    -------
    dict
        ``seconds`` of a call by contestant and round; ``excess``, the errors in units of the bound;
        ``absent``, the reasons of who did not take part; and what was measured how.
    """
    drawn = Drawn.of(problem)
    others, absent = _others(drawn, task)
    contestants = [*(ours(backend, drawn) for backend in backends), *others]
    errors = check(contestants, drawn)
    seconds = interleave(contestants, drawn.inputs, seconds=task.seconds, rounds=task.rounds)
    return {
        "problem": asdict(problem),
        "threads": task.threads,
        "environment": {name: os.environ[name] for name in sorted(environment(task.threads, {})) if name in os.environ},
        "ours": backends,
        "seconds": seconds,
        "excess": errors,
        "absent": absent,
        "versions": _versions(backends, others),
    }


def _others(drawn: Drawn, task: Task) -> tuple[list[Contestant], dict[str, str]]:
    """Return the competitors that run a problem, and the reasons of those that do not."""
    ready: list[Contestant] = []
    absent: dict[str, str] = {}
    for name in task.against:
        try:
            ready.append(prepare(name, drawn, task.threads))
        except AbsentError as error:
            absent[name] = str(error)
    if absent:
        _tell("; ".join(f"without {name}: {reason}" for name, reason in absent.items()))
    return ready, absent


def _working(backends: list[str] | None) -> list[str]:
    """Return the backends to time: those that were named, or those of the default that are there."""
    if backends is not None:
        return backends
    working = []
    for name in DEFAULT_BACKENDS:
        try:
            get_backend(name)
        except RNNBackendError as error:
            _tell(f"without the backend {name}: {one_line(error)}")
        else:
            working.append(name)
    return working


def _versions(backends: list[str], others: list[Contestant]) -> dict[str, str]:
    """Return the versions of what computed; a backend's library may be of a distribution of another name."""
    names = {name.partition(":")[0] for name in backends}
    found = {name: distribution_version(name) or library_version(get_backend(name)) for name in {"numpy", *names}}
    found |= {name: distribution_version(name) for other in others for name in LIBRARIES[other.name]}
    return {name: version for name, version in sorted(found.items()) if version is not None}


def _stay_on(processors: int) -> None:
    """Keep this process to as many processors as it may have threads, whoever starts them, or has done so."""
    if sys.platform == "linux":
        allowed = sorted(os.sched_getaffinity(0))[:processors]
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), allowed)


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _tell(text: str) -> None:
    sys.stderr.write(f"rnn-backends: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
