"""The lines that no case reaches, which unreached.toml lists with reasons, by their text and not by their numbers."""

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from fuzz.lines import Line, all_lines
from fuzz.readers import SHARED, modules, owner_of

LISTED = Path(__file__).parent / "unreached.toml"


class Share(NamedTuple):
    """How many lines of a reader's modules can be reached, and how many were."""

    reached: int
    whole: int


class Entry(NamedTuple):
    """Lines that no file reaches: of modules whose path fits `where`, the texts, or all of them; and the reason."""

    where: str
    texts: tuple[str, ...]
    reason: str


def entries() -> list[Entry]:
    held = tomllib.loads(LISTED.read_text(encoding="utf-8"))["left_out"]
    return [Entry(each["where"], tuple(each.get("lines", ())), each["reason"]) for each in held]


def _left_out(listed: list[Entry]) -> dict[str, list[Entry]]:
    return {name: [each for each in listed if fnmatch(name, each.where)] for name in modules()}


def _texts(name: str) -> list[str]:
    return [line.strip() for line in modules()[name].read_text(encoding="utf-8").splitlines()]


def shares(reached: set[Line]) -> dict[str, Share]:
    """Return how many lines were reached by reader; those of modules that are listed whole do not count."""
    listed, found = _left_out(entries()), dict[str, Share]()
    for name, lines in all_lines().items():
        if any(not each.texts for each in listed[name]):
            continue
        held = found.get(owner_of(name), Share(0, 0))
        own = len({(name, line) for line in lines} & reached)
        found[owner_of(name)] = Share(held.reached + own, held.whole + len(lines))
    return found


def missing(reached: set[Line]) -> Iterator[tuple[str, int, str]]:
    """Yield the lines that were neither reached nor listed: the module, the number and the text."""
    listed = _left_out(entries())
    for name, lines in all_lines().items():
        if any(not each.texts for each in listed[name]):
            continue
        known = {text for each in listed[name] for text in each.texts}
        texts = _texts(name)
        for line in sorted(lines):
            if (name, line) not in reached and texts[line - 1] not in known:
                yield name, line, texts[line - 1]


def problems(reached: set[Line], readers: set[str], least: float) -> list[str]:
    """Return what is wrong with the lines that were reached: those that are not listed, and readers with too few."""
    found = [
        f"{name}.py:{line} is neither reached nor listed in {LISTED.name}: {text}"
        for name, line, text in missing(reached)
        if owner_of(name) in {*readers, SHARED}
    ]
    for reader, share in shares(reached).items():
        if reader in readers and 100 * share.reached < least * share.whole:
            found.append(f"{reader}: {share.reached} of {share.whole} lines were reached, less than {least} %")
    return found
