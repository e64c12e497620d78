"""What a stage may depend on, and how it starts its processes."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_stages import names
from gpu_stages.findings import RIGHT, Findings
from gpu_stages.processes import Job
from gpu_stages.sizes import SIZES, Shape, Sizes

PYTHON = sys.executable
WARM = "torch is warm"
"""The file in the folder of a call that says so."""

Batch = Sequence[Job]
"""What is run at once."""


@dataclass(frozen=True)
class Context:
    """What a stage may depend on."""

    findings: Findings
    sizes_name: str
    folder: Path
    absent: frozenset[str]
    processors: int

    @property
    def is_torch_cold(self) -> bool:
        """Whether torch is there, and has yet to run in this call."""
        return "torch" not in self.absent and not (self.folder / WARM).exists()

    @property
    def sizes(self) -> Sizes:
        """How much is done."""
        return SIZES[self.sizes_name]

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that are looked at."""
        return self.sizes.kernels or tuple(names.kernels("plan").REGIMES)

    def passed(self, stage: str) -> set[str]:
        """Return the jobs of a stage that ended well."""
        return {job for job, code in self.findings.codes(stage).items() if code == RIGHT}

    def stage(self, module: str, *words: Any) -> list[str]:
        """Return the command of a module of this folder, which appends to the findings."""
        return [PYTHON, "-m", f"gpu_stages.{module}", str(self.findings.path), *map(str, words)]


TF32 = {"CUPY_TF32": "0"}
"""The environment of what chooses its kernels itself, without TF32."""


def by(kernel: str) -> dict[str, str]:
    """Return the environment that chooses a kernel, without TF32."""
    return {"RNN_CUPY_KERNEL": kernel, **TF32}


def shapes(kernel: str, shape: Shape, tensor: Shape) -> list[Any]:
    """Return the options for the shapes of a kernel's small cases; `grid` has another one in 16 bits."""
    return ["--shape", *shape, *(["--half-shape", *tensor] if kernel == "grid" else [])]
