"""Train the network that this folder ships, with torch, to name the speaker of two vowels; README.md says on what.

    pip install torch
    python train.py                     # seconds on one core
    python train.py --choose            # the cross-validation that HIDDEN, READS and NOISE were chosen by; minutes
    python train.py --data              # makes data/vowels.npz anew

The data come from the wheel of the package `aeon` 1.6.0, which --data has pip download, reads as a zip file and never
imports.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

import rnn_backends as rb

HERE = Path(__file__).parent
DATA = HERE / "data" / "vowels.npz"
SOURCE = "aeon==1.6.0"
MEMBER = "aeon/datasets/data/JapaneseVowels/JapaneseVowels_{}.ts"
SHA256 = "2fd61fab80b3596a5a2902cc599914b7eb398b7785be483ed3fdd33a9c6d7d6e"
"""Of the bytes of the arrays of DATA, in the order of their names."""
ATTRIBUTION = (
    "Japanese Vowels, Mineichi Kudo, Jun Toyama, Masaru Shimbo (1999), UCI Machine Learning Repository, "
    "https://doi.org/10.24432/C5NS47, CC BY 4.0, https://creativecommons.org/licenses/by/4.0/; "
    "changed: rounded to float32, all series in one file"
)
NOTES = {
    "task": "the speaker of the Japanese vowels /ae/, of nine men",
    "classes": " ".join(f"speaker-{k}" for k in range(1, 10)),
    "source": ATTRIBUTION,
    "licence": "MIT",
    "trained by": "examples/vowels/train.py",
}
EPOCHS, BATCH, RATE, DROPOUT, SEED = 40, 16, 3e-3, 0.2, 0
HIDDEN, READS, NOISE = 64, "final", 0.3
"""Chosen by --choose, on the training set alone."""
FOLDS = 5


def download() -> None:
    """Write DATA: all series one after the other, their lengths, and their speakers from 0."""
    arrays: dict[str, Any] = {"attribution": np.array(ATTRIBUTION)}
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, SOURCE]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("aeon-*.whl"))) as wheel:
            for name in ("train", "test"):
                text = wheel.read(MEMBER.format(name.upper())).decode()
                series, speakers = parse(text)
                arrays |= {
                    name: np.concatenate(series),
                    f"{name}_lengths": np.array([len(x) for x in series], dtype="int64"),
                }
                arrays[f"{name}_speakers"] = np.array(speakers, dtype="int64")
    if (found := digest(arrays)) != SHA256:
        sys.exit(f"the data of {SOURCE} are not those that the network was trained on: SHA-256 {found}")
    DATA.parent.mkdir(exist_ok=True)
    np.savez_compressed(DATA, **arrays)


def parse(text: str) -> tuple[list[Any], list[int]]:
    """Return the series of a .ts file, (length, 12) each, and their classes from 0."""
    rows = [line.split(":") for line in text.partition("@data\n")[2].splitlines()]
    series = [np.array([feature.split(",") for feature in row[:-1]], dtype="float32").T for row in rows]
    return series, [int(row[-1]) - 1 for row in rows]


def digest(arrays: Any) -> str:
    names = sorted({*arrays} - {"attribution"})
    return sha256(b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in names)).hexdigest()


def read(name: str) -> tuple[list[Any], Any]:
    """Return the series of a set, (length, 12) each, and their speakers."""
    with np.load(DATA) as data:
        return np.split(data[name], data[f"{name}_lengths"].cumsum()[:-1]), data[f"{name}_speakers"]


class Network(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Standardised features -> tanh layer in both directions -> readout of its final states or of their mean."""

    def __init__(self, frames: Any, hidden: int, reads: str, noise: float) -> None:
        super().__init__()
        self.mean, self.std = torch.tensor(frames.mean(axis=0)), torch.tensor(frames.std(axis=0))
        self.rnn = torch.nn.RNN(frames.shape[1], hidden, batch_first=True, bidirectional=True)
        self.readout = torch.nn.Linear(2 * hidden, 9)
        self.dropout = torch.nn.Dropout(DROPOUT)
        self.reads, self.noise = reads, noise

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = (x - self.mean) / self.std
        if self.training:
            x = x + self.noise * torch.randn_like(x)
        packed = pack_padded_sequence(self.dropout(x), lengths, batch_first=True, enforce_sorted=False)
        output, h_n = self.rnn(packed)
        if self.reads == "final":
            read = torch.cat([h_n[0], h_n[1]], dim=-1)
        else:
            read = pad_packed_sequence(output, batch_first=True)[0].sum(dim=1) / lengths[:, None]
        return self.readout(self.dropout(read))


