"""Two engines that drive a trial: Atheris, which follows branches, and one of this folder, which follows lines."""

import base64
import json
import random
import resource
import sys
import warnings
from pathlib import Path
from time import process_time
from typing import Any

from fuzz import watch
from fuzz.lines import CAN_SEE, Lines
from fuzz.readers import READERS
from fuzz.trial import Seen, Trial

CORPUS = Path(__file__).parent / "corpus"
_LONGEST = 600
"""The most bytes of choices of a case that is made at random."""
_ADDRESSES = 6 * 2**30


def corpus(reader: str) -> list[bytes]:
    """Return the choices that are kept for a reader."""
    path = CORPUS / f"{reader}.txt"
    return [base64.b64decode(line) for line in path.read_text(encoding="ascii").split()] if path.exists() else []


def work(reader: str, count: int, seed: int, engine: str, output: Path) -> None:
    """Try so many cases of a reader, and write what became of them to a file."""
    warnings.simplefilter("error")
    # What is taken without an end is refused by the system, and does not take the machine with it.
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    sight = Lines() if CAN_SEE else None
    with Trial(reader) as trial:
        if sight is not None:
            sight.start()
        trial.warm()
        watch.forbid()
        work_ = _Work(trial, sight, output, count)
        for data in corpus(reader):
            work_.try_one(data)
        if engine == "atheris":
            _by_atheris(work_, reader, seed)
        else:
            _by_lines(work_, seed)
        work_.write()


class _Work:
    """Cases that are tried, of which those are kept that reach a line for the first time."""

    def __init__(self, trial: Trial, sight: Lines | None, output: Path, count: int) -> None:
        self.trial, self.sight, self.output, self.count = trial, sight, output, count
        self.begun = process_time()

    @property
    def seen(self) -> Seen:
        return self.trial.seen

    def try_one(self, data: bytes) -> None:
        self.trial.tried(data)
        if self.sight is not None and self.sight.taken():
            self.seen.kept.append(data)
        if self.seen.tried % 2000 == 0:
            self.write()

    def write(self) -> None:
        """Write what was seen so far: Atheris ends the process without a word."""
        seen = self.seen
        found: dict[str, Any] = {
            "outcomes": seen.outcomes, "slowest": seen.slowest, "largest": seen.largest, "seconds": process_time() - self.begun,
            "failures": {name: data.hex() for name, data in seen.failures.items()},
            "suspects": {name: data.hex() for name, data in seen.suspects.items()},
            "kept": [data.hex() for data in seen.kept], "lines": sorted(self.sight.reached) if self.sight else None,
        }  # fmt: skip
        made = self.output.with_suffix(".part")
        made.write_text(json.dumps(found), encoding="utf-8")
        made.replace(self.output)


def _by_lines(work_: _Work, seed: int) -> None:
    """Draw choices, half of them anew and half of them from those that reached a new line."""
    draw = random.Random(seed)
    while work_.seen.tried < work_.count:
        kept = work_.seen.kept
        if kept and draw.random() < 0.6:
            work_.try_one(mutated(draw, draw.choice(kept), draw.choice(kept)))
        else:
            work_.try_one(draw.randbytes(int(2 ** draw.uniform(0, 9.2))))


def mutated(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Return choices with a few changes, or crossed with others."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at = draw.randrange(len(found) + 1)
        kind = draw.randrange(5)
        if kind == 0:
            found[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            found[at:at] = draw.randbytes(draw.choice((1, 1, 2, 8)))
        elif kind == 2:
            del found[at : at + draw.choice((1, 1, 2, 8))]
        elif kind == 3:
            found[at:] = other[draw.randrange(len(other) + 1) :]
        else:
            found += draw.randbytes(draw.choice((4, 16, 64)))
    return bytes(found[:_LONGEST])


def _by_atheris(work_: _Work, reader: str, seed: int) -> None:
    """Have Atheris draw choices, which mutates those that reach a new branch; it does not return."""
    import atheris

    seeds = work_.output.with_suffix(".corpus")
    seeds.mkdir(exist_ok=True)
    draw = random.Random(seed)
    for number, data in enumerate([*corpus(reader), *(draw.randbytes(64 << k % 4) for k in range(60))]):
        (seeds / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        if work_.seen.tried >= work_.count:
            return
        work_.try_one(data)
        if work_.seen.tried == work_.count:
            work_.write()

    words = [
        sys.argv[0],
        f"-runs={work_.count}",
        f"-seed={seed + 1}",
        f"-max_len={_LONGEST}",
        "-len_control=10",
        "-rss_limit_mb=0",
    ]
    words += [
        f"-artifact_prefix={work_.output.parent}/",
        "-timeout=100000",
        "-handle_alrm=0",
        "-verbosity=0",
        "-print_final_stats=0",
        "-reduce_inputs=0",
        str(seeds),
    ]
    atheris.Setup(words, one)
    atheris.Fuzz()


def instrument() -> None:
    """Have the readers imported with counters of their branches; before anything of them is imported."""
    import atheris

    with atheris.instrument_imports(include=["rnn_backends.formats"]):
        import rnn_backends  # noqa: F401
        from rnn_backends.formats.content import FORMATS

        for name in FORMATS:
            __import__(f"rnn_backends.formats.{name}")


def needed(reader: str) -> list[str]:
    """Return the packages that a reader needs and that are not there."""
    return [name for name in READERS[reader].needs if name in watch.ABSENT]
