"""`grid` against `sweep` with one tile, bit for bit, beside memory traffic: `python -m gpu_stages.selfcheck FINDINGS SIZES`.

It is what the package's own check does on a small network, here with networks of many sizes, of thousands of steps, and
with the plans that come next.
"""

import sys
from collections.abc import Iterator
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import cupy

import rnn_backends as rb
from gpu_stages.findings import RIGHT, WRONG, Findings, leave
from gpu_stages.names import kernels
from gpu_stages.sizes import SIZES, Sizes

TIMES = 3
MOST_COPIES = 900
"""Of those that are launched before the walk: CUDA queues about a thousand."""


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


def compared(sample: Any, plan: Any, traffic: Traffic) -> Iterator[dict[str, Any]]:
    """Yield the mismatches of each of some walks beside traffic, and whether there was traffic to its end."""
    own = kernels("selfcheck")
    wanted = own.on_host(sample.walk(own.as_sweep(plan)))
    sample.walk(plan)  # compiles
    alone = seconds_of(lambda: sample.walk(plan))
    copies = min(MOST_COPIES, ceil(3 * alone / traffic.one) + 8)
    for _ in range(TIMES):
        cupy.cuda.Device().synchronize()
        traffic_ends = traffic.copy(copies)
        found: list[Any] = []
        beside = seconds_of(lambda found=found: found.append(sample.walk(plan)))
        overlapped = not traffic_ends.done
        traffic_ends.synchronize()
        yield {"mismatches": own.mismatches(own.on_host(found[0]), wanted), "overlapped": overlapped,
               "ms_alone": 1e3 * alone, "ms_beside": 1e3 * beside}  # fmt: skip


def check(sizes: Sizes, findings: Findings) -> tuple[int, int]:
    """Return how many walks were compared, and the mismatches of all."""
    walks = wrong = 0
    traffic, backend = Traffic(sizes.traffic), rb.get_backend("cupy")
    for dtype, shape in sizes.selfcheck:
        if dtype not in backend.dtypes():
            findings.add(stage="selfcheck", kernel="grid", dtype=dtype, refused="this dtype is not here")
            continue
        sample = kernels("selfcheck").Sample(backend.dtype(dtype), shape)
        for plan in islice(sample.plans("grid"), sizes.plans):
            for found in compared(sample, plan, traffic):
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
