"""Contestants on one GPU, each in a process of its own: what one of them does wrong costs the others nothing.

They are made and checked at once, for nothing is timed meanwhile, and compilers are slow; then they are timed in turn, the
others being stopped.  One that is wrong or breaks is reported, and is there again for the next problem; one that does not
answer in time is left out of the others, for each would wait as long.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory
from time import monotonic
from typing import IO, Any

from harness.problem import Problem
from harness.processes import EndedError, Entrant, Process, UnansweredError, with_outputs
from harness.timing import interleave
from rnn_backends.errors import ArgumentError

CHILD = "harness.gpu_child"
CLOCKS = ("device", "call")
ANSWER_SECONDS = 300.0
"""The most that an answer may take: the first of a contestant imports, and compiles or builds."""

Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Problems, who is measured on them, and for how long."""

    problems: Sequence[Problem]
    backends: Sequence[str]
    against: Sequence[str]
    threads: int
    seconds: float
    rounds: int
    answer_seconds: float = ANSWER_SECONDS
    outputs: Path | None = None
    """A folder with right outputs, by `kept_outputs`, of some problems; the others are computed where they are needed."""

    @property
    def entrants(self) -> list[Entrant]:
        """The contestants to be."""
        ours = [Entrant(backend, "ours", self.threads) for backend in self.backends]
        return [*ours, *(Entrant(name, name, self.threads) for name in self.against)]


class Contestants:
    """The processes of a task, begun anew where they have ended."""

    def __init__(self, task: Task, stack: ExitStack) -> None:
        self.task, self.stack = task, stack
        self.folder = Path(stack.enter_context(TemporaryDirectory()))
        self.running: dict[str, Process] = {}
        self.silent: dict[str, str] = {}
        self.logs: dict[str, IO[str]] = {}
        self.asked: list[str] = []

    def begin(self) -> None:
        """Start those that do not run, but for others than ours that once did not answer, and ask them about the GPU."""
        out = {*self.running, *self.silent}
        self.asked = [entrant.name for entrant in self.task.entrants if entrant.name not in out]
        for entrant in self.task.entrants:
            if entrant.name in self.asked:
                log = self.stack.enter_context((self.folder / f"{len(self.logs)}.log").open("w+", encoding="utf-8"))
                backend = entrant.name if entrant.maker == "ours" else self.task.backends[0]
                process = Process(entrant, CHILD, [backend], log)
                self.running[entrant.name] = self.stack.enter_context(process)
                self.logs[entrant.name] = log
                process.send({"about": True})

    def begun(self) -> dict[str, Answer]:
        """Return what those that were started answer."""
        return self.answers(self.asked)

    def ask_all(self, question: Answer, names: Sequence[str]) -> dict[str, Answer]:
        """Ask some that run at once, and return their answers."""
        for name in names:
            self.running[name].send(question)
        return self.answers(names)

    def answers(self, names: Sequence[str]) -> dict[str, Answer]:
        """Return the answers of some that were asked at once, and have the same time."""
        deadline = monotonic() + self.task.answer_seconds
        return {name: self.answer(name, max(0.0, deadline - monotonic())) for name in names}

    def ask(self, name: str, question: Answer) -> Answer:
        """Return the answer of one that runs."""
        self.running[name].send(question)
        return self.answer(name, self.task.answer_seconds)

    def answer(self, name: str, seconds: float) -> Answer:
        """Return the answer of one that was asked, or how it failed."""
        process = self.running[name]
        try:
            return process.answer(seconds)
        except UnansweredError:
            del self.running[name]
            within = f"no answer within {self.task.answer_seconds:g} s"
            if name not in self.task.backends:  # without which a cell would be of nothing
                self.silent[name] = f"left out: {within} before"
            return {"failed": f"killed: {within}"}
        except EndedError:
            del self.running[name]
            return {"failed": self.reason(name, process.wait())}

    def reason(self, name: str, code: int) -> str:
        """Return why a process ended, and show what it has written."""
        log = self.logs[name]
        log.seek(0)
        written = log.read().strip()
        sys.stderr.write(f"{written}\n" if written else "")
        if code < 0:
            is_killed = code == -Signals.SIGKILL
            return (
                "killed by somebody else, as where memory is short" if is_killed else f"crashed: {Signals(-code).name}"
            )
        return f"crashed: {written.splitlines()[-1] if written else f'code {code}'}"


