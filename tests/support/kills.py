"""Writes that are killed: a process that forks one write after another, ends each at a random moment, and looks.

Run as a program, with a kind of write, whether new files have names, how many writes to end and a seed; it works in the
folder where it is started, and prints what it counted in JSON.
"""

import json
import mmap
import os
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from io import FileIO
from math import inf
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

import rnn_backends as rb
import rnn_backends.cli.convert
from rnn_backends.cli.main import main
from rnn_backends.formats.files import File

MODEL = "model.safetensors"
KINDS: dict[str, tuple[str, ...]] = {
    **{f"save {suffix}": () for suffix in (".safetensors", ".npz", ".onnx")},
    **{f"convert {suffix}": ("convert", MODEL) for suffix in (".safetensors", ".npz", ".onnx")},
    **{
        f"run {suffix}": ("run", MODEL, "x.npy", "--quiet", "--output") for suffix in (".npy", ".csv", ".tsv", ".jsonl")
    },
    "run .txt": ("run", MODEL, "text.txt", "--quiet", "--predictions", "--output"),
    "generate .txt": ("generate", MODEL, "a", "--length", "2000", "--seed", "1", "--quiet", "--output"),
}
"""The words of a command before the name of its output, by what it does and the suffix of that."""
WRITES, PAUSE, LIMIT = 20, 5e-4, 60.0
"""The least parts of a slowed write, the seconds between two of them, and those after which it hangs."""
OLD = b"old"
ENDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP)


class Trial(NamedTuple):
    """A write that was ended: how many bytes were written by then, and the exit code."""

    written: int
    code: int
    seconds: float


class Writes:
    """Writes of one kind, each in a process of its own."""

    def __init__(self, kind: str, *, is_named: bool) -> None:
        self.target = Path(f"out{kind.split()[1]}")
        self._words, self._is_named = KINDS[kind], is_named
        self._count = mmap.mmap(-1, 8)
        rnn = rb.RNN.init(6, 48, output_size=6, seed=0)
        self._rnn = rb.RNN(rnn.layers, rnn.readout, vocabulary="abcdef")
        self._rnn.save(MODEL)
        draw = np.random.default_rng(0)
        np.save("x.npy", draw.integers(0, 6, (60, 8)))
        Path("text.txt").write_text("".join(draw.choice(list("abcdef"), 4000)), encoding="utf-8")
        if self.target.suffix == ".onnx":  # imported before a fork, or after each
            import_module("onnx")
            with suppress(ModuleNotFoundError):
                import_module("onnxruntime")
        self.part, self._place = 2**30, inf
        whole = self.end(signal.SIGKILL)
        assert whole.code == 0, whole
        self.total, self.new = whole.written, self.target.read_bytes()
        self.part = max(1, self.total // WRITES)
        self.seconds = self.end(signal.SIGKILL).seconds

    @property
    def written(self) -> int:
        """The bytes that the last write has written by now."""
        return int(struct.unpack("q", self._count[:])[0])

    def end(self, number: signal.Signals, *, place: float = inf, seconds: float = inf) -> Trial:
        """Begin a write, and send a signal, if it has not ended: after so many bytes, or so many seconds."""
        self._count[:] = struct.pack("q", 0)
        self._place, begun = place, time.monotonic()
        child = os.fork()
        if not child:
            self._be_child()
        found, status = 0, 0
        while not found and time.monotonic() < begun + seconds:
            assert time.monotonic() < begun + LIMIT, "the write hangs"
            time.sleep(PAUSE / 10)
            found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if not found:
            os.kill(child, signal.SIGSTOP)  # so that the count is what was written when the signal came
            status = os.waitpid(child, os.WUNTRACED)[1]
        written = self.written
        if os.WIFSTOPPED(status):
            os.kill(child, number)
            os.kill(child, signal.SIGCONT)
            status = os.waitpid(child, 0)[1]
        return Trial(written, os.waitstatus_to_exitcode(status), time.monotonic() - begun)

    def _be_child(self) -> None:
        """Write, slowly, and end this process."""
        code = 1
        try:
            for number in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if self._is_named:
                del os.O_TMPFILE
            self._slow_down()
            code = main([*self._words, str(self.target)]) if self._words else self._save()
        finally:
            os._exit(code)

    def _save(self) -> int:
        self._rnn.save(self.target)
        return 0

    def _slow_down(self) -> None:
        def write(file: File, data: Any) -> int:
            count = FileIO.write(file, memoryview(data)[: self.part])
            before = self.written
            self._count[:] = struct.pack("q", before + count)
            if before < self._place <= before + count:
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(PAUSE)
            return count

        def slowed(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*words: Any, **options: Any) -> Any:
                time.sleep(PAUSE)
                done = function(*words, **options)
                time.sleep(PAUSE)
                return done

            return call

        changed: Any = File
        changed.write = write
        for holder, name in ((os, "fsync"), (os, "link"), (Path, "replace"), (Path, "unlink")):
            setattr(holder, name, slowed(getattr(holder, name)))


def count_kills(kind: str, *, is_named: bool, count: int, seed: int) -> dict[str, Any]:
    """End writes: half of them between the first and the last byte, the others at any moment; half kill."""
    writes, random = Writes(kind, is_named=is_named), Random(seed)
    kept = {each.name for each in Path().iterdir()} - {writes.target.name}
    found: Counter[str] = Counter()
    for index in range(count):
        writes.target.unlink(missing_ok=True)
        if index % 3:
            writes.target.write_bytes(OLD)
        number = ENDS[index % len(ENDS)]
        if index % 8 < 4:
            trial = writes.end(number, place=random.uniform(1, writes.total - writes.part))
        else:
            trial = writes.end(number, seconds=random.uniform(0, writes.seconds))
        is_between = 0 < trial.written < writes.total
        held = writes.target.read_bytes() if writes.target.exists() else None
        left = [each for each in Path().iterdir() if each.name not in {*kept, writes.target.name}]
        name = number.name.removeprefix("SIG")
        is_whole = held == writes.new or (held == OLD if index % 3 else held is None)
        found.update({name: 1, "between": is_between, "damaged": not is_whole, f"left by {name}": len(left)})
        found.update({f"{name} between left": is_between * len(left), f"{name} ended with {trial.code}": 1})
        for each in left:
            each.unlink()
    return dict(found)


if __name__ == "__main__":
    kind, name, count, seed = sys.argv[1:]
    print(json.dumps(count_kills(kind, is_named=name == "named", count=int(count), seed=int(seed))))
