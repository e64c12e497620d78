"""Contestants in processes of their own, each stopped while the others are timed.

Threads of a library spin after its work, on processors that the next one needs; those of a stopped process do not.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from select import select
from subprocess import PIPE, Popen, run
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np

from harness.machine import allowed
from harness.problem import Drawn, Problem
from harness.timing import interleave
from rnn_backends import errors
from rnn_backends.cli.process import environment
from rnn_backends.testing.reference import Bounded

FOLDER = Path(__file__).parents[1]
UNSET = (
    "NPY_DISABLE_CPU_FEATURES", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE", "RNN_BACKEND",
    "RNN_CPU_KERNEL", "RNN_NUM_THREADS",
)  # fmt: skip
"""Variables that would measure something else than what is installed."""
APPENDED = "XLA_FLAGS"
OURS = "ours"
BUSY = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True:\n    pass"


@dataclass(frozen=True)
class Entrant:
    """A contestant to be: its name in the results, who makes it, and the conditions of its process."""

    name: str
    maker: str
    threads: int
    variables: Mapping[str, str] = field(default_factory=dict)


class EndedError(RuntimeError):
    """A process that ended, or was ended, and did not answer."""


class UnansweredError(EndedError):
    """A process that was ended, for it did not answer in time."""


class Process(Popen[str]):
    """The process of a contestant, which runs only while it has a question to answer.

    Parameters
    ----------
    entrant : Entrant
    module : str
        What answers, given the maker and the threads of the entrant.
    words : sequence of str
        What it is given beside them.
    log : file, optional
        Takes the place of this process's stderr.
    """

    def __init__(
        self, entrant: Entrant, module: str = "harness.child", words: Sequence[str] = (), log: IO[str] | None = None
    ) -> None:
        self.name = entrant.name
        command = [sys.executable, "-P", "-m", module, entrant.maker, str(entrant.threads), *words]
        variables = conditions(entrant.threads, entrant.variables)
        super().__init__(
            command, stdin=PIPE, stdout=PIPE, stderr=log, bufsize=1, text=True, encoding="utf-8", env=variables
        )

    def ask(self, question: Any) -> dict[str, Any]:
        """Return the answer; raise the error that it holds, or EndedError where the process ended."""
        self.send(question)
        return self.answer()

    def send(self, question: Any) -> None:
        """Have it run, and ask it."""
        assert self.stdin is not None
        self.send_signal(signal.SIGCONT)
        with suppress(BrokenPipeError):  # it has ended
            self.stdin.write(f"{json.dumps(question)}\n")

    def answer(self, seconds: float | None = None) -> dict[str, Any]:
        """Return the answer to what was asked, and have it stop; if it takes longer than some seconds, it is ended."""
        assert self.stdout is not None
        if seconds is not None and not select([self.stdout], [], [], seconds)[0]:
            self.kill()
            msg = f"no answer within {seconds:g} s"
            raise UnansweredError(msg)
        line = self.stdout.readline()
        if not line:
            msg = f"the process of {self.name} ended with code {self.wait()}; its output is above."
            raise EndedError(msg)
        self.send_signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        if "raised" in answer:
            raise getattr(errors, answer["raised"])(answer["message"])
        return answer

    def seconds(self) -> float:
        """Return the seconds of a call."""
        return float(self.ask(None)["seconds"])

    def __exit__(self, *error: object) -> None:
        self.kill()
        super().__exit__(*error)  # type: ignore[arg-type]


def undisturbed() -> dict[str, str]:
    """Return the environment of this process without the variables that would measure something else."""
    return {name: value for name, value in os.environ.items() if name not in UNSET}


def conditions(threads: int, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that measures with a number of threads."""
    made = environment(threads, undisturbed())
    flags = " ".join(each[APPENDED] for each in (made, variables) if APPENDED in each)
    paths = os.pathsep.join([*map(str, sys.path), str(FOLDER)])
    return made | {**variables, APPENDED: flags, "PYTHONPATH": paths}


def measured(
    entrants: Sequence[Entrant],
    questions: Sequence[dict[str, Any]],
    seconds: float,
    rounds: int,
    note: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Prepare and check the contestants of each question, then time them in turn.

    Yields
    ------
    dict
        The question; ``seconds`` of a call by contestant and round; ``excess``, the errors in units of what is allowed;
        ``absent``, the reasons of those that did not take part; ``kernel``, that of ours; and ``versions``.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        processes = [stack.enter_context(Process(entrant)) for entrant in entrants]
        for question in questions:
            whole = with_outputs(question, Path(folder) / "outputs.npz")
            answers = {process.name: process.ask(whole) for process in processes}
            absent = {name: answer["absent"] for name, answer in answers.items() if "absent" in answer}
            if OURS in absent:
                msg = f"without {OURS} there is nothing to compare with: {absent[OURS]}"
                raise errors.ArgumentError(msg)
            note("; ".join([titled(question), *(f"without {name}: {reason}" for name, reason in absent.items())]))
            samples = {each.name: each.seconds for each in processes if each.name not in absent}
            taken = interleave(samples, seconds=seconds, rounds=rounds)
            yield {
                **question,
                "seconds": taken,
                "excess": {name: answers[name]["excess"] for name in taken},
                "absent": absent,
                "kernel": answers[OURS]["kernel"],
                "versions": {key: value for name in taken for key, value in answers[name]["versions"].items()},
            }


def with_outputs(question: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a question with the name of the file to which the right outputs of a problem are written."""
    if "problem" not in question:
        return question
    np.savez(path, **right_outputs(Problem(**question["problem"]))._asdict())
    return {**question, "outputs": str(path)}


@cache
def right_outputs(problem: Problem) -> Bounded:
    """Return the outputs of the different sequences of a problem, which the reference takes its time to compute."""
    return Drawn.of(problem).source_outputs


@contextmanager
def busy_processors() -> Iterator[None]:
    """Keep each processor that this process may use busy with a process of normal priority."""
    with ExitStack() as stack:
        for number in allowed():
            process = stack.enter_context(Popen([sys.executable, "-c", BUSY, str(number)]))
            stack.callback(process.kill)
        yield


def answer(module: str, call: str, variables: Mapping[str, str] | None = None, *, threads: int = 1) -> Any:
    """Return, through JSON, what a call of a module beside this harness returns in a process of its own."""
    before = f"import json, sys, {module} as module; out = sys.stdout; sys.stdout = sys.stderr"
    command = [sys.executable, "-P", "-c", f"{before}; print(json.dumps(module.{call}), file=out)"]
    return json.loads(run(command, check=True, stdout=PIPE, text=True, env=conditions(threads, variables or {})).stdout)


def titled(question: dict[str, Any]) -> str:
    """Return a question in words."""
    return str(Problem(**question["problem"])) if "problem" in question else f"{question['text']} characters"
