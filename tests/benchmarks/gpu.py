"""Measure the cupy backend on a GPU, by `shape.py`, and write docs/benchmarks/gpu.md.

python tests/benchmarks/gpu.py                                      # everything, some ten minutes
python tests/benchmarks/gpu.py "H = 128" float64 --work DIR         # these rows; the page holds all rows in DIR
python tests/benchmarks/gpu.py --quick                              # tries it; the figures mean nothing

It needs CuPy, torch and a GPU that nobody else uses.  The exit code is 1 if something could not be measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from harness.problem import Problem
from harness.table import where, worded
from harness.timing import ratios

from rnn_backends.backends.cuda_kernels.plan import REGIMES

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
SHAPE = Path(__file__).with_name("shape.py")
OWN, SHORT = "cupy", 32
COMPARED = ("torch", "torch-tf32", "off", "product", "copy")


class Row(NamedTuple):
    """Some shapes, and the ratios to torch's time that must be, and should be, reached."""

    must: float
    aim: float
    dtype: str
    shapes: list[tuple[int, int, int, int]]


def shapes(seq_len: int, batches: tuple[int, ...], input_size: int, sizes: tuple[int, ...]) -> Any:
    return [(seq_len, batch, input_size, size) for size, batch in product(sizes, batches)]


ROWS = {
    "H <= 64": Row(1.5, 2.5, "float32", shapes(512, (1, 32, 132), 64, (32, 64))),
    "H = 128": Row(2.0, 3.0, "float32", shapes(512, (1, 32, 132), 128, (128,))),
    "H = 192 to 256": Row(1.8, 3.0, "float32", shapes(512, (1, 32, 132), 128, (192, 256))),
    "256 < H <= 384": Row(5.0, 10.0, "float32", shapes(512, (1, 32), 128, (288, 384))),
    "H = 512 to 1024": Row(4.0, 8.0, "float32", shapes(256, (1, 16), 256, (512, 768, 1024))),
    "H = 2048": Row(3.0, 5.0, "float32", shapes(256, (1, 16), 256, (2048,))),
    "H = 1024, B = 64": Row(1.5, 2.5, "float32", shapes(256, (64,), 256, (1024,))),
    "H = 1536, B >= 64": Row(1.0, 1.5, "float32", shapes(256, (64, 256), 256, (1536,))),
    "float64": Row(4.0, 8.0, "float64", shapes(256, (1, 16), 128, (128, 512, 1024))),
    "float16": Row(1.0, 1.5, "float16", shapes(512, (16, 64), 256, (256, 512, 1024))),
    "T <= 32": Row(2.0, 4.0, "float32", [(seq_len, 1, 32, 64) for seq_len in (1, 8, 32)]),
}
QUICK = {"H <= 64": Row(1.5, 2.5, "float32", [(40, 2, 3, 4)]), "T <= 32": Row(2.0, 4.0, "float32", [(4, 1, 2, 3)])}

PREAMBLE = """\
# On a GPU

The time of others in units of the time of this library's `cupy` backend: above 1, this library is faster. A whole forward is timed, the input projection included, on the device between two CUDA events, behind work that
keeps it busy until the host has launched everything; for T of 32 and less, on the host until the result is there. Each
figure is the median, over rounds, of the ratio of two times taken in the same round, in an order drawn for every round;
in brackets are the quartiles. Inputs differ from call to call, results are overwritten with NaN, and all are checked
against the float64 reference before and after. torch is `nn.RNN` (cuDNN), without TF32 and with it; off is this
library's equation as written; the names of kernels are those of [gpu.md](../gpu.md). product and copy are limits, one
matrix product of as many operations and a copy of as many bytes; the figure is the part of the limit's speed that is
reached. *: the device waited for launches all the same.
"""


def measured(name: str, row: Row, work: Path, quick: bool) -> bool:
    """Measure a row and return whether all of it was measured; kernels apart, since one that fails ends its process."""
    budget = ["--rounds", "2", "--seconds", "1"] if quick else ["--rounds", "15", "--seconds", "1.5", "--threads", "4"]
    given = [word for shape in row.shapes for word in ("--shape", *map(str, shape))]
    done = []
    for part, against in (("others", COMPARED), ("kernels", REGIMES)):
        words = ["--backend", OWN, "--dtype", row.dtype, *given, *budget, "--against", *against]
        path = work / f"{name} {part}.json"
        path.unlink(missing_ok=True)
        command = [sys.executable, str(SHAPE), *words, "--json", str(path)]
        done.append(subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0)
    return all(done)


def kept(rows: dict[str, Row], work: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the cells of each row and part that were measured, in this call or an earlier one."""
    paths = [work / f"{name} {part}.json" for name in rows for part in ("others", "kernels")]
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in paths if path.exists()}


def lines(rows: dict[str, Row], found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the page."""
    yield PREAMBLE
    yield from dict.fromkeys(f"* {where(cell)}" for cells in found.values() for cell in cells)
    for name in rows:
        yield from (
            f"* not measured: {name}, {part}" for part in ("others", "kernels") if f"{name} {part}" not in found
        )
    names = ("torch", "torch-tf32", "off", *REGIMES, "product", "copy")
    yield f"\n| | ms | {' | '.join(names)} | must | aim | reached | error | torch's |"
    yield "|---|---:|" + "---:|" * (len(names) + 2) + "---|---:|---:|"
    for name, row in rows.items():
        clock = "call" if row.shapes[0][0] <= SHORT else "device"
        parts = [
            [cell for cell in found.get(f"{name} {part}", []) if cell["clock"] == clock]
            for part in ("others", "kernels")
        ]
        for others in parts[0]:
            kernels = next((cell for cell in parts[1] if cell["problem"] == others["problem"]), None)
            yield line(row, names, others, kernels)


def line(row: Row, names: tuple[str, ...], others: dict[str, Any], kernels: dict[str, Any] | None) -> str:
    """Return a line of the table, for a shape."""
    shown: dict[str, str] = {}
    for cell in (others, kernels or {"seconds": {OWN: []}, "launch_bound": []}):
        waited = cell["launch_bound"] if others["clock"] == "device" else []
        shown |= {name: worded(ratio) + "*" * (name in waited) for name, ratio in ratios(cell["seconds"], OWN).items()}
    torch, errors = ratios(others["seconds"], OWN).get("torch"), others["excess"]
    own, theirs = errors[OWN], errors.get("torch")
    reached = "-"
    if torch is not None and theirs is not None:
        missed = [*(["aim"] if torch.median < row.aim else []), *(["must"] if torch.median < row.must else [])]
        missed += ["**slower**"] if torch.median < 1.0 else []
        missed += ["**less exact**"] if own > theirs else []
        reached = f"not {', '.join(missed)}" if missed else "yes"
    figures = [shown.get(name, "-") for name in names]
    theirs_shown = "-" if theirs is None else f"{theirs:.3g}"
    ms = f"{1e3 * median(others['seconds'][OWN]):.3g}" + "*" * (OWN in others["launch_bound"])
    shown_row = [
        str(Problem(**others["problem"])),
        ms,
        *figures,
        f"{row.must}",
        f"{row.aim}",
        reached,
        f"{own:.3g}",
        theirs_shown,
    ]
    return f"| {' | '.join(shown_row)} |"


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
            found = kept(rows, work)
            if found:  # after each row, so that a run that is interrupted leaves a page
                (output / "gpu.md").write_text("\n".join(lines(rows, found)) + "\n", encoding="utf-8")
    if failed:
        print(f"not measured, or not all of it: {'; '.join(failed)}; see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
