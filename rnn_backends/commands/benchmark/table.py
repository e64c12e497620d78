"""The table that `bench` prints."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rnn_backends.commands.benchmark.problem import Problem
from rnn_backends.commands.benchmark.timing import Quartiles, ratios
from rnn_backends.commands.reports import columns

LEGEND = (
    "Columns of other names: their time / ours, the median of the rounds [quartiles]; above 1, ours is faster.",
    "product, recurrent: limits; the same ratio is the part of the limit's speed that ours reaches.",
)


def lines(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each measured problem and backend, and what the columns mean."""
    names = list(dict.fromkeys(name for cell in cells for name in cell["seconds"]))
    head = ["problem", "threads", "ours", "ms", *names]
    rows = [[*_row(cell, backend, names)] for cell in cells for backend in cell["ours"]]
    shown = [column for column in range(len(head)) if any(row[column] != "-" for row in rows)]
    yield from columns([[row[column] for column in shown] for row in [head, *rows]])
    yield ""
    yield from LEGEND


def worded(quartiles: Quartiles) -> str:
    """Word a ratio as its median and quartiles."""
    return f"{_digits(quartiles.median)} [{_digits(quartiles.lower)} {_digits(quartiles.upper)}]"


def _row(cell: dict[str, Any], backend: str, names: Iterable[str]) -> Iterator[str]:
    yield str(Problem(**cell["problem"]))
    yield str(cell["threads"])
    yield backend
    yield _digits(Quartiles.of(cell["seconds"][backend]).median * 1e3)
    found = ratios(cell["seconds"], backend)
    for name in names:
        yield worded(found[name]) if name in found else "-"


def _digits(value: float) -> str:
    """Write a positive number with three digits, or all of those before its point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
