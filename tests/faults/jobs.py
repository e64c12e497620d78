"""What is run and what becomes of it; nothing but the standard library is imported for it."""

from pathlib import Path
from typing import NamedTuple

from faults.placing import Place


class Home(NamedTuple):
    """The repository that holds the tests, the package that is installed, and the root that names it in the table."""

    checkout: Path
    package: Path

    def files(self, root: str) -> Path:
        """Return the folder of a root of the table."""
        return self.package if root == self.package.name else self.checkout / root


class Job(NamedTuple):
    """A run of pytest, with a fault planted or none."""

    arguments: tuple[str, ...]
    place: Place | None = None


class Outcome(NamedTuple):
    """What became of a run: `passed`, `caught` or `error`; by which test, why it is an error, or how it was stopped."""

    job: Job
    verdict: str
    by: str
    note: str
    cpu: float
