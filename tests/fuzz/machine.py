"""The command: a process for each reader, a table of what became of its files, and the lines that were not reached."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from fuzz import engine, minimize, unreached, watch
from fuzz.lines import CAN_SEE, Line
from fuzz.readers import READERS
from fuzz.trial import measured


class Report(NamedTuple):
    """What a process has seen of a reader, and what is wrong with it."""

    found: dict[str, Any]
    problems: list[str]


def main(words: Sequence[str]) -> int:
    given = _arguments(words)
    if given.work:
        if given.engine == "atheris":
            engine.instrument()
        engine.work(given.reader[0], given.count, given.seed, given.engine, given.work)
        return 0
    if given.measure:
        print(json.dumps(measured(given.reader[0], bytes.fromhex(given.measure))))
        return 0
    readers = given.reader or list(READERS)
    if given.minimize:
        for reader in readers:
            minimize.minimized(reader, given.found)
        return 0
    return _all(readers, given)


def _arguments(words: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description="Load files that are wrong in many ways.")
    parser.add_argument(
        "--reader", action="append", choices=READERS, help="this reader (again for more); without it, all"
    )
    parser.add_argument(
        "--count", type=int, default=10_000, help="cases of all readers together (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--engine", choices=("atheris", "lines"), default=None, help="default: atheris where it is installed"
    )
    parser.add_argument("--found", type=Path, help="a folder that keeps what reached new lines, for --minimize")
    parser.add_argument(
        "--minimize", action="store_true", help="write the corpus anew: the shortest that reach what it and FOUND do"
    )
    parser.add_argument(
        "--lines", action="store_true", help="fail where a line is neither reached nor listed in the folder unreached"
    )
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    found = parser.parse_args(words)
    found.engine = found.engine or ("atheris" if importlib.util.find_spec("atheris") else "lines")
    return found


def _all(readers: Sequence[str], given: Any) -> int:
    """Try all readers, as many at once as there are processors; return the exit code."""
    present = []
    for reader in readers:
        if missing := engine.needed(reader):
            print(f"{reader}: left out, as {', '.join(missing)} is not installed")
        else:
            present.append(reader)
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        folder = given.found or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = list(pool.map(lambda reader: _tried(reader, given.count // len(readers), given, folder), present))
    reports = dict(zip(present, found, strict=True))
    for reader, report in reports.items():
        for name, data in report.found["suspects"].items():
            report.problems.extend(_again(reader, name, data))
    reached = {(module, line) for report in reports.values() for module, line in report.found["lines"] or ()}
    _print(reports, reached)
    problems = [problem for report in reports.values() for problem in report.problems]
    if given.lines:
        problems += unreached.problems(reached, set(reports))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _tried(reader: str, count: int, given: Any, folder: Path) -> Report:
    """Try cases of a reader in a process of its own."""
    output = folder / f"{reader}.json"
    output.unlink(missing_ok=True)
    words = [
        "--reader",
        reader,
        "--count",
        str(count),
        "--seed",
        str(given.seed),
        "--engine",
        given.engine,
        "--work",
        str(output),
    ]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent), *words], capture_output=True, text=True, check=False
    )
    ended = f"{reader}: the process ended with {done.returncode}: {done.stderr[:1000]} ... {done.stderr[-1000:]}"
    if not output.exists():
        return Report(_nothing(), [ended])
    found = json.loads(output.read_text(encoding="utf-8"))
    problems = [f"{reader}: {name}\n    choices: {data}" for name, data in found["failures"].items()]
    if done.returncode or sum(found["outcomes"].values()) < count:
        problems.append(ended)
    return Report(found, problems)


def _again(reader: str, name: str, data: str) -> list[str]:
    """Measure a case in a process of its own; return what is wrong with it."""
    words = [sys.executable, str(Path(__file__).parent), "--reader", reader, "--measure", data]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{reader}: {name}: alone it ended with {done.returncode}: {done.stderr[-500:]}\n    choices: {data}"]
    found = json.loads(done.stdout)
    allowed = watch.MEMORY + (found["size"] if reader == "onnx" else 0)  # twice the size, with what protobuf holds
    wrong = []
    if found["seconds"] > watch.SECONDS and found["size"] < 10**6:
        wrong.append(f"it took {found['seconds']:.1f} s")
    if found["beyond"] > allowed:
        wrong.append(f"it took {found['beyond'] / 2**20:.0f} MiB beyond its size")
    return [f"{reader}: a file of {found['size']} bytes: {', '.join(wrong)}\n    choices: {data}"] if wrong else []


def _nothing() -> dict[str, Any]:
    return {
        "outcomes": {},
        "slowest": 0.0,
        "largest": 0,
        "seconds": 0.0,
        "lines": None,
        "failures": {},
        "suspects": {},
        "kept": [],
    }


def _print(reports: dict[str, Report], reached: set[Line]) -> None:
    """Print the table."""
    share = unreached.shares(reached) if CAN_SEE else {}
    print(
        f"{'reader':12}{'tried':>9}{'loaded':>9}{'refused':>9}{'failed':>8}{'per CPU s':>10}{'slowest':>11}{'largest':>10}{'lines':>14}"
    )
    for reader, (found, _) in reports.items():
        outcomes, own = found["outcomes"], share.get(reader)
        tried = sum(outcomes.values())
        print(
            f"{reader:12}{tried:9}{outcomes.get('loaded', 0):9}{outcomes.get('refused', 0):9}{outcomes.get('failed', 0):8}"
            f"{tried / max(found['seconds'], 1e-9):10.0f}{1000 * found['slowest']:8.0f} ms{found['largest'] / 2**20:6.0f} MiB"
            + (f"{own.reached:6} / {own.whole:5}" if own else "")
        )
    if shared := share.get("shared"):
        print(f"{'shared':76}{shared.reached:6} / {shared.whole:5}")
