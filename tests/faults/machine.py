"""Plant faults in copies of the package, one at a time; the tests must catch every one."""

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeVar

from faults import records, tables
from faults.guards import Guards
from faults.jobs import Home, Job, Outcome
from faults.placing import Place, check, place, sources
from faults.tables import FEWEST, FOLDER, Table, TableError

PACKAGE = "rnn_backends"
E = TypeVar("E")
AT_ONCE = 12
"""The number of tests of a run without faults: many share its start, and few keep the other CPUs waiting."""
AT_A_TIME = 50
"""Faults of which the tests run without any, in a run with a limit, before they are planted."""


class Setting(NamedTuple):
    """The repository and the package, the folder of the tables and the record, and how many faults there must be."""

    home: Home
    folder: Path = FOLDER
    fewest: int = FEWEST
    heavy: Sequence[str] | None = None

    @property
    def record(self) -> Path:
        return self.folder / "record.json"


class Planned(NamedTuple):
    """All faults of the tables, as they stand there and as they were found."""

    tables: list[Table]
    places: dict[str, Place]
    guards: Guards


def plan(setting: Setting) -> Planned:
    """Find every fault and every test; all that are not found, or are none, are named in one error."""
    found = tables.read_all(setting.folder, setting.fewest)
    files = {root: sources(setting.home.files(root)) for root in {table.root for table in found}}
    guards, places, wrong = Guards(setting.home.checkout), {}, []
    for fault in (fault for table in found for fault in table.faults):
        try:
            places[fault.name] = place(fault, files[fault.root])
            check(places[fault.name], files[fault.root])
            guards.arguments(fault)
        except TableError as error:
            wrong.append(str(error))
    if wrong:
        raise TableError("\n".join(wrong))
    return Planned(found, places, guards)


def report_changes(planned: Planned) -> list[Table]:
    """Print the faults that were found elsewhere or under other names; return the tables as they are to be."""
    updated = []
    for table in planned.tables:
        new = []
        for fault in table.faults:
            tests = tuple(planned.guards.written(test) for test in fault.tests)
            new.append(replace(planned.places[fault.name].fault, tests=tests))
            for field, now in asdict(new[-1]).items():
                if now != (before := asdict(fault)[field]):
                    print(f"{fault.name}: {field} is {now!r}, not {before!r}")
        updated.append(replace(table, faults=tuple(new)))
    return updated


def chosen(planned: Planned, arguments: argparse.Namespace, setting: Setting) -> list[Place]:
    """Return the faults to plant: all, those whose names begin so, or those of files that changed, in a drawn order."""
    places = list(planned.places.values())
    for prefix in arguments.prefix:
        if not any(name.startswith(prefix) for name in planned.places):
            msg = f"no fault is called {prefix!r} or begins so"
            raise TableError(msg)
    if not arguments.changed:
        return [each for each in places if each.fault.name.startswith(tuple(arguments.prefix) or "")]
    now, then = records.hashes(places, planned.guards), records.read(setting.record)
    changed = {name for name, found in now.items() if then.get(name) != found}
    places = [each for each in places if records.key(each.source, each.fault.root) in changed]
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=setting.home.checkout, capture_output=True, text=True, check=True).stdout
    random.Random(head).shuffle(places)
    return places


def guard_jobs(places: Sequence[Place], guards: Guards, passed: set[tuple[tuple[str, ...], str]]) -> list[Job]:
    """Return the runs of all tests that guard, each once, some of one file and set of options together.

    Those that passed before are left out, and these are added to them.
    """
    wanted: dict[tuple[tuple[str, ...], Path], list[str]] = {}
    for found in places:
        options = found.fault.options
        for test, argument in zip(found.fault.tests, guards.arguments(found.fault)[len(options) :], strict=True):
            if (options, argument) not in passed:
                wanted.setdefault((options, guards.file(test)), []).append(argument)
                passed.add((options, argument))
    return [Job((*options, *each)) for (options, _), tests in wanted.items() for each in batched(tests, AT_ONCE)]


def batched(whole: list[E], size: int) -> Iterator[list[E]]:
    """Yield a list in pieces (itertools.batched is of Python 3.12)."""
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def report_guard(outcome: Outcome) -> None:
    """Print what is wrong with tests that are to pass without any fault."""
    if outcome.verdict != "passed":
        print(f"without any fault {outcome.by or ' '.join(outcome.job.arguments)} fails:\n{outcome.note}", flush=True)


