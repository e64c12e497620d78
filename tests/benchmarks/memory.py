"""Measure memory and time of `RNN.predict` over long sequences: memory bounded, time linear.

python tests/benchmarks/memory.py  # exit code 1 if it holds over 200 MiB, or if a step's time depends on their number
"""

import json
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import rnn_backends as rb

SEQ_LENS = (125_000, 250_000, 500_000, 1_000_000)
VOCABULARY, HIDDEN_SIZE = 8000, 100
MOST_MIB, MOST_DEVIATION = 200, 0.25
ROUNDS = 2
MIB = 2**20


def most_resident() -> float:
    """The most memory that this process has had, in MiB, as the system counts it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def measure(seq_len: int) -> dict[str, float]:
    """Run once; memory counts beyond the input, the model and the output."""
    rnn = rb.RNN.init(VOCABULARY, HIDDEN_SIZE, output_size=VOCABULARY)
    x = np.random.default_rng(0).integers(0, VOCABULARY, seq_len)
    rnn.predict(x[:2])
    before = most_resident()
    start = perf_counter()
    ids = rnn.predict(x)
    seconds = perf_counter() - start
    grown = most_resident() - before - ids.nbytes / MIB
    return {"seconds": seconds, "resident": grown}


def traced(seq_len: int) -> dict[str, float]:
    """Run once under tracemalloc; not timed, for that slows Python down."""
    rnn = rb.RNN.init(VOCABULARY, HIDDEN_SIZE, output_size=VOCABULARY)
    x = np.random.default_rng(0).integers(0, VOCABULARY, seq_len)
    tracemalloc.start()
    ids = rnn.predict(x)
    return {"allocated": (tracemalloc.get_traced_memory()[1] - ids.nbytes) / MIB}


def in_a_process(name: str, seq_len: int) -> dict[str, Any]:
    """Each measurement has a process of its own: its peak is of that one alone."""
    code = f"import json, memory; print(json.dumps(memory.{name}({seq_len})))"
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    print(f"predict, one sequence, {VOCABULARY} -> {HIDDEN_SIZE} -> {VOCABULARY}, float32, NumPy {np.__version__}")
    print(f"{'T':>9} {'seconds':>9} {'us/step':>9} {'ratio':>7} {'allocated MiB':>14} {'resident MiB':>13}")
    # In turns, so that a machine that is busy for a while slows no length alone; the fastest run counts.
    rounds = [[in_a_process("measure", seq_len) for seq_len in SEQ_LENS] for _ in range(ROUNDS)]
    first, passed = 0.0, True
    for seq_len, runs in zip(SEQ_LENS, zip(*rounds, strict=True), strict=True):
        seconds, resident = min(run["seconds"] for run in runs), max(run["resident"] for run in runs)
        allocated, each = in_a_process("traced", seq_len)["allocated"], seconds / seq_len * 1e6
        first = first or each
        ratio = each / first
        passed &= max(allocated, resident) <= MOST_MIB and abs(ratio - 1) <= MOST_DEVIATION
        print(f"{seq_len:9} {seconds:9.2f} {each:9.2f} {ratio:7.3f} {allocated:14.1f} {resident:13.1f}", flush=True)
    print("passed" if passed else f"failed: over {MOST_MIB} MiB, or a step's time changes by over {MOST_DEVIATION:.0%}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
