"""The result of a command, as the tests of the command line see it."""

from collections.abc import Callable
from typing import NamedTuple


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, str]:
        """The values that were printed, by their labels."""
        return dict(line.split("  ", 1) for line in self.out.splitlines())


Run = Callable[..., Result]
