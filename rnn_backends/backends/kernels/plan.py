"""Which kernel walks a problem on a device, and how it is launched: one `Plan`, made from numbers alone.

Four regimes, by where the weights are while time passes:

block     in the registers and shared memory of one block, for a few sequences; W_hh up to about 288 x 288
cluster   spread over the blocks of a cluster, which write to each other's shared memory (compute capability 9.0)
grid      spread over all blocks that the chip holds at once, which pass states on through memory
step      in memory: a matrix product and one small kernel at each step, whatever the shape
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

REGIMES = ("block", "cluster", "grid", "step")

TRUSTED = ("block", "step")
"""What is chosen by itself.  The others pass all tests that need no GPU, which do not show how memory is ordered."""

FEWEST_STEPS = 4
"""Below, weights are not worth keeping."""

REGISTERS = 255, 65536
"""Of a thread and of a multiprocessor, which has four files of them."""

WORKING_REGISTERS = {
    4: {1: (62, 58), 2: (90, 58), 4: (96, 58)},
    8: {1: (64, 58), 2: (100, 80), 4: (132, 110)},
}
"""What a thread needs beside weights, by bytes of a number and sequences, such that ptxas spills nothing: where some
weights are in shared memory, and where none are."""


@dataclass(frozen=True)
class Device:
    """What a plan depends on."""

    capability: int  # 90 is 9.0
    multiprocessors: int
    shared_per_block: int
    shared_per_multiprocessor: int
    threads_per_multiprocessor: int
    cooperative: bool


@dataclass(frozen=True)
class Problem:
    """The sizes of a walk, and how many bytes a number takes."""

    seq_len: int
    batch: int
    hidden_size: int
    itemsize: int


@dataclass(frozen=True)
class Plan:
    """How a kernel is compiled and launched; `clocks` is the estimated time of a step."""

    regime: str
    macros: tuple[tuple[str, int], ...]
    blocks: int
    threads: int
    shared: int = 0
    sequences_per_block: int = 0
    clocks: float = 0.0

    @property
    def cooperative(self) -> bool:
        """Whether all blocks must be on the chip at once."""
        return self.regime == "grid"

    def __getitem__(self, macro: str) -> int:
        return dict(self.macros)[macro]


@dataclass(frozen=True)
class Tile:
    """How the threads of a block share rows of W_hh; see tile.cu."""

    threads: int
    lanes: int
    rows: int
    columns: int
    held: int
    sequences: int
    itemsize: int

    @property
    def block_rows(self) -> int:
        """The rows of a block."""
        return self.threads // self.lanes * self.rows

    @property
    def others(self) -> int:
        """The bytes of the weights that are in shared memory."""
        parts = self.columns * self.itemsize // (16 * self.lanes)
        return (parts - self.held) * self.rows * self.threads * 16

    @property
    def shared(self) -> int:
        """The bytes of shared memory: weights and two sets of states."""
        return self.others + 2 * self.sequences * self.columns * self.itemsize

    @property
    def registers(self) -> int:
        """About how many a thread uses."""
        return 4 * self.rows * self.held + WORKING_REGISTERS[self.itemsize][self.sequences][0]

    @property
    def clocks(self) -> float:
        """The estimated time of the product: multiplications, or weights from shared memory, whichever takes longer."""
        rate = 128 if self.itemsize == 4 else 64
        multiply = self.block_rows * self.columns * self.sequences / (rate * 0.85)
        return max(multiply, self.others / 128)

    def macros(self, slices: int, **others: int) -> tuple[tuple[str, int], ...]:
        """Return what the kernel is compiled with."""
        names = {"THREADS": self.threads, "LANES": self.lanes, "ROWS": self.rows, "COLUMNS": self.columns}
        names |= {"HELD": self.held, "SEQUENCES": self.sequences, "SLICES": slices, **others}
        return tuple(names.items())


def make_tile(problem: Problem, device: Device, rows: int, threads: int, lanes: int, sequences: int) -> Tile | None:
    """Return a tile that covers so many rows of W_hh with all of its columns; None if a block has no room for it."""
    vector = 16 // problem.itemsize
    columns = round_up(problem.hidden_size, max(32, lanes * vector))
    rows_of_thread = -(-rows * lanes // threads)
    parts = columns // (lanes * vector)
    # A file of registers serves a fourth of the warps, each of which takes them by eights for a thread.
    available = min(REGISTERS[0], REGISTERS[1] // 4 // -(-threads // 128) // 32 // 8 * 8)
    shared, alone = WORKING_REGISTERS[problem.itemsize][sequences]
    held = min(parts, (available - shared) // (4 * rows_of_thread))
    if 4 * rows_of_thread * parts + alone <= available:
        held = parts
    if held < 1 or rows_of_thread > 8:
        return None
    tile = Tile(threads, lanes, rows_of_thread, columns, held, sequences, problem.itemsize)
    return tile if tile.shared <= device.shared_per_block else None


def block_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plans with one block for 1, 2 or 4 sequences."""
    columns = round_up(problem.hidden_size, 32)
    threads = 128 if columns <= 128 else 256 if columns <= 256 else 384
    for sequences in (1, 2, 4):
        tile = make_tile(problem, device, problem.hidden_size, threads, 8, sequences)
        if tile is not None:
            blocks = -(-problem.batch // sequences)
            at_once = min(resident(tile, device), -(-blocks // device.multiprocessors))  # on a multiprocessor
            waves = -(-blocks // (device.multiprocessors * at_once))
            clocks = waves * max(at_once * tile.clocks, tile.clocks + 230)
            macros = tile.macros(1, CLUSTER=0, DEPTH=4 if columns <= 128 and sequences == 1 else 2)
            yield Plan("block", macros, blocks, threads, tile.shared, clocks=clocks)


def resident(tile: Tile, device: Device) -> int:
    """Return about how many blocks a multiprocessor holds at once."""
    by_registers = REGISTERS[1] // (round_up(tile.registers, 8) * tile.threads)
    by_shared = device.shared_per_multiprocessor // (tile.shared + 1024)
    return max(1, min(by_registers, by_shared, device.threads_per_multiprocessor // tile.threads, 16))


def cluster_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plans with the rows spread over 2, 4 or 8 blocks, the most that every device with clusters allows."""
    if device.capability < 90:
        return
    for slices in (2, 4, 8):
        for lanes in (8, 16, 32):
            for sequences in (1, 2, 4):
                rows = -(-problem.hidden_size // slices)
                tile = make_tile(problem, device, rows, 256, lanes, sequences)
                if tile is not None:
                    blocks = slices * -(-problem.batch // sequences)
                    waves = -(-blocks // (device.multiprocessors // slices * slices))
                    macros = tile.macros(slices, CLUSTER=1, DEPTH=2)
                    yield Plan("cluster", macros, blocks, 256, tile.shared, clocks=waves * (tile.clocks + 490))


def grid_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plans with the rows and the batch spread over at most a block for each multiprocessor."""
    if not device.cooperative or device.capability < 70:  # which knows no relaxed loads
        return
    for rows in (1, 2, 4, 8):
        slices = -(-problem.hidden_size // (8 * rows))
        if slices > device.multiprocessors:
            continue
        shares = min(problem.batch, device.multiprocessors // slices)
        share = -(-problem.batch // shares)
        for sequences in (1, 2, 4):
            tile = make_tile(problem, device, 8 * rows, 256, 32, sequences)
            if tile is not None:
                fetch = share * problem.hidden_size * problem.itemsize / 34.5
                multiply = -(-share // sequences) * (tile.clocks + 230)
                clocks = max(fetch, multiply) + 0.3 * min(fetch, multiply) + 800
                blocks = slices * -(-problem.batch // share)
                macros = tile.macros(slices, CLUSTER=0)
                yield Plan("grid", macros, blocks, 256, tile.shared, share, clocks)


def step_plans(problem: Problem, device: Device) -> Iterator[Plan]:
    """Yield the plan with two launches a step."""
    rate = device.multiprocessors * (128 if problem.itemsize == 4 else 64) * 0.7
    product = problem.batch * problem.hidden_size**2 / rate
    blocks = -(-problem.batch * problem.hidden_size // 256)
    launches = 20_000  # on the host, of a product and a kernel
    yield Plan("step", (("THREADS", 256), ("CLUSTER", 0), ("SLICES", 1)), blocks, 256, clocks=max(product, launches))


PLANS = {"block": block_plans, "cluster": cluster_plans, "grid": grid_plans, "step": step_plans}


@lru_cache(maxsize=4096)
def make_plan(problem: Problem, device: Device, regimes: tuple[str, ...] = TRUSTED) -> Plan | None:
    """Return the plan that is estimated to be the fastest among some regimes; None if there is none.

    The estimates are of one chip and from what others measured of its memories (no plan has been timed on a GPU).
    """
    if problem.seq_len < FEWEST_STEPS and "step" in regimes:
        regimes = ("step",)
    plans = [plan for regime in regimes for plan in PLANS[regime](problem, device)]
    return min(plans, key=lambda plan: plan.clocks, default=None)


def round_up(number: int, multiple: int) -> int:
    """Return the least multiple that is no less than a number."""
    return -(-number // multiple) * multiple
