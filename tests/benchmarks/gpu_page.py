"""The page docs/benchmarks/gpu.md of what was measured on a GPU, as `python tests/gpu_pages.py OUT` writes it."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from gpu_goals import OWN, TORCH, Cell, Row, by_problem, counting, judged
from harness.problem import Problem
from harness.table import where, worded
from harness.timing import ratios

from rnn_backends.backends.cuda_kernels.plan import REGIMES

OTHERS, LIMITS = (TORCH, "torch-tf32", "flashrnn", "off"), ("product", "copy")

PREAMBLE = """\
# Benchmarks on a GPU

The time of others in units of the time of this library's `cupy` backend: above 1, this library is faster. A whole
forward is timed, the input projection included: on the device, between two CUDA events, behind work that keeps it busy
until the host has launched everything; and, in the column "a call", on the host until the result is there, which alone
counts for T of 32 and less. Each figure is the median, over rounds, of the ratio of two times taken in the same round, in an
order drawn for every round; in brackets are the quartiles. Inputs differ from call to call, results are overwritten with
NaN, and all are checked against the float64 reference before and after. Each contestant has a process of its own; what
one did instead of being timed stands in its place. torch is `nn.RNN` (cuDNN), without TF32 and with it; off is this
library's equation as written; the names of kernels are those of [gpu.md](../gpu.md). product and copy are limits, one
matrix product of as many operations and a copy of as many bytes; the figure is the part of the limit's speed that is
reached. *: the device waited for launches all the same. "must" and "aim" are goals for torch, by both clocks.
"""


def lines(rows: Mapping[str, Row], found: Mapping[str, Sequence[Cell]]) -> Iterator[str]:
    """Yield the page."""
    yield PREAMBLE
    yield from dict.fromkeys(f"* {where(cell)}" for cells in found.values() for cell in cells)
    yield from (f"* not measured: {name}" for name in rows if not found.get(name))
    asked = {name for cells in found.values() for cell in cells for name in cell["asked"]}
    names = [name for name in (*OTHERS[1:], *REGIMES, *LIMITS) if name in asked]
    yield f"\n| | ms | torch | a call | {' | '.join(names)} | must | aim | reached | error | torch's |"
    yield "|---|---:|" + "---:|" * (len(names) + 4) + "---|---:|---:|"
    for name, row in rows.items():
        yield from (line(row, names, cells) for cells in by_problem(found.get(name, [])))


def line(row: Row, names: Sequence[str], cells: Mapping[str, Cell]) -> str:
    """Return a line of the table, for a shape."""
    (clock, *_), others = counting(cells), cells["call"]
    cell = cells[clock]
    waited = cell["launch_bound"] if clock == "device" else []
    missing = {**cell["absent"], **cell["failed"]}
    shown = {name: worded(ratio) + "*" * (name in waited) for name, ratio in ratios(cell["seconds"], OWN).items()}
    shown = {**dict.fromkeys(cell["absent"], "-"), **cell["failed"], **shown}
    called = ratios(others["seconds"], OWN).get(TORCH)
    own, theirs = (cell["excess"].get(name) for name in (OWN, TORCH))
    ms = f"{1e3 * median(cell['seconds'][OWN]):.3g}" + "*" * (OWN in waited) if OWN in cell["seconds"] else missing[OWN]
    figures = [
        str(Problem(**cell["problem"])),
        ms,
        "-" if clock == "call" else shown.get(TORCH, "-"),
        "-" if called is None else worded(called),
        *(shown.get(name, "-") for name in names),
        f"{row.must}",
        f"{row.aim}",
        judged(row.must, row.aim, cells).reached,
        *("-" if error is None else f"{error:.3g}" for error in (own, theirs)),
    ]
    return f"| {' | '.join(figures)} |"
