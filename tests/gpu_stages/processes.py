"""Some processes at once, with a limit; one that crashes or hangs costs the others nothing."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import IO, Any

POLL_SECONDS, KILL_SECONDS = 0.05, 3.0
TIMEOUT = "timeout"


@dataclass(frozen=True)
class Job:
    """A process of a stage: its command, what its environment has beside ours, whether it runs though it has ended well,
    and the most seconds that it may take, if those are fewer than a batch's.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    seconds: float = inf


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code, negative for a signal, or a word; the seconds it took, and what it wrote."""

    job: Job
    code: int | str
    seconds: float
    text: str


@dataclass
class Running:
    """A job that has begun, in a session of its own so that what it starts ends with it."""

    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    begun: float

    def ended(self, code: int | str) -> Ended:
        """Return how it ended."""
        self.log.seek(0)
        text = self.log.read().decode("utf-8", "replace")
        self.log.close()
        return Ended(self.job, code, time.monotonic() - self.begun, text)


def together(jobs: Sequence[Job], seconds: float, folder: Path, root: Path) -> Iterator[Ended]:
    """Run jobs at once, in the folder `root`, and yield each as it ends; those left after some seconds are killed.

    `folder` holds their logs until then.
    """
    running: list[Running] = []
    deadline = time.monotonic() + seconds
    try:
        for number, job in enumerate(jobs):
            begun = begin(job, folder / f"{number}.log", root)
            if isinstance(begun, Ended):
                yield begun
            else:
                running.append(begun)
        while running:
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                yield one.ended(one.process.returncode)
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        kill(running)
        while running:
            yield running.pop().ended(TIMEOUT)
    finally:
        kill(running)
        for one in running:
            one.log.close()


def kill(some: Sequence[Running]) -> None:
    """End processes and all that they have started, and wait once for all of them."""
    for one in some:
        with suppress(ProcessLookupError):  # it has ended, and was waited for
            os.killpg(one.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + KILL_SECONDS
    for one in some:
        with suppress(subprocess.TimeoutExpired):  # a driver may hold it for longer than there is time
            one.process.wait(max(0.0, deadline - time.monotonic()))


def begin(job: Job, log: Path, root: Path) -> Running | Ended:
    """Start a job, or return why it cannot be started."""
    file = log.open("w+b")
    options: dict[str, Any] = {"stdout": file, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, "cwd": root}
    environment = {**os.environ, **job.environment}
    try:
        process = subprocess.Popen(job.command, start_new_session=True, env=environment, **options)
    except OSError as error:
        file.close()
        return Ended(job, f"not started: {error.strerror}: {job.command[0]}", 0.0, "")
    return Running(job, process, file, time.monotonic())
