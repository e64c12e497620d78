"""The device, its driver and the versions: `python -m gpu_stages.about FINDINGS`."""

import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cupy

import rnn_backends as rb
from gpu_stages.findings import WRONG, Findings, leave
from gpu_stages.names import ROOT, harness, kernels

DISTRIBUTIONS = ("torch", "array-api-compat", "ml_dtypes", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12")


def versions() -> dict[str, str]:
    """Return the versions of what computes, as far as it is installed."""
    found = {"python": platform.python_version(), "cupy": cupy.__version__}
    for name in ("numpy", *DISTRIBUTIONS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def clock_khz() -> int | None:
    """Return the highest clock of the multiprocessors, None where CUDA does not give it."""
    found: int | None = cupy.cuda.Device(0).attributes.get("ClockRate")
    return found


def main() -> None:
    findings = Findings(Path(sys.argv[1]))
    origin = Path(rb.__file__).parents[1]
    if origin.resolve() != ROOT:
        leave(WRONG, f"rnn_backends comes from {origin}, not from this checkout, {ROOT}")
    backend: Any = rb.get_backend("cupy")
    findings.add(
        stage="about",
        device=harness("gpu").about(0),
        clock_khz=clock_khz(),
        limits=asdict(kernels("device").properties(0)),
        dtypes=sorted(backend.dtypes()),
        versions=versions(),
        environment={name: value for name, value in os.environ.items() if name.startswith(("CUPY_", "CUDA_", "RNN_"))},
        processors=len(os.sched_getaffinity(0)),
    )


if __name__ == "__main__":
    main()
