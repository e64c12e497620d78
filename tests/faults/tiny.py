"""A project of a few functions, its tests and its table of faults."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from faults.tables import Fault

TESTS = Path(__file__).parent.parent
SOURCE = """
def double(number):
    # twice as much
    result = number + number
    return result


def half(number):
    return number / 2


def until_zero(number):
    while number:
        number = number - 1
    return number
"""
TESTED = """
from tiny.numbers import double, half, until_zero

def test_double():
    assert double(3) == 6

def test_half():
    assert half(3) == 1.5

def test_until_zero():
    assert until_zero(3) == 0
"""
PROGRAM = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from faults import workers
from faults.jobs import Home
from faults.machine import Setting, main
workers.CPU_SECONDS = 2
at = Path({at!r})
sys.exit(main(sys.argv[1:], Setting(Home(at, at / "installed" / "tiny"), at / "tables", 1, ())))
"""


def fault(right: str, wrong: str, where: str = "double", test: str = "test_double", name: str = "a fault") -> Fault:
    return Fault(name, where, right, wrong, (f"test_tiny.py::{test}",), (), "tiny")


class Project(NamedTuple):
    """A repository with a package, its tests and a table of faults."""

    at: Path

    @property
    def source(self) -> Path:
        return self.at / "installed" / "tiny" / "numbers.py"

    def write(self, path: str, text: str) -> None:
        (self.at / path).parent.mkdir(parents=True, exist_ok=True)
        (self.at / path).write_text(text, encoding="utf-8")

    def plant(self, *faults: Fault, words: tuple[str, ...] = ("--all",)) -> tuple[int, str]:
        """Plant faults of one root and return the exit code and what is printed."""
        lines = "\n".join(each.line() for each in faults)
        root = faults[0].root if faults else "tiny"
        self.write("tables/tiny.toml", f'root = "{root}"\noptions = []\nfaults = [\n{lines}\n]\n')
        program = PROGRAM.format(tests=str(TESTS), at=str(self.at))
        command = [sys.executable, "-c", program, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
