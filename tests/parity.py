"""Measure the worst error of backends per feature and dtype, and write the table.

python tests/parity.py numpy torch:cpu [--output docs/parity.md]
"""

import argparse
import platform
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import rnn_backends as rb
from rnn_backends.testing import BackendConformance

DOCS = Path(__file__).parent.parent / "docs"
DTYPES = ("float64", "float32", "float16", "bfloat16")
DISTRIBUTIONS = {"array_api_strict": "array-api-strict"}
PREAMBLE = """\
# Parity

The worst error of each backend, for each feature and dtype, against the float64 reference of
`rnn_backends.testing`, in units of what rounding may cause: a running error bound, elementwise and through
all layers and steps (`rnn_backends/testing/reference.py` derives it). At most 1 is right. float16 and
bfloat16 come close to 1 because their bound is tight: sums are made in float32, and only the state is
rounded to the dtype.
"""


def worst(backend: str, dtype: str) -> dict[str, float]:
    """Return the excess of a backend by feature."""
    return dict(type("Conformance", (BackendConformance,), {"backend": backend})().excesses(dtype))


def dtypes_of(backend: str) -> tuple[str, ...]:
    return tuple(rb.get_backend(backend.partition(":")[0]).dtypes())


def measure(backends: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the excess of backends by dtype and feature, those of the last first, for JAX compiles for minutes."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:  # libraries do not survive a fork
        asked = {
            backend: {dtype: pool.submit(worst, backend, dtype) for dtype in dtypes_of(backend)}
            for backend in reversed(backends)
        }
        found = {backend: {d: future.result() for d, future in dtypes.items()} for backend, dtypes in asked.items()}
    return {backend: found[backend] for backend in backends}


def library(backend: str) -> str:
    """Name the library of a backend, its version and the device."""
    name, _, device = backend.partition(":")
    place = rb.get_backend(name)
    if name == "cupy":
        import cupy

        properties = cupy.cuda.runtime.getDeviceProperties(0)
        driver = cupy.cuda.runtime.driverGetVersion()
        return f"cupy {cupy.__version__}, {properties['name'].decode()}, CUDA driver {driver}"
    return f"{name} {version(DISTRIBUTIONS.get(name, name))}, {place.device_name(device)}"


def table(dtype: str, measured: dict[str, dict[str, dict[str, float]]]) -> Iterable[str]:
    """Yield the lines of one dtype's table."""
    columns = {backend: dtypes[dtype] for backend, dtypes in measured.items() if dtype in dtypes}
    if not columns:
        return
    yield f"\n## {dtype}\n\n| feature | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}"
    for feature in next(iter(columns.values())):
        yield f"| {feature} | {' | '.join(f'{column[feature]:.3f}' for column in columns.values())} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="+")
    parser.add_argument("--output", type=Path, default=DOCS / "parity.md")
    arguments = parser.parse_args()
    measured = measure(arguments.backends)
    libraries = [f"* {library(backend)}" for backend in arguments.backends]
    command = f"python tests/parity.py {' '.join(arguments.backends)}"
    where = f"Measured by `{command}` with Python {platform.python_version()} on {platform.machine()}:"
    lines = [PREAMBLE, where, "", *libraries]
    lines += [line for dtype in DTYPES for line in table(dtype, measured)]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    wrong = [
        f"{backend}, {dtype}, {feature}: {excess:.3f}"
        for backend, dtypes in measured.items()
        for dtype, features in dtypes.items()
        for feature, excess in features.items()
        if not excess <= 1.0
    ]
    print("\n".join(wrong) or f"every backend is within the bound; see {arguments.output}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
