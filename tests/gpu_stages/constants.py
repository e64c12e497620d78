"""What plan.py guesses, measured: `python -m gpu_stages.constants FINDINGS KERNEL SIZES ROUNDS`.

The seconds of a step are the slope between two lengths, so that what a call costs once is not in them.  With 0 rounds
everything is compiled, and nothing is measured.
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import cupy

from gpu_stages.findings import Findings
from gpu_stages.names import harness, kernels
from gpu_stages.sizes import SIZES

VOCABULARY = 64


def estimate(kernel: str, lengths: tuple[int, int], batch: int, hidden_size: int) -> float | None:
    """Return the clocks of a step by plan.py's estimates."""
    plan, device = kernels("plan").make_plan, kernels("device").properties(0)
    problems = [kernels("tile").Problem(length, batch, 0, hidden_size, 4) for length in lengths]
    plans = [plan(problem, device, (kernel,)) for problem in problems]
    if None in plans:
        return None
    return float(plans[1].clocks - plans[0].clocks) / (lengths[1] - lengths[0])


def host_seconds(contestant: Any, x: Any) -> float:
    """Return the seconds that launching takes, the device having nothing else to do."""
    with contestant.context():
        cupy.cuda.Device().synchronize()
        begin = perf_counter()
        contestant.call(x)
        return perf_counter() - begin


def measured(contestant: Any, drawn: Any, gpu: Any, rounds: int) -> tuple[float, float]:
    """Return the median seconds of a call, on the device and on the host; with 0 rounds of one that compiles."""
    with gpu.device:
        placed = [contestant.place(x) for x in drawn.inputs]
        hosts = [host_seconds(contestant, placed[turn % len(placed)]) for turn in range(max(rounds, 1))]
    if rounds == 0:
        return 0.0, hosts[0]
    sample = gpu.device_clock(contestant, drawn.inputs)
    return median(sample() for _ in range(rounds)), median(hosts)


def main() -> None:
    path, kernel, name, rounds = sys.argv[1:]
    sizes, findings, gpu = SIZES[name], Findings(Path(path)), harness("gpu").Gpu(0)
    competitors, problems = harness("competitors"), harness("problem")
    absent = harness("contestant").AbsentError
    for hidden_size, batch in sizes.constants:
        found = []
        about = {"stage": "constants", "kernel": kernel, "H": hidden_size, "B": batch}
        gpu.launch_bound.clear()
        for length in sizes.lengths:
            shape = {"seq_len": length, "batch": batch, "input_size": VOCABULARY, "hidden_size": hidden_size}
            drawn = problems.Drawn.of(problems.Problem(**shape, tokens=True))
            try:
                contestant = competitors.prepare(kernel, drawn, 1, gpu)
            except absent as reason:
                findings.add(**about, refused=str(reason))
                break
            found.append(measured(contestant, drawn, gpu, int(rounds)))
        if len(found) == 2 and int(rounds):
            (short, _), (long, host) = found
            slope = (long - short) / (sizes.lengths[1] - sizes.lengths[0])
            findings.add(
                **about,
                us_step=1e6 * slope,
                us_once=1e6 * (short - sizes.lengths[0] * slope),
                host_us_step=1e6 * host / sizes.lengths[1],
                clocks_step_estimated=estimate(kernel, sizes.lengths, batch, hidden_size),
                launch_bound=bool(gpu.launch_bound),
            )


if __name__ == "__main__":
    main()
