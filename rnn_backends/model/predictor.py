"""`Predictor`: the results of a model's readout: logits, probabilities and predictions."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rnn_backends.core.arrays import Array, ArrayLike, Input
from rnn_backends.core.losses import index_of_largest
from rnn_backends.errors import ArgumentError
from rnn_backends.model.chunk import Chunk, largest, logits, probabilities
from rnn_backends.model.chunks import ChunkedCall, is_one_chunk
from rnn_backends.model.model import part_of_rnn
from rnn_backends.model.reading import logits_of_whole, read_at_once
from rnn_backends.model.runner import Runner


@part_of_rnn
class Predictor(Runner):
    """The part of `RNN` that needs a readout."""

    def logits(
        self,
        x: Input,
        h_0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reads: str | None = None,
    ) -> Array:
        """Return W_ya a<t> + b_y, the readout before its activation.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.
        reads : str, optional
            What the readout reads; default: what the model says.

        Returns
        -------
        array, shape (seq_len, batch, output_size)
            0 beyond a sequence's length; (batch, output_size) where each sequence is read as a whole.

        Raises
        ------
        ArgumentError
            The model has no readout.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rb.RNN.init(3, 4, output_size=5).logits([0, 2, 1]).shape
        (3, 5)
        """
        return self._read_out("logits", (x, h_0, lengths, mask), reads, logits, lambda whole: whole)

    def probabilities(
        self,
        x: Input,
        h_0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reads: str | None = None,
    ) -> Array:
        """Return g2(logits), softmax by default.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.
        reads : str, optional
            What the readout reads; default: what the model says.

        Returns
        -------
        array, shape (seq_len, batch, output_size)
            0 beyond a sequence's length; (batch, output_size) where each sequence is read as a whole.

        Raises
        ------
        ArgumentError
            The model has no readout.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> p = rb.RNN.init(3, 4, output_size=5).probabilities([0, 2, 1])
        >>> p.sum(axis=-1).round(3).tolist()
        [1.0, 1.0, 1.0]
        """
        *_, last = self._placed.require_readout("probabilities")
        return self._read_out(
            "probabilities", (x, h_0, lengths, mask), reads, partial(probabilities, last), last.activate
        )

    def iter_probabilities(
        self,
        x: Input,
        h_0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reads: str | None = None,
    ) -> Iterator[Array]:
        """Yield the probabilities in chunks of time, short enough to keep the memory held at once small.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`; checked at once, before the first chunk is asked for.
        reads : {"steps"}, optional
            Has a model that reads its sequences as a whole read out every step.

        Yields
        ------
        array, shape (chunk_len, batch, output_size)
            Joined along time, the chunks are what `probabilities` returns, up to rounding.

        Raises
        ------
        ArgumentError
            The model has no readout, or one that reads each sequence as a whole.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(3, 4, output_size=5)
        >>> sum(chunk.shape[0] for chunk in rnn.iter_probabilities([0, 2, 1]))
        3
        """
        *_, last = self._placed.require_readout("iter_probabilities")
        if self._placed.require_reads(reads) != "steps":
            msg = (
                "iter_probabilities gives those of each step, and each sequence is to be read as a whole; call "
                "probabilities, or pass reads='steps'."
            )
            raise ArgumentError(msg)
        return ChunkedCall(self._placed, x, h_0, lengths, mask).each(partial(probabilities, last))

    def predict(
        self,
        x: Input,
        h_0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reads: str | None = None,
    ) -> Array:
        """Return the id of the largest logit, at each step or of each sequence.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.
        reads : str, optional
            What the readout reads; default: what the model says.

        Returns
        -------
        integer array, shape (seq_len, batch)
            -1 beyond a sequence's length; (batch,) where each sequence is read as a whole.

        Raises
        ------
        ArgumentError
            The model has no readout, or one of a single output.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> cell = rb.Cell(np.eye(3), np.zeros((3, 3)))
        >>> rnn = rb.RNN([cell], rb.Linear(np.eye(3)))
        >>> rnn.predict([[0, 2], [1, 1]], lengths=[2, 1]).tolist()
        [[0, 2], [1, -1]]
        """
        if self._placed.require_readout("predict")[-1].output_size == 1:
            msg = "predict returns the largest of several outputs; this model has one. Use probabilities."
            raise ArgumentError(msg)
        return self._read_out("predict", (x, h_0, lengths, mask), reads, largest, index_of_largest)

    def _read_out(
        self,
        method: str,
        given: tuple[Any, ...],
        reads: str | None,
        of_chunk: Callable[[Chunk], Array],
        of_whole: Callable[[Array], Array],
    ) -> Array:
        """Return the results of the readout: those of chunks, joined, or that of the logits of whole sequences."""
        placed = self._placed
        placed.require_readout(method)
        reads = placed.require_reads(reads)
        if (prepared := placed.prepared(*given)) is not None and is_one_chunk(prepared):
            with placed.on_device():
                return of_whole(placed.logits(read_at_once(placed, prepared, given[0], reads)))
        call = ChunkedCall(placed, *given)
        if reads == "steps":
            return call.joined(of_chunk)
        with placed.on_device():
            return of_whole(logits_of_whole(call, reads)[0])
