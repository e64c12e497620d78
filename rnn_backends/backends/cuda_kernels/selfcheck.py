"""The check by which a kernel proves itself on a device: against the equation as written, on a small ragged network.

The network is such that sums are exact in every dtype and order, also in TF32, and that no error grows: most units
have weights of 32, so that tanh of z, a multiple of 32, is -1, 0 or 1; the others have weights of 1/16, and are read by
none.  Whatever is dropped, stale or taken from elsewhere turns signs, and those turn others.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import cupy
import numpy as np

from rnn_backends.backends.cuda_kernels.choices import Choice
from rnn_backends.backends.cuda_kernels.device import fits, properties
from rnn_backends.backends.cuda_kernels.plan import PLANS, Plan
from rnn_backends.backends.cuda_kernels.tile import Problem
from rnn_backends.backends.cuda_kernels.walk import Walk
from rnn_backends.core.arrays import Array, Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.recurrence import scan

STEPS, BATCH, INPUTS = 300, 5, 3
SIZES = (253, 150, 70)
"""hidden_size, the largest that a kernel takes; none is a multiple of a tile, and some weights lie in shared memory."""

BATCH_OF_HALF = 37
SIZES_OF_HALF = (264, 152, 88)
"""The same of 16 bits: also for tensor cores, with all of the 16 sequences that one multiplies at once."""

TIMES, COPIES, COPIED = 3, 100, 2**25
"""How often blocks that wait for each other are tried; beside how many copies, which take longer than a walk; and of
how many bytes, which are more than caches hold."""

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
OF_TANH = 16
"""The error that tanh may have, in units of the dtype of sums."""


class Sample:
    """A layer of both directions, and arguments: lengths from 0 to all steps, NaN and infinity in some sequences.

    Parameters
    ----------
    dtype : numpy.dtype
        That of the states.
    shape : tuple of int
        The steps, at least 4 sequences, features and states.
    """

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, int, int, int]) -> None:
        seq_len, batch, input_size, size = shape
        random = np.random.default_rng(0)
        self.cells = [drawn_cell(random, input_size, size) for _ in range(2)]
        self.lengths = np.arange(batch, dtype=np.int32) * seq_len // np.int32(batch - 1)
        x, self.h_0 = signs(random, seq_len, batch, input_size), signs(random, 2, batch, size)
        x[seq_len // 4, -2, 0], x[seq_len // 4, -3, 0], self.h_0[:, 0, 0] = np.nan, np.inf, np.inf
        x[np.arange(seq_len)[:, None] >= self.lengths] = np.nan
        self.x = x
        wide = np.dtype("float64" if dtype == "float64" else "float32")
        cells = [Cell(*(cupy.asarray(part, wide) for part in parts(cell))) for cell in self.cells]
        self.given = [cupy.asarray(x.astype(dtype)), [cupy.asarray(h.astype(dtype)) for h in self.h_0]]
        self.given.append(cupy.asarray(self.lengths))
        self.walker = Walk(cells, self.given[0], self.given[1][0], False)
        self.problem = Problem(*shape, wide.itemsize, 2, half=dtype.itemsize == 2)

    def plans(self, regime: str, kind: tuple[int, ...] | None = None) -> Iterator[Plan]:
        """Yield the plans of a kernel, or of a kind of it, that fit on the device, the fastest by estimate first."""
        plans = PLANS[regime](self.problem, properties(cupy.cuda.Device().id))
        for plan in sorted(plans, key=lambda plan: plan.clocks):
            is_meant = kind is None or kind == kind_of(plan)
            if is_meant and (not plan.cooperative or fits(self.prepared(plan).function, plan)):
                yield plan

    def unlike(self, regime: str) -> list[Plan]:
        """Return two plans of a kernel that are as unlike as can be, one where it has but one kind, or none.

        And two more on tensor cores, if there are such.
        """
        kinds = sorted({kind_of(plan) for plan in PLANS[regime](self.problem, properties(cupy.cuda.Device().id))})
        apart = [[kind for kind in kinds if kind[0] == on_tensor_cores] for on_tensor_cores in (False, True)]
        ends = dict.fromkeys(kind for some in apart for kind in (*some[:1], *some[-1:]))
        return [plan for kind in ends for plan in islice(self.plans(regime, kind), 1)]

    def prepared(self, plan: Plan) -> Choice:
        """Return the kernel of a plan."""
        return self.walker.choices.prepare(plan, self.problem.seq_len, self.problem.batch, False)

    def walk(self, plan: Plan) -> Sequence[Array]:
        """Return states and last states by a plan, on the device."""
        return self.walker.run(self.prepared(plan), *self.given)

    def wanted(self) -> Sequence[Host]:
        """Return states and last states by the equation as written, in float64 on the host."""
        with np.errstate(invalid="ignore"):  # infinity less infinity
            walks = [
                scan(cell, self.x, h, self.lengths, reverse)
                for cell, h, reverse in zip(self.cells, self.h_0, (False, True), strict=True)
            ]
        return np.concatenate([states for states, _ in walks], axis=-1), np.stack([last for _, last in walks])


def signs(random: np.random.Generator, *shape: int) -> Host:
    """Draw numbers of -1 and 1."""
    return random.choice([-1.0, 1.0], shape)


def drawn_cell(random: np.random.Generator, input_size: int, size: int) -> Cell:
    """Draw a cell of the network that the module describes."""
    is_between = np.arange(size) % 8 == 3
    scale = np.where(is_between, 1 / 16, 32.0)
    weight_ih, weight_hh = (scale[:, None] * signs(random, size, columns) for columns in (input_size, size))
    weight_hh[:, is_between] = 0.0
    return Cell(weight_ih, weight_hh, scale * signs(random, size))


def parts(cell: Cell) -> tuple[Host, Host, Host]:
    """Return the arrays of a cell."""
    return cell.weight_ih, cell.weight_hh, cell.bias  # type: ignore[return-value]  # drawn with a bias


def kind_of(plan: Plan) -> tuple[int, ...]:
    """Return whether a kernel uses tensor cores, the rows of a block then, else the sequences, and if it is fused."""
    macros = dict(plan.macros)
    size = macros["BLOCK_ROWS"] if plan.on_tensor_cores else macros.get("SEQUENCES", 1)
    return plan.on_tensor_cores, size, macros["FUSED"]


def fault(regime: str, dtype: np.dtype[Any]) -> str | None:
    """Return what is wrong with a kernel on the current device, for states of a dtype; None if nothing is."""
    with cupy.cuda.Stream(non_blocking=True):
        batch, sizes = (BATCH_OF_HALF, SIZES_OF_HALF) if dtype.itemsize == 2 else (BATCH, SIZES)
        for size in sizes:
            sample = Sample(dtype, (STEPS, batch, INPUTS, size))
            if plans := sample.unlike(regime):
                return differs(sample, plans)
    return "it does not take the network of the check"


def differs(sample: Sample, plans: Sequence[Plan]) -> str | None:
    """Return where the results of some plans are wrong."""
    wanted = sample.wanted()
    for found in [on_host(sample.walk(plan)) for plan in plans]:
        for name, one, other in zip(("states", "last states"), found, wanted, strict=True):
            if count := outliers(one, other):
                return f"of its {name}, {count} of {one.size} numbers are not those of the equation as written"
    for plan in [plan for plan in plans if plan.cooperative]:
        swept = on_host(sample.walk(as_sweep(plan)))
        for _ in range(TIMES):
            with traffic():
                found = on_host(sample.walk(plan))
            if count := mismatches(found, swept):
                return f"beside memory traffic, {count} numbers are not, bit for bit, those of 'sweep'"
    return None


def on_host(results: Sequence[Array]) -> list[Host]:
    """Wait for results, and return them on the host; what is found in their memory from now on is NaN."""
    found = [result.get() for result in results]
    for result in results:
        result.view(f"i{result.itemsize}").fill(-1)
    return found


def outliers(found: Host, wanted: Host) -> int:
    """Return how many numbers are beyond the error of tanh and the rounding of states."""
    tolerance = EPSILON[found.dtype.name] + OF_TANH * min(EPSILON["float32"], EPSILON[found.dtype.name])
    found = found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        is_near = (abs(found - wanted) <= tolerance) | (found == wanted)
    return int(np.sum(~(is_near | (np.isnan(found) & np.isnan(wanted)))))


def mismatches(one: Sequence[Host], other: Sequence[Host]) -> int:
    """Return in how many numbers results differ, bit for bit; a NaN equals any other."""
    total = 0
    for first, second in zip(one, other, strict=True):
        bits = f"u{first.itemsize}"
        total += int(np.sum((first.view(bits) != second.view(bits)) & ~(np.isnan(first) & np.isnan(second))))
    return total


def as_sweep(plan: Plan) -> Plan:
    """Return the plan of `sweep` with the tile of one of `grid`: the same sums, without waiting."""
    macros = tuple((name, 1 if name == "SWEEP" else value) for name, value in plan.macros)
    return replace(plan, regime="sweep", macros=macros)


@contextmanager
def traffic() -> Iterator[None]:
    """Copy from memory to memory meanwhile, on a stream of its own."""
    source = cupy.zeros(COPIED, np.uint8)
    target, stream = cupy.empty_like(source), cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    with stream:
        for _ in range(COPIES):
            cupy.copyto(target, source)
    try:
        yield
    finally:  # or the memory would be of others before the copies end
        stream.synchronize()
