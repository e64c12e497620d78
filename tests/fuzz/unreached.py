"""The lines that no case reaches, which unreached.toml lists with reasons, by their text and not by their numbers."""

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from fuzz.lines import Line, all_lines
from fuzz.readers import SHARED, modules, owner_of

LISTED = Path(__file__).parent / "unreached.toml"


BARE = frozenset(
    ("raise FormatError(msg)", "raise ArgumentError(msg)", "msg = (", "return None", "return data", "return found")
)
"""Lines that say nothing of their place; those beside them do."""


class Share(NamedTuple):
    """How many lines of a reader's modules can be reached, and how many were."""

    reached: int
    whole: int


class Entry(NamedTuple):
    """Lines that no file reaches: of modules whose path fits `where`, the functions and the texts, or all; the reason."""

    where: str
    functions: frozenset[str]
    texts: frozenset[str]
    reason: str

    @property
    def is_whole(self) -> bool:
        """Whether all of the modules is left out."""
        return not self.functions and not self.texts


def entries() -> list[Entry]:
    held = tomllib.loads(LISTED.read_text(encoding="utf-8"))["left_out"]
    return [
        Entry(each["where"], frozenset(each.get("functions", ())), frozenset(each.get("lines", ())), each["reason"])
        for each in held
    ]


def counted() -> dict[str, dict[int, str]]:
    """Return the lines that files could reach, by module, each with its text; those of functions left out are none."""
    listed, found = entries(), dict[str, dict[int, str]]()
    for name, functions in all_lines().items():
        own = [each for each in listed if fnmatch(name, each.where)]
        if any(each.is_whole for each in own):
            continue
        out = frozenset[str]().union(*(each.functions for each in own))
        lines = {line for function, held in functions.items() if function.partition(":")[0] not in out for line in held}
        texts = modules()[name].read_text(encoding="utf-8").splitlines()
        found[name] = {line: texts[line - 1].strip() for line in sorted(lines)}
    return found


def shares(reached: set[Line]) -> dict[str, Share]:
    """Return how many of the lines that files could reach were reached, by reader."""
    found = dict[str, Share]()
    for name, lines in counted().items():
        held = found.get(owner_of(name), Share(0, 0))
        own = len({(name, line) for line in lines} & reached)
        found[owner_of(name)] = Share(held.reached + own, held.whole + len(lines))
    return found


def missing(reached: set[Line]) -> Iterator[tuple[str, int, str]]:
    """Yield the lines that were neither reached nor listed: the module, the number and the text."""
    listed = entries()
    for name, lines in counted().items():
        known = BARE.union(*(each.texts for each in listed if fnmatch(name, each.where)))
        yield from (
            (name, line, text) for line, text in lines.items() if (name, line) not in reached and text not in known
        )


def problems(reached: set[Line], readers: set[str]) -> list[str]:
    """Return the lines of some readers that were neither reached nor listed."""
    return [
        f"{name}.py:{line} is neither reached nor listed in {LISTED.name}: {text}"
        for name, line, text in missing(reached)
        if owner_of(name) in {*readers, SHARED}
    ]
