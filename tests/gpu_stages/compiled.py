"""A share of what a stage compiles, so that none of it is left when it measures: CuPy keeps it on disk for all.

`python -m gpu_stages.compiled FINDINGS SIZES PART NUMBER COUNT KERNEL...`, PART being "constants", "bench" or "more".
"""

import sys
from pathlib import Path
from typing import Any

from gpu_stages.bench import left, problem
from gpu_stages.constants import problems
from gpu_stages.findings import RIGHT, Findings, leave
from gpu_stages.names import harness
from gpu_stages.sizes import SIZES


def main() -> None:
    path, name, part, number, count, *kernels = sys.argv[1:]
    sizes, gpu = SIZES[name], harness("gpu").Gpu(0)
    chosen: list[Any] = (
        problems(sizes, sizes.lengths[0])
        if part == "constants"
        else [problem(asked) for asked in left(Findings(Path(path)), part, sizes, kernels)]
    )
    competitors, problem_module = harness("competitors"), harness("problem")
    absent = harness("contestant").AbsentError
    made = 0
    for kernel, one in [(kernel, one) for one in chosen for kernel in kernels][int(number) :: int(count)]:
        try:
            competitors.prepare(kernel, problem_module.Drawn.of(one), 1, gpu)  # which calls it once
        except absent:
            continue
        made += 1
    leave(RIGHT, f"{made} kernels were compiled, or found compiled")


if __name__ == "__main__":
    main()
