"""`LanguageModel`: the loss of a model, and the text that it draws."""

from collections.abc import Sequence
from typing import Any

from rnn_backends.core.arrays import Array, ArrayLike, Input, cast
from rnn_backends.core.losses import mean_of, require_softmax
from rnn_backends.errors import DTypeError
from rnn_backends.model.chunk import loss_sums
from rnn_backends.model.chunks import ChunkedCall
from rnn_backends.model.model import part_of_rnn
from rnn_backends.model.predictor import Predictor
from rnn_backends.model.reading import loss_sums_of_whole
from rnn_backends.model.sampling import Sampler, generate, require_language
from rnn_backends.model.stops import stops_of
from rnn_backends.model.vocabulary import require_vocabulary


@part_of_rnn
class LanguageModel(Predictor):
    """The part of `RNN` that needs the probabilities of classes."""

    def loss(
        self,
        x: Input,
        targets: Input,
        h_0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reads: str | None = None,
    ) -> Array:
        """Return the mean cross-entropy of the targets, in nats, over all valid steps or all sequences.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `RNN.__call__`.
        targets : integer array, host data or text, shape (seq_len, batch) or (seq_len,)
            The ids of the right classes, with the axes of `x`; not looked at beyond a length or where masked.  One
            for each sequence, (batch,) or (), where it is read as a whole; not looked at where it has no step.
        reads : str, optional
            What the readout reads; default: what the model says.

        Returns
        -------
        array, shape ()
            NaN if no step is valid and taken by the mask.

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
        >>> rnn = rb.RNN([cell], rb.Linear(np.ones((3, 4))))  # equally likely outputs
        >>> round(float(rnn.loss([0, 1, 2], [1, 2, 0])), 4)   # log(3)
        1.0986
        """
        require_softmax(self._placed.require_readout("loss"))
        if targets is None:
            msg = "`targets` must hold the ids of the right classes; got None."
            raise DTypeError(msg)
        reads = self._placed.require_reads(reads)
        call = ChunkedCall(self._placed, x, h_0, lengths, mask, targets, reads)
        sums = list(call.each(loss_sums)) if reads == "steps" else [loss_sums_of_whole(call, reads)]
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
        stop: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]] | None = None,
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
        stop : str or sequence of str, or sequence of int or of sequences of int, optional
            End before this text, or before the first of several; before token ids where the prompt is token ids.  Of
            those that end at one place the longest counts.

        Returns
        -------
        str or array, shape (length,)
            The tokens after the prompt, as text for text and as token ids on the model's device for ids; fewer than
            `length` where it stopped.

        Raises
        ------
        ArgumentError
            An option has an impossible value, the prompt is empty, or the model does not predict its own
            next input: it takes features, or reads the mean or the maximum of all steps.
        DTypeError
            The prompt is neither text nor token ids, or `stop` is not what the prompt is.
        VocabularyError
            The prompt or `stop` holds a character or a word that is not in the vocabulary.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> drawn = rb.RNN.init(3, 4, output_size=3)
        >>> rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary="abc")
        >>> len(rnn.generate("ab", 5, seed=1))
        5
        >>> rnn.generate([0, 1], 5, seed=1).shape
        (5,)
        >>> "c" in rnn.generate("ab", 50, seed=1, stop="c")
        False
        """
        choose = Sampler(temperature, top_k, top_p, seed)
        if isinstance(prompt, str):
            vocabulary = require_vocabulary(self._placed.vocabulary)
            stops = stops_of(stop, len(vocabulary.items), vocabulary)
            return vocabulary.decode(generate(self._placed, vocabulary.encode(prompt), length, choose, stops))
        require_language(self._placed)
        stops = stops_of(stop, self._placed.network.readout[-1].output_size, None)
        return self._placed.to_device("prompt", generate(self._placed, prompt, length, choose, stops))
