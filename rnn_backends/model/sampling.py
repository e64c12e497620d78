"""Tokens by which a network continues a sequence: one that is drawn from its output is the next input."""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np

from rnn_backends.backends.transfer import as_host, to_numpy
from rnn_backends.core.arrays import Array, Host, dtype_name, is_integer
from rnn_backends.core.checks import require_range
from rnn_backends.core.messages import got, shown
from rnn_backends.core.numbers import finite_float
from rnn_backends.core.stored import steps_of
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.chunks import spans
from rnn_backends.model.init import LARGEST_NUMBER, require_integer
from rnn_backends.model.placed import Placed
from rnn_backends.model.stops import Ending
from rnn_backends.model.stream import Stream

PIECE = 1024
"""The steps of a prompt that are run at once."""


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
            msg = f"`temperature` must be at least 0; got {got(temperature)}."
            raise ArgumentError(msg)
        if top_k is not None:
            require_integer("top_k", top_k, 1, LARGEST_NUMBER)
        self.top_p = None if top_p is None else finite_float("top_p", top_p)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            msg = f"`top_p` must be in 0 < top_p <= 1; got {got(top_p)}."
            raise ArgumentError(msg)
        if seed is not None:
            require_integer("seed", seed, 0, LARGEST_NUMBER)
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


def require_language(placed: Placed) -> None:
    """Check that a model predicts its own next input, a token id."""
    network = placed.network
    if not network.readout or placed.input_size != network.readout[-1].output_size or network.takes == "features":
        msg = f"generate needs a model that predicts its own next token id; this one {counts(placed)}."
        raise ArgumentError(msg)
    require_feedback("generate", placed)


def counts(placed: Placed) -> str:
    """Return how much a network takes and gives in a step."""
    what = {"tokens": "one of {} token ids", "features": "{} features"}.get(placed.network.takes or "", "{} inputs")
    readout = placed.network.readout
    size = readout[-1].output_size if readout else 0
    outputs = f"has {size} output{'s' * (size > 1)}" if readout else "has no readout"
    return f"takes {what.format(placed.input_size)} and {outputs}"


def require_feedback(method: str, placed: Placed) -> None:
    """Check that the output of a step depends on no later one, and that the readout reads it."""
    reads = placed.network.reads
    if reads in {"mean", "max"}:
        msg = f"{method} needs a readout of each step or of the last; that of this model reads the {shown(reads)}."
        raise ArgumentError(msg)
    if placed.has_backward:
        msg = f"{method} needs a network without backward cells, which start at the end of a sequence."
        raise ArgumentError(msg)


def generate(placed: Placed, prompt: Any, length: int, choose: Sampler, stops: Sequence[list[int]] = ()) -> Host:
    """Return the token ids that continue a prompt of token ids, up to the first of the stops."""
    require_integer("length", length, 0)
    tokens = islice(drawn(placed, prompt, choose), length)
    return np.fromiter(Ending(stops).before(tokens) if stops else tokens, dtype=np.int32)


def drawn(placed: Placed, prompt: Any, choose: Sampler) -> Iterator[int]:
    """Return the token ids that continue a prompt of token ids, one by one and without end.

    All is checked at once, before the first is asked for.
    """
    require_language(placed)
    ids = as_host("prompt", prompt)
    if len(ids.shape) != 1 or ids.shape[0] == 0:
        msg = f"`prompt` must hold at least one token, shape (seq_len,); got shape {shown(tuple(ids.shape))}."
        raise ShapeError(msg)
    if not is_integer(ids):
        msg = f"`prompt` must be text or token ids; got {dtype_name(ids)}."
        raise DTypeError(msg)
    require_range("prompt", ids, placed.network.readout[-1].output_size, "token id")
    return _draws(placed, ids, choose)


def _draws(placed: Placed, prompt: Any, choose: Sampler) -> Iterator[int]:
    stream, ids = Stream(placed), np.empty(1, dtype=np.int32)
    output = run_in_pieces(stream, prompt)
    while True:
        with placed.on_device():
            logits = placed.logits(output[-1:, :])
        ids[0] = token = choose(logits[0] if placed.is_plain else to_numpy(logits)[0])
        yield token
        output = stream(ids)


def run_in_pieces(stream: Stream, prompt: Any, axis: int = 0) -> Array:
    """Run a sequence in pieces, so that of a long one the outputs of a piece alone are held, and return the last."""
    for start, stop in spans(0, prompt.shape[axis], PIECE):
        output = stream(steps_of(prompt, start, stop, axis))
    return output
