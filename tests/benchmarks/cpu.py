"""Measure this library on the CPU against others, and write docs/benchmarks/cpu.md and cpu.svg.

python tests/benchmarks/cpu.py --check                       # everything, in less than 25 minutes on two cores
python tests/benchmarks/cpu.py calls memory --work DIR       # these parts; the page holds all parts in DIR
python tests/benchmarks/cpu.py --kept --work DIR --check     # measures nothing
python tests/benchmarks/cpu.py sequences --shape 1000 1 64 100 --threads 1 --dtype float32 --rounds 11
python tests/benchmarks/cpu.py --quick                       # tries it; the figures mean nothing
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import accuracy
import cold_start
import cpu_page
import memory
from harness.machine import about, processors
from harness.problem import GRID
from harness.processes import busy_processors, measured
from parts import ABSENT, DTYPES, PARTS, Part, problems, quick
from thresholds import verdicts

from rnn_backends.errors import RNNBackendError

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
OTHERS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "cold start": lambda is_quick: cold_start.measure(1 if is_quick else 25),
    "memory": lambda is_quick: memory.measure(1000 if is_quick else memory.STEPS),
    "accuracy": lambda is_quick: accuracy.measure(1 if is_quick else accuracy.NETWORKS),
}
"""The parts in which nothing takes turns."""
NAMES = (*PARTS, *OTHERS)
OF_GRID = [name for name, part in PARTS.items() if part.questions == problems(GRID)]


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"one of {', '.join(NAMES)}; default: all")
    add("--shape", nargs=4, type=int, action="append", dest="shapes", metavar=("T", "B", "I", "H"), help="steps, "
        f"sequences, features and states, instead of those of {', '.join(OF_GRID)}; again for more")  # fmt: skip
    add("--dtype", nargs="+", choices=DTYPES, dest="dtypes", help="default: both")
    add("--threads", nargs="+", type=int, metavar="N", help="default: those of the part")
    add("--rounds", type=int, help="the most rounds; default: those of the part")
    add("--seconds", type=float, help="time after which no round of a problem starts; default: that of the part")
    add("--quick", action="store_true", help="a tiny problem and two rounds of each part")
    add("--kept", action="store_true", help="measure nothing; write the page of what --work holds")
    add("--check", action="store_true", help="print the figures that miss their limits; exit code 1 if there are any")
    add("--work", type=Path, metavar="DIR", help="folder that keeps the measurements as JSON; default: none")
    add("--output", type=Path, metavar="DIR", help="folder of cpu.md and cpu.svg; default: docs, unless an option "
        "changes what is measured")  # fmt: skip
    return parser


def wrong(given: argparse.Namespace) -> str | None:
    """Return why options do not go together, None where they do."""
    if unknown := set(given.parts) - set(NAMES):
        return f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
    changes_grid = given.shapes or given.dtypes
    if changes_grid and not (given.parts and set(given.parts) <= set(OF_GRID)):
        return f"--shape and --dtype are for {', '.join(OF_GRID)}; name the parts to measure"
    if any(size < 1 for shape in given.shapes or () for size in shape):
        return "--shape must be of positive integers T B I H"
    if any(not 1 <= count <= processors() for count in given.threads or ()):
        return f"--threads must be from 1 to {processors()}, the processors that this process may use"
    if any(value is not None and value <= 0 for value in (given.rounds, given.seconds)):
        return "--rounds and --seconds must be positive"
    if given.kept and (given.parts or given.work is None):
        return "--kept is for what --work DIR holds; leave out the parts"
    return None


def chosen(part: Part, given: argparse.Namespace) -> Part:
    """Return a part as the options change it."""
    if given.quick:
        part = quick(part)
    if given.shapes or given.dtypes:
        part = replace(part, questions=problems(given.shapes or GRID, given.dtypes or DTYPES))
    values = {name: getattr(given, name) for name in ("threads", "rounds", "seconds")}
    part = replace(part, **{name: value for name, value in values.items() if value is not None})
    return replace(part, threads=tuple(count for count in part.threads if count <= processors()))


def found(name: str, given: argparse.Namespace, note: Callable[[str], None]) -> dict[str, Any]:
    """Measure a part and return its figures, as JSON can hold them."""
    before = about()
    if name in OTHERS:
        return {**before, **OTHERS[name](given.quick)}
    part = chosen(PARTS[name], given)
    cells = []
    with busy_processors() if part.is_busy else nullcontext():
        for threads in part.threads:
            entrants, budget = part.entrants(threads), (part.seconds, part.rounds)
            cells += [{"threads": threads, **cell} for cell in measured(entrants, part.questions, *budget, note)]
    return {**before, "command": " ".join(["python tests/benchmarks/cpu.py", *words_of(name, given)]), "cells": cells}


def words_of(name: str, given: argparse.Namespace) -> list[str]:
    """Return the words of the command that measures a part again."""
    words = [f'"{name}"' if " " in name else name]
    for option, values in (("--dtype", given.dtypes), ("--threads", given.threads)):
        words += [] if values is None else [option, *map(str, values)]
    words += [word for shape in given.shapes or () for word in ("--shape", *map(str, shape))]
    for option, value in (("--rounds", given.rounds), ("--seconds", given.seconds)):
        words += [] if value is None else [option, str(value)]
    return words + ["--quick"] * given.quick


def note(text: str) -> None:
    """Write a remark as it comes."""
    print(text, file=sys.stderr, flush=True)


def measure(given: argparse.Namespace, work: Path) -> None:
    """Measure the parts, write each to the work folder and print its tables."""
    for name in given.parts or ([] if given.kept else NAMES):
        if reason := ABSENT.get(name, lambda: None)():
            note(f"without {name}: {reason}")
            continue
        start = perf_counter()
        note(f"measuring {name}")
        figures = found(name, given, note)
        path_of(work, name).write_text(json.dumps(figures), encoding="utf-8")
        note(f"measured {name} in {perf_counter() - start:.0f} s")
        print("\n".join(cpu_page.section(name, figures)), flush=True)


def path_of(work: Path, name: str) -> Path:
    """Return the file of a part."""
    return work / f"{name.replace(' ', '_')}.json"


def kept(work: Path) -> dict[str, Any]:
    """Return the parts that were measured, in this call or an earlier one, in their order."""
    paths = {name: path_of(work, name) for name in NAMES}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 where something fails or a limit is missed; argparse ends with 2 at wrong usage."""
    parser = make_parser()
    given = parser.parse_args(words)
    if reason := wrong(given):
        parser.error(reason)
    is_changed = given.quick or any((given.shapes, given.dtypes, given.threads, given.rounds, given.seconds))
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        output = given.output or (work if is_changed else DOCS)
        for folder in (work, output):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            measure(given, work)
        except (RNNBackendError, OSError, RuntimeError) as error:
            note(f"error: {error}")
            return 1
        parts = kept(work)
        cpu_page.write(parts, output)
    missed = [line for verdict in verdicts(parts) for line in verdict.lines()] if given.check else []
    if given.check and not (given.parts or given.kept):
        here = [verdict for verdict in verdicts(parts) if not ABSENT.get(verdict.limit.part, lambda: None)()]
        missed += [f"not measured: {verdict.limit.what}" for verdict in here if not verdict.found]
    print("\n".join(missed), end="\n" * bool(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
