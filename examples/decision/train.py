"""Train the network that this folder ships, with torch, to decide between two noisy channels; README.md says how.

pip install torch
python train.py                     # minutes on one core
python train.py --seed 1 --output other.npz
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from decide import DT, PATH, SIGMA_IN, SIGMA_REC, TAU, load, trials

UNITS, EXCITATORY = 100, 80
COHERENCES = (0.032, 0.064, 0.128, 0.256, 0.512)
"""Of the trials to train on, with either sign."""
OTHERS = (0.045, 0.09, 0.18, 0.36)
"""Of trials to measure, beside these."""
DURATIONS = {"fixation": (200, 1600), "stimulus": (200, 1200), "decision": (200, 1200)}
"""Milliseconds, least and most; drawn anew for each batch."""
GRACE = 100.0
"""Milliseconds of the fixation that count in no loss: the network is not yet at rest."""
ROUNDS, BATCH, RATE, SEED = 1000, 64, 5e-3, 0
SQUARED = 0.4
"""The share of the rounds in which the loss is the squared error."""
RADIUS, RATES = 1.2, 1e-3
"""The spectral radius of the first W_rec; the weight of the mean square rate in the loss."""


class Network(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """tau dx/dt = -x + W_rec [x]+ + W_in u + b_rec + noise, z = W_out [x]+ + b_out, by Euler's method.

    Dale's law: columns of W_rec are of one sign; the outputs read excitatory units; no unit acts on itself.
    """

    def __init__(self, random: np.random.Generator) -> None:
        super().__init__()
        is_excitatory = np.arange(UNITS) < EXCITATORY
        dale = np.where(is_excitatory, 1.0, -1.0)
        connectivity = 1.0 - np.eye(UNITS)
        strength = np.where(is_excitatory, 1.0, EXCITATORY / (UNITS - EXCITATORY))  # as much of either kind
        w_rec = strength * random.gamma(2.0, size=(UNITS, UNITS)) * connectivity
        w_rec *= RADIUS / abs(np.linalg.eigvals(w_rec * dale)).max()
        first = {
            "W_in": random.uniform(0, 1, (UNITS, 2)),
            "W_rec": w_rec,
            "W_out": random.uniform(0, 1, (2, UNITS)) / EXCITATORY,
            "b_rec": np.zeros(UNITS),
            "b_out": np.zeros(2),
            "init_state": np.full((1, UNITS), 0.1),
        }
        for name, array in first.items():
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(array, dtype=torch.float32)))
        fixed = {"Dale_rec": np.diag(dale), "Dale_out": np.diag(dale > 0), "rec_connectivity": connectivity}
        for name, array in fixed.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32))

    def effective(self) -> dict[str, torch.Tensor]:
        """Return what is computed with, under the names that PsychRNN gives it."""
        return {
            **dict(self.named_parameters()),
            **dict(self.named_buffers()),
            "W_in": self.W_in.relu(),
            "W_rec": (self.W_rec.relu() * self.rec_connectivity) @ self.Dale_rec,
            "W_out": self.W_out.relu() @ self.Dale_out,
        }

    def forward(self, u: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs and the rates of each step, from inputs and standard normal numbers of each step."""
        held, leak = self.effective(), DT / TAU
        drive = u @ held["W_in"].T + held["b_rec"] + (2 / leak) ** 0.5 * SIGMA_REC * noise
        w_rec, x, states = held["W_rec"].T, held["init_state"], []
        for step in drive:
            x = (1 - leak) * x + leak * (x.relu() @ w_rec + step)
            states.append(x)
        rates = torch.stack(states).relu()
        return rates @ held["W_out"].T + held["b_out"], rates


def loss_of(network: Network, random: np.random.Generator, power: int) -> torch.Tensor:
    """Return the loss of one batch of new trials, of errors to a power.

    The absolute error, to the power 1, is least at the median: of two answers that may be right the network gives the
    likelier one, where the squared error has it give the odds.  With the latter it learns to tell them apart.
    """
    steps = {name: (round(low / DT), round(most / DT)) for name, (low, most) in DURATIONS.items()}
    spans = {name: DT * random.integers(*bounds, endpoint=True) for name, bounds in steps.items()}
    side = random.choice((-1, 1), BATCH)
    u = torch.from_numpy(trials(side * random.choice(COHERENCES, BATCH), random, **spans))
    outputs, rates = network(u, torch.randn(*u.shape[:2], UNITS))
    wanted = torch.from_numpy(np.stack([side > 0, side < 0], axis=1)).float()
    before = outputs[round(GRACE / DT) : round(spans["fixation"] / DT)]
    after = outputs[-round(spans["decision"] / DT) :]
    return before.square().mean() + (after - wanted).abs().pow(power).mean() + RATES * rates.square().mean()


def fit(seed: int) -> Network:
    """Train a network, and print the losses."""
    torch.manual_seed(seed)
    random = np.random.default_rng([seed, 1])
    network = Network(np.random.default_rng(seed))
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, ROUNDS)
    losses: list[float] = []
    for count in range(1, ROUNDS + 1):
        optimizer.zero_grad()
        loss = loss_of(network, random, 2 if count <= SQUARED * ROUNDS else 1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if count % 100 == 0:
            print(f"{count:5} rounds: loss {np.mean(losses[-100:]):.3f}", flush=True)
    return network


def difference(network: Network, path: Path) -> float:
    """Return how far the outputs of the library are from those of torch, without noise of the units."""
    u = trials([0.064, -0.256], np.random.default_rng(0))
    with torch.no_grad():
        outputs, _ = network(torch.from_numpy(u), torch.zeros(*u.shape[:2], UNITS))
    return float(abs(load(path).replace(noise=None).logits(u) - outputs.numpy()).max())


def right(path: Path, coherence: float, count: int = 1000) -> float:
    """Return the share of right choices in trials of 800 ms that were in no training."""
    random = np.random.default_rng([99, round(1000 * coherence)])
    side = random.choice((-1, 1), count)
    z: Any = load(path, seed=round(1000 * coherence)).logits(trials(side * coherence, random))[-1]
    return float((np.sign(z[:, 0] - z[:, 1]) == side).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--output", type=Path, default=PATH)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the products are small: more threads would wait for each other
    start = time.perf_counter()
    network = fit(options.seed)
    np.savez(options.output, **{name: array.detach().numpy() for name, array in network.effective().items()})
    print(f"largest difference of the outputs of torch and the library: {difference(network, options.output):.0e}")
    for coherence in sorted(COHERENCES + OTHERS):
        ideal = NormalDist().cdf(coherence * (800 / TAU) ** 0.5 / (2 * SIGMA_IN))
        print(f"{coherence:.1%} coherence: {right(options.output, coherence):.1%} right; ideal {ideal:.1%}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
