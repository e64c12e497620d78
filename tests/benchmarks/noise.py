"""Measure what the noise of a model costs, in processor time and one thread, and print it over that without noise.

python tests/benchmarks/noise.py
"""

import argparse
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from harness.machine import about
from harness.processes import answer

import rnn_backends as rb

SHAPES = ((1000, 32, 100), (1000, 1, 100), (1000, 32, 500))
"""Steps, sequences and units."""
FEATURES = 10
ROUNDS = 7


def measured(seq_len: int, batch: int, units: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of a call with and without noise, by turns; the task of a process of its own."""
    plain = rb.RNN.init(FEATURES, units, backend="numpy")
    calls = {"without": plain, "with": plain.replace(noise=rb.Noise(0.1))}
    x = np.random.default_rng(0).normal(size=(seq_len, batch, FEATURES)).astype(np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(rounds + 1):
        for name, call in calls.items():
            begun = process_time()
            call(x)
            if done:  # the first call is not counted
                seconds[name].append(process_time() - begun)
    ratios = [one / other for one, other in zip(seconds["with"], seconds["without"], strict=True)]
    return {**{name: median(taken) for name, taken in seconds.items()}, "ratio": median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"the calls that are timed; default: {ROUNDS}")
    rounds = parser.parse_args().rounds
    print(", ".join(f"{name} {value}" for name, value in about().items() if isinstance(value, (str, int))))
    for seq_len, batch, units in SHAPES:
        found = answer("noise", f"measured({seq_len}, {batch}, {units}, {rounds})", threads=1)
        extra = found["with"] - found["without"]
        print(
            f"T={seq_len} B={batch} H={units}: {1e3 * found['without']:.1f} ms without, {1e3 * found['with']:.1f} with "
            f"noise, {found['ratio']:.1f} times; {1e9 * extra / (seq_len * batch * units):.0f} ns for each number"
        )


if __name__ == "__main__":
    main()
