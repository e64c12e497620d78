"""Train the network that this folder ships, with torch, to forecast the yearly number of sunspots; README.md says how.

    pip install torch
    python train.py                     # seconds on one core
    python train.py --choose            # the comparison that HIDDEN, ACTIVATION and SPREAD were chosen by; minutes
    python train.py --data              # makes data/sunspots.csv anew

The data come from the wheel of the package `statsmodels` 0.15.0, which --data has pip download, reads as a zip file and
never imports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rnn_backends as rb

HERE = Path(__file__).parent
DATA = HERE / "data" / "sunspots.csv"
SOURCE = "statsmodels==0.15.0"
MEMBER = "statsmodels/datasets/sunspots/sunspots.csv"
SHA256 = "581ec8c3839ed0df3b34c61a1d89ca513810412a2cd5492dd2db6d9a0985570b"
"""Of DATA."""
HEAD = """\
# Yearly sunspot numbers, 1700 to 2008, of the US National Geophysical Data Center, public domain,
# as the package statsmodels 0.15.0 holds them in datasets/sunspots; changed: this head in place of its own.
# year,sunspots
"""
NOTES = {
    "task": "the sunspot number of the next year",
    "source": "yearly sunspot numbers 1700-1949, US National Geophysical Data Center; public domain",
    "licence": "MIT",
    "trained by": "examples/sunspots/train.py",
}
FIRST_HELD_OUT = 1950
MEMBERS, WINDOW, EPOCHS, BATCH, RATE, SEED = 8, 18, 100, 32, 3e-3, 0
SKIPPED = 9
"""Of a window these first forecasts, made from few years, count in no loss."""
HIDDEN, ACTIVATION, SPREAD = 8, "tanh", 1.4
"""Chosen by --choose, on the years before FIRST_HELD_OUT; windows are scaled by factors of 1 / SPREAD to SPREAD."""
SPANS = ((1850, 1875), (1875, 1900), (1900, 1925), (1925, 1950))


def download() -> None:
    """Write DATA, as the package holds the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, SOURCE]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("statsmodels-*.whl"))) as wheel:
            rows = wheel.read(MEMBER).decode().split()[1:]
    written = (HEAD + "\n".join(rows) + "\n").encode()
    if (found := sha256(written).hexdigest()) != SHA256:
        sys.exit(f"the data of {SOURCE} are not those that the network was trained on: SHA-256 {found}")
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_bytes(written)


def read() -> tuple[Any, Any]:
    """Return the years and their numbers."""
    years, numbers = np.loadtxt(DATA, delimiter=",", dtype="float32").T
    return years, numbers


class Networks(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """MEMBERS networks side by side: standardised number of a year -> layer -> that of the next, after each step."""

    def __init__(self, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation = getattr(torch, activation)
        shapes = {"w_x": (1, hidden), "w_a": (hidden, hidden), "b_a": (1, hidden), "w_y": (hidden, 1), "b_y": (1, 1)}
        for name, shape in shapes.items():
            drawn = torch.empty(MEMBERS, *shape).uniform_(-(hidden**-0.5), hidden**-0.5)
            self.register_parameter(name, torch.nn.Parameter(drawn))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the forecasts of each member, (seq_len, MEMBERS, batch, 1), from x of shape (batch, seq_len)."""
        a = torch.zeros(1)
        forecasts: list[torch.Tensor] = []
        for step in x.T[..., None]:
            a = self.activation(step @ self.w_x + (a @ self.w_a if forecasts else 0.0) + self.b_a)
            forecasts.append(a @ self.w_y + self.b_y)
        return torch.stack(forecasts)


def fit(numbers: Any, hidden: int, activation: str, spread: float) -> rb.RNN:
    """Train networks on all windows of a series, scaled anew each time, and return their mean as one network."""
    torch.manual_seed(SEED)
    networks, mean, std = Networks(hidden, activation), numbers.mean(), numbers.std()
    windows = torch.tensor(numbers).unfold(0, WINDOW + 1, 1)
    optimizer = torch.optim.AdamW(networks.parameters(), RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * -(-len(windows) // BATCH))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(windows)).split(BATCH):
            optimizer.zero_grad()
            scale = spread ** (2 * torch.rand(len(chosen), 1) - 1)
            x = (scale * windows[chosen] - mean) / std
            wrong = networks(x[:, :-1]) - x[:, 1:].T[:, None, :, None]
            (MEMBERS * wrong[SKIPPED:].square().mean()).backward()
            torch.nn.utils.clip_grad_norm_(networks.parameters(), MEMBERS**0.5)
            optimizer.step()
            schedule.step()
    arrays = {name: array.detach().numpy() for name, array in networks.named_parameters()}
    return export(arrays, activation, float(mean), float(std))


def export(arrays: dict[str, Any], activation: str, mean: float, std: float) -> rb.RNN:
    """Return the mean of networks as one, of a block a member, with the standardisation in its encoder and readout."""
    members, hidden, _ = arrays["w_a"].shape
    blocks = np.zeros((members, hidden, members, hidden), dtype="float32")
    for k, weight in enumerate(arrays["w_a"]):
        blocks[k, :, k] = weight.T
    weight_hh = blocks.reshape(members * hidden, members * hidden)
    cell = rb.Cell(arrays["w_x"].reshape(-1, 1), weight_hh, arrays["b_a"].reshape(-1), activation)
    weight, bias = arrays["w_y"].reshape(1, -1) / members, arrays["b_y"].mean(axis=0)[0]
    return rb.RNN(
        [rb.Layer(cell)],
        encoder=rb.Linear(np.array([[1 / std]], dtype="float32"), np.array([-mean / std], dtype="float32")),
        readout=rb.Linear(std * weight, std * bias + mean, "identity"),
        takes="features",
        metadata=NOTES,
    )


def error(rnn: rb.RNN, first: int, end: int) -> float:
    """Return the root mean square error of the forecasts of some years, each made from all years before."""
    years, numbers = read()
    forecasts = rnn.logits(numbers[:-1, None])[:, 0]
    asked = (years[1:] >= first) & (years[1:] < end)
    return float(np.sqrt(np.mean(np.square(forecasts - numbers[1:])[asked])))


def choose() -> None:
    """Print the errors of each choice in spans of 25 years, of networks trained on the years before each."""
    years, numbers = read()
    for hidden, activation, spread in product((4, 8, 16), ("tanh", "relu"), (1.0, 1.4)):
        errors = [error(fit(numbers[years < first], hidden, activation, spread), first, end) for first, end in SPANS]
        each = "  ".join(f"{value:.2f}" for value in errors)
        print(
            f"hidden {hidden:2}, {activation}, spread {spread}: {np.mean(errors):.2f}, in the spans {each}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--choose", action="store_true", help="compare choices on the years before 1950")
    parser.add_argument("--data", action="store_true", help="make data/sunspots.csv anew, from the package statsmodels")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the products are small: more threads would wait for each other
    if options.data:
        download()
    elif options.choose:
        choose()
    else:
        start = time.perf_counter()
        years, numbers = read()
        rnn = fit(numbers[years < FIRST_HELD_OUT], HIDDEN, ACTIVATION, SPREAD)
        rnn.save(HERE / "sunspots.safetensors")
        for first, end in ((1710, FIRST_HELD_OUT), (FIRST_HELD_OUT, 2009)):
            print(f"{first}-{end - 1}: root mean square error {error(rnn, first, end):.2f}")
        print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
