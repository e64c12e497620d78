"""A decision by a rate network: which of two noisy channels is the stronger?  Of no coherence, evidence for neither.

python decide.py [coherence in percent ...]
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import rnn_backends as rb

PATH = Path(__file__).with_name("decision.npz")
TAU, DT = 100.0, 20.0  # milliseconds: the time constant of the units, and a step
SIGMA_IN, SIGMA_REC = 0.1, 0.15  # the noise of the channels, and that of the units
THRESHOLD = 0.5  # of the difference of the outputs, at which a decision is made


def load(path: Path = PATH, *, dt: float = DT, seed: int = 0, backend: str | None = None) -> rb.RNN:
    """Read weights in the manner of PsychRNN, to be run in steps of dt milliseconds, with noise."""
    rnn = rb.load(
        path,
        names={
            "init_state": "h_0", "W_in": "weight_ih_l0", "W_rec": "weight_hh_l0",
            "b_rec": "bias_l0", "W_out": "readout.weight", "b_out": "readout.bias",
        },
        roles=dict.fromkeys(("Dale_rec", "Dale_out", "rec_connectivity"), "ignore"),
        cell="RateCell",
        leak=dt / TAU,
        activation="relu",
        readout_activation="identity",
        backend=backend,
    )  # fmt: skip
    return rnn.replace(noise=rb.Noise(np.sqrt(2 * TAU / dt) * SIGMA_REC, seed))


def trials(
    coherences: Any,
    random: np.random.Generator,
    *,
    fixation: float = 200.0,
    stimulus: float = 800.0,
    decision: float = 500.0,
    dt: float = DT,
) -> Any:
    """Return the two channels of a trial for each coherence, (steps, trials, 2)."""
    ends = np.rint(np.cumsum([fixation, stimulus, decision]) / dt).astype(int)
    x = np.full((ends[2], len(coherences), 2), 0.2)
    evidence = np.multiply.outer(coherences, (0.5, -0.5))
    x[ends[0] : ends[1]] += 0.5 + evidence
    x += np.sqrt(2 * TAU / dt) * SIGMA_IN * random.normal(size=x.shape)
    return x.astype("float32")


def times(outputs: Any, *, fixation: float = 200.0, dt: float = DT) -> Any:
    """Return when, after the stimulus began, each trial crosses the threshold, in ms; NaN where it never does."""
    crossed = abs(outputs[..., 0] - outputs[..., 1])[round(fixation / dt) :] > THRESHOLD
    return np.where(crossed.any(axis=0), dt * (crossed.argmax(axis=0) + 1), np.nan)


def main(*percents: str) -> None:
    random = np.random.default_rng(1)
    print("coherence  right  time to decide (median)")
    for seed, percent in enumerate(map(float, percents or ("3.2", "6.4", "12.8", "25.6", "51.2"))):
        side = random.choice((-1, 1), 200)
        outputs = load(seed=seed).logits(trials(side * percent / 100, random))
        right = np.sign(outputs[-1, :, 0] - outputs[-1, :, 1]) == side
        print(f"{percent:8.1f}% {right.mean():6.1%} {np.nanmedian(times(outputs)):8.0f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
