"""The rows of CSV and of JSON Lines."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rnn_backends.errors import FormatError
from rnn_backends.formats.names import listed

Row = tuple[int, Mapping[str, Any]]
"""The number of a line, from 1 on, and its values by name."""
DELIMITERS = {"csv": ",", "tsv": "\t"}


def rows_of_csv(lines: Iterable[str], form: str) -> Iterator[Row]:
    """Yield the rows of a table, whose first row names its columns."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=DELIMITERS[form], strict=True)
    try:
        names = next(reader, [])
        if len(set(names)) != len(names) or not all(names):
            msg = f"the first line must name each column once; got {listed(names)}."
            raise FormatError(msg)
        for values in reader:
            if len(values) != len(names) and values:
                msg = f"line {reader.line_num} has {len(values)} values for the {len(names)} columns of the first line."
                raise FormatError(msg)
            if values:
                yield reader.line_num, dict(zip(names, values, strict=True))
    except csv.Error as error:
        msg = f"line {reader.line_num} is no row of {form.upper()}: {error}."
        raise FormatError(msg) from error


def rows_of_jsonl(pieces: Iterable[Sequence[str]]) -> Iterator[Iterator[Row]]:
    """Yield the objects of JSON Lines, those of the lines that came together together."""
    begin = 1
    for lines in pieces:
        yield (_object(number, line) for number, line in enumerate(lines, begin) if line.strip())
        begin += len(lines)


def _object(number: int, line: str) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        msg = f"line {number} is no JSON: {error}."
        raise FormatError(msg) from error
    if not isinstance(found, dict):
        msg = f'line {number} must be a JSON object, as {{"x": [...]}}; got {type(found).__name__}.'
        raise FormatError(msg)
    return number, found
