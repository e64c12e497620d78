"""Drawing the next token from logits, on the host, and feeding it back to the network."""

from math import isfinite
from typing import Any

import numpy as np

from rnn_backends.backends.transfer import as_host, to_numpy
from rnn_backends.core.activations import finite_float
from rnn_backends.core.arrays import Host, dtype_name, is_integer
from rnn_backends.core.checks import require_range
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.init import require_integer
from rnn_backends.model.placed import Placed
from rnn_backends.model.stream import Stream


class Sampler:
    """Draws token ids from logits: temperature first, then top-k, then top-p; see `RNN.generate`."""

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> None:
        self.temperature = finite_float("temperature", temperature)
        if self.temperature < 0:
            msg = f"`temperature` must be at least 0; got {temperature!r}."
            raise ArgumentError(msg)
        if top_k is not None:
            require_integer("top_k", top_k, 1)
        self.top_p = None if top_p is None else finite_float("top_p", top_p)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            msg = f"`top_p` must be in 0 < top_p <= 1; got {top_p!r}."
            raise ArgumentError(msg)
        if seed is not None:
            require_integer("seed", seed, 0)
        self.top_k = top_k
        self.random = np.random.default_rng(seed)

    def __call__(self, logits: Host) -> int:
        """Draw one id from logits of shape (classes,)."""
        likeliest = int(logits.argmax())  # of NaN, if there is one
        if not isfinite(logits[likeliest]):
            msg = f"the logits of the model must be numbers to draw from; the largest is {logits[likeliest]}."
            raise ArgumentError(msg)
        if self.temperature == 0:
            return likeliest
        up_to = self.distribution(logits, likeliest).cumsum()
        return int(up_to.searchsorted(self.random.random() * up_to[-1], side="right"))

    def distribution(self, logits: Host, likeliest: int | None = None) -> Host:
        """Return the probabilities that ids are drawn with, up to a common factor."""
        z = logits.astype(np.float64)
        largest = z[z.argmax() if likeliest is None else likeliest]
        if self.temperature == 1 and logits.dtype != z.dtype:  # no difference of shorter numbers overflows
            below = z - largest
        else:
            with np.errstate(over="ignore"):  # a temperature near 0 makes -inf of all but the largest
                below = (z - largest) / self.temperature
        p: Host = np.exp(below, below)
        if self.top_p is None and (self.top_k is None or self.top_k >= len(z)):
            return p
        # By the logits, of which a high temperature makes equal probabilities.
        kept = _largest(z, self.top_k or len(z))
        if self.top_p is not None:
            kept = kept[np.argsort(-z[kept], kind="stable")]
            up_to = np.cumsum(p[kept])
            before = np.append(0.0, up_to[:-1])
            kept = kept[before < self.top_p * up_to[-1]]
        kept_p = np.zeros_like(p)
        kept_p[kept] = p[kept]
        return kept_p


def _largest(z: Host, count: int) -> Host:
    """Return the places of the largest numbers in their order; of equal ones the first."""
    if count >= len(z):
        return np.arange(len(z))
    smallest = np.partition(z, -count)[-count]
    above, equal = np.flatnonzero(z > smallest), np.flatnonzero(z == smallest)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def generate(placed: Placed, prompt: Any, length: int, choose: Sampler) -> Host:
    """Return the token ids that continue a prompt of token ids."""
    require_integer("length", length, 0)
    network = placed.network
    readout = network.readout
    if not readout or placed.input_size != readout[-1].output_size or network.takes == "features":
        msg = "generate needs a model that predicts its own next input: token ids, and a readout with as many outputs."
        raise ArgumentError(msg)
    if network.reads in {"mean", "max"}:
        msg = f"generate needs a readout of each step or of the last; that of this model reads the {network.reads!r}."
        raise ArgumentError(msg)
    ids = as_host("prompt", prompt)
    if len(ids.shape) != 1 or ids.shape[0] == 0:
        msg = f"`prompt` must hold at least one token, shape (seq_len,); got shape {tuple(ids.shape)}."
        raise ShapeError(msg)
    if not is_integer(ids):
        msg = f"`prompt` must be text or token ids; got {dtype_name(ids)}."
        raise DTypeError(msg)
    require_range("prompt", ids, readout[-1].output_size, "token id")
    stream, drawn = Stream(placed), np.empty(length, dtype=np.int32)
    for step in range(length):
        output = stream(ids)
        with placed.on_device():
            logits = placed.logits(output[-1:, :])
        drawn[step] = choose(logits[0] if placed.is_plain else to_numpy(logits)[0])
        ids = drawn[step : step + 1]
    return drawn
