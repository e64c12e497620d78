"""`grid` against `sweep` with one tile, bit for bit, beside memory traffic: `python -m gpu_stages.selfcheck FINDINGS SIZES`.

Both run the same source with the same tile, so that their sums round alike; they differ in how states pass from block to
block.  The batch is ragged, and holds NaN and infinity.  A NaN equals any other here.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import cupy
import numpy as np

import rnn_backends as rb
from gpu_stages.findings import RIGHT, WRONG, Findings, leave
from gpu_stages.names import kernels
from gpu_stages.sizes import SIZES, Shape, Sizes
from rnn_backends.testing.cases import Draw

TIMES = 3
MOST_COPIES = 900
"""Of those that are launched before the walk: CUDA queues about a thousand."""
INFINITY = {
    "float16": ("u2", 0x7C00, 0x7FFF),
    "bfloat16": ("u2", 0x7F80, 0x7FFF),
    "float32": ("u4", 0x7F800000, 0x7FFFFFFF),
    "float64": ("u8", 0x7FF0000000000000, 0x7FFFFFFFFFFFFFFF),
}
"""The integers of a dtype's size, the bits of infinity, and all bits but the sign."""


class Problem:
    """A cell on the device, and the arguments of a walk: some sequences hold NaN and infinity, and all differ in length."""

    def __init__(self, dtype: str, shape: Shape) -> None:
        seq_len, batch, input_size, hidden_size = shape
        draw, wide = Draw(dtype, 0), "float64" if dtype == "float64" else "float32"
        stored = rb.get_backend("cupy").dtype(dtype)
        cell = draw.cell(input_size, hidden_size)
        parts = ("weight_ih", "weight_hh", "bias")
        placed = {part: cupy.asarray(np.asarray(getattr(cell, part), wide)) for part in parts}
        self.cell = dataclasses.replace(cell, **placed)
        lengths = np.arange(1, batch + 1, dtype=np.int32) * seq_len // batch
        x = draw.normal(seq_len, batch, input_size)
        x[lengths[0] // 2, 0, 0] = np.nan
        x[lengths[-2] // 3, -2, 0] = np.inf
        self.x, self.lengths = cupy.asarray(x.astype(stored)), cupy.asarray(lengths)
        self.h_0 = cupy.asarray(draw.normal(batch, hidden_size, scale=0.5).astype(stored))
        self.dtype, self.shape, self.itemsize = dtype, shape, np.dtype(wide).itemsize

    def plans(self, most: int) -> Iterator[Any]:
        """Yield the plans of `grid` that are estimated to be the fastest and that fit on the device."""
        problem = kernels("tile").Problem(*self.shape, self.itemsize, half=self.h_0.itemsize == 2)
        device = kernels("device")
        found = 0
        for plan in sorted(kernels("plan").PLANS["grid"](problem, device.properties(0)), key=lambda plan: plan.clocks):
            if found < most and device.fits(self._prepared(plan)[1].function, plan):
                found += 1
                yield plan

    def walk(self, plan: Any) -> tuple[Any, Any]:
        """Return states and last states by a plan."""
        walk, choice = self._prepared(plan)
        states, last = walk.run(choice, self.x, [self.h_0], self.lengths)
        return states, last

    def _prepared(self, plan: Any) -> tuple[Any, Any]:
        walk = kernels("walk").Walk([self.cell], self.x, self.h_0, False)
        return walk, walk.prepare(plan, *self.shape[:2], False)


def mismatches(dtype: str, one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return in how many numbers two results differ; counted on the device, by integers."""
    bits, infinity, magnitude = INFINITY[dtype]
    total = 0
    for first, second in zip(one, other, strict=True):
        a, b = first.view(bits), second.view(bits)
        both_nan = ((a & magnitude) > infinity) & ((b & magnitude) > infinity)
        total += int(cupy.sum((a != b) & ~both_nan).get())
    return total


class Traffic:
    """Copies from memory to memory on a stream of their own."""

    def __init__(self, nbytes: int) -> None:
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.source = cupy.zeros(nbytes, "uint8")
        self.target = cupy.empty_like(self.source)
        self.copy(1)
        self.one = seconds_of(lambda: cupy.copyto(self.target, self.source))

    def copy(self, times: int) -> Any:
        """Launch some copies, and return the event of their end."""
        with self.stream:
            for _ in range(times):
                cupy.copyto(self.target, self.source)
            end = cupy.cuda.Event()
            end.record()
        return end


def seconds_of(call: Any) -> float:
    """Return how long some work takes on the device."""
    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    call()
    stop.record()
    stop.synchronize()
    return 1e-3 * float(cupy.cuda.get_elapsed_time(start, stop))


def as_sweep(plan: Any) -> Any:
    """Return the plan of `sweep` with the tile of one of `grid`."""
    macros = tuple((name, 1 if name == "SWEEP" else value) for name, value in plan.macros)
    return dataclasses.replace(plan, regime="sweep", macros=macros)


def compared(problem: Problem, plan: Any, traffic: Traffic) -> Iterator[dict[str, Any]]:
    """Yield the mismatches of each of some walks beside traffic, and whether there was traffic to its end."""
    wanted = problem.walk(as_sweep(plan))
    problem.walk(plan)  # compiles
    alone = seconds_of(lambda: problem.walk(plan))
    copies = min(MOST_COPIES, ceil(3 * alone / traffic.one) + 8)
    for _ in range(TIMES):
        cupy.cuda.Device().synchronize()
        traffic_ends = traffic.copy(copies)
        found: list[Any] = []
        beside = seconds_of(lambda found=found: found.append(problem.walk(plan)))
        overlapped = not traffic_ends.done
        traffic_ends.synchronize()
        yield {"mismatches": mismatches(problem.dtype, found[0], wanted), "overlapped": overlapped,
               "ms_alone": 1e3 * alone, "ms_beside": 1e3 * beside}  # fmt: skip


def check(sizes: Sizes, findings: Findings) -> tuple[int, int]:
    """Return how many walks were compared, and the mismatches of all."""
    walks = wrong = 0
    traffic, there = Traffic(sizes.traffic), rb.get_backend("cupy").dtypes()
    for dtype, shape in sizes.selfcheck:
        if dtype not in there:
            findings.add(stage="selfcheck", kernel="grid", dtype=dtype, refused="this dtype is not here")
            continue
        problem = Problem(dtype, shape)
        for plan in problem.plans(sizes.plans):
            for found in compared(problem, plan, traffic):
                findings.add(stage="selfcheck", kernel="grid", dtype=dtype, shape=shape, blocks=plan.blocks,
                             macros=dict(plan.macros), **found)  # fmt: skip
                walks, wrong = walks + 1, wrong + found["mismatches"]
    return walks, wrong


def main() -> None:
    path, sizes = sys.argv[1:]
    walks, wrong = check(SIZES[sizes], Findings(Path(path)))
    leave(RIGHT if walks and not wrong else WRONG, f"{wrong} mismatches in {walks} walks")


if __name__ == "__main__":
    main()
