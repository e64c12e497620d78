"""The processes of the command `run` over many inputs, to which the work is dealt."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Any, Self

from rnn_backends.cli.process import EndedError, Process
from rnn_backends.errors import FormatError

CHILD = "import sys; sys.path[:] = sys.argv[1:]; from rnn_backends.cli.shards.worker import work; work()"
STARTS = 3
"""How often a process is started that ends before it has loaded the model."""
Answer = dict[str, Any]


class Crew:
    """Processes that answer the same kind of questions side by side, each with one thread.

    With one thread each, results do not depend on how many there are.  At the end of a `with` block they are ended.

    Parameters
    ----------
    words : sequence of str
        The command line, of which each process takes the model and the options.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._running: list[Process] = []
        self._idle: list[Process] = []
        self._pools: list[ThreadPoolExecutor] = []
        self._lock, self._is_over = Lock(), False
        self._facts: Answer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_over = True
        for process in self._running:
            process.kill()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        for process in self._running:
            with suppress(BrokenPipeError):  # what it was asked last is still to be written
                process.__exit__(None, None, None)

    def facts(self) -> Answer:
        """Start the first process, and return what it says of the model."""
        process, self._facts = self._started()
        self._idle.append(process)
        return self._facts

    def answers(self, tasks: Sequence[Any], jobs: int) -> Iterator[tuple[Any, Answer | EndedError]]:
        """Yield the tasks with their answers as they come, or with the end of the process that was to give one.

        Parameters
        ----------
        tasks : sequence
            They are dealt in this order.
        jobs : int
            The most processes that share them.
        """
        # Each thread waits for one process at a time.
        pool = ThreadPoolExecutor(jobs)
        self._pools.append(pool)
        for done in as_completed([pool.submit(self._answer, task) for task in tasks]):
            yield done.result()

    def _answer(self, task: Any) -> tuple[Any, Answer | EndedError]:
        try:
            process = self._idle.pop()  # which is safe among threads, as a look whether there is one would not be
        except IndexError:
            process, facts = self._started()
            if facts != self._facts:
                msg = (
                    "the model was replaced while it was used; the same command again makes all outputs by the one "
                    "that is there now."
                )
                raise FormatError(msg) from None
        try:
            answer = process.ask(task)
        except EndedError as error:
            return task, error
        self._idle.append(process)
        return task, answer

    def _started(self) -> tuple[Process, Answer]:
        ended = EndedError("the command is over.")
        for _ in range(STARTS):
            with self._lock:
                if self._is_over:
                    break
                process = Process("inputs", 1, CHILD)
                self._running.append(process)
            try:
                return process, process.ask(self._words)
            except EndedError as error:
                ended = error
        raise RuntimeError(str(ended)) from ended
