"""Text that the network of examples/shakespeare writes: by `RNN.generate`, and by its bare arithmetic in NumPy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.contestant import AbsentError, Contestant
from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.linear import Linear
from rnn_backends.errors import WrongResultError
from rnn_backends.model.loading import load
from rnn_backends.model.rnn import RNN

MODEL = Path(__file__).parents[4] / "examples" / "shakespeare" / "shakespeare.safetensors"
PROMPT = "O"
DIFFERENCE = 64 * 2.0**-24
"""The most by which probabilities in float32 may differ."""


class Bare:
    """The arithmetic of a token, with nothing checked: a column of W_ih, the products, tanh, softmax, the draw."""

    def __init__(self, rnn: RNN) -> None:
        first, *self.others = [
            (np.asarray(cell.weight_ih), np.asarray(cell.weight_hh), np.asarray(cell.bias))
            for cell in (layer.forward for layer in rnn.layers)
            if isinstance(cell, Cell)
        ]
        self.rows, self.first_w_hh = np.ascontiguousarray(first[0].T) + first[2], first[1]
        assert isinstance(rnn.readout, Linear)
        self.readout, self.bias = np.asarray(rnn.readout.weight), np.asarray(rnn.readout.bias)

    def generate(self, token: int, length: int, seed: int) -> list[int]:
        """Return the tokens that follow one."""
        tokens, random = [token], np.random.default_rng(seed)
        for p in self.probabilities(tokens):
            up_to = p.cumsum()
            tokens.append(int(up_to.searchsorted(random.random() * up_to[-1], side="right")))
            if len(tokens) > length:
                break
        return tokens[1:]

    def probabilities(self, tokens: list[int]) -> Iterator[Host]:
        """Yield the probabilities after each token of a list, which may grow meanwhile."""
        states = [np.zeros(len(self.first_w_hh), self.rows.dtype)] * (1 + len(self.others))
        for token in tokens:
            h = states[0] = np.tanh(self.rows[token] + self.first_w_hh @ states[0])
            for index, (w_ih, w_hh, bias) in enumerate(self.others, 1):
                h = states[index] = np.tanh(w_ih @ h + w_hh @ states[index] + bias)
            z = self.readout @ h + self.bias
            p = np.exp(z - z.max())
            yield p / p.sum()


def make(maker: str, length: int) -> tuple[Contestant, float]:
    """Return a contestant that writes a text, and how far its probabilities are off, in units of what is allowed."""
    rnn = load(MODEL, backend="numpy")
    if maker == "ours":
        return Contestant(maker, lambda _: rnn.generate(PROMPT, length, seed=0), output=None), 0.0
    if maker != "bare":
        msg = f"{maker} writes no text"
        raise AbsentError(msg)
    bare, first = Bare(rnn), (rnn.vocabulary or "").index(PROMPT)
    tokens = [first, *bare.generate(first, length, seed=0)]
    error = difference(np.stack(list(bare.probabilities(tokens))), rnn.probabilities(np.array(tokens))) / DIFFERENCE
    if not error <= 1.0:
        msg = f"the bare arithmetic of {MODEL.name} is wrong by {error:.3g} times what is allowed; nothing is timed."
        raise WrongResultError(msg)
    return Contestant(maker, lambda _: bare.generate(first, length, seed=0), output=None), error


def difference(one: Any, other: Any) -> float:
    """Return the largest difference of probabilities, infinite where they are not of one shape."""
    return float(abs(one - other).max()) if one.shape == other.shape else float("inf")
