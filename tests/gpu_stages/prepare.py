"""A share of what a stage needs before it measures, so that none of it is left then: kernels, which CuPy keeps on disk for
all processes; the right outputs, which the float64 reference takes long for; or torch, whose files are large to read.

`python -m gpu_stages.prepare FINDINGS SIZES PART KIND NUMBER COUNT FOLDER KERNEL...`, where PART is "constants", "bench"
or "more" and KIND "compile", "reference" or "torch".
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_stages import constants
from gpu_stages.bench import left, problem
from gpu_stages.context import WARM
from gpu_stages.findings import RIGHT, Findings, leave
from gpu_stages.names import FORMS, harness
from gpu_stages.sizes import SIZES


def compile_(some: Sequence[tuple[Any, str]]) -> str:
    """Have each kernel walk its problem once, and say how many do."""
    competitors, drawn_of, gpu = harness("competitors"), harness("problem").Drawn.of, harness("gpu").Gpu(0)
    absent = harness("contestant").AbsentError
    made = 0
    for one, kernel in some:
        try:
            with constants.forced(kernel) as name:
                competitors.prepare(name, drawn_of(one), 1, gpu)
        except absent:
            continue
        made += 1
    return f"{made} of {len(some)} kernels take their shapes"


def warm(folder: Path) -> str:
    """Have torch run a tiny network on the device."""
    harness_problem = harness("problem")
    drawn = harness_problem.Drawn.of(harness_problem.Problem(seq_len=3, batch=2, input_size=4, hidden_size=8))
    try:
        contestant = harness("competitors").prepare("torch", drawn, 1, harness("gpu").Gpu(0))
    except harness("contestant").AbsentError as reason:
        return str(reason)
    with contestant.context():
        contestant.output(contestant.call(contestant.place(drawn.x)))
    (folder / WARM).touch()
    return WARM


def main() -> None:
    path, name, part, kind, number, count, folder, *kernels = sys.argv[1:]
    if kind == "torch":
        leave(RIGHT, warm(Path(folder)))
    sizes, share = SIZES[name], slice(int(number), None, int(count))
    if part == "constants":
        forms = [*kernels, *(FORMS if "grid" in kernels else ())]
        length = sizes.lengths[0]
        pairs = [(one, form) for form in forms for one in constants.problems(sizes, length, form)]
        leave(RIGHT, compile_(pairs[share]))
    chosen = [problem(asked) for asked in left(Findings(Path(path)), part, sizes, kernels)]
    if kind == "compile":
        leave(RIGHT, compile_([(one, kernel) for one in chosen for kernel in kernels][share]))
    for one in chosen[share]:
        harness("gpu_cells").kept_outputs(one, Path(folder))
    leave(RIGHT, f"{len(chosen[share])} references")


if __name__ == "__main__":
    main()
