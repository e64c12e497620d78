"""What plan.py guesses, measured: `python -m gpu_stages.constants FINDINGS KERNEL SIZES`.

The seconds of a step are the slope between two lengths, so that what a call costs once is not in them.  Beside them stands
plan.py's estimate on the device, without launches, and how it grows with each of the constants that are fitted.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from gpu_stages.findings import Findings
from gpu_stages.names import FITTED, LAUNCHES, harness, kernels
from gpu_stages.sizes import SIZES, Sizes

VOCABULARY = 64


def problems(sizes: Sizes, length: int) -> list[Any]:
    """Return the problems of a length: of token ids, so that no product goes before the steps."""
    shapes = [{"batch": batch, "hidden_size": hidden_size} for hidden_size, batch in sizes.constants]
    make = harness("problem").Problem
    return [make(seq_len=length, input_size=VOCABULARY, tokens=True, **shape) for shape in shapes]


def clocks(kernel: str, problem: Any, lengths: tuple[int, int], **constants: float) -> float | None:
    """Return the clocks of a step by plan.py's estimates, of the plan that it chooses, with other constants."""
    module, device = kernels("plan"), kernels("device").properties(0)
    sizes = problem.batch, 0, problem.hidden_size, 4
    both = [kernels("tile").Problem(length, *sizes) for length in lengths]
    chosen = module.make_plan(both[1], device, (kernel,))
    if chosen is None:
        return None
    before = {name: getattr(module, name) for name in constants}
    try:
        for name, value in constants.items():
            setattr(module, name, value)
        short, long = (
            next(plan.clocks for plan in module.PLANS[kernel](one, device) if plan.macros == chosen.macros)
            for one in both
        )
    finally:
        for name, value in before.items():
            setattr(module, name, value)
    return float(long - short) / (lengths[1] - lengths[0])


def estimate(kernel: str, problem: Any, lengths: tuple[int, int]) -> dict[str, Any]:
    """Return the estimates of a step, with launches and without, and the slopes of the latter by constant."""
    module, free = kernels("plan"), dict.fromkeys(LAUNCHES, 0.0)
    alone = clocks(kernel, problem, lengths, **free)
    slopes = {}
    for name in FITTED.get(kernel, ()):
        value = getattr(module, name)
        more = clocks(kernel, problem, lengths, **{**free, name: value + 1.0})
        slopes[name] = None if more is None or alone is None else more - alone
    constants = {name: getattr(module, name) for name in (*LAUNCHES, *FITTED.get(kernel, ()))}
    return {
        "clocks_step_estimated": clocks(kernel, problem, lengths),
        "clocks_step_alone": alone,
        "slopes": slopes,
        "constants": constants,
    }


def measured(contestant: Any, drawn: Any, gpu: Any, rounds: int) -> tuple[float, float]:
    """Return the median seconds of a call, on the device and of its launches on the host."""
    sample = gpu.device_clock(contestant, drawn.inputs)
    with gpu.device, contestant.context():
        placed = [contestant.place(x) for x in drawn.inputs]
        hosts = [gpu.launching(contestant, placed[turn % len(placed)]) for turn in range(rounds)]
    return median(sample() for _ in range(rounds)), median(hosts)


def found(kernel: str, sizes: Sizes, gpu: Any) -> Iterator[dict[str, Any]]:
    """Yield what was measured, or the refusal of the kernel, by size."""
    competitors, drawn_of = harness("competitors"), harness("problem").Drawn.of
    absent = harness("contestant").AbsentError
    steps = sizes.lengths[1] - sizes.lengths[0]
    for pair in zip(*(problems(sizes, length) for length in sizes.lengths), strict=True):
        about = {"kernel": kernel, "H": pair[0].hidden_size, "B": pair[0].batch}
        gpu.launch_bound.clear()
        times = []
        try:
            for problem in pair:
                drawn = drawn_of(problem)
                times.append(measured(competitors.prepare(kernel, drawn, 1, gpu), drawn, gpu, sizes.rounds))
        except absent as reason:
            yield {**about, "refused": str(reason)}
            continue
        (short, short_host), (long, long_host) = times
        slope = (long - short) / steps
        yield {
            **about,
            "us_step": 1e6 * slope,
            "us_once": 1e6 * (short - sizes.lengths[0] * slope),
            "host_us_step": 1e6 * (long_host - short_host) / steps,
            "launch_bound": bool(gpu.launch_bound),
            **estimate(kernel, pair[1], sizes.lengths),
        }


def main() -> None:
    path, kernel, name = sys.argv[1:]
    findings, gpu = Findings(Path(path)), harness("gpu").Gpu(0)
    for one in found(kernel, SIZES[name], gpu):
        findings.add(stage="constants", **one)


if __name__ == "__main__":
    main()
