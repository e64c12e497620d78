"""Fit the readout of a reservoir to series of growing lengths in files, and print the time and the memory that it takes.

python tests/benchmarks/fit.py --steps 10000000
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from harness.machine import about
from harness.processes import answer
from memory import resident

import rnn_backends as rb

UNITS, WASHOUT, RIDGE = 100, 1000, 1e-6
SHORTEST = 10_000
PART = 100_000
"""The steps of a series that are made together."""


def write(folder: Path, steps: int) -> None:
    """Write a series of noise, and what a moving average of second order makes of it, a part at a time."""
    shape, random = (steps, 1), np.random.default_rng(0)
    x, y = (
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float64, shape=shape) for name in "xy"
    )
    before = np.zeros((2, 1))
    for start in range(0, steps, PART):
        part = random.uniform(0.0, 0.5, (min(PART, steps - start), 1))
        held = np.concatenate([before, part])
        x[start : start + PART], y[start : start + PART] = part, 0.5 * held[1:-1] + held[:-2] * part
        before = part[-2:]


def fitted(folder: str, steps: int) -> dict[str, Any]:
    """Return what a fit takes, in seconds and MiB, and how well the readout does; the task of a process of its own."""
    rnn = rb.reservoir(1, UNITS, density=1.0, seed=1, backend="numpy")
    rnn.fit_readout(np.ones((10, 1)), np.ones((10, 1)), ridge=1.0)
    x, y = (np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in "xy")
    before, begun = resident("VmRSS"), perf_counter()
    rnn = rnn.fit_readout(x[:steps], y[:steps], ridge=RIDGE, washout=WASHOUT)
    seconds = perf_counter() - begun
    peak = resident("VmHWM")
    error = rnn.logits(x[-2000:])[WASHOUT:] - y[-2000:][WASHOUT:]
    nrmse = float(np.sqrt((error**2).mean()) / y[-2000:].std())
    return {"seconds": seconds, "before": before, "peak": peak, "nrmse": nrmse}


def run(most: int) -> Iterator[str]:
    """Yield the lines that say what was measured, as it is measured."""
    yield ", ".join(f"{name} {value}" for name, value in about().items() if isinstance(value, (str, int)))
    yield f"{UNITS} units, 1 feature, 1 output, float64, washout {WASHOUT}, one thread"
    with TemporaryDirectory() as folder:
        write(Path(folder), most)
        counts = [10**k for k in range(4, 10) if SHORTEST <= 10**k < most] + [most]
        for steps in counts:
            found = answer("fit", f"fitted({folder!r}, {steps})", threads=1)
            files = 2 * steps * 8 / 2**20
            yield (
                f"{steps:>12,} steps: {found['seconds']:7.2f} s, {1e6 * found['seconds'] / steps:.2f} us a step, peak "
                f"{found['peak']:.0f} MiB, of which {files:.0f} may be pages of the files and {found['before']:.0f} were "
                f"there before, NRMSE {found['nrmse']:.1e}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000_000, help="the steps of the longest series")
    for line in run(parser.parse_args().steps):
        print(line, flush=True)


if __name__ == "__main__":
    main()
