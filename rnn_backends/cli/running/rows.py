"""The rows of CSV and of JSON Lines."""

import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rnn_backends.core.messages import listed, short, shown
from rnn_backends.errors import FormatError

Row = tuple[int, Mapping[str, Any]]
"""The number of a line, from 1 on, and its values by name."""
DELIMITERS = {"csv": ",", "tsv": "\t"}
LONGEST = 2**31 - 1
"""The characters of a value; those that the module csv takes by default are few for a text."""


class _Lines:
    """The lines of a table, of which no more are waited for than a row needs."""

    def __init__(self, pieces: Iterable[Sequence[str]]) -> None:
        self._pieces, self.held = iter(pieces), deque[str]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self.held and not self.are_more():
            raise StopIteration
        return f"{self.held.popleft()}\n"

    def are_more(self) -> bool:
        """Wait for lines, and return whether there are any."""
        while not self.held:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self.held.extend(piece)
        return True


def rows_of_csv(pieces: Iterable[Sequence[str]], form: str) -> Iterator[Iterator[Row]]:
    """Yield the rows of a table, whose first row names its columns; those of lines that came together together."""
    lines, before = _Lines(pieces), csv.field_size_limit(LONGEST)
    try:
        reader = csv.reader(lines, delimiter=DELIMITERS[form], strict=True)
        names = _named([name.strip() for name in next(_parsed(reader, form), [])], form)
        while lines.are_more():
            yield _rows(reader, lines, names, form)
    finally:
        csv.field_size_limit(before)


def _rows(reader: Any, lines: _Lines, names: list[str], form: str) -> Iterator[Row]:
    rows = _parsed(reader, form)
    while lines.held:
        number = reader.line_num + 1
        values = next(rows, [])
        if values and len(values) != len(names):
            msg = f"line {number} has {len(values)} values for the {len(names)} columns of the first line."
            raise FormatError(msg)
        if values:
            yield number, dict(zip(names, values, strict=True))


def _parsed(reader: Any, form: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        reason = str(error).partition(" - ")[0]
        msg = f"line {reader.line_num} is no row of {form.upper()}: {reason}."
        raise FormatError(msg) from error


def _named(names: list[str], form: str) -> list[str]:
    if len(set(names)) != len(names) or not all(names):
        msg = f"the first line must name each column once; got {listed(names)}."
        raise FormatError(msg)
    if len(names) == 1 and (found := {";", ",", "\t"} & {*names[0]} - {DELIMITERS[form]}):
        other = "give --from tsv" if found == {"\t"} else "give --from csv" if found == {","} else "write commas"
        msg = f"the columns of the first line seem to be separated by {shown(min(found))}; {other}."
        raise FormatError(msg)
    if all(map(_is_number, names)) and names not in _counted(len(names)):
        msg = f"the first line must name the columns, and has numbers, {listed(names)}; put a line of names before it."
        raise FormatError(msg)
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counted(size: int) -> list[list[str]]:
    """Return the names that programs give columns without any: their numbers, from 0 or 1 on."""
    return [list(map(str, range(first, first + size))) for first in (0, 1)]


def rows_of_jsonl(pieces: Iterable[Sequence[str]]) -> Iterator[Iterator[Row]]:
    """Yield the objects of JSON Lines, those of lines that came together together."""
    begin = 1
    for lines in pieces:
        yield (_object(number, line) for number, line in enumerate(lines, begin) if line.strip())
        begin += len(lines)


def _object(number: int, line: str) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        msg = f"line {number} is no JSON: {short(error)}."
        raise FormatError(msg) from error
    if not isinstance(found, dict):
        msg = f'line {number} must be a JSON object, as {{"x": [...]}}; got {type(found).__name__}.'
        raise FormatError(msg)
    return number, found
