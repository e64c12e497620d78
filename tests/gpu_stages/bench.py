"""Kernels and others on the shapes of the goals: `python -m gpu_stages.bench FINDINGS SIZES PART FOLDER PLACES KERNEL...`.

What is found is written down after each shape.  FOLDER holds right outputs, and PLACES are those of the shapes among all of
the part, as in 0,1,5.
"""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from gpu_stages import names
from gpu_stages.findings import Findings
from gpu_stages.sizes import ELSEWHERE, SIZES, Shape, Sizes


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
    """Return the shapes of a part that were not measured with some kernels.

    That a kernel failed is measured; of this library and torch there must be a time, unless they are absent.
    """
    done = [cell for cell in cells_of(findings) if set(kernels) <= set(cell["asked"]) and has_both(cell)]
    return untried(shapes_of(part, sizes), done)


def cells_of(findings: Findings) -> list[dict[str, Any]]:
    """Return all that was measured, in order."""
    return [one["cell"] for one in findings.read("bench") if "cell" in one]


def has_both(cell: dict[str, Any]) -> bool:
    """Return whether this library and torch were timed, or are absent."""
    goals = names.goals()
    wanted = {goals.OWN, goals.TORCH} & set(cell["asked"])
    return wanted <= {*cell["seconds"], *cell["absent"]}


def untried(some: Sequence[Asked], cells: Sequence[dict[str, Any]]) -> list[Asked]:
    """Return the shapes of which there is no cell."""
    sizes = ("seq_len", "batch", "input_size", "hidden_size")
    tried = {(cell["problem"]["dtype"], tuple(cell["problem"][size] for size in sizes)) for cell in cells}
    return [asked for asked in some if (asked.dtype, tuple(asked.shape)) not in tried]


def problem(asked: Asked) -> Any:
    """Return the problem of a shape."""
    seq_len, batch, input_size, hidden_size = asked.shape
    return names.harness("problem").Problem(
        seq_len=seq_len, batch=batch, input_size=input_size, hidden_size=hidden_size, dtype=asked.dtype
    )


def against(sizes: Sizes) -> list[str]:
    """Return who is measured beside this library and its kernels."""
    return [name for name in sizes.against if name not in ELSEWHERE or find_spec(name) is not None]


def main() -> None:
    path, name, part, folder, places, *kernels = sys.argv[1:]
    findings, sizes, cells = Findings(Path(path)), SIZES[name], names.harness("gpu_cells")
    every = shapes_of(part, sizes)
    some = [every[int(place)] for place in places.split(",")]
    task = cells.Task(
        problems=[problem(asked) for asked in some],
        backends=[names.goals().OWN],
        against=[*against(sizes), *kernels],
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
