"""The table that `shape.py` prints."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.problem import Problem
from harness.timing import Quartiles, ratios
from rnn_backends.cli.reports import columns

OF_CUPY = ("RNN_CUPY_KERNEL", "CUPY_TF32")
"""The variables that change what the cupy backend computes with."""

LEGEND = (
    "Columns of other names: their time / ours, the median of the rounds [quartiles]; above 1, ours is faster.",
    "product, copy: limits; the same ratio is the part of the limit's speed that ours reaches.",
    "device: the time between CUDA events, the device being kept busy until all is launched; call: on the host, until",
    "the result is there.  error: of ours, in units of the bound.  *: the device waited for launches all the same.",
)


def lines(cells: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each measured problem and backend, and the meaning of the columns."""
    yield from dict.fromkeys(where(cell) for cell in cells)
    names = list(dict.fromkeys(name for cell in cells for name in (*cell["seconds"], *cell["failed"])))
    head = ["problem", "threads", "clock", "ours", "ms", "error", *names]
    rows = [[*_row(cell, backend, names)] for cell in cells for backend in cell["ours"]]
    shown = [column for column in range(len(head)) if any(row[column] != "-" for row in rows)]
    yield from columns([[row[column] for column in shown] for row in [head, *rows]])
    yield ""
    yield from LEGEND


def where(cell: dict[str, Any]) -> str:
    """Return the GPU, versions and variables of a measurement in words."""
    about, versions = cell["device"], [f"{name} {version}" for name, version in cell["versions"].items()]
    if not about:
        return "no contestant came to a GPU"
    variables = [f"{name}={cell['environment'][name]}" for name in OF_CUPY if name in cell["environment"]]
    words = [about["name"], f"compute capability {about['compute_capability']}", about["driver"], *versions]
    return ", ".join([*words, *(variables or [f"{' and '.join(OF_CUPY)} unset"])])


def worded(quartiles: Quartiles) -> str:
    """Return a ratio in words, as its median and quartiles."""
    return f"{digits(quartiles.median)} [{digits(quartiles.lower)} {digits(quartiles.upper)}]"


def _row(cell: dict[str, Any], backend: str, names: Iterable[str]) -> Iterator[str]:
    yield str(Problem(**cell["problem"]))
    yield str(cell["threads"])
    clock, waited, failed = cell["clock"], cell["launch_bound"], cell["failed"]
    yield clock
    yield backend
    if backend in cell["seconds"]:
        ms = digits(Quartiles.of(cell["seconds"][backend]).median * 1e3)
        yield ms + "*" * (clock == "device" and backend in waited)
        yield digits(cell["excess"][backend])
    else:
        yield failed.get(backend) or cell["absent"][backend]
        yield "-"
    found = ratios(cell["seconds"], backend)
    for name in names:
        mark = "*" * (clock == "device" and name in waited)
        yield worded(found[name]) + mark if name in found else failed.get(name, "-") if name != backend else "-"


def digits(value: float) -> str:
    """Write a number with three digits, or all of those before its point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
