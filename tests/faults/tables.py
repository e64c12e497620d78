"""The table of planted faults: a TOML file for each room, one line a fault."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FEWEST = 588
"""The number of faults that the table never falls below."""


class TableError(ValueError):
    """A line of the table that cannot be understood, or a fault that cannot be planted."""


@dataclass(frozen=True)
class Fault:
    """A fault: the tokens that stand in a definition, what takes their place, and the tests that must catch it.

    `where` is the qualified name of a definition of the root (`Cell.step`; the target of an assignment is one too), the
    end of a file's path (`block.cu`), or both (`numpy.py::walk`).
    """

    name: str
    where: str
    right: str
    wrong: str
    tests: tuple[str, ...]
    options: tuple[str, ...]
    root: str

    def line(self) -> str:
        """Return the line of the table."""
        tests = self.tests[0] if len(self.tests) == 1 else list(self.tests)
        fields = {"name": self.name, "where": self.where, "right": self.right, "wrong": self.wrong, "tests": tests}
        return f"    {{ {', '.join(f'{key} = {_quoted(value)}' for key, value in fields.items())} }},"


@dataclass(frozen=True)
class Table:
    """The faults of a file, which share the root that they are planted in and the options of pytest."""

    path: Path
    root: str
    options: tuple[str, ...]
    faults: tuple[Fault, ...]

    def text(self) -> str:
        lines = [fault.line() for fault in self.faults]
        head = [f"root = {_quoted(self.root)}", f"options = {_quoted(list(self.options))}"]
        return "\n".join([*head, "faults = [", *lines, "]"]) + "\n"


def _quoted(value: str | list[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    is_literal = "\\" in value or '"' in value
    return f"'{value}'" if is_literal and "'" not in value and value.isprintable() else json.dumps(value)


def read(path: Path) -> Table:
    """Return the table that a file holds."""
    held = tomllib.loads(path.read_text(encoding="utf-8"))
    root, options, lines = held["root"], tuple(held["options"]), held["faults"]
    return Table(path, root, options, tuple(_fault(path, line, options, root) for line in lines))


def _fault(path: Path, line: dict[str, Any], options: tuple[str, ...], root: str) -> Fault:
    if {*line} != {"name", "where", "right", "wrong", "tests"}:
        msg = f"{path.name}: a fault has name, where, right, wrong and tests; got {line}"
        raise TableError(msg)
    tests = line["tests"]
    tests = (tests,) if isinstance(tests, str) else tuple(tests)
    return Fault(line["name"], line["where"], line["right"], line["wrong"], tests, options, root)


def read_all(folder: Path = FOLDER, fewest: int = FEWEST) -> list[Table]:
    """Return all tables; refuse names that stand twice and a number of faults that fell."""
    tables = [read(path) for path in sorted(folder.glob("*.toml"))]
    names = [fault.name for table in tables for fault in table.faults]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"several faults are called {', '.join(map(repr, twice))}; give each a name of its own"
        raise TableError(msg)
    if len(names) < fewest:
        msg = f"the table has {len(names)} faults; their number may not fall below {fewest}"
        raise TableError(msg)
    return tables
