"""Drawing the next token from logits, on the host, and feeding it back to the network."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnn_backends.activations import finite_float
from rnn_backends.backends.transfer import as_host, to_numpy
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.initial import require_size

if TYPE_CHECKING:
    from rnn_backends.model import RNN


class Sampler:
    """Draws token ids from logits: temperature first, then top-k, then top-p; see `RNN.generate`."""

    def __init__(
        self, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, seed: int | None = None
    ) -> None:
        self.temperature = finite_float("temperature", temperature)
        if self.temperature < 0:
            msg = f"`temperature` must be at least 0; got {temperature!r}."
            raise ArgumentError(msg)
        if top_k is not None:
            require_size("top_k", top_k)
        if top_p is not None and not 0 < finite_float("top_p", top_p) <= 1:
            msg = f"`top_p` must be in 0 < top_p <= 1; got {top_p!r}."
            raise ArgumentError(msg)
        self.top_k, self.top_p = top_k, top_p
        self.random = np.random.default_rng(seed)

    def __call__(self, logits: NDArray[Any]) -> int:
        """Draw one id from logits of shape (classes,)."""
        if self.temperature == 0:
            return int(np.argmax(logits))
        p = self.distribution(logits)
        return int(np.searchsorted(np.cumsum(p), self.random.random() * p.sum(), side="right").clip(max=p.size - 1))

    def distribution(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities that ids are drawn with, up to a common factor."""
        z = logits.astype(np.float64) / self.temperature
        p = np.exp(z - z.max())
        order = np.argsort(-p, kind="stable")
        kept = order[: self.top_k]
        if self.top_p is not None:
            before = np.cumsum(p[kept]) - p[kept]
            kept = kept[before < self.top_p * p[kept].sum()]
        kept_p = np.zeros_like(p)
        kept_p[kept] = p[kept]
        return kept_p


def generate(rnn: "RNN", prompt: Any, length: int, choose: Sampler) -> NDArray[np.int32]:
    """Return the token ids that continue a prompt of token ids."""
    if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 0:
        msg = f"`length` must be an integer of at least 0; got {length!r}."
        raise ArgumentError(msg)
    readout, first = rnn.readout, rnn.layers[0].forward
    if readout is None or getattr(first, "input_size", None) != readout.output_size:
        msg = "generate needs a model that predicts its own next input: a readout with input_size outputs."
        raise ArgumentError(msg)
    ids = as_host("prompt", prompt)
    if len(ids.shape) != 1 or ids.shape[0] == 0:
        msg = f"`prompt` must hold at least one token, shape (seq_len,); got shape {tuple(ids.shape)}."
        raise ShapeError(msg)
    stream, drawn = rnn.stream(), np.empty(length, dtype=np.int32)
    for step in range(length):
        output = stream(ids)
        drawn[step] = choose(to_numpy(readout(output[-1:, :]))[0])
        ids = drawn[step : step + 1]
    return drawn
