"""The ratios to torch's time that are to be reached on a GPU, by shape, and whether they are."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from harness.timing import ratios

OWN, TORCH, SHORT = "cupy", "torch", 32
"""This library's name and torch's among contestants, and the steps up to which a call is its launches."""

HOST_US = 15.0
"""The most microseconds that a call may take on the host, where it is one launch."""

Cell = dict[str, Any]


class Row(NamedTuple):
    """Some shapes, and the ratios to torch's time that must be, and should be, reached."""

    must: float
    aim: float
    dtype: str
    shapes: list[tuple[int, int, int, int]]


def shapes(seq_len: int, batches: tuple[int, ...], input_size: int, sizes: tuple[int, ...]) -> Any:
    return [(seq_len, batch, input_size, size) for size, batch in product(sizes, batches)]


ROWS = {
    "H <= 64": Row(1.5, 2.5, "float32", shapes(512, (1, 32, 132), 64, (32, 64))),
    "H = 128": Row(2.0, 3.0, "float32", shapes(512, (1, 32, 132), 128, (128,))),
    "H = 192 to 256": Row(1.8, 3.0, "float32", shapes(512, (1, 32, 132), 128, (192, 256))),
    "256 < H <= 384": Row(5.0, 10.0, "float32", shapes(512, (1, 32), 128, (288, 384))),
    "H = 512 to 1024": Row(4.0, 8.0, "float32", shapes(256, (1, 16), 256, (512, 768, 1024))),
    "H = 2048": Row(3.0, 5.0, "float32", shapes(256, (1, 16), 256, (2048,))),
    "H = 1024, B = 64": Row(1.5, 2.5, "float32", shapes(256, (64,), 256, (1024,))),
    "H = 1536, B >= 64": Row(1.0, 1.5, "float32", shapes(256, (64, 256), 256, (1536,))),
    "float64": Row(4.0, 8.0, "float64", shapes(256, (1, 16), 128, (128, 512, 1024))),
    "float16": Row(1.0, 1.5, "float16", shapes(512, (16, 64), 256, (256, 512, 1024))),
    "T <= 32": Row(2.0, 4.0, "float32", [(seq_len, 1, 32, 64) for seq_len in (1, 8, 32)]),
}


class Judged(NamedTuple):
    """A shape: torch's time / ours by clock, and what of the goals is missed; None where one of both was not timed."""

    ratios: dict[str, float]
    missed: tuple[str, ...] | None

    @property
    def reached(self) -> str:
        """Return whether the goals are reached, in words."""
        if self.missed is None:
            return "-"
        return f"not {', '.join(self.missed)}" if self.missed else "yes"


def by_problem(cells: Sequence[Cell]) -> list[dict[str, Cell]]:
    """Return the latest cells of each problem, by clock."""
    found: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        found.setdefault(str(sorted(cell["problem"].items())), {})[cell["clock"]] = cell
    return list(found.values())


def counting(cells: Mapping[str, Cell]) -> list[str]:
    """Return the clocks that count: of a few steps that of a call alone, for the device hides what is most of it."""
    is_short = next(iter(cells.values()))["problem"]["seq_len"] <= SHORT
    return ["call"] if is_short else [clock for clock in ("device", "call") if clock in cells]


def judged(must: float, aim: float, cells: Mapping[str, Cell]) -> Judged:
    """Return how a problem stands beside the goals: its slower clock counts."""
    found = {clock: ratios(cells[clock]["seconds"], OWN).get(TORCH) for clock in counting(cells)}
    known = {clock: ratio.median for clock, ratio in found.items() if ratio is not None}
    some = next(iter(cells.values()))
    if OWN in some["failed"]:
        return Judged({}, ("right",))
    if not known:
        return Judged({}, None)
    least, errors = min(known.values()), some["excess"]
    missed = [word for word, goal in (("aim", aim), ("must", must), ("**as fast as torch**", 1.0)) if least < goal]
    missed += ["**as exact as torch**"] if errors[OWN] > errors[TORCH] else []
    return Judged(known, tuple(missed))
