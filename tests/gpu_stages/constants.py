"""What plan.py and tensor.py guess, measured: `python -m gpu_stages.constants FINDINGS KERNEL SIZES`.

The seconds of a step are the slope between two lengths, so that what a call costs once is not in them.  Beside them stands
the estimate on the device, without launches, and how it grows with each of the constants that are fitted.  KERNEL "half"
measures both forms of `grid` in 16 bits.  Of a kernel of one launch the host's time of a short call is measured, too.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from gpu_stages.findings import Findings
from gpu_stages.names import FITTED, FORMS, LAUNCHES, RATE, WHOLE, harness, kernels
from gpu_stages.sizes import SIZES, Sizes

VOCABULARY = 64
HALF = "half"
CALLS = ("float32", "float16")
"""The dtypes of short calls."""
LEAST_CALLS = 3
"""How often each is made before it is timed: it compiles, and caches are cold."""


def problems(sizes: Sizes, length: int, kernel: str) -> list[Any]:
    """Return the problems of a length: of token ids, so that no product goes before the steps."""
    shapes, dtype = (sizes.half, "float16") if kernel in FORMS else (sizes.constants, "float32")
    make, given = harness("problem").Problem, {"seq_len": length, "input_size": VOCABULARY, "tokens": True}
    return [make(**given, batch=batch, hidden_size=hidden_size, dtype=dtype) for hidden_size, batch in shapes]


@contextmanager
def forced(kernel: str) -> Iterator[str]:
    """Have `grid` choose among the plans of a form alone, if that is meant; yield the name of the kernel."""
    if kernel not in FORMS:
        yield kernel
        return
    plans = kernels("plan").PLANS
    every = plans["grid"]
    plans["grid"] = lambda *given: (one for one in every(*given) if one.on_tensor_cores == FORMS[kernel])
    choose_again()
    try:
        yield "grid"
    finally:
        plans["grid"] = every
        choose_again()


def choose_again() -> None:
    """Forget all plans, and what was chosen by them."""
    kernels("plan").make_plan.cache_clear()
    kernels("choices").choices_of.cache_clear()


def constant(name: str) -> float:
    """Return a constant as it is fitted."""
    if name != RATE:
        return float(getattr(owner(name), name))
    module = owner(name)
    return 1000.0 / float(module.RATES.get(kernels("device").properties(0).capability, module.OTHERS))


def owner(name: str) -> Any:
    """Return the module that holds a constant."""
    return next(module for module in map(kernels, ("plan", "tensor")) if hasattr(module, name))


@contextmanager
def constants_set(values: dict[str, float]) -> Iterator[None]:
    """Have constants other values, given as they are fitted."""
    before = [(owner(name), name, getattr(owner(name), name)) for name in values]
    capability = kernels("device").properties(0).capability
    for module, name, old in before:
        setattr(module, name, {**old, capability: 1000.0 / values[name]} if name == RATE else values[name])
    try:
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)


def clocks(kernel: str, problem: Any, lengths: tuple[int, int], **constants: float) -> float | None:
    """Return the clocks of a step by the estimates, of the plan that is chosen, with other constants."""
    module, device = kernels("plan"), kernels("device").properties(0)
    sizes = problem.batch, 0, problem.hidden_size, 4, 1, problem.dtype == "float16"
    both = [kernels("tile").Problem(length, *sizes) for length in lengths]
    chosen = module.make_plan(both[1], device, (kernel,))
    if chosen is None:
        return None
    with constants_set(constants):
        short, long = (
            next(plan.clocks for plan in module.PLANS[kernel](one, device) if plan.macros == chosen.macros)
            for one in both
        )
    return float(long - short) / (lengths[1] - lengths[0])


def estimate(kernel: str, fitted: tuple[str, ...], problem: Any, lengths: tuple[int, int]) -> dict[str, Any]:
    """Return the estimates of a step, with launches and without, and the slopes of the latter by constant."""
    free = dict.fromkeys(LAUNCHES, 0.0)
    alone = clocks(kernel, problem, lengths, **free)
    slopes = {}
    for name in fitted:
        value = constant(name)
        by = 1.0 if name != RATE else 0.01 * value
        more = clocks(kernel, problem, lengths, **{**free, name: value + by})
        slopes[name] = None if more is None or alone is None else (more - alone) / by
    return {
        "clocks_step_estimated": clocks(kernel, problem, lengths),
        "clocks_step_alone": alone,
        "slopes": slopes,
        "constants": {name: constant(name) for name in (*LAUNCHES, *fitted)},
    }


def measured(contestant: Any, drawn: Any, gpu: Any, rounds: int) -> tuple[float, float]:
    """Return the median seconds of a call, on the device and of its launches on the host."""
    sample = gpu.device_clock(contestant, drawn.inputs)
    with gpu.device, contestant.context():
        placed = [contestant.place(x) for x in drawn.inputs]
        hosts = [gpu.launching(contestant, placed[turn % len(placed)]) for turn in range(rounds)]
    return median(sample() for _ in range(rounds)), median(hosts)


def found(kernel: str, sizes: Sizes, gpu: Any) -> Iterator[dict[str, Any]]:
    """Yield what was measured of a kernel or a form of one, or its refusal, by size."""
    with forced(kernel) as name:
        for pair in zip(*(problems(sizes, length, kernel) for length in sizes.lengths), strict=True):
            about = {"kernel": kernel, "H": pair[0].hidden_size, "B": pair[0].batch}
            try:
                times = of_lengths(name, pair, sizes, gpu)
            except harness("contestant").AbsentError as reason:
                yield {**about, "refused": str(reason)}
                continue
            names = (*FITTED.get(name, ()), *(FITTED.get(kernel, ()) if kernel != name else ()))
            device = {"capability": kernels("device").properties(0).capability}
            yield {**about, **device, **times, **estimate(name, names, pair[1], sizes.lengths)}


def of_lengths(kernel: str, pair: tuple[Any, Any], sizes: Sizes, gpu: Any) -> dict[str, Any]:
    """Return the times of a step, from problems of two lengths."""
    gpu.launch_bound.clear()
    times, steps = [], sizes.lengths[1] - sizes.lengths[0]
    for problem in pair:
        drawn = harness("problem").Drawn.of(problem)
        times.append(measured(harness("competitors").prepare(kernel, drawn, 1, gpu), drawn, gpu, sizes.rounds))
    (short, short_host), (long, long_host) = times
    slope = (long - short) / steps
    return {
        "us_step": 1e6 * slope,
        "us_once": 1e6 * (short - sizes.lengths[0] * slope),
        "host_us_step": 1e6 * (long_host - short_host) / steps,
        "launch_bound": bool(gpu.launch_bound),
    }


def calls(kernel: str, sizes: Sizes, gpu: Any) -> Iterator[dict[str, Any]]:
    """Yield the host's time of a short call of features, by dtype."""
    seq_len, batch, inputs, size = sizes.call
    for dtype in CALLS:
        problem = harness("problem").Problem(
            seq_len=seq_len, batch=batch, input_size=inputs, hidden_size=size, dtype=dtype
        )
        drawn = harness("problem").Drawn.of(problem)
        contestant = harness("competitors").prepare(kernel, drawn, 1, gpu)
        with gpu.device, contestant.context():
            placed = [contestant.place(x) for x in drawn.inputs]
            hosts = [
                gpu.launching(contestant, placed[turn % len(placed)]) for turn in range(LEAST_CALLS + sizes.rounds)
            ]
        yield {"kernel": kernel, "problem": str(problem), "host_us_call": 1e6 * median(hosts[LEAST_CALLS:])}


def main() -> None:
    path, kernel, name = sys.argv[1:]
    findings, gpu, sizes = Findings(Path(path)), harness("gpu").Gpu(0), SIZES[name]
    if kernel in WHOLE:
        for one in calls(kernel, sizes, gpu):
            findings.add(stage="constants", **one)
    for each in FORMS if kernel == HALF else (kernel,):
        for one in found(each, sizes, gpu):
            findings.add(stage="constants", **one)


if __name__ == "__main__":
    main()
