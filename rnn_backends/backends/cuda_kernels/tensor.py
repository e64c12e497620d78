"""The share of each warp of a block in a product on tensor cores (mma.cu), and the resources it takes."""

from collections.abc import Iterator
from dataclasses import dataclass

from rnn_backends.backends.cuda_kernels.tile import REGISTERS, Device, Problem

WARPS = 8
"""Of a block: fewer have no registers for as many weights, and more have more to add up."""

RATES = {80: 1024, 90: 1270, 100: 1270}
"""The multiplications of a multiprocessor in a clock by `mma` of float16 with float32 sums, by compute capability."""
OTHERS = 256
"""The same of all others, which are graphics cards."""

LATENCY = 33
"""The clocks from an `mma` to one that adds to its result."""

WORKING_REGISTERS = 80
"""The registers that a thread needs beside weights, states and sums.  ptxas then spills nothing."""

ROWS, SEQUENCES = (8, 16, 24, 32, 48, 64), (16, 32)
"""The rows of a block, and the sequences that it multiplies at once, among which plans choose."""


@dataclass(frozen=True)
class Tensor:
    """The weights of a block: rows whose columns are split among warps, each with so many parts of 32."""

    rows: int
    parts: int
    sequences: int
    problem: Problem

    @property
    def nbytes(self) -> int:
        """The bytes of all weights, as they are read."""
        return self.rows * self.problem.hidden_size * self.problem.itemsize

    @property
    def threads(self) -> int:
        """The threads of a block."""
        return 32 * WARPS

    @property
    def shared(self) -> int:
        """The bytes of shared memory: two sets of what each warp has summed."""
        return 2 * WARPS * self.sequences * self.rows * self.problem.itemsize

    @property
    def registers(self) -> int:
        """The approximate number of registers that a thread uses; ptxas fetches further states early."""
        states = 8 * min(self.parts * self.sequences // 16, 16)
        return WORKING_REGISTERS + states + self.rows * (8 * self.parts + self.sequences // 2) // 16

    @property
    def is_accurate(self) -> bool:
        """Whether it errs no more than sums of all columns in float32, whatever the numbers are.

        An `mma` may cut off 17 numbers, and their sum, below the last of 24 bits, which are two roundoffs each.  A warp
        makes two of each part, and the shares of the warps are rounded sums.
        """
        return 18 * 2 * 2 * self.parts + WARPS <= self.problem.hidden_size

    def clocks(self, device: Device) -> float:
        """Return the estimated time of a product: multiplications, or their latency, then the shares' way and sums."""
        multiply = self.sequences * self.rows * self.parts * 32 * WARPS / RATES.get(device.capability, OTHERS)
        return max(multiply, 2 * self.parts * LATENCY) + self.shared / 128

    def macros(self, slices: int, sweep: int) -> tuple[tuple[str, int], ...]:
        """Return the macros that the kernel is compiled with."""
        names = {"MMA": 1, "THREADS": self.threads, "BLOCK_ROWS": self.rows, "PARTS": self.parts}
        names |= {"SEQUENCES": self.sequences, "SLICES": slices, "SWEEP": sweep}
        return tuple((names | {"FUSED": 0, "DIRECTIONS": self.problem.directions}).items())


def tensors(problem: Problem, device: Device) -> Iterator[Tensor]:
    """Yield the tiles for a problem whose weights and states are of 16 bits, in rows that begin at whole vectors."""
    if not problem.half or device.capability < 80 or problem.hidden_size % 8:
        return
    for rows in ROWS:
        for sequences in SEQUENCES:
            tile = Tensor(rows, -(-problem.hidden_size // (32 * WARPS)), sequences, problem)
            fits = tile.registers <= REGISTERS[0] and tile.shared <= device.shared_per_block
            if fits and tile.is_accurate:
                yield tile
