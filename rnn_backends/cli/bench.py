"""The command `bench`: how fast this library is, in times of other libraries and of the machine's limit."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rnn_backends
from rnn_backends import errors
from rnn_backends.cli.benchmark.problem import Problem
from rnn_backends.cli.benchmark.table import lines
from rnn_backends.cli.benchmark.timing import ratios
from rnn_backends.cli.benchmark.worker import Task, environment
from rnn_backends.formats.files import replaced

WORKER = "rnn_backends.cli.benchmark.worker"

GRID = (
    (1000, 1, 64, 32),
    (1000, 1, 64, 100),
    (1000, 1, 128, 256),
    (50, 8, 16, 32),
    (128, 32, 128, 256),
    (64, 128, 256, 512),
    (64, 64, 512, 1024),
    (256, 1, 512, 1024),
)
STEP_GRID = ((100, 1, 64, 32), (100, 1, 128, 128), (100, 1, 128, 256), (100, 8, 128, 128))
TOKEN_GRID = ((1000, 1, 128, 100), (1000, 1, 8000, 100))


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for."""

    shapes: list[list[int]] | None
    dtypes: list[str]
    backends: list[str] | None
    against: list[str] | None
    threads: list[int]
    tokens: bool
    bidirectional: bool
    ragged: bool
    step: bool
    leak: float | None
    seconds: float
    rounds: int
    json: Path | None

    def __post_init__(self) -> None:
        if problem := self._problem():
            raise argparse.ArgumentError(None, problem)

    def _problem(self) -> str | None:
        if self.step and (self.bidirectional or self.ragged):
            return "--step runs one step after another, of all sequences; leave out --bidirectional and --ragged"
        if any(size < 1 for shape in self.shapes or () for size in shape):
            return "--shape must be of positive integers T B I H"
        if self.ragged and any(shape[1] == 1 for shape in self.shapes or ()):
            return "--ragged is for batches of several sequences; give --shape a B of 2 or more"
        if self.leak is not None and not 0 < self.leak <= 1:
            return f"--leak must be in 0 < leak <= 1; got {self.leak}"
        if not self.seconds > 0 or self.rounds < 1:
            return "--seconds and --rounds must be positive"
        allowed = processors()
        if any(not 1 <= count <= allowed for count in self.threads):
            return f"--threads must be from 1 to {allowed}, the processors that this process may use"
        return None

    def problems(self) -> list[Problem]:
        """Return the problems, by dtype and shape."""
        grid = STEP_GRID if self.step else TOKEN_GRID if self.tokens else GRID
        default = [shape for shape in grid if shape[1] > 1 or not self.ragged]
        return [
            Problem(
                seq_len=seq_len,
                batch=batch,
                input_size=input_size,
                hidden_size=hidden_size,
                dtype=dtype,
                tokens=self.tokens,
                bidirectional=self.bidirectional,
                ragged=self.ragged,
                step=self.step,
                leak=self.leak,
            )
            for dtype in self.dtypes
            for seq_len, batch, input_size, hidden_size in self.shapes or default
        ]

    def task(self, threads: int) -> Task:
        """Return what the process for a number of threads is to do."""
        return Task(
            problems=self.problems(),
            backends=self.backends,
            against=None if self.against is None else list(dict.fromkeys(self.against)),
            threads=threads,
            seconds=self.seconds,
            rounds=self.rounds,
        )


def bench(request: Request) -> Iterator[str]:
    """Measure what the command line asks for, and yield what there is to tell."""
    with ExitStack() as stack:
        file = None if request.json is None else stack.enter_context(replaced(request.json))
        found = about()
        cells = [cell for threads in dict.fromkeys(request.threads) for cell in _measured(request.task(threads))]
        if file is not None:
            found["cells"] = [{**cell, "ratios": _ratios(cell)} for cell in cells]
            file.write(json.dumps(found, indent=1).encode())
    yield from lines(cells)


def about() -> dict[str, Any]:
    """Return what else a reader of the figures must know, as what JSON can hold."""
    return {
        "rnn_backends": rnn_backends.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "processors": processors(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,  # of others, if nothing was measured yet
    }


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def cpu_name() -> str:
    """Return the name of the processor, as Linux tells it, or what Python knows."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        known = []
    names = [line.partition(":")[2].strip() for line in known if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _measured(task: Task) -> list[dict[str, Any]]:
    """Run a task in a process of its own, whose libraries find their number of threads in its environment."""
    with subprocess.Popen(
        [sys.executable, "-m", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment(task.threads, os.environ),
    ) as worker:
        out, _ = worker.communicate(json.dumps(asdict(task)))
    results = [json.loads(line) for line in out.splitlines()]
    for result in results:
        if "error" in result:
            raise getattr(errors, result["error"])(result["message"])
    if worker.returncode:
        msg = f"the process that measures ended with code {worker.returncode}; what it wrote is above."
        raise RuntimeError(msg)
    return results


def _ratios(cell: dict[str, Any]) -> dict[str, Any]:
    return {
        backend: {name: found._asdict() for name, found in ratios(cell["seconds"], backend).items()}
        for backend in cell["ours"]
    }
