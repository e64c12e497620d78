"""The check by which a kernel proves itself on a device: against the equation as written, on a small ragged network.

The network is such that sums are exact in every dtype and order, also in TF32, and that no error grows: most units
have weights of 32, so that tanh of z, a multiple of 32, is -1, 0 or 1; the others have weights of 1/16, and are read by
none.  Whatever is dropped, stale or taken from elsewhere turns signs, and those turn others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import cupy
import numpy as np

from rnn_backends.backends.cuda_kernels.choices import Choice
from rnn_backends.backends.cuda_kernels.coverage import fewest, options
from rnn_backends.backends.cuda_kernels.device import fits, properties
from rnn_backends.backends.cuda_kernels.plan import Plan
from rnn_backends.backends.cuda_kernels.tile import Problem
from rnn_backends.backends.cuda_kernels.walk import Walk
from rnn_backends.core.arrays import Array, Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.recurrence import scan

STEPS, BATCH, INPUTS = 300, 5, 3
SIZES = (*range(40, 521, 32), 301, 205, 77)
"""The numbers of states among which a check chooses: rows of whole vectors first, from where one block holds all to
where few sequences leave no registers for all weights; then rows that no vector divides.  None is a multiple of a tile.
"""

BATCH_OF_TENSORS = 37
"""The sequences for tensor cores: all of the 32 that some multiply at once, and more."""

TIMES, MOST = 3, 6
"""How often blocks that wait for each other are tried beside copies that outlast them, and at most in all."""

COPIES, COPIED = 100, 2**25
"""The copies beside the first walk, and the bytes of each, of which there are more where caches hold more."""

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
OF_TANH = 16
"""The error that tanh may have, in units of the dtype of sums."""


class Sample:
    """A layer, and arguments: lengths from 0 to all steps, NaN and infinity in some sequences.

    Parameters
    ----------
    dtype : numpy.dtype
        That of the states.
    shape : tuple of int
        The steps, at least 4 sequences, features and states.
    directions : int, optional
    """

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, int, int, int], directions: int = 2) -> None:
        seq_len, batch, input_size, size = shape
        random = np.random.default_rng(0)
        self.cells = [drawn_cell(random, input_size, size) for _ in range(directions)]
        self.lengths = np.arange(batch, dtype=np.int32) * seq_len // np.int32(batch - 1)
        x, self.h_0 = signs(random, seq_len, batch, input_size), signs(random, directions, batch, size)
        x[seq_len // 4, -2, 0], x[seq_len // 4, -3, 0], self.h_0[:, 0, 0] = np.nan, np.inf, np.inf
        x[np.arange(seq_len)[:, None] >= self.lengths] = np.nan
        self.x = x
        wide = np.dtype("float64" if dtype == "float64" else "float32")
        cells = [Cell(*(cupy.asarray(part, wide) for part in parts(cell))) for cell in self.cells]
        self.given = [cupy.asarray(x.astype(dtype)), [cupy.asarray(h.astype(dtype)) for h in self.h_0]]
        self.given.append(cupy.asarray(self.lengths))
        self.walker = Walk(cells, self.given[0], self.given[1][0], False)
        self.problem = problem_of(dtype, shape, directions)

    def plans(self, regime: str) -> Iterator[Plan]:
        """Yield the plans of a kernel that fit on the device, the fastest by estimate first."""
        for _, plan in options(regime, [self.problem], properties(cupy.cuda.Device().id)):
            if self.fits(plan):
                yield plan

    def fits(self, plan: Plan) -> bool:
        """Return whether all blocks of a plan are on the chip at once, if they must."""
        return not plan.cooperative or fits(self.prepared(plan).function, plan)

    def prepared(self, plan: Plan) -> Choice:
        """Return the kernel of a plan."""
        return self.walker.choices.prepare(plan, self.problem.seq_len, self.problem.batch, False)

    def walk(self, plan: Plan) -> Sequence[Array]:
        """Return states and last states by a plan, on the device."""
        return self.walker.run(self.prepared(plan), *self.given)

    @cached_property
    def wanted(self) -> Sequence[Host]:
        """Return states and last states by the equation as written, in float64 on the host."""
        with np.errstate(invalid="ignore"):  # infinity less infinity
            walks = [
                scan(cell, self.x, h, self.lengths, reverse)
                for cell, h, reverse in zip(self.cells, self.h_0, (False, True), strict=False)
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


def problem_of(dtype: np.dtype[Any], shape: tuple[int, int, int, int], directions: int) -> Problem:
    """Return the sizes of a walk."""
    return Problem(*shape, 8 if dtype == "float64" else 4, directions, half=dtype.itemsize == 2)


def chosen(regime: str, dtype: np.dtype[Any]) -> list[tuple[Sample, Plan]]:
    """Return the walks of a check: a kernel of every kind that the device may run, and the network of each."""
    batches = (BATCH, BATCH_OF_TENSORS) if dtype.itemsize == 2 else (BATCH,)
    shapes = [(STEPS, batch, INPUTS, size) for batch in batches for size in SIZES]
    problems = [problem_of(dtype, shape, directions) for directions in (2, 1) for shape in shapes]
    left = [
        option
        for option in options(regime, problems, properties(cupy.cuda.Device().id))
        if option.plan.on_tensor_cores == (option.problem.batch == BATCH_OF_TENSORS)
    ]
    samples: dict[Problem, Sample] = {}
    while some := fewest(left):
        for problem in {option.problem for option in some} - samples.keys():
            shape = (problem.seq_len, problem.batch, problem.input_size, problem.hidden_size)
            samples[problem] = Sample(dtype, shape, problem.directions)
        unfit = [plan.blocks for problem, plan in some if not samples[problem].fits(plan)]
        if not unfit:
            return [(samples[problem], plan) for problem, plan in some]
        left = [option for option in left if option.plan.blocks < min(unfit)]
    return []


def fault(regime: str, dtype: np.dtype[Any]) -> str | None:
    """Return what is wrong with a kernel on the current device, for states of a dtype; None if nothing is."""
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        found = first_difference(chosen(regime, dtype))
    cupy.get_default_memory_pool().free_all_blocks(stream)  # which nobody else would be given
    return found


def first_difference(walks: Sequence[tuple[Sample, Plan]]) -> str | None:
    """Return what is wrong with the results of a kernel; None if nothing is."""
    for sample, plan in walks:
        if found := difference(sample, plan):
            return found
    return None if walks else "it takes no network of the check"


def difference(sample: Sample, plan: Plan) -> str | None:
    """Return where the results of a plan are wrong; None if they are right."""
    found = on_host(sample.walk(plan))
    for name, one, other in zip(("states", "last states"), found, sample.wanted, strict=True):
        if count := outliers(one, other):
            return f"of its {name}, {count} of {one.size} numbers are not those of the equation as written"
    if plan.cooperative:
        swept = on_host(sample.walk(as_sweep(plan)))
        for results in beside_traffic(lambda: sample.walk(plan)):
            if count := mismatches(on_host(results), swept):
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
    with np.errstate(invalid="ignore"):
        found = found.astype(np.float64)
        is_near = (abs(found - wanted) <= tolerance) | (found == wanted)
    return int(np.sum(~(is_near | (np.isnan(found) & np.isnan(wanted)))))


def mismatches(one: Sequence[Host], other: Sequence[Host]) -> int:
    """Return in how many numbers results differ, bit for bit; a NaN equals any other."""
    total = 0
    for first, second in zip(one, other, strict=True):
        bits = f"u{first.itemsize}"
        differs = first.view(bits) != second.view(bits)
        total += int(np.sum(~(np.isnan(first[differs]) & np.isnan(second[differs]))))
    return total


def as_sweep(plan: Plan) -> Plan:
    """Return the plan of `sweep` with the tile of one of `grid`: the same sums, without waiting."""
    macros = tuple((name, 1 if name == "SWEEP" else value) for name, value in plan.macros)
    return replace(plan, regime="sweep", macros=macros)


def beside_traffic(walk: Callable[[], Sequence[Array]]) -> Iterator[Sequence[Array]]:
    """Yield the results of walks beside copies from memory to memory, on a stream of their own.

    Until TIMES of them have ended before the copies beside them: where a walk outlasts these, there are twice as many
    beside the next.  After MOST walks that is given up, and says nothing against the kernel, which has been right
    beside copies for as long as they lasted.
    """
    source = cupy.zeros(max(COPIED, cupy.cuda.Device().attributes["L2CacheSize"]), np.uint8)
    target, stream = cupy.empty_like(source), cupy.cuda.Stream(non_blocking=True)
    own, copies, times = cupy.cuda.get_current_stream(), COPIES, 0
    own.synchronize()
    for _ in range(MOST):
        with stream:
            for _ in range(copies):
                cupy.copyto(target, source)
        end = stream.record()
        try:
            results = walk()
            own.synchronize()
            outlasts = end.done
        finally:  # or the memory would be of others before the copies end
            stream.synchronize()
        yield results
        copies, times = (2 * copies, times) if outlasts else (copies, times + 1)
        if times == TIMES:
            return
