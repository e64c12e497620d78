"""The choice of a kernel for a layer on a device, and its launch: one `Plan`, made from numbers alone.

Four regimes, by where the weights are while time passes:

block     in the registers and shared memory of one block, for a few sequences; W_aa up to about 288 x 288
grid      spread over all blocks that the chip holds at once, which pass states on through memory
sweep     in memory, from which all multiprocessors fetch them at each step: a launch a step
step      in memory: a matrix product and one small kernel at each step, whatever the shape

Times are estimates, in clocks of one chip, from what others measured of its memories: no plan has been timed on a GPU.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from math import log2

from rnn_backends.backends.cuda_kernels.tensor import tensors
from rnn_backends.backends.cuda_kernels.tile import Device, Problem, Tile, make_tile, round_up

REGIMES = ("block", "grid", "sweep", "step")

KERNEL, PRODUCT = 5_000, 10_000
"""The time of a launch and of a small matrix product, on the host or the device, whichever takes longer."""

MEMORY, CACHE = 13, 34.5
"""The bytes that a multiprocessor has in a clock from memory and from the second-level cache."""

CHAIN, FOLD = 155, 25
"""Of a step of `block`, what it waits for beside the product: a load, the activation and a barrier, and each halving of
the lanes that share a sum."""

GRID_TURN, GRID_STEP = 230, 800
"""The same of `grid`, for each turn in which a block takes some of its sequences, and the way of states to others."""

SWEEP_TURN, SWEEP_STEP = 500, 3_000
"""The same of `sweep`, and a launch after the one before it has ended."""


@dataclass(frozen=True)
class Plan:
    """The options to compile and launch a kernel; `clocks` is the estimated time of the walk."""

    regime: str
    macros: tuple[tuple[str, int], ...]
    blocks: int
    threads: int
    shared: int = 0
    sequences: int = 0
    clocks: float = 0.0

    @property
    def cooperative(self) -> bool:
        """Whether all blocks must be on the chip at once."""
        return self.regime == "grid"

    @property
    def on_tensor_cores(self) -> bool:
        """Whether the product is that of mma.cu."""
        return "MMA" in self._values

    @cached_property
    def _values(self) -> dict[str, int]:
        return dict(self.macros)

    def __getitem__(self, macro: str) -> int:
        return self._values[macro]


def projection(problem: Problem, device: Device) -> float:
    """Return the clocks that the matrix product W_ax x<t> takes for all steps, and the reading of its result."""
    if problem.input_size == 0:
        return 0.0
    rows, width = problem.seq_len * problem.batch, problem.directions * problem.hidden_size
    memory = rows * (problem.input_size + 2 * width) * problem.itemsize / (device.multiprocessors * MEMORY)
    multiply = rows * problem.input_size * width / (device.multiprocessors * problem.rate * 0.7)
    return PRODUCT + KERNEL * (problem.directions - 1) + max(memory, multiply)


def block_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plans with one block for 1, 2 or 4 sequences."""
    width = round_up(problem.hidden_size, 32)
    threads = 128 if width <= 128 else 256 if width <= 256 else 384
    for lanes, sequences in product((4, 8), (1, 2, 4)):
        for inputs in inputs_of(problem, sequences, threads):
            tile = make_tile(problem, device, problem.hidden_size, threads, lanes, sequences, inputs)
            if tile is not None:
                blocks = problem.directions * -(-problem.batch // sequences)
                at_once = min(tile.resident(device), -(-blocks // device.multiprocessors))  # on a multiprocessor
                waves = -(-blocks // (device.multiprocessors * at_once))
                step = waves * max(at_once * tile.clocks, tile.clocks + chain(lanes))
                clocks = KERNEL + tile.nbytes / CACHE + problem.seq_len * step
                clocks += 0.0 if inputs else projection(problem, device)
                macros = tile.macros(1, **of_block(problem, tile, inputs))
                yield Plan("block", macros, blocks, threads, tile.shared, clocks=clocks)


def chain(lanes: int) -> float:
    """Return the clocks of what a step needs beside the product: a load, sums over lanes, the activation, a barrier."""
    return CHAIN + FOLD * log2(lanes)


def of_block(problem: Problem, tile: Tile, inputs: int) -> dict[str, int]:
    """Return the macros of block.cu: how many steps ahead inputs are fetched, and how many each thread fetches."""
    depth = 4 if problem.hidden_size <= 128 and tile.sequences == 1 else 2
    return {"DEPTH": depth} | ({"FUSED": 1, "STAGED": -(-tile.sequences * inputs // tile.threads)} if inputs else {})


def inputs_of(problem: Problem, sequences: int, threads: int) -> tuple[int, ...]:
    """Return how many columns of W_ax a kernel may multiply itself: none, or all if threads fetch two each at most."""
    is_few = 0 < sequences * problem.input_size <= 2 * threads
    return (0, problem.input_size) if is_few else (0,)


def spread(problem: Problem, device: Device) -> Iterator[tuple[Tile, int, int]]:
    """Yield ways to share rows and batch among multiprocessors: a tile, the slices, and the sequences of a block."""
    for rows in (1, 2, 4, 8):
        slices = -(-problem.hidden_size // (8 * rows))
        for sequences in (1, 2, 4):
            tile = make_tile(problem, device, 8 * rows, 256, 32, sequences)
            if tile is not None:
                yield tile, slices, share_of(problem, device, slices)


def share_of(problem: Problem, device: Device, slices: int) -> int:
    """Return the sequences of a block where rows are cut into slices, with a block for a multiprocessor at most.

    All of the batch, if there are not multiprocessors enough.
    """
    return -(-problem.batch // max(1, min(problem.batch, device.multiprocessors // (slices * problem.directions))))


def grid_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plans with the rows and the batch spread over at most a block for each multiprocessor."""
    if not device.cooperative or device.capability < 70:  # which knows no relaxed loads
        return
    for tile, slices, share in spread(problem, device):
        blocks = problem.directions * slices * -(-problem.batch // share)
        if blocks <= device.multiprocessors:
            fetch = share * problem.hidden_size * problem.state_bytes / CACHE
            multiply = -(-share // tile.sequences) * (tile.clocks + GRID_TURN)
            step = max(fetch, multiply) + 0.3 * min(fetch, multiply) + GRID_STEP
            clocks = KERNEL + tile.nbytes / CACHE + problem.seq_len * step + projection(problem, device)
            yield Plan("grid", tile.macros(slices, SWEEP=0), blocks, 256, tile.shared, share, clocks)
    yield from tensor_plans(problem, device)


def tensor_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plans of `grid` with the product on tensor cores."""
    for tile in tensors(problem, device):
        slices = -(-problem.hidden_size // tile.rows)
        share = share_of(problem, device, slices)
        blocks = problem.directions * slices * -(-problem.batch // share)
        if blocks <= device.multiprocessors and tile.sequences < share + 16:
            fetch = share * problem.hidden_size * problem.state_bytes / CACHE
            step = fetch + -(-share // tile.sequences) * (tile.clocks(device) + GRID_TURN) + GRID_STEP
            clocks = KERNEL + tile.nbytes / CACHE + problem.seq_len * step + projection(problem, device)
            yield Plan("grid", tile.macros(slices, 0), blocks, tile.threads, tile.shared, share, clocks)


def sweep_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plans with a launch a step, of any number of blocks."""
    for tile, slices, share in spread(problem, device):
        blocks = problem.directions * slices * -(-problem.batch // share)
        at_once = min(tile.resident(device), -(-blocks // device.multiprocessors))
        waves = -(-blocks // (device.multiprocessors * at_once))
        turns = -(-share // tile.sequences)
        fetch = (tile.nbytes + share * problem.hidden_size * problem.state_bytes) * at_once / CACHE
        step = SWEEP_STEP + waves * (fetch + turns * max(at_once * tile.clocks, tile.clocks + SWEEP_TURN))
        clocks = problem.seq_len * max(step, KERNEL) + projection(problem, device)
        yield Plan("sweep", tile.macros(slices, SWEEP=1), blocks, 256, tile.shared, share, clocks)


def step_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plan with a product for each direction and a launch at each step."""
    numbers = problem.directions * problem.batch * problem.hidden_size
    multiply = numbers * problem.hidden_size / (device.multiprocessors * problem.rate * 0.7)
    step = max(multiply, problem.directions * PRODUCT + KERNEL)
    macros = {"THREADS": 256, "SLICES": 1, "FUSED": 0, "DIRECTIONS": problem.directions}
    clocks = problem.seq_len * step + projection(problem, device)
    yield Plan("step", tuple(macros.items()), -(-numbers // 256), 256, clocks=clocks)


PLANS = {
    "block": block_plans,
    "grid": grid_plans,
    "sweep": sweep_plans,
    "step": step_plans,
}


@lru_cache(maxsize=4096)
def make_plan(problem: Problem, device: Device, regimes: tuple[str, ...] = REGIMES) -> Plan | None:
    """Return the plan that is estimated to be the fastest among some regimes; None if there is none."""
    plans = [plan for regime in regimes for plan in PLANS[regime](problem, device)]
    return min(plans, key=lambda plan: plan.clocks, default=None)