def plant(places: list[Place], planned: Planned, setting: Setting, minutes: float) -> list[Outcome] | None:
    """Return the outcomes of as many faults as there is time for, or None where the tests fail without any."""
    from faults.workers import HEAVY, Workers  # pytest is not there where faults are only looked for

    until = monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        workers = Workers(setting.home, Path(name), HEAVY if setting.heavy is None else setting.heavy)
        if any(map(workers.is_compiled, places)):
            workers.build()
        passed = set[tuple[tuple[str, ...], str]]()
        outcomes, seconds = list[Outcome](), 0.0
        for part in batched(places, AT_A_TIME if minutes < inf else max(1, len(places))):
            if monotonic() >= until:
                break
            without = workers.run(guard_jobs(part, planned.guards, passed), report_guard)
            if any(outcome.verdict != "passed" for outcome in without):
                return None
            seconds += sum(outcome.cpu for outcome in without)
            jobs = [Job(planned.guards.arguments(found.fault), found) for found in part]
            outcomes += workers.run(jobs, report, until)
        print(f"{seconds:.0f} s of CPU time for the tests without any fault", flush=True)
        return outcomes


def report(outcome: Outcome) -> None:
    """Print what a reader must know of a fault: that it survived, was not tried, or was caught by a limit or a crash."""
    assert outcome.job.place is not None
    name = outcome.job.place.fault.name
    if outcome.verdict == "passed":
        print(f"survived: {name} ({' '.join(outcome.job.arguments)})", flush=True)
    elif outcome.verdict == "error":
        print(f"not tried: {name} ({' '.join(outcome.job.arguments)}): {outcome.note}", flush=True)
    elif not outcome.by:
        print(f"caught: {name}: {outcome.note}", flush=True)


def parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/faults", description=__doc__)
    parser.add_argument("prefix", nargs="*", help="plant the faults whose names begin so")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only find all faults in the checkout")
    what.add_argument("--update", action="store_true", help="write where they were found into the tables")
    what.add_argument("--all", action="store_true", help="plant all")
    what.add_argument("--changed", action="store_true", help="plant those of files that are not as the record says")
    parser.add_argument(
        "--minutes", type=float, default=inf, help="begin none after so many minutes, and write no record"
    )
    parser.add_argument(
        "--checkout", action="store_true", help="plant in the checkout's package if that is found first"
    )
    parser.add_argument("--times", type=Path, help="write the seconds and the test of each fault into a file")
    arguments = parser.parse_args(words)
    if bool(arguments.prefix) == any((arguments.check, arguments.update, arguments.all, arguments.changed)):
        parser.error("give beginnings of names, or one of --check, --update, --all and --changed")
    return arguments


def installed(checkout: Path, allowed: bool) -> Path:
    """Return the folder of the package that Python would import."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        msg = f"{PACKAGE} is not installed; pip install . first"
        raise TableError(msg)
    folder = Path(spec.origin).parent
    if folder == checkout / PACKAGE and not allowed:
        msg = f"{PACKAGE} would be imported from the checkout; install it, or give --checkout"
        raise TableError(msg)
    return folder


def run(arguments: argparse.Namespace, setting: Setting) -> int:
    """Do what is asked and return the exit code."""
    planned = plan(setting)
    if arguments.check or arguments.update:
        for table in report_changes(planned):
            if arguments.update:
                table.path.write_text(table.text(), encoding="utf-8")
        print(f"all {len(planned.places)} faults can be planted")
        return 0
    places = chosen(planned, arguments, setting)
    now = records.hashes(planned.places.values(), planned.guards)
    outcomes = plant(places, planned, setting, arguments.minutes)
    if outcomes is None:
        return 1
    caught = {outcome.job.place.fault.name for outcome in outcomes if outcome.verdict == "caught" and outcome.job.place}
    if not arguments.prefix and arguments.minutes == inf:
        missed = [each for each in places if each.fault.name not in caught]
        lost = {records.key(each.source, each.fault.root) for each in missed}
        records.write(setting.record, {name: found for name, found in now.items() if name not in lost})
    if arguments.times is not None:
        rows = [(o.job.place.fault.name, o.verdict, o.by, o.note, round(o.cpu, 2)) for o in outcomes if o.job.place]
        arguments.times.write_text(json.dumps(rows, indent=0), encoding="utf-8")
    print(f"{sum(outcome.cpu for outcome in outcomes):.0f} s of CPU time; {len(places) - len(outcomes)} left out")
    print(f"{len(caught)} of {len(outcomes)} planted faults caught")
    return 0 if len(caught) == len(outcomes) else 1


def here(arguments: argparse.Namespace) -> Setting:
    """Return this repository with the package that is installed, or to find the faults alone, its own."""
    checkout = FOLDER.parent.parent
    is_static = arguments.check or arguments.update
    return Setting(Home(checkout, checkout / PACKAGE if is_static else installed(checkout, arguments.checkout)))


def main(words: Sequence[str], setting: Setting | None = None) -> int:
    """Do what a command line asks, of this repository where no other is given."""
    arguments = parsed(words)
    try:
        return run(arguments, setting or here(arguments))
    except TableError as error:
        print(error, file=sys.stderr)
        return 2
