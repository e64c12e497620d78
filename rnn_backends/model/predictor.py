"""`Predictor`: the results of a model's readout, from logits to generated text."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from rnn_backends.backends.transfer import receive
from rnn_backends.core.arrays import Array, ArrayLike, Input, cast
from rnn_backends.core.losses import mean_of
from rnn_backends.errors import ArgumentError, DTypeError
from rnn_backends.model.chunks import ChunkedCall, largest, logits, loss_sums, probabilities
from rnn_backends.model.model import Model, part_of_rnn
from rnn_backends.model.sampling import Sampler, generate
from rnn_backends.model.vocabulary import decode, encode


@part_of_rnn
class Predictor(Model):
    """The part of `RNN` that needs a readout."""

    def logits(
        self, x: Input, h_0: ArrayLike | None = None, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> Array:
        """Return W_ya a<t> + b_y, the readout before its activation.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.

        Returns
        -------
        array, shape (seq_len, batch, output_size)
            0 beyond a sequence's length.

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
        self._placed.require_readout("logits")
        return ChunkedCall(self._placed, x, h_0, lengths, mask).joined(logits)

    def probabilities(
        self, x: Input, h_0: ArrayLike | None = None, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> Array:
        """Return g2(logits), softmax by default.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.

        Returns
        -------
        array, shape (seq_len, batch, output_size)
            0 beyond a sequence's length.

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
        readout = self._placed.require_readout("probabilities")
        return ChunkedCall(self._placed, x, h_0, lengths, mask).joined(partial(probabilities, readout))

    def iter_probabilities(
        self, x: Input, h_0: ArrayLike | None = None, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> Iterator[Array]:
        """Yield the probabilities in chunks of time, short enough to keep the memory held at once small.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`; checked at once, before the first chunk is asked for.

        Yields
        ------
        array, shape (chunk_len, batch, output_size)
            Joined along time, the chunks are what `probabilities` returns, up to rounding.

        Raises
        ------
        ArgumentError
            The model has no readout.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(3, 4, output_size=5)
        >>> sum(chunk.shape[0] for chunk in rnn.iter_probabilities([0, 2, 1]))
        3
        """
        readout = self._placed.require_readout("iter_probabilities")
        return ChunkedCall(self._placed, x, h_0, lengths, mask).each(partial(probabilities, readout))

    def predict(
        self, x: Input, h_0: ArrayLike | None = None, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> Array:
        """Return the id of the largest logit at each step.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.

        Returns
        -------
        integer array, shape (seq_len, batch)
            -1 beyond a sequence's length.

        Raises
        ------
        ArgumentError
            The model has no readout, or one of a single output.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> cell = rb.Cell(np.eye(3), np.zeros((3, 3)))
        >>> rb.RNN([cell], rb.Linear(np.eye(3))).predict([[0, 2], [1, 1]], lengths=[2, 1]).tolist()
        [[0, 2], [1, -1]]
        """
        if self._placed.require_readout("predict").output_size == 1:
            msg = "predict returns the largest of several outputs; this model has one. Use probabilities."
            raise ArgumentError(msg)
        return ChunkedCall(self._placed, x, h_0, lengths, mask).joined(largest)

    def loss(
        self,
        x: Input,
        targets: Input,
        h_0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Array:
        """Return the mean cross-entropy of the targets, in nats, over all valid steps that the mask takes.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.
        targets : integer array, host data or text, shape (seq_len, batch) or (seq_len,)
            The ids of the right classes, with the axes of `x`; not looked at beyond a length or where masked.

        Returns
        -------
        array, shape ()
            NaN if no step is valid.

        Raises
        ------
        ArgumentError
            The model has no softmax readout, or a target is out of range.
        ShapeError, DTypeError
            The targets do not fit `x`.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> cell = rb.Cell(np.zeros((4, 3)), np.zeros((4, 4)))
        >>> rnn = rb.RNN([cell], rb.Linear(np.ones((3, 4))))     # three outputs, always equally likely
        >>> round(float(rnn.loss([0, 1, 2], [1, 2, 0])), 4)      # log(3)
        1.0986
        """
        self._placed.require_softmax()
        if targets is None:
            msg = "`targets` must hold the ids of the right classes; got None."
            raise DTypeError(msg)
        sums = list(ChunkedCall(self._placed, x, h_0, lengths, mask, targets).each(loss_sums))
        with self._placed.on_device():
            return cast(mean_of(sums), self.backend.dtype(self.dtype))

    def generate(
        self,
        prompt: Input,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Any:
        """Continue a sequence by drawing each next token from the probabilities and feeding it back.

        The draws are made on the host, in float64, so that a seed gives the same sequence on every
        backend for as long as the logits agree.

        Parameters
        ----------
        prompt : str, or host data or integer array of shape (seq_len,)
            The sequence to continue: text, for a model with a vocabulary, or token ids; at least one.
        length : int
            The number of tokens to draw.
        temperature : float, default 1.0
            Divides the logits, before `top_k` and `top_p` apply; 0 always takes the likeliest token.
        top_k : int, optional
            Draw from the k likeliest tokens only.
        top_p : float, optional
            Draw from the fewest likeliest tokens whose probabilities sum to at least p, 0 < p <= 1.
        seed : int, optional
            Makes the draws reproducible; by default, every call draws anew.

        Returns
        -------
        str or array, shape (length,)
            The tokens after the prompt, as text for text and as token ids on the model's device for ids.

        Raises
        ------
        ArgumentError
            An option has an impossible value, the prompt is empty, or the model does not predict its own
            next input.
        VocabularyError
            The prompt holds a character that is not in the vocabulary.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> drawn = rb.RNN.init(3, 4, output_size=3)
        >>> rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="abc")
        >>> len(rnn.generate("ab", 5, seed=1))
        5
        >>> rnn.generate([0, 1], 5, seed=1).shape
        (5,)
        """
        choose, vocabulary = Sampler(temperature, top_k, top_p, seed), self.vocabulary
        if isinstance(prompt, str):
            return decode(generate(self._placed, encode(prompt, vocabulary), length, choose), vocabulary)
        drawn = generate(self._placed, prompt, length, choose)
        return receive("prompt", drawn, self._placed.placement, self.dtype)
