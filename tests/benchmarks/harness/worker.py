"""The process that measures on a GPU, one for each number of threads: libraries read it when they are loaded.

It reads a `Task` as JSON from stdin, and writes one JSON object to stdout for each problem: the
measurements, or the error that ends them.  Remarks go to stderr as they come.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.competitors import ON_GPU, distribution_version, prepare
from harness.contestant import AbsentError, Contestant, check, ours_on_gpu
from harness.machine import stay_on
from harness.problem import Drawn, Problem
from harness.table import OF_CUPY
from harness.timing import interleave
from rnn_backends.backends.selection import get_backend, parse
from rnn_backends.cli.bench import environment
from rnn_backends.cli.info import library_version
from rnn_backends.cli.reports import one_line
from rnn_backends.errors import ArgumentError, RNNBackendError

if TYPE_CHECKING:
    from harness.gpu import Gpu

INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Task:
    """The measurements of one process, as JSON can hold them."""

    problems: list[Problem]
    backends: list[str]
    against: list[str]
    threads: int
    seconds: float
    rounds: int

    @classmethod
    def of(cls, held: dict[str, Any]) -> "Task":
        """Return the task that JSON holds."""
        return cls(**held | {"problems": [Problem(**problem) for problem in held["problems"]]})


def main() -> None:
    """Run the task on stdin."""
    task, results = Task.of(json.load(sys.stdin)), sys.stdout
    stay_on(task.threads)
    with redirect_stdout(sys.stderr):  # whatever a library prints
        try:
            gpu = gpu_of(task.backends)
            _require_names(task.backends, task.against)
            for problem in task.problems:
                _note(f"{problem}, {_threads(task.threads)}")
                for cell in measure(problem, task, gpu):
                    results.write(json.dumps(cell) + "\n")
                results.flush()
        except RNNBackendError as error:
            results.write(json.dumps({"error": type(error).__name__, "message": one_line(error)}) + "\n")
        except KeyboardInterrupt:  # the process that started this one reports it
            sys.exit(INTERRUPTED)


def gpu_of(backends: list[str]) -> "Gpu":
    """Return the GPU that the backends are on.

    Raises
    ------
    ArgumentError
        They are not all on one GPU, or on one where nothing can be timed.
    """
    devices = {name: parse(name, "--backend").device for name in backends}
    if len(set(devices.values())) > 1:
        places = ", ".join(f"{name} is on {device}" for name, device in devices.items())
        msg = f"the backends to compare must be on one device: {places}. Measure one device at a time."
        raise ArgumentError(msg)
    device = next(iter(devices.values()))
    if not device.startswith("cuda"):
        msg = (
            f"{backends[0]} is on {device}, which CuPy's events do not time; measure cupy or torch:cuda here, and a CPU "
            "by tests/benchmarks/cpu.py."
        )
        raise ArgumentError(msg)
    get_backend("cupy")  # or raise the reason for which it cannot be used
    from harness.gpu import Gpu

    gpu = Gpu(int(device.partition(":")[2]))
    if any(name.partition(":")[0] == "torch" for name in backends):
        import torch

        gpu.require_stream(torch.cuda.current_stream(gpu.index).cuda_stream)
    return gpu


def measure(problem: Problem, task: Task, gpu: "Gpu") -> Iterator[dict[str, Any]]:
    """Check all contestants of a problem, then time them in turn by both clocks, and check them again.

    Yields
    ------
    dict
        ``seconds`` of a call by contestant and round; ``excess``, the errors in units of the bound;
        ``absent``, the reasons of those that did not take part; and the conditions.
    """
    drawn = Drawn.of(problem)
    others, absent = _others(drawn, task, gpu)
    contestants = [*(ours_on_gpu(backend, drawn) for backend in task.backends), *others]
    errors = _checked(contestants, drawn, gpu)
    taken = {}
    for name, clock in gpu.clocks().items():
        samples = {one.name: clock(one, drawn.inputs) for one in contestants}
        taken[name] = interleave(samples, seconds=task.seconds, rounds=task.rounds)
    if not problem.step:  # in memory that was full of NaN; a stream is further on
        again = _checked(contestants, drawn, gpu)
        errors = {name: max(error, again[name]) for name, error in errors.items()}
    for name, seconds in taken.items():
        yield {
            "problem": asdict(problem),
            "threads": task.threads,
            "environment": _environment(),
            "ours": task.backends,
            "seconds": seconds,
            "excess": errors,
            "absent": absent,
            "versions": _versions(task.backends, others),
            "clock": name,
            "device": gpu.about(),
            "launch_bound": sorted(gpu.launch_bound),
        }


def _require_names(backends: Sequence[str], against: Sequence[str]) -> None:
    """Check that no backend has the name of a competitor, under which both would be measured."""
    if twice := sorted(set(backends) & set(against)):
        msg = f"{twice[0]!r} is a backend and a competitor; write --backend {twice[0]}:DEVICE, or leave it out of --against."
        raise ArgumentError(msg)


def _checked(contestants: list[Contestant], drawn: Drawn, gpu: "Gpu") -> dict[str, float]:
    with gpu.device:
        return check(contestants, drawn)


def _environment() -> dict[str, str]:
    """Return the variables that matter, as far as they are set."""
    names = (*sorted(environment(1, {})), *OF_CUPY)
    return {name: os.environ[name] for name in names if name in os.environ}


def _others(drawn: Drawn, task: Task, gpu: "Gpu") -> tuple[list[Contestant], dict[str, str]]:
    """Return the competitors that run a problem, and the reasons of those that do not."""
    ready: list[Contestant] = []
    absent: dict[str, str] = {}
    for name in task.against:
        try:
            ready.append(prepare(name, drawn, task.threads, gpu))
        except AbsentError as error:
            absent[name] = str(error)
    if absent:
        _note("; ".join(f"without {name}: {reason}" for name, reason in absent.items()))
    return ready, absent


def _versions(backends: list[str], others: list[Contestant]) -> dict[str, str]:
    """Return the versions of the libraries that computed; a distribution may have another name than the backend."""
    names = {"numpy", "cupy", *(name.partition(":")[0] for name in backends)}
    found = {name: distribution_version(name) or library_version(get_backend(name)) for name in names}
    found |= {name: distribution_version(name) for other in others for name in ON_GPU[other.name]}
    if "torch" in found:
        from torch.backends import cudnn

        found["cudnn"] = str(cudnn.version())
    return {name: version for name, version in sorted(found.items()) if version is not None}


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _note(text: str) -> None:
    sys.stderr.write(f"rnn-backends: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
