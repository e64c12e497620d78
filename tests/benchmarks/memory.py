"""Measure the memory of long sequences beyond what is given and returned.

python tests/benchmarks/cpu.py memory
"""

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness.processes import answer

import rnn_backends as rb
from rnn_backends.core.arrays import Host

STEPS = 1_000_000
VOCABULARY, TEXT_STATES = 8000, 100
FEATURES, STATES = 8, 64
CALLS = {
    "predict": f"`predict(x)`, {VOCABULARY:,} tokens, H={TEXT_STATES}, {VOCABULARY:,} outputs",
    "forward": f"`rnn(x)`, I={FEATURES}, H={STATES}",
    "converted": "likewise, of float64 with gaps",
    "ragged": "likewise, with a length",
    "layers": "likewise, of three layers",
    "directions": "likewise, in both directions, which need the whole output of the layer below",
}
"""The calls in words, by the name of their function."""
LIMITED = ("forward", "converted", "ragged", "layers")
"""Those that hold the same for any number of steps."""
MIB = 2**20
STATUS = Path("/proc/self/status")


def measure(steps: int = STEPS, threads: int = 2) -> dict[str, Any]:
    """Return what each call holds at most beyond input, model and output, in MiB; each has a process of its own."""
    return {"steps": steps, "mib": {name: answer("memory", f"{name}({steps})", threads=threads) for name in CALLS}}


def predict(steps: int) -> float:
    """Return the MiB of `predict` over token ids, with as many outputs as there are tokens."""
    rnn = rb.RNN.init(VOCABULARY, TEXT_STATES, output_size=VOCABULARY, backend="numpy")
    x = np.random.default_rng(0).integers(0, VOCABULARY, steps, dtype=np.int32)
    return held(rnn.predict, x)


def forward(steps: int) -> float:
    """Return the MiB of a call with one long sequence."""
    rnn = rb.RNN.init(FEATURES, STATES, backend="numpy")
    return held(lambda x: rnn(x)[0], features(steps))


def converted(steps: int) -> float:
    """Return the MiB of a call whose input lies as no kernel reads it."""
    rnn = rb.RNN.init(FEATURES, STATES, backend="numpy")
    return held(lambda x: rnn(x)[0], features(steps, 2 * FEATURES).astype(np.float64)[..., ::2])


def ragged(steps: int) -> float:
    """Return the MiB of a call with a length."""
    rnn = rb.RNN.init(FEATURES, STATES, backend="numpy")
    return held(lambda x: rnn(x, lengths=[len(x) - 1])[0], features(steps))


def layers(steps: int, bidirectional: bool = False) -> float:
    """Return the MiB of a call of several layers."""
    rnn = rb.RNN.init(FEATURES, STATES, num_layers=3, bidirectional=bidirectional, backend="numpy")
    return held(lambda x: rnn(x)[0], features(steps))


def directions(steps: int) -> float:
    """Return the MiB of a call of several layers in both directions."""
    return layers(steps, bidirectional=True)


def features(steps: int, count: int = FEATURES) -> Host:
    return np.random.default_rng(0).standard_normal((steps, 1, count), np.float32)


def held(call: Callable[[Host], Host], x: Host) -> float:
    """Return the MiB that a call needs at most beside its result, of those that the system counts for this process."""
    call(x[:2])
    before = resident("VmRSS")
    output = call(x)
    return resident("VmHWM") - before - output.nbytes / MIB


def resident(name: str) -> float:
    """Return the MiB that this process has now (VmRSS), or had at most (VmHWM).

    Where the system counts only the most, that is both; it may be the most of the process that started this one.
    """
    if STATUS.exists():
        counts = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines())
        return int(counts[name].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)
