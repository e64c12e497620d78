"""`RNN`: the model that users hold, made from its parts or drawn, and run over whole sequences or chunks."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from rnn_backends.backends.selection import select
from rnn_backends.core.arrays import Array, ArrayLike, Input
from rnn_backends.core.forward import propagate
from rnn_backends.core.layers import Layer, Network, RecurrentCell, as_layers, named_arrays
from rnn_backends.core.linear import Linear
from rnn_backends.core.trace import trace
from rnn_backends.model.init import initial_network
from rnn_backends.model.placed import place
from rnn_backends.model.predictor import Predictor
from rnn_backends.model.stream import Stream


class RNN(Predictor):
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

    def __call__(
        self, x: Input, h_0: ArrayLike | None = None, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Run the network over whole sequences.

        Parameters
        ----------
        x : array, host data or text, shape (seq_len, batch, input_size) or (seq_len, input_size)
            Floating-point features; (batch, seq_len, input_size) with `batch_first`.  Integers, (seq_len,
            batch) or (seq_len,), are token ids, as are the characters of a text if there is a vocabulary.
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

    def trace(
        self, x: Input, h_0: ArrayLike | None = None, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> dict[str, Array]:
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
            ``hidden_state_l{k}`` a<t>; of a cell that is not a `Cell`, the last alone.  These are 0 beyond a length,
            products and sum where a step is masked; ``logits`` and ``probabilities`` of a readout are not.

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

    def __repr__(self) -> str:
        return f"RNN({self._placed.summary()})"
