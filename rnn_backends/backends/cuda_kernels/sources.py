"""The source of the kernels, and its contents."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ELEMENTWISE = (
    "identity", "tanh", "sigmoid", "relu", "affine", "leaky_relu", "thresholded_relu", "scaled_tanh", "hard_sigmoid",
    "elu", "softsign", "softplus",
)  # fmt: skip
"""The activations that equation.cu has, under their names after ``g1_``; every other runs by `scan`."""

ENTRIES = {
    "block": "walk_block",
    "grid": "walk_grid",
    "sweep": "walk_grid",
    "step": "finish_step",
}
"""The kernel of each regime."""

FILES = {"walk_block": ("tile.cu", "block.cu"), "walk_grid": ("tile.cu", "grid.cu"), "finish_step": ("step.cu",)}


@cache
def source(file: str) -> str:
    """Return the text of a file."""
    return (Path(__file__).parent / file).read_text(encoding="utf-8")


def defines(macros: Iterable[tuple[str, Any]]) -> str:
    """Return the lines that define macros."""
    return "".join(f"#define {name} {value}\n" for name, value in macros)


def body(regime: str) -> str:
    """Return the source of a kernel, but for what a device has, which is device.cu."""
    return "\n".join(source(file) for file in ("equation.cu", *FILES[ENTRIES[regime]]))
