"""The share of each thread of a block in the rows of the weights (tile.cu), and the resources it takes."""

from dataclasses import dataclass

REGISTERS = 255, 65536
"""Of a thread and of a multiprocessor, which has four files of them."""

WORKING_REGISTERS = {
    4: {1: (64, 58), 2: (90, 58), 4: (100, 98)},
    8: {1: (64, 58), 2: (100, 80), 4: (132, 110)},
}
"""The registers that a thread needs beside weights, by bytes of a number and sequences: where some weights are in
shared memory, and where none are.  ptxas then spills nothing."""

FOR_INPUTS, FOR_IDS, FOR_DIRECTIONS, FOR_WARPS, FOR_VOLTA = 10, 10, 8, 8, 16
"""The further registers where it multiplies inputs too, where it looks ids up, where it may be of either direction,
where all lanes of a warp share rows, and on compute capability 7.0 and before."""


@dataclass(frozen=True)
class Device:
    """The properties of a device that a plan depends on."""

    capability: int  # 90 is 9.0
    multiprocessors: int
    shared_per_block: int
    shared_per_multiprocessor: int
    threads_per_multiprocessor: int
    cooperative: bool


@dataclass(frozen=True)
class Problem:
    """The sizes of a walk through a layer, and how many bytes a number takes; an input_size of 0 for token ids.

    With `half`, states take 2 bytes, and every weight is a number of that dtype.
    """

    seq_len: int
    batch: int
    input_size: int
    hidden_size: int
    itemsize: int
    directions: int = 1
    half: bool = False

    @property
    def state_bytes(self) -> int:
        """The bytes of a number of a state."""
        return 2 if self.half else self.itemsize

    @property
    def rate(self) -> int:
        """The multiplications of a multiprocessor in a clock."""
        return 128 if self.itemsize == 4 else 64


@dataclass(frozen=True)
class Tile:
    """The weights of a block: so many rows for each group of lanes, in registers as far as `held`."""

    threads: int
    lanes: int
    rows: int
    columns: int
    held: int
    sequences: int
    problem: Problem

    @property
    def block_rows(self) -> int:
        """The rows of a block."""
        return self.threads // self.lanes * self.rows

    @property
    def nbytes(self) -> int:
        """The bytes of all weights."""
        return self.block_rows * self.columns * self.problem.itemsize

    @property
    def others(self) -> int:
        """The bytes of the weights that are in shared memory."""
        parts = self.columns * self.problem.itemsize // (16 * self.lanes)
        return (parts - self.held) * self.rows * self.threads * 16

    @property
    def shared(self) -> int:
        """The bytes of shared memory: weights and two sets of states."""
        return self.others + 2 * self.sequences * self.columns * self.problem.itemsize

    @property
    def registers(self) -> int:
        """The approximate number of registers that a thread uses."""
        return 4 * self.rows * self.held + WORKING_REGISTERS[self.problem.itemsize][self.sequences][0]

    @property
    def clocks(self) -> float:
        """The estimated time of the product: multiplications, or weights from shared memory, whichever takes longer."""
        multiply = self.block_rows * self.columns * self.sequences / (self.problem.rate * 0.85)
        return max(multiply, self.others / 128)

    def resident(self, device: Device) -> int:
        """Return about how many blocks a multiprocessor holds at once."""
        by_registers = REGISTERS[1] // (round_up(self.registers, 8) * self.threads)
        by_shared = device.shared_per_multiprocessor // (self.shared + 1024)
        return max(1, min(by_registers, by_shared, device.threads_per_multiprocessor // self.threads, 16))

    def macros(self, slices: int, **others: int) -> tuple[tuple[str, int], ...]:
        """Return the macros that the kernel is compiled with."""
        names = {"THREADS": self.threads, "LANES": self.lanes, "ROWS": self.rows, "COLUMNS": self.columns}
        names |= {"HELD": self.held, "SEQUENCES": self.sequences, "SLICES": slices}
        names |= {"FUSED": 0, "DIRECTIONS": self.problem.directions, **others}
        return tuple(names.items())


def make_tile(
    problem: Problem, device: Device, rows: int, threads: int, lanes: int, sequences: int, inputs: int = 0
) -> Tile | None:
    """Return a tile that covers so many rows of W_aa, beside them as many columns of W_ax as there are inputs.

    None if a block has no room for it.
    """
    vector = 16 // problem.itemsize
    columns = round_up(problem.hidden_size + inputs, max(32, lanes * vector))
    rows_of_thread = -(-rows * lanes // threads)
    parts = columns // (lanes * vector)
    # A file of registers serves a fourth of the warps, each of which takes them by eights for a thread.
    available = min(REGISTERS[0], REGISTERS[1] // 4 // -(-threads // 128) // 32 // 8 * 8)
    shared, alone = WORKING_REGISTERS[problem.itemsize][sequences]
    available -= FOR_INPUTS * (inputs > 0) + FOR_IDS * (problem.input_size == 0)
    available -= FOR_DIRECTIONS * (problem.directions > 1) + FOR_WARPS * (lanes > 8)
    available -= FOR_VOLTA * (device.capability < 75)
    held = min(parts, (available - shared) // (4 * rows_of_thread))
    if 4 * rows_of_thread * parts + alone <= available:
        held = parts
    if held < 1 or rows_of_thread > min(8, lanes):  # each lane ends up with one
        return None
    tile = Tile(threads, lanes, rows_of_thread, columns, held, sequences, problem)
    return tile if tile.shared <= device.shared_per_block else None


def round_up(number: int, multiple: int) -> int:
    """Return the least multiple that is no less than a number."""
    return -(-number // multiple) * multiple
