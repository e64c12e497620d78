"""A process of the command `run` over many inputs: it loads the model once, and makes one output after another."""

import argparse
import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from io import BufferedRandom, RawIOBase
from math import isfinite
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from rnn_backends.backends.selection import parse as parse_backend
from rnn_backends.cli.contents import describe, sizes
from rnn_backends.cli.info import library_version
from rnn_backends.cli.loading import Loading
from rnn_backends.cli.parser import parse
from rnn_backends.cli.reports import FAILURES, one_line
from rnn_backends.cli.running.job import Job
from rnn_backends.cli.running.report import Report
from rnn_backends.cli.shards.request import request_of
from rnn_backends.core.messages import shown_path
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.files import BLOCK, File
from rnn_backends.formats.native.safetensors import write
from rnn_backends.formats.source import opened
from rnn_backends.model.rnn import RNN


class Task(NamedTuple):
    """An output that is to be made."""

    input: str
    output: str
    """Where it is to be, which errors name."""
    part: str
    """Where it is to be written."""
    known: Mapping[str, str] | None
    """The digests of the input and the output, if one was made of the same settings."""


class Worker:
    """A model that is loaded, and makes an output of each input.

    Parameters
    ----------
    arguments : Namespace
        Those of the command line.
    """

    def __init__(self, arguments: Namespace) -> None:
        self._arguments = arguments
        if arguments.backend is not None:
            parse_backend(arguments.backend, "option --backend")  # for errors that name what the user typed
        self.rnn = Loading(model=arguments.model, given=arguments.given).load(arguments.backend, arguments.reads)

    def facts(self) -> dict[str, Any]:
        """Return what is reported of the model, and what outputs depend on."""
        rnn = self.rnn
        return {
            "sizes": sizes(describe(rnn)),
            "parameters": rnn.num_parameters,
            "backend": rnn.backend.name,
            "backend_version": library_version(rnn.backend),
            "device": rnn.device,
            "dtype": rnn.dtype,
            "place": f"{rnn.backend.name}:{str(rnn.device).partition(':')[0]}",
            "record": digest_of_model(rnn),
        }

    def answer(self, task: Task) -> dict[str, Any]:
        """Make an output, unless the one that is there is whole, and return what is to be recorded of it."""
        notes: list[str] = []
        found: dict[str, Any] = {}
        try:
            before = os.stat(task.input)  # noqa: PTH116  # a text, as it came
            found["input"] = digest_of_file(task.input)
            if task.known is not None and task.known["input"] == found["input"]["sha256"] and _is_whole(task):
                return {"kept": True}
            made = self._made(task, notes)
            after = os.stat(task.input)  # noqa: PTH116
            if not os.path.samestat(before, after) or before.st_mtime_ns != after.st_mtime_ns:
                msg = f"{shown_path(task.input)} was replaced while it was read; {way('again')}."
                raise FormatError(msg)
        except (argparse.ArgumentError, *FAILURES) as error:
            with suppress(OSError):  # it may be what fills the disk
                os.unlink(task.part)  # noqa: PTH108
            return {"entry": {**found, "failed": one_line(error)}, "notes": notes}
        return {"entry": {**found, **made}, "notes": notes}

    def _made(self, task: Task, notes: list[str]) -> dict[str, Any]:
        request = request_of(self._arguments, Path(task.input), Path(task.output))
        with File(Path(task.part), "x+", Path(task.output)) as raw:
            file = BufferedRandom(raw)
            report = Job(request, self.rnn, file, notes.append).run()
            file.flush()
            os.fsync(raw.fileno())  # so that what the manifest says is true after a crash of the system, too
            file.seek(0)
            digest, size = sha256(), 0
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
            file.detach()
        return {"output": {"sha256": digest.hexdigest(), "bytes": size}, **results(report)}


def results(report: Report) -> dict[str, Any]:
    """Return what is recorded of a run: nothing that another run of the same would have otherwise."""
    walk, loss = report.walk, report.walk.loss()
    found: dict[str, Any] = {"sequences": walk.sequences, "steps": walk.steps}
    if walk.unknown:
        found["unknown"] = walk.unknown
    if loss is not None:
        found |= {"cross_entropy": loss if isfinite(loss) else None, "right": walk.right, "judged": walk.judged}
    return found


def digest_of_file(path: str) -> dict[str, Any]:
    """Return the digest and the size of a regular file."""
    with opened(path) as source:
        digest = sha256()
        for block in source.blocks():
            digest.update(block)
        return {"sha256": digest.hexdigest(), "bytes": source.size}


class _Digest(RawIOBase):
    """A file of whose contents only the digest is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)


def digest_of_model(rnn: RNN) -> str:
    """Return a digest of all that a model computes by, wherever it was read from and by whatever options."""
    file: Any = _Digest()
    write(rnn.placed.on_host(), file)
    return str(file.digest.hexdigest())


def _is_whole(task: Task) -> bool:
    try:
        return task.known is not None and digest_of_file(task.output)["sha256"] == task.known["output"]
    except (FormatError, OSError):
        return False


def questions() -> Iterator[Any]:
    """Yield what this process is asked; it ends at once where nobody asks any more, whatever it is doing."""
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    Thread(target=listen, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def work() -> None:
    """Answer the questions of the command: first its words, then tasks."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what libraries print

    def tell(answer: Mapping[str, Any]) -> None:
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()

    asked = questions()
    try:
        worker = Worker(parse(next(asked)))
        tell(worker.facts())
    except FAILURES as error:
        tell({"raised": type(error).__name__, "message": one_line(error)})
        return
    for task in asked:
        tell(worker.answer(Task(*task)))
