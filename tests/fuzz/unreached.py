"""The lines that no case reaches, which the folder unreached lists with reasons, by text and not by number."""

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from fuzz.lines import Line, all_lines
from fuzz.readers import SHARED, modules, owner_of

LISTED = Path(__file__).parent / "unreached"
LEAST = 0.95
"""The share of its lines, the listed ones among them, that the files of a reader must reach."""

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
    files = (tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(LISTED.glob("*.toml")))
    held = [each for file in files for each in file.get("left_out", ())]
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


def stale() -> Iterator[str]:
    """Yield a sentence for each function or line that is listed and is in no module that its entry names."""
    sources = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    functions = {name: {each.partition(":")[0] for each in held} for name, held in all_lines().items()}
    for where, names, texts, _ in entries():
        own = [name for name in sources if fnmatch(name, where)]
        lines = {line.strip() for name in own for line in sources[name].splitlines()}
        gone = [*names.difference(*(functions[name] for name in own)), *(texts - lines), *(() if own else (where,))]
        yield from (f"{each} is listed in tests/fuzz/unreached for {where}, where it is not" for each in gone)


def problems(reached: set[Line], readers: set[str]) -> list[str]:
    """Return what is wrong with the lines that some readers reached: too few, or neither reached nor listed."""
    few = [
        f"{reader}: only {share.reached} of {share.whole} lines are reached, less than {LEAST:.0%}"
        for reader, share in shares(reached).items()
        if reader in {*readers, SHARED} and share.reached < LEAST * share.whole
    ]
    unknown = [
        f"{name}.py:{line} is neither reached nor listed in tests/fuzz/unreached: {text}"
        for name, line, text in missing(reached)
        if owner_of(name) in {*readers, SHARED}
    ]
    return [*few, *unknown, *stale()]
