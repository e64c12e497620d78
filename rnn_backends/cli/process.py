"""Processes that commands ask: those in which `bench` measures, and `run` makes its outputs."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from subprocess import PIPE, Popen
from types import TracebackType
from typing import Any

from rnn_backends import errors

CHILD = "import sys; sys.path[:] = sys.argv[1:]; from rnn_backends.cli.bench import contestant; contestant()"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC", "RNN_NUM_THREADS")


class EndedError(RuntimeError):
    """A process has ended, and did not answer; `how` is what it ended with."""

    def __init__(self, message: str, how: str = "") -> None:
        super().__init__(message)
        self.how = how


class Process(Popen[str]):
    """A process that answers each line with one, in JSON.

    Parameters
    ----------
    title : str
        What it is for, in errors.
    threads : int
        How many of them every library in it uses.
    child : str, default: a contestant of `bench`
        The program in Python; it is given the folders of modules as its words.
    """

    def __init__(self, title: str, threads: int, child: str = CHILD) -> None:
        self.title, command = title, [sys.executable, "-c", child, *sys.path]
        outside = environment(threads, os.environ)
        streams: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "bufsize": 1, "text": True, "encoding": "utf-8"}
        super().__init__(command, **streams, env=outside, process_group=0)  # Ctrl-C is for this process, which ends it

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()  # or its answer would be waited for
        super().__exit__(kind, error, traceback)

    def ask(self, question: Any) -> Any:
        """Return the answer; raise the error that it holds, or EndedError where the process ended."""
        assert self.stdin is not None
        assert self.stdout is not None
        with suppress(BrokenPipeError):  # the process has ended
            self.stdin.write(f"{json.dumps(question)}\n")
        line = self.stdout.readline()
        if not line.endswith("\n"):  # the last one may be a part of an answer
            how = f"ended with code {self.wait()}"
            msg = f"the process of the {self.title} {how}; its output is above."
            raise EndedError(msg, how)
        held = json.loads(line)
        if "raised" in held:
            raise getattr(errors, held["raised"], RuntimeError)(held["message"])
        return held


def environment(threads: int, outside: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process in which every library uses a number of threads (XLA counts NPROC)."""
    own = outside.get("XLA_FLAGS", "")
    flags = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} intra_op_parallelism_threads={threads}"
    return {**outside, **dict.fromkeys(THREADS, str(threads)), "XLA_FLAGS": f"{own} {flags}".strip()}
