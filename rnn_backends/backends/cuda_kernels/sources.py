"""The source of the kernels, and its contents."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ELEMENTWISE = (
    "identity", "tanh", "sigmoid", "relu", "affine", "leaky_relu", "thresholded_relu", "clipped_relu", "scaled_tanh",
    "hard_sigmoid", "elu", "softsign", "softplus",
)  # fmt: skip
"""The activations that equation.cu has, under their names after ``g1_``; every other runs by `scan`."""

ENTRIES = {
    "block": "walk_block",
    "grid": "walk_grid",
    "sweep": "walk_grid",
    "step": "finish_step",
}
"""The kernel of each regime."""

FILES = {
    "walk_block": ("tile.cu", "block.cu"),
    "walk_grid": ("words.cu", "tile.cu", "grid.cu"),
    "finish_step": ("step.cu",),
}
TENSOR_FILES = ("words.cu", "mma.cu")
"""The same of walk_grid, where the product is one on tensor cores."""


@cache
def source(file: str) -> str:
    """Return the text of a file."""
    return (Path(__file__).parent / file).read_text(encoding="utf-8")


def defines(macros: Iterable[tuple[str, Any]]) -> str:
    """Return the lines that define macros."""
    return "".join(f"#define {name} {value}\n" for name, value in macros)


def body(regime: str, macros: Iterable[tuple[str, Any]]) -> str:
    """Return the source of a kernel of a plan, but for what a device has, which is device.cu."""
    files = TENSOR_FILES if dict(macros).get("MMA") else FILES[ENTRIES[regime]]
    return "\n".join(source(file) for file in ("equation.cu", *files))


def every_body(regime: str) -> str:
    """Return the sources of all kernels of a regime."""
    entry = ENTRIES[regime]
    macros = ((), (("MMA", 1),)) if entry == "walk_grid" else ((),)
    return "".join(body(regime, each) for each in macros)
