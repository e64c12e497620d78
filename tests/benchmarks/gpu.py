"""Measure the cupy backend on a GPU, by `shape.py`, and write docs/benchmarks/gpu.md.

python tests/benchmarks/gpu.py                                      # everything, some ten minutes
python tests/benchmarks/gpu.py "H = 128" float64 --work DIR         # these rows; the page holds all rows in DIR
python tests/benchmarks/gpu.py --quick                              # tries it; the figures mean nothing

It needs CuPy, torch and a GPU that nobody else uses.  The exit code is 1 if something could not be measured.  `python
tests/gpu_first.py`, of which most is other checks, measures the same; `python tests/gpu_pages.py` makes a page of that.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from gpu_goals import OWN, QUICK, ROWS, TORCH, Cell, Row, by_problem, counting, judged
from harness.problem import Problem
from harness.table import where, worded
from harness.timing import ratios

from rnn_backends.backends.cuda_kernels.plan import REGIMES

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
SHAPE = Path(__file__).with_name("shape.py")
OTHERS, LIMITS = (TORCH, "torch-tf32", "flashrnn", "off"), ("product", "copy")

PREAMBLE = """\
# On a GPU

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


def measured(name: str, row: Row, work: Path, quick: bool) -> bool:
    """Measure a row and return whether all of it was measured."""
    budget = ["--rounds", "2", "--seconds", "1"] if quick else ["--rounds", "15", "--seconds", "1.5", "--threads", "4"]
    given = [word for shape in row.shapes for word in ("--shape", *map(str, shape))]
    words = ["--backend", OWN, "--dtype", row.dtype, *given, *budget, "--against", *OTHERS, *REGIMES, *LIMITS]
    path = work / f"{name}.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, str(SHAPE), *words, "--json", str(path)]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    return done and all(OWN in cell["seconds"] for cell in kept([name], work)[name])


def kept(names: Sequence[str], work: Path) -> dict[str, list[Cell]]:
    """Return the cells of each row that was measured, in this call or an earlier one."""
    paths = {name: work / f"{name}.json" for name in names}
    return {name: json.loads(path.read_text("utf-8"))["cells"] for name, path in paths.items() if path.exists()}


def lines(rows: Mapping[str, Row], found: Mapping[str, Sequence[Cell]]) -> Iterator[str]:
    """Yield the page."""
    yield PREAMBLE
    yield from dict.fromkeys(f"* {where(cell)}" for cells in found.values() for cell in cells)
    yield from (f"* not measured: {name}" for name in rows if not found.get(name))
    names = (*OTHERS[1:], *REGIMES, *LIMITS)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"some of: {'; '.join(ROWS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="tiny shapes and few rounds, written to the work folder")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder that keeps the measurements; default: none")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of gpu.md; default: docs")
    arguments = parser.parse_args()
    rows = QUICK if arguments.quick else ROWS
    if unknown := set(arguments.rows) - set(rows):
        parser.error(f"there is no row {', '.join(sorted(unknown))}; there are: {'; '.join(rows)}")
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        output = arguments.output or (work if arguments.quick else DOCS)
        for folder in (work, output):
            folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.rows or rows:
            if not measured(name, rows[name], work, arguments.quick):
                failed.append(name)
            found = kept(list(rows), work)
            if found:  # after each row, so that a run that is interrupted leaves a page
                (output / "gpu.md").write_text("\n".join(lines(rows, found)) + "\n", encoding="utf-8")
    if failed:
        print(f"not measured, or not all of it: {'; '.join(failed)}; see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