def cells(task: Task, note: Callable[[str], None]) -> Iterator[list[Answer]]:
    """Yield the cells of each problem, one for each clock.

    Yields
    ------
    list of dict
        ``seconds`` of a call by contestant and round; ``excess``, the largest errors in units of the bound;
        ``absent``, the reasons of those that do not run the problem; ``failed``, what the others did that are not among
        the ``seconds``; and the conditions.
    """
    require_names(task.backends, task.against)
    with ExitStack() as stack:
        contestants = Contestants(task, stack)
        about: dict[str, Answer] = {}
        for problem in task.problems:
            note(f"{problem}, {task.threads} thread{'s' * (task.threads > 1)}")
            contestants.begin()
            outputs = kept_outputs(problem, task.outputs or contestants.folder)
            begun = contestants.begun()
            about |= {name: answer for name, answer in begun.items() if "device" in answer}
            require_one_device(about)
            silent = {name: why for name, why in contestants.silent.items() if name not in begun}
            failed = silent | {name: answer["failed"] for name, answer in begun.items() if "failed" in answer}
            yield measured(problem, contestants, outputs, failed, about, note)
            if task.outputs is None:
                outputs.unlink()


def kept_outputs(problem: Problem, folder: Path) -> Path:
    """Return the file of the right outputs of a problem, after writing it if it is not there."""
    path = folder / f"{problem}.npz"
    if not path.exists():
        part = path.with_name(f"part of {path.name}")
        with_outputs({"problem": asdict(problem)}, part)
        part.rename(path)
    return path


def measured(
    problem: Problem,
    contestants: Contestants,
    outputs: Path,
    failed: dict[str, str],
    about: dict[str, Answer],
    note: Callable[[str], None],
) -> list[Answer]:
    """Return the cells of a problem, given those who failed before it."""
    question = {"problem": asdict(problem), "outputs": str(outputs)}
    task, answers = contestants.task, contestants.ask_all(question, list(contestants.running))
    absent = {name: answer["absent"] for name, answer in answers.items() if "absent" in answer}
    failed |= {name: answer["failed"] for name, answer in answers.items() if "failed" in answer}
    ready = [name for name, answer in answers.items() if "excess" in answer]
    waited: set[str] = set()
    taken = {clock: timed(clock, ready, contestants, failed, waited) for clock in CLOCKS}
    excess = {name: answers[name]["excess"] for name in ready}
    if not problem.step:  # in memory that was full of NaN; a stream is further on
        again = contestants.ask_all({"again": True}, [name for name in ready if name not in failed])
        failed |= {name: answer["failed"] for name, answer in again.items() if "failed" in answer}
        excess |= {name: larger(excess[name], answer.get("excess")) for name, answer in again.items()}
    for kind, reasons in (("without", absent), ("failed", failed)):
        if reasons:
            note("; ".join(f"{kind} {name}: {reason}" for name, reason in reasons.items()))
    right = [name for name in ready if name not in failed]
    somebody: Answer = next(iter(about.values()), {"device": {}, "environment": {}})
    common = {
        "problem": asdict(problem),
        "threads": task.threads,
        "environment": somebody["environment"],
        "ours": list(task.backends),
        "asked": [entrant.name for entrant in task.entrants],
        "excess": {name: excess[name] for name in right if excess[name] is not None},
        "absent": absent,
        "failed": failed,
        "versions": dict(sorted(version for name in right for version in answers[name]["versions"].items())),
        "device": somebody["device"],
        "launch_bound": sorted(waited & set(right)),
    }
    return [{**common, "clock": clock, "seconds": {name: taken[clock][name] for name in right}} for clock in CLOCKS]


def timed(
    clock: str, ready: Sequence[str], contestants: Contestants, failed: dict[str, str], waited: set[str]
) -> dict[str, list[float]]:
    """Time contestants in turn, those but that fail; note those for whose launches the device waited."""

    def sample(name: str) -> float:
        if name in failed:
            return nan
        answer = contestants.ask(name, {"clock": clock})
        if "failed" in answer:
            failed[name] = answer["failed"]
            return nan
        if answer["launch_bound"]:
            waited.add(name)
        return float(answer["seconds"])

    samples = {name: lambda name=name: sample(name) for name in ready if name not in failed}
    return interleave(samples, seconds=contestants.task.seconds, rounds=contestants.task.rounds)


def larger(one: float | None, other: float | None) -> float | None:
    """Return the larger of two errors, which a limit has not, nor one whose second is no number."""
    return one if one is None or other is None else max(one, other)


def require_names(backends: Sequence[str], against: Sequence[str]) -> None:
    """Check that no backend has the name of a competitor, under which both would be measured."""
    if twice := sorted(set(backends) & set(against)):
        msg = f"{twice[0]!r} is a backend and a competitor; write --backend {twice[0]}:DEVICE, or leave it out of --against."
        raise ArgumentError(msg)


def require_one_device(about: dict[str, Answer]) -> None:
    """Check that all contestants are on one device."""
    if len({answer["index"] for answer in about.values()}) > 1:
        places = ", ".join(f"{name} is on cuda:{answer['index']}" for name, answer in about.items())
        msg = f"the backends to compare must be on one device: {places}. Measure one device at a time."
        raise ArgumentError(msg)
