"""`RNN`: a network placed on a backend, and what is done with it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import receive
from rnn_backends.core.arrays import Array, cast
from rnn_backends.core.forward import propagate
from rnn_backends.core.layers import Layer, Linear, Network, RecurrentCell, as_layers, named_arrays
from rnn_backends.core.losses import mean_of
from rnn_backends.core.trace import trace
from rnn_backends.errors import ArgumentError
from rnn_backends.model.chunks import Pieces, largest, logits, loss_sums, probabilities
from rnn_backends.model.init import initial_network
from rnn_backends.model.placed import PlacedNetwork
from rnn_backends.model.sampling import Sampler, generate
from rnn_backends.model.stream import Stream
from rnn_backends.model.vocabulary import decode, encode


class RNN(PlacedNetwork):
    """A vanilla recurrent network on one backend; immutable, and safe to share between threads.

    Its methods take arrays of its backend and device in its dtype, and *host data* (NumPy arrays, nested
    lists), which they move there; arrays of other libraries or devices are refused.  All that they return
    lies on the model's backend and device, in its dtype; `rnn_backends.to_numpy` copies it to the host.

    Parameters
    ----------
    layers : sequence of Cell or Layer
        From the input to the output.  A bare cell is a layer that runs forward.
    readout : Linear, optional
        y<t> = g2(W_ya a<t> + b_y).
    batch_first : bool, default False
        Whether inputs and outputs have the axes (batch, seq_len, ...) instead of (seq_len, batch, ...).
        It does not apply to `h_0` and `h_n`.
    vocabulary : str, optional
        For a network over characters: the character with token id i is ``vocabulary[i]``.
    metadata : mapping of str to str, optional
        Notes to keep with the weights: their source, their licence.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        The parts do not make a network.
    BackendMismatchError, DeviceError
        Their arrays belong to more than one library or device.

    Notes
    -----
    On NumPy the model keeps read-only copies of arrays that can be written to.  Other libraries' arrays are
    held as they are: do not change them afterwards.

    The model is placed on the backend and device of its arrays; where these are NumPy's, on those of
    `use_backend`, else of the environment variable RNN_BACKEND, else it stays on NumPy.
    """

    def __init__(
        self,
        layers: Sequence[Layer | RecurrentCell],
        readout: Linear | None = None,
        batch_first: bool = False,  # as in torch.nn.RNN
        *,
        vocabulary: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        network = Network(as_layers(layers), readout, batch_first, vocabulary, {} if metadata is None else metadata)
        self._place(network, select(None, named_arrays(network)))

    @classmethod
    def init(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        activation: Any = "tanh",
        bias: bool = True,
        output_size: int | None = None,
        seed: int = 0,
        dtype: str = "float32",
        backend: str | None = None,
    ) -> Self:
        """Return a model with random parameters, the same on every backend.

        They are drawn with NumPy, uniformly from +-1/sqrt(n), n being the number of terms that the
        parameter's product sums up: input_size for ``weight_ih``, hidden_size for ``weight_hh`` and
        ``bias``, num_directions * hidden_size for the readout; then rounded to `dtype` and moved.

        Parameters
        ----------
        input_size, hidden_size, num_layers : int
        bidirectional : bool
        activation : str, Activation or callable
        bias : bool
            Whether cells and readout have biases.
        output_size : int, optional
            The number of outputs of a readout; left out, the model has none.
        seed : int
        dtype : {"float32", "float64", "float16", "bfloat16"}
        backend : str, optional
            ``"name"`` or ``"name:device"``; see `Notes` of the class for what holds without it.

        Raises
        ------
        ArgumentError, DTypeError, RNNBackendError
        """
        place = select(backend)
        network = initial_network(
            input_size, hidden_size, num_layers, bidirectional, activation, bias, output_size, seed
        )
        return cls._placed(network, place, dtype)

    def __call__(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> tuple[Array, Array]:
        """Run the network over whole sequences.

        Parameters
        ----------
        x : array, host data or text, shape (seq_len, batch, input_size) or (seq_len, input_size)
            The input; (batch, seq_len, input_size) with `batch_first`.  Integers, (seq_len, batch) or
            (seq_len,), are token ids, and so are the characters of a text if there is a vocabulary;
            features must be floating point.
        h_0 : array or host data, shape (num_cells, batch, hidden_size) or (num_cells, hidden_size), optional
            The states before the first step, layer by layer, forward before backward; zeros if left out.
        lengths : array or host data, shape (batch,), optional
            How many steps of each sequence are valid.
        mask : boolean array or host data, with the axes of token ids, optional
            Which steps to take; at the others, wherever they are, every layer holds its state.

        Returns
        -------
        output : array, shape (seq_len, batch, num_directions * hidden_size)
            The states of the last layer, held where the mask leaves out a step; 0 beyond a sequence's length.
        h_n : array, shape (num_cells, batch, hidden_size)
            The state of each cell after its last valid step.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError, BackendMismatchError, DeviceError
            As `rnn_backends.forward`, whose page tells what else holds.
        """
        with self._on_device():
            x, h_0, lengths, mask = self._receive(x, h_0, lengths, mask)
            output, h_n = propagate(self.layers, x, h_0, lengths, self._recurrence, mask)
            return self._swap(output), h_n

    def logits(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Array:
        """Return W_ya a<t> + b_y, shape (seq_len, batch, output_size), 0 beyond a length; see `__call__`."""
        self._require_readout("logits")
        return Pieces(self, x, h_0, lengths, mask).joined(logits)

    def probabilities(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Array:
        """Return g2(logits), softmax by default, of the shape of the logits, 0 beyond a length; see `__call__`."""
        readout = self._require_readout("probabilities")
        return Pieces(self, x, h_0, lengths, mask).joined(partial(probabilities, readout))

    def iter_probabilities(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Iterator[Array]:
        """Yield the probabilities in pieces of time, of as many steps as keep what is held at once small.

        The arguments are those of `__call__` and are checked at once.  The pieces, (t, batch, output_size) each,
        joined along time are what `probabilities` returns, up to rounding.
        """
        readout = self._require_readout("iter_probabilities")
        return Pieces(self, x, h_0, lengths, mask).each(partial(probabilities, readout))

    def predict(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Array:
        """Return the id of the largest logit, integers (seq_len, batch), -1 beyond a length; see `__call__`."""
        if self._require_readout("predict").output_size == 1:
            msg = "predict tells which of several outputs is the largest; this model has one. Use probabilities."
            raise ArgumentError(msg)
        return Pieces(self, x, h_0, lengths, mask).joined(largest)

    def loss(self, x: Any, targets: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Array:
        """Return the mean cross-entropy of the targets, in nats, over all valid steps that the mask takes.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `__call__`.
        targets : integer array, host data or text, shape (seq_len, batch) or (seq_len,)
            The ids of the right classes, with the axes of `x`; not looked at beyond a length or where masked.

        Returns
        -------
        array, shape ()
            NaN if no step is valid.
        """
        self._require_softmax()
        sums = list(Pieces(self, x, h_0, lengths, mask, targets).each(loss_sums))
        with self._on_device():
            return cast(mean_of(sums), self.backend.dtype(self.dtype))

    def trace(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> dict[str, Array]:
        """Return every intermediate of the equations by name, each of shape (seq_len, batch, size).

        Of layer k, with ``_reverse`` added for its backward cell: ``input_product_l{k}`` W_ax x<t>,
        ``recurrent_product_l{k}`` W_aa a<t-1>, ``sum_l{k}`` their sum with the bias, and
        ``hidden_state_l{k}`` a<t>; of a cell that is not a `Cell`, the last alone.  Then ``logits`` and
        ``probabilities`` where there is a readout.  All are 0 beyond a sequence's length except those
        two; where a step is masked the products and the sum are 0.  For the arguments see `__call__`.
        """
        with self._on_device():
            x, h_0, lengths, mask = self._receive(x, h_0, lengths, mask)
            output, steps = trace(self.layers, x, h_0, lengths, mask, self._recurrence)
            if self.readout is not None:
                steps["logits"] = self.readout(output)
                steps["probabilities"] = self.readout.activate(steps["logits"])
            return {name: self._swap(step) for name, step in steps.items()}

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream`, which runs sequences in pieces and keeps the state between them."""
        return Stream(self, batch_size)

    def generate(
        self,
        prompt: Any,
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
            What to continue: text, for a model with a vocabulary, or token ids; at least one.
        length : int
            How many tokens to draw.
        temperature : float, default 1.0
            Divides the logits, before `top_k` and `top_p` apply; 0 always takes the likeliest token.
        top_k : int, optional
            Draw from the k likeliest tokens only.
        top_p : float, optional
            Draw from the fewest likeliest tokens whose probabilities sum to at least p, 0 < p <= 1.
        seed : int, optional
            Left out, every call draws anew.

        Returns
        -------
        str or array, shape (length,)
            What follows the prompt, as text for text and as token ids on the model's device for ids.

        Raises
        ------
        ArgumentError
            An option has an impossible value, the prompt is empty, or the model is not one that
            predicts its own next input.
        VocabularyError
            The prompt holds a character that is not in the vocabulary.
        """
        choose = Sampler(temperature, top_k, top_p, seed)
        if isinstance(prompt, str):
            return decode(generate(self, encode(prompt, self.vocabulary), length, choose), self.vocabulary)
        return receive("prompt", generate(self, prompt, length, choose), self._placement, self.dtype)
