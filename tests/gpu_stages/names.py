"""The files and modules of this repository that `gpu_first.py` depends on, and what it needs of others, all in one place."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATH = (ROOT, *(ROOT / "tests" / folder for folder in ("", "support", "benchmarks")))
"""What a stage imports from, ahead of anything installed."""

GPU_TESTS = "tests/kernels/test_gpu.py"
CONFORMANCE_TESTS = "tests/backends/test_conformance.py"

HARNESS = "harness"
GOALS = "gpu_goals"
"""The module of tests/benchmarks that holds the goals by shape."""
PAGE = "gpu_page"
"""The one that makes a page of what was measured."""
KERNELS = "rnn_backends.backends.cuda_kernels"

PLAN = ROOT / "rnn_backends" / "backends" / "cuda_kernels" / "plan.py"
TENSOR = PLAN.with_name("tensor.py")
TENSOR_CORES = "grid, tensor cores"
FITTED = {
    "block": ("CHAIN", "FOLD"),
    "grid": ("GRID_TURN", "GRID_STEP"),
    "sweep": ("SWEEP_TURN", "SWEEP_STEP"),
    TENSOR_CORES: ("RATES", "LATENCY"),
}
"""The constants of plan.py, the last of tensor.py, that are fitted to the steps of each kernel, or form of one."""
FORMS = {"grid, 16 bits": False, TENSOR_CORES: True}
"""The forms of `grid` in 16 bits, and whether each multiplies on tensor cores."""
RATE = "RATES"
"""A rate by compute capability, of which what is fitted is the clocks of a thousand multiplications."""
LAUNCHES, LAUNCHING = ("KERNEL", "PRODUCT"), ("sweep", "step")
"""Those of launches, and the kernels of which a step is: one launch; and that and a product."""

DOCUMENT = ROOT / "docs" / "gpu.md"
BENCHMARKS = ROOT / "docs" / "benchmarks" / "gpu.md"

WHOLE = ("block", "grid")
"""The kernels that take all steps in one launch."""

OFF = "off"
"""The value of the variable that leaves all kernels out, for the equation as written."""

REQUIRED = {"numpy": "numpy", "cupy": "cupy-cuda13x[ctk]", "array_api_compat": "array-api-compat"}
"""The module and the distribution of what every stage needs."""

TESTING = {
    "pytest": "pytest",
    "hypothesis": "hypothesis",
    "array_api_strict": "array-api-strict",
    "safetensors": "safetensors",
}
"""The same of what the stage of pytest needs."""

OPTIONAL: Mapping[str, tuple[str, str]] = {
    "torch": ("torch", "bench does not compare with it"),
    "ml_dtypes": ("ml_dtypes", "bfloat16 is left out"),
    **{module: (distribution, "the stage rest is left out") for module, distribution in TESTING.items()},
}
"""The distribution of what some stages need, and what happens without it."""

NEEDING = ("pytest", "hypothesis")
"""The distributions that depend on others than those."""


def harness(name: str) -> Any:
    """Return a module of the harness of tests/benchmarks."""
    return import_module(f"{HARNESS}.{name}")


def kernels(name: str) -> Any:
    """Return a module of the kernels."""
    return import_module(f"{KERNELS}.{name}")


def goals() -> Any:
    """Return the module with the goals by shape."""
    return import_module(GOALS)


def page() -> Any:
    """Return the module that makes a page of what bench measured."""
    return import_module(PAGE)
