"""Kernels and others on the shapes of the goals: `python -m gpu_stages.bench FINDINGS SIZES PART FOLDER SEEN KERNEL...`.

Only what has yet to be measured with all of them; what is found is written down after each shape.  FOLDER holds right
outputs, and SEEN says how many shapes are left out, as one that ended an earlier process.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpu_stages import names
from gpu_stages.findings import Findings
from gpu_stages.sizes import SIZES, Shape, Sizes


class Asked(NamedTuple):
    """A shape of a row of the goals, and its dtype."""

    row: str
    dtype: str
    shape: Shape


def shapes_of(part: str, sizes: Sizes) -> list[Asked]:
    """Return the shapes of a part: "bench", those that matter most, or "more", those of all rows."""
    rows = names.goals().ROWS
    chosen = sizes.bench if part == "bench" else sizes.more
    if chosen is None:
        chosen = {name: tuple(row.shapes) for name, row in rows.items()}
    return [Asked(row, rows[row].dtype, shape) for row, shapes in chosen.items() for shape in shapes]


def left(findings: Findings, part: str, sizes: Sizes, kernels: Sequence[str]) -> list[Asked]:
    """Return the shapes of a part that were not measured with some kernels; that one failed is measured."""
    done = set()
    for one in findings.read("bench"):
        if "cell" in one and set(kernels) <= set(one["cell"]["asked"]):
            problem = one["cell"]["problem"]
            shape = tuple(problem[size] for size in ("seq_len", "batch", "input_size", "hidden_size"))
            done.add((problem["dtype"], shape))
    return [asked for asked in shapes_of(part, sizes) if (asked.dtype, tuple(asked.shape)) not in done]


def problem(asked: Asked) -> Any:
    """Return the problem of a shape."""
    seq_len, batch, input_size, hidden_size = asked.shape
    return names.harness("problem").Problem(
        seq_len=seq_len, batch=batch, input_size=input_size, hidden_size=hidden_size, dtype=asked.dtype
    )


def main() -> None:
    path, name, part, folder, seen, *kernels = sys.argv[1:]
    findings, sizes, cells = Findings(Path(path)), SIZES[name], names.harness("gpu_cells")
    some = left(findings, part, sizes, kernels)[int(seen) :]
    task = cells.Task(
        problems=[problem(asked) for asked in some],
        backends=[names.goals().OWN],
        against=[*sizes.against, *kernels],
        threads=min(16, len(os.sched_getaffinity(0))),  # results are checked on all
        seconds=sizes.seconds,
        rounds=sizes.rounds,
        answer_seconds=sizes.answer_seconds,
        outputs=Path(folder),
    )
    for asked, pair in zip(some, cells.cells(task, print), strict=True):
        for cell in pair:
            findings.add(stage="bench", row=asked.row, cell=cell)


if __name__ == "__main__":
    main()
