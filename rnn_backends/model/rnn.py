"""`RNN`: the model that users hold, a network on a device and all that is computed with it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Self

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.selection import Placement, parse, select
from rnn_backends.backends.transfer import receive
from rnn_backends.core.arrays import Array, Host, cast
from rnn_backends.core.forward import propagate
from rnn_backends.core.layers import Layer, Network, RecurrentCell, as_layers, named_arrays
from rnn_backends.core.linear import Linear
from rnn_backends.core.losses import mean_of
from rnn_backends.core.trace import trace
from rnn_backends.errors import ArgumentError, DTypeError
from rnn_backends.model.chunks import ChunkedCall, largest, logits, loss_sums, probabilities
from rnn_backends.model.init import initial_network
from rnn_backends.model.placed import Placed, place
from rnn_backends.model.sampling import Sampler, generate
from rnn_backends.model.stream import Stream
from rnn_backends.model.vocabulary import decode, encode


class RNN:
    """A vanilla recurrent network on one backend; immutable, and safe to share between threads.

    Its methods take arrays of its backend and device in its dtype, and *host data* (NumPy arrays, nested
    lists), which they move there; arrays of other libraries or devices are refused.  Everything returned is
    on the model's backend and device, in its dtype; `rnn_backends.to_numpy` copies it to the host.

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

    See Also
    --------
    rnn_backends.load : Read a model from a file.
    RNN.init : Make a model with random parameters.

    Notes
    -----
    On NumPy the model keeps read-only copies of arrays that can be written to.  Other libraries' arrays are
    held as they are: do not change them afterwards.

    The model is placed on the backend and device of its arrays; where these are NumPy's, on those of
    `use_backend`, else of the environment variable RNN_BACKEND, else it stays on NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> cell = rb.Cell(np.array([[1.0]]), np.array([[0.5]]), activation="identity")
    >>> rnn = rb.RNN([cell])
    >>> output, h_n = rnn([[1.0], [1.0], [1.0]])
    >>> output.tolist()
    [[1.0], [1.5], [1.75]]
    >>> h_n.tolist()
    [[1.75]]
    """

    _placed: Placed

    def __init__(
        self,
        layers: Sequence[Layer | RecurrentCell],
        readout: Linear | None = None,
        *,
        batch_first: bool = False,
        vocabulary: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        network = Network(as_layers(layers), readout, batch_first, vocabulary, {} if metadata is None else metadata)
        self._placed = place(network, select(None, named_arrays(network)))

    @classmethod
    def from_network(cls, network: Network, placement: Placement, dtype: Any = None) -> Self:
        """Return the model of a network: the way in for readers of files.

        Parameters
        ----------
        network : rnn_backends.core.layers.Network
        placement : rnn_backends.backends.selection.Placement
            Its backend and device.
        dtype : str or dtype, optional
            As for `to`; the network's own by default.

        Returns
        -------
        RNN

        Examples
        --------
        >>> import rnn_backends as rb
        >>> placed = rb.RNN.init(3, 4).placed
        >>> rb.RNN.from_network(placed.network, placed.placement, "float64").dtype
        'float64'
        """
        model: Self = cls.__new__(cls)
        model._placed = place(network, placement, dtype)
        return model

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
        dtype: Any = "float32",
        backend: str | None = None,
    ) -> Self:
        """Return a model with random parameters, the same on every backend.

        They are drawn with NumPy, uniformly from +-1/sqrt(n), where n is the number of terms in the
        parameter's product: input_size for ``weight_ih``, hidden_size for ``weight_hh`` and ``bias``,
        num_directions * hidden_size for the readout; then rounded to `dtype` and moved.

        Parameters
        ----------
        input_size, hidden_size, num_layers : int
        bidirectional : bool, default False
        activation : str, Activation or callable, default "tanh"
        bias : bool, default True
            Whether cells and readout have biases.
        output_size : int, optional
            The number of outputs of a readout; by default the model has none.
        seed : int, default 0
        dtype : str or dtype, default "float32"
            As for `to`.
        backend : str, optional
            ``"name"`` or ``"name:device"``; by default chosen as the notes of the class say.

        Returns
        -------
        RNN

        Raises
        ------
        ArgumentError, DTypeError, RNNBackendError

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(12, 64, num_layers=2, bidirectional=True, output_size=9)
        >>> rnn.readout.weight.shape
        (9, 128)
        """
        placement = select(backend)
        network = initial_network(
            input_size, hidden_size, num_layers, bidirectional, activation, bias, output_size, seed
        )
        return cls.from_network(network, placement, dtype)

    @property
    def placed(self) -> Placed:
        """The network on its device, as the other parts of this package take it."""
        return self._placed

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input to the output."""
        return self._placed.network.layers

    @property
    def readout(self) -> Linear | None:
        """The readout, if there is one."""
        return self._placed.network.readout

    @property
    def batch_first(self) -> bool:
        """Whether inputs and outputs have the axes (batch, seq_len, ...)."""
        return self._placed.network.batch_first

    @property
    def vocabulary(self) -> str | None:
        """The characters by token id, for a network over characters."""
        return self._placed.network.vocabulary

    @property
    def metadata(self) -> Mapping[str, str]:
        """A copy of the notes kept with the weights."""
        return dict(self._placed.network.metadata)

    @property
    def backend(self) -> Backend:
        """The backend of the model."""
        return self._placed.placement.backend

    @property
    def device(self) -> str:
        """The name of the model's device, e.g. ``"cpu"`` or ``"cuda:0"``."""
        return self._placed.placement.device

    @property
    def dtype(self) -> str:
        """The name of the dtype of the parameters and of all results, e.g. ``"float32"``."""
        return self._placed.dtype

    @property
    def input_size(self) -> int | None:
        """The number of features or token ids; None for a cell of one's own that does not state it."""
        return self._placed.input_size

    @property
    def hidden_size(self) -> int | None:
        """The size of every cell's state; None where cells differ or do not state it."""
        return self._placed.hidden_size

    @property
    def num_layers(self) -> int:
        """The number of layers; a layer that runs in both directions is one."""
        return len(self._placed.network.layers)

    @property
    def num_parameters(self) -> int:
        """The number of elements of all weights and biases."""
        return self._placed.num_parameters

    def __call__(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> tuple[Array, Array]:
        """Run the network over whole sequences.

        Parameters
        ----------
        x : array, host data or text, shape (seq_len, batch, input_size) or (seq_len, input_size)
            The input; (batch, seq_len, input_size) with `batch_first`.  Integers, (seq_len, batch) or
            (seq_len,), are token ids, and so are the characters of a text if there is a vocabulary;
            features must be floating point.
        h_0 : array or host data, shape (num_cells, batch, hidden_size) or (num_cells, hidden_size), optional
            The states before the first step, layer by layer, forward before backward; zeros by default.
        lengths : array or host data, shape (batch,), optional
            The number of valid steps of each sequence.
        mask : boolean array or host data, with the axes of token ids, optional
            True for the steps to take; at the others, wherever they are, every layer holds its state.

        Returns
        -------
        output : array, shape (seq_len, batch, num_directions * hidden_size)
            The states of the last layer, held where the mask leaves out a step; 0 beyond a sequence's length.
        h_n : array, shape (num_cells, batch, hidden_size)
            The state of each cell after its last valid step.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError, BackendMismatchError, DeviceError
            As `rnn_backends.forward`, whose page has more on each argument.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(12, 64, num_layers=2, bidirectional=True)
        >>> output, h_n = rnn(np.ones((29, 8, 12)))
        >>> output.shape, h_n.shape
        ((29, 8, 128), (4, 8, 64))
        >>> output, _ = rnn(np.ones((29, 3, 12)), lengths=[29, 7, 0])
        >>> bool(output[7:, 1].any())
        False
        """
        placed = self._placed
        with placed.on_device():
            x, h_0, lengths, mask = placed.receive(x, h_0, lengths, mask)
            output, h_n = propagate(placed.network.layers, x, h_0, lengths, placed.recurrence, mask)
            return placed.swap_time_axis(output), h_n

    def logits(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Array:
        """Return W_ya a<t> + b_y, the readout before its activation.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `__call__`.

        Returns
        -------
        array, shape (seq_len, batch, output_size)
            0 beyond a sequence's length.

        Raises
        ------
        ArgumentError
            The model has no readout; and the errors of `__call__`.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rb.RNN.init(3, 4, output_size=5).logits([0, 2, 1]).shape
        (3, 5)
        """
        self._placed.require_readout("logits")
        return ChunkedCall(self._placed, x, h_0, lengths, mask).joined(logits)

    def probabilities(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Array:
        """Return g2(logits), softmax by default.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `__call__`.

        Returns
        -------
        array, shape (seq_len, batch, output_size)
            0 beyond a sequence's length.

        Raises
        ------
        ArgumentError
            The model has no readout; and the errors of `__call__`.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> p = rb.RNN.init(3, 4, output_size=5).probabilities([0, 2, 1])
        >>> p.sum(axis=-1).round(3).tolist()
        [1.0, 1.0, 1.0]
        """
        readout = self._placed.require_readout("probabilities")
        return ChunkedCall(self._placed, x, h_0, lengths, mask).joined(partial(probabilities, readout))

    def iter_probabilities(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Iterator[Array]:
        """Yield the probabilities in chunks of time, short enough to keep the memory held at once small.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `__call__`; checked at once, before the first chunk is asked for.

        Yields
        ------
        array, shape (chunk_len, batch, output_size)
            Joined along time, the chunks are what `probabilities` returns, up to rounding.

        Raises
        ------
        ArgumentError
            The model has no readout; and the errors of `__call__`.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(3, 4, output_size=5)
        >>> sum(chunk.shape[0] for chunk in rnn.iter_probabilities([0, 2, 1]))
        3
        """
        readout = self._placed.require_readout("iter_probabilities")
        return ChunkedCall(self._placed, x, h_0, lengths, mask).each(partial(probabilities, readout))

    def predict(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> Array:
        """Return the id of the largest logit at each step.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `__call__`.

        Returns
        -------
        integer array, shape (seq_len, batch)
            -1 beyond a sequence's length.

        Raises
        ------
        ArgumentError
            The model has no readout, or one of a single output; and the errors of `__call__`.

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

        Raises
        ------
        ArgumentError
            The model has no softmax readout, or a target is out of range; and the errors of `__call__`.
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

    def trace(self, x: Any, h_0: Any = None, *, lengths: Any = None, mask: Any = None) -> dict[str, Array]:
        """Return every intermediate of the equations by name.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `__call__`.

        Returns
        -------
        dict of str to array, shape (seq_len, batch, size) each
            Of layer k, with ``_reverse`` added for its backward cell: ``input_product_l{k}`` W_ax x<t>,
            ``recurrent_product_l{k}`` W_aa a<t-1>, ``sum_l{k}`` their sum with the bias, and
            ``hidden_state_l{k}`` a<t>; of a cell that is not a `Cell`, the last alone.  Then ``logits`` and
            ``probabilities`` where there is a readout.  All are 0 beyond a sequence's length except those
            two; where a step is masked the products and the sum are 0.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError, BackendMismatchError, DeviceError
            As for `__call__`.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> list(rb.RNN.init(3, 4).trace([0, 2, 1]))
        ['input_product_l0', 'recurrent_product_l0', 'sum_l0', 'hidden_state_l0']
        """
        placed, readout = self._placed, self.readout
        with placed.on_device():
            x, h_0, lengths, mask = placed.receive(x, h_0, lengths, mask)
            output, steps = trace(self.layers, x, h_0, lengths, mask, placed.recurrence)
            if readout is not None:
                steps["logits"] = readout(output)
                steps["probabilities"] = readout.activate(steps["logits"])
            return {name: placed.swap_time_axis(step) for name, step in steps.items()}

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream`, which runs sequences in chunks and keeps the state between them.

        Parameters
        ----------
        batch_size : int, default 1
            The number of sequences that run side by side.

        Returns
        -------
        Stream

        Raises
        ------
        ArgumentError
            The network has a backward cell, or the batch size is not a positive integer.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> stream = rb.RNN.init(3, 4).stream()
        >>> for chunk in ([0, 2], [1]):
        ...     print(stream(chunk).shape)
        (2, 4)
        (1, 4)
        """
        return Stream(self._placed, batch_size)

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

    def to(self, backend: str | None = None, dtype: Any = None) -> Self:
        """Return the model on another backend or device, or in another dtype; this one stays as it is.

        Parameters
        ----------
        backend : str, optional
            ``"name"`` or ``"name:device"``; the model's own by default.
        dtype : str or dtype, optional
            ``"float32"``, ``"float64"``, ``"float16"`` or ``"bfloat16"``, or a dtype of NumPy, CuPy, JAX or torch
            of that name; the model's own by default.

        Returns
        -------
        RNN
            It shares the arrays that need not change.

        Raises
        ------
        RNNBackendError
            The backend cannot run here, or has not the device or the dtype.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rb.RNN.init(3, 4).to("numpy", dtype="float64").dtype
        'float64'
        """
        placement = self._placed.placement if backend is None else parse(backend, "argument backend=")
        return self.from_network(self._placed.network, placement, dtype)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a file, which `rnn_backends.load` reads.

        Parameters
        ----------
        path : path
            With the suffix ``.safetensors``, ``.npz`` or ``.onnx``.

        Raises
        ------
        FormatError
            The suffix is another, or the model holds what a file cannot: a function of the user's; in ONNX, a leak.
        OSError
            The file cannot be written; one that was there before is left as it was.

        Examples
        --------
        >>> import tempfile
        >>> import rnn_backends as rb
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rb.RNN.init(3, 4).save(f"{folder}/model.npz")
        ...     print(rb.load(f"{folder}/model.npz").num_parameters)
        32
        """
        from rnn_backends import formats  # most programs write no file

        formats.write(self._placed.on_host(), path)

    def to_torch(self) -> dict[str, Host]:
        """Return the weights as a state dict of NumPy arrays, for ``torch.nn.RNN``.

        The names are those of an ``nn.RNN``; with a readout, those of a module that holds an ``nn.RNN`` as
        ``rnn`` and an ``nn.Linear`` as ``readout``.  ``bias_ih`` is the bias and ``bias_hh`` zeros; where some
        cells have a bias, the others' are zeros.  As with any state dict, the module is to be made with the
        right sizes, ``nonlinearity`` and ``batch_first``, and does not apply the readout's activation.

        Returns
        -------
        dict of str to numpy.ndarray
            Copies, in the model's dtype, bfloat16 as float32.

        Raises
        ------
        FormatError
            ``nn.RNN`` cannot compute what the network does: clip, leak, a cell of one's own, activations
            other than tanh or relu or more than one of them, layers that run in reverse only or differ
            in their directions.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> list(rb.RNN.init(3, 4).to_torch())
        ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
        """
        from rnn_backends.formats.torch.state_dict import state_dict  # most programs do not need it

        return state_dict(self._placed.on_host())

    def __repr__(self) -> str:
        return f"RNN({self._placed.summary()})"
