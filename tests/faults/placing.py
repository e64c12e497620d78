"""Where a fault is planted: found by tokens, in its definition wherever that lives, also where names were changed."""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from faults.lexing import SUFFIXES, Token, renamed, renaming, tokens
from faults.tables import Fault, TableError


class Source:
    """A file: its tokens, and of Python its definitions."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.name, self.suffix = path, path.relative_to(root).as_posix(), path.suffix
        self.text = path.read_text(encoding="utf-8")

    @cached_property
    def tokens(self) -> list[Token]:
        return tokens(self.text, self.suffix)

    @cached_property
    def definitions(self) -> dict[str, list[list[Token]]]:
        """The tokens of each definition, by its qualified name; one made twice is there twice."""
        found: dict[str, list[list[Token]]] = {}
        if self.suffix == ".py":
            starts = [0]
            for line in self.text.splitlines(keepends=True):
                starts.append(starts[-1] + len(line))
            for name, first, last in _definitions(ast.parse(self.text), ""):
                inside = [each for each in self.tokens if starts[first - 1] <= each.start < starts[last]]
                found.setdefault(name, []).append(inside)
        return found

    def is_called(self, end: str) -> bool:
        return f"/{self.name}".endswith(f"/{end}")


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Yield the qualified names of what is defined, with first and last lines; variables of functions are not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
            yield f"{prefix}{child.name}", first, child.end_lineno or first
            yield from _definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.Assign | ast.AnnAssign) and isinstance(node, ast.Module | ast.ClassDef):
            for target in child.targets if isinstance(child, ast.Assign) else [child.target]:
                if isinstance(target, ast.Name):
                    yield f"{prefix}{target.id}", child.lineno, child.end_lineno or child.lineno
        elif not isinstance(child, ast.expr):
            yield from _definitions(child, prefix)


def sources(root: Path) -> list[Source]:
    """Return the files of a package that a fault may stand in."""
    files = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES and not path.name.startswith("test_"))
    return [Source(path, root) for path in files]


class Place(NamedTuple):
    """Where a fault stands: a piece of a file, what takes its place, and the fault as it is found there."""

    source: Source
    start: int
    end: int
    wrong: str
    fault: Fault

    def planted(self) -> str:
        """Return the text of the file with the fault in it; lines of `wrong` are indented as the one it begins in."""
        text = self.source.text
        line = text[text.rfind("\n", 0, self.start) + 1 : self.start]
        indent = line[: len(line) - len(line.lstrip())]
        return f"{text[: self.start]}{self.wrong.replace(chr(10), chr(10) + indent)}{text[self.end :]}"


Parts = list[tuple[Source, list[Token]]]
Found = list[tuple[Source, list[Token], dict[str, str]]]


def place(fault: Fault, files: list[Source]) -> Place:
    """Return where a fault stands, once: in its definition, there under other names, or as it is in another."""
    by_file, named, alike = _candidates(fault.where, files)
    whole = [(source, source.tokens) for source in files]
    for parts, by_name in ((by_file, False), (named, False), (named, True), (alike, False), (whole, False)):
        found = _matches(fault.right, parts, by_name)
        if len(found) > 1:
            places = ", ".join(sorted({source.name for source, _, _ in found}))
            msg = f"{fault.name!r}: {fault.right!r} ({fault.where}) stands {len(found)} times, in {places}; write more of it"
            raise TableError(msg)
        if found:
            return _placed(fault, *found[0], files)
    msg = f"{fault.name!r}: {fault.right!r} stands neither in {fault.where}, under any names, nor elsewhere"
    raise TableError(msg)


def _candidates(where: str, files: list[Source]) -> tuple[Parts, Parts, Parts]:
    """Return the definitions called so in files called so, those in any file, and those whose last name is the same."""
    file, _, name = where.rpartition("::")
    if where.endswith(SUFFIXES):
        there = [(source, source.tokens) for source in files if source.is_called(where)]
        return there, there, []
    defined = [(source, each, part) for source in files for each, parts in source.definitions.items() for part in parts]
    named = [(source, part) for source, each, part in defined if each == name]
    last = name.rpartition(".")[2]
    alike = [(source, part) for source, each, part in defined if each.rpartition(".")[2] == last]
    return ([each for each in named if each[0].is_called(file)] if file else []), named, alike


def _matches(right: str, parts: Parts, by_name: bool = False) -> Found:
    found = []
    for source, held in parts:
        wanted = tokens(right, source.suffix)
        for start in range(len(held) - len(wanted) + 1):
            piece = held[start : start + len(wanted)]
            if by_name:
                names = renaming(wanted, piece)
            else:
                names = {} if all(a.text == b.text for a, b in zip(wanted, piece, strict=True)) else None
            if names is not None:
                found.append((source, piece, names))
    return found


def _placed(fault: Fault, source: Source, piece: list[Token], names: dict[str, str], files: list[Source]) -> Place:
    right, wrong = (renamed(text, source.suffix, names) for text in (fault.right, fault.wrong))
    where = next(
        each
        for each in (fault.where, *_descriptions(source, piece), source.name)
        if [found[1] for found in _matches(right, next(filter(None, _candidates(each, files)[:2]), []))] == [piece]
    )
    return Place(source, piece[0].start, piece[-1].end, wrong, replace(fault, right=right, wrong=wrong, where=where))


def _descriptions(source: Source, piece: list[Token]) -> Iterator[str]:
    """Yield what says where a piece stands, the shortest first: the innermost definition, with ever more of the path."""
    held = [
        (len(part), name)
        for name, parts in source.definitions.items()
        for part in parts
        if piece[0] in part and piece[-1] in part
    ]
    name = min(held)[1] if held else ""
    path = source.name.split("/")
    ends = ["/".join(path[-k:]) for k in range(1, len(path) + 1)]
    yield from [name, *(f"{end}::{name}" for end in ends)] if name else ends


def check(found: Place, files: list[Source]) -> None:
    """Refuse a fault that is none, one that is no Python, and one with a name that stands nowhere near it."""
    fault, source = found.fault, found.source
    if [each.text for each in tokens(fault.right, source.suffix)] == [
        each.text for each in tokens(fault.wrong, source.suffix)
    ]:
        msg = f"{fault.name!r}: what is wrong is what is right"
        raise TableError(msg)
    known = {"true", "false", *dir(builtins)}
    if source.suffix == ".py":
        try:
            ast.parse(found.planted())
        except SyntaxError as error:
            msg = f"{fault.name!r} makes {source.name} no Python: {error}"
            raise TableError(msg) from error
    known |= {each.text for other in (files if source.suffix != ".py" else [source]) for each in other.tokens}
    if unknown := _names(tokens(fault.wrong, source.suffix)) - known:
        msg = f"{fault.name!r}: {', '.join(sorted(unknown))} of {fault.wrong!r} stands nowhere in {source.name}"
        raise TableError(msg)


def _names(wrong: list[Token]) -> set[str]:
    """Return the names that must be known already: no attributes, nothing assigned or imported, no keywords of a call."""
    around = list(
        zip(["", *(each.text for each in wrong)], wrong, [*(each.text for each in wrong[1:]), ""], strict=False)
    )
    made = {each.text for before, each, after in around if before in {"import", "as", "for"} or after == "="}
    return {each.text for before, each, _ in around if each.is_identifier and before != "."} - made