def fit(series: Sequence[Any], speakers: Any, hidden: int, reads: str, noise: float) -> Network:
    torch.manual_seed(SEED)
    network = Network(np.concatenate(series), hidden, reads, noise)
    inputs = pad_sequence([torch.tensor(x) for x in series], batch_first=True)
    lengths, wanted = torch.tensor([len(x) for x in series]), torch.tensor(speakers)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * -(-len(series) // BATCH))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(series)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(network(inputs[chosen], lengths[chosen]), wanted[chosen]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network


def export(network: Network) -> rb.RNN:
    """Return the trained network as one of this package, which takes the features as they are."""
    arrays = {name: array.numpy() for name, array in network.state_dict().items()}
    std = network.std.numpy()
    encoder = rb.Linear(np.diag(1 / std), -network.mean.numpy() / std)

    def cell(end: str) -> rb.Cell:
        bias = arrays[f"rnn.bias_ih_{end}"] + arrays[f"rnn.bias_hh_{end}"]
        return rb.Cell(arrays[f"rnn.weight_ih_{end}"], arrays[f"rnn.weight_hh_{end}"], bias, "tanh")

    layer = rb.Layer(cell("l0"), cell("l0_reverse"))
    readout = rb.Linear(arrays["readout.weight"], arrays["readout.bias"], "softmax")
    return rb.RNN([layer], readout, encoder=encoder, reads=network.reads, takes="features", metadata=NOTES)


def measure(rnn: rb.RNN, series: Sequence[Any], speakers: Any) -> tuple[int, float]:
    """Return how many series are classified right, and the loss in nats."""
    x, lengths = rb.pad(series)
    right = int((rnn.predict(x, lengths=lengths) == speakers).sum())
    return right, float(rnn.loss(x, speakers, lengths=lengths))


def choose() -> None:
    """Print what each choice reaches on parts of the training set left out in turn, six utterances of each speaker."""
    series, speakers = read("train")
    part = np.arange(len(series)) % 30 // 6  # successive utterances of a speaker
    for hidden, reads, noise in product((32, 64, 128), ("mean", "final"), (0.0, 0.3)):
        measured = []
        for fold in range(FOLDS):
            kept, left_out = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
            rnn = export(fit([series[k] for k in kept], speakers[kept], hidden, reads, noise))
            measured.append(measure(rnn, [series[k] for k in left_out], speakers[left_out]))
        right, loss = (sum(values) for values in zip(*measured, strict=True))
        print(
            f"{hidden:3} {reads:5} noise {noise}: {right} of {len(series)} right, loss {loss / FOLDS:.3f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--choose", action="store_true", help="cross-validate the choices on the training set")
    parser.add_argument("--data", action="store_true", help="make data/vowels.npz anew, from the package aeon")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the products are small: more threads would wait for each other
    if options.data:
        download()
    elif options.choose:
        choose()
    else:
        start = time.perf_counter()
        rnn = export(fit(*read("train"), HIDDEN, READS, NOISE))
        rnn.save(HERE / "vowels.safetensors")
        for name in ("train", "test"):
            series, speakers = read(name)
            right, loss = measure(rnn, series, speakers)
            print(f"{name}: {right} of {len(series)} right, {right / len(series):.1%}, loss {loss:.3f}")
        print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
