"""One case after another in one process: each is made, loaded and judged."""

import os
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from types import FrameType
from typing import Any, Self

import rnn_backends as rb
from fuzz import situations, watch
from fuzz.cases import Case
from fuzz.draws import Draw
from fuzz.readers import READERS
from fuzz.situations import Situation

ENDLESS = 120
"""Seconds after which a load is stopped, whatever slows this process down."""
SLOW = 1.0
"""Seconds of a load here after which its time is measured again, in a process of its own."""
LARGE = 24 * 2**20
"""Bytes beyond the size of the file after which the memory is measured again: some is reused in a process that runs on."""
_MOST = 40


@dataclass
class Seen:
    """What became of the cases of a reader."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    largest: int = 0
    failures: dict[str, bytes] = field(default_factory=dict)
    suspects: dict[str, bytes] = field(default_factory=dict)
    kept: list[bytes] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.outcomes.total()


class Endless(BaseException):
    """A load that does not end."""


def _stop(_: int, __: FrameType | None) -> None:
    raise Endless


class Trial:
    """A folder in memory in which the cases of a reader are loaded."""

    def __init__(self, reader: str) -> None:
        self.generate = READERS[reader].generate
        self.seen = Seen()

    def __enter__(self) -> Self:
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))
        self.beside: set[str] = set()
        self.before = signal.signal(signal.SIGALRM, _stop)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGALRM, self.before)
        shutil.rmtree(self.folder)

    def warm(self) -> None:
        """Have imported what is imported when it is needed, for suggestions in messages, too."""
        import_module("rnn_backends.core.near")
        for each in (*(bytes([k] * n) for k in range(0, 256, 7) for n in (0, 4, 40)), b"\xff" * 300):
            self.tried(each)
        for reader in READERS.values():  # a file that is damaged may seem to be of another
            if not {*reader.needs} & {*watch.ABSENT}:
                self.done(reader.generate(Draw(b"")), situations.PLAIN)
        for situation in situations.ALL:
            self.done(self.generate(Draw(b"")), situation)
        self.seen = Seen()

    def tried(self, data: bytes) -> str:
        """Make, load and judge a case; return "loaded" or "refused", or what is wrong."""
        case, situation = self.made(data)
        watch.reset_peak()
        held, _ = watch.resident()
        signal.setitimer(signal.ITIMER_REAL, ENDLESS)
        begun = perf_counter()
        try:
            found = self.done(case, situation)
        except Endless as error:
            found = f"it did not end in {ENDLESS} s, {_place(error)}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        taken = perf_counter() - begun
        beyond = watch.resident()[1] - held - len(case.data)
        self._note(data, case, found, taken, beyond)
        return found

    def made(self, data: bytes) -> tuple[Case, Situation]:
        """Return the case of some choices, and its situation."""
        draw = Draw(data)
        return self.generate(draw), situations.drawn(draw)

    def done(self, case: Case, situation: Situation) -> str:
        """Write and load a case in a situation; return "loaded" or "refused", or what is wrong."""
        return _outcome(self.written(case, situation), case, situation)

    def written(self, case: Case, situation: Situation = situations.PLAIN) -> Path:
        """Write the files of a case; return the path of the first."""
        if situation.place:
            return situations.placed(self.folder, case.suffix, situation.place)
        path = self.folder / f"case{case.suffix if situation.suffix is None else situation.suffix}"
        path.write_bytes(case.data)
        if not situation.is_new:
            os.utime(path, (0, 0))  # one that was written just now may be looked at twice
        for name, data in case.beside.items():
            if situation.is_alone:
                (self.folder / name).unlink(missing_ok=True)
                self.beside.discard(name)
            elif name not in self.beside:
                (self.folder / name).write_bytes(data)
                os.utime(self.folder / name, (0, 0))
                self.beside.add(name)
        return path

    def _note(self, data: bytes, case: Case, found: str, taken: float, beyond: int) -> None:
        seen = self.seen
        seen.slowest, seen.largest = max(seen.slowest, taken), max(seen.largest, beyond)
        if found not in {"loaded", "refused"}:
            seen.outcomes["failed"] += 1
            if found not in seen.failures or len(data) < len(seen.failures[found]):
                seen.failures[found] = data
            return
        seen.outcomes[found] += 1
        if (taken > SLOW or beyond > LARGE) and len(seen.suspects) < _MOST:
            kind = "slow" if taken > SLOW else "large"
            seen.suspects.setdefault(f"{kind} {taken:.1f} s {beyond >> 20} MiB of {len(case.data) >> 10} KiB", data)


def _outcome(path: Path, case: Case, situation: Situation) -> str:
    """Return "loaded" or "refused", or what is wrong."""
    event = situations.Event(situation, path)
    try:
        with event, watch.watched():
            situations.called(path, case.options, situation)
    except (rb.FormatError, rb.ArgumentError, OSError) as error:
        problem = event.problem_of(error) or watch.problem_of(str(error), situations.named(path, situation, error))
        return f"{type(error).__name__}: {problem}, {_place(error)}" if problem else "refused"
    except (Exception, SystemExit) as error:  # noqa: BLE001  # any other is what is looked for
        return f"{type(error).__name__}: {str(error)[:80]!a}, {_place(error)}"
    return event.problem_of(None) or "loaded"


def _place(error: BaseException) -> str:
    """Return where in the package an error was raised, before its file was named."""
    while isinstance(error.__cause__, rb.RNNBackendError):
        error = error.__cause__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "rnn_backends" in frame.filename]
    if not frames:
        return "outside of the package"
    last = frames[-1]
    return f"{last.filename.rpartition('rnn_backends/')[2]}:{last.lineno}"


def measured(reader: str, data: bytes) -> dict[str, Any]:
    """Return the time on a processor and the memory of one case, in a process that has done nothing else but a sound one."""
    with Trial(reader) as trial:
        trial.tried(b"")
        case, situation = trial.made(data)
        case_size = len(case.data) + sum(map(len, case.beside.values()))
        watch.reset_peak()
        held, _ = watch.resident()
        begun = process_time()
        found = trial.done(case, situation)
        taken = process_time() - begun
        beyond = watch.resident()[1] - held - case_size
    return {"found": found, "seconds": taken, "beyond": beyond, "size": case_size}
