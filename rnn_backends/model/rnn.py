"""`RNN`: the model that users hold, made from its parts or drawn, and run over whole sequences or chunks."""

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import Any, Self

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import sealed
from rnn_backends.core.arrays import ArrayArgument
from rnn_backends.core.layers import Layer, RecurrentCell, as_layers, named_arrays
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import shown
from rnn_backends.core.network import Network
from rnn_backends.model.init import initial_network
from rnn_backends.model.many import Many
from rnn_backends.model.placed import place


class RNN(Many):
    """A vanilla recurrent network on one backend; immutable, and safe to share between threads.

    Its methods take arrays of its backend and device in its dtype, and *host data* (NumPy arrays, nested
    lists), which they move there; arrays of other libraries or devices are refused.  Everything returned is
    on the model's backend and device, in its dtype; `rnn_backends.to_numpy` copies it to the host.

    Parameters
    ----------
    layers : sequence of Cell or Layer
        From the input to the output.  A bare cell is a layer that runs forward.
    readout : Linear or sequence of Linear, optional
        y<t> = g2(W_ya a<t> + b_y); several are a head, one after the other.
    encoder : Linear or sequence of Linear, optional
        Applied to each step before the first layer.  Of token ids the first gathers columns of its weight: it is the
        transposed table of an embedding.
    reads : {"steps", "last", "final", "mean", "max"}, default "steps"
        What the readout reads: the output of every step; that of the last valid step; of each direction, its output
        where it ended; the mean or the maximum over the valid steps.
    takes : {"tokens", "features"}, optional
        What the input is; by default integers are token ids, and floating-point numbers features.
    h_0 : array, shape (num_cells, hidden_size), or sequence of array, shape (hidden_size,) each, optional
        The states before the first step of every sequence where a call gives none, such as learned ones; zeros by
        default.
    batch_first : bool, default False
        Whether inputs and outputs have the axes (batch, seq_len, ...) instead of (seq_len, batch, ...).
        It does not apply to `h_0` and `h_n`.
    vocabulary : str or sequence of str, optional
        For a network over characters or words: that with token id i is ``vocabulary[i]``.  Of words, a text is split
        at white space, and generated ones are joined by a space.
    unknown : str, optional
        The item of the vocabulary that stands for every character or word that is not in it.
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
    On NumPy the model keeps read-only copies of arrays.  Other libraries' arrays are held as they are: do not change
    them afterwards.  Python lets nobody hinder what goes round the flag of a read-only array, such as a tensor that
    `torch.from_numpy` makes of one, or sets its ``dtype``: a weight is to be looked at, or copied.

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
        readout: Linear | Sequence[Linear] | None = None,
        *,
        encoder: Linear | Sequence[Linear] | None = None,
        reads: str = "steps",
        takes: str | None = None,
        h_0: ArrayArgument | Sequence[ArrayArgument] | None = None,
        batch_first: bool = False,
        vocabulary: str | Sequence[str] | None = None,
        unknown: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        network = Network(
            as_layers(layers),
            readout,
            encoder=encoder,
            reads=reads,
            takes=takes,
            h_0=h_0,
            batch_first=batch_first,
            vocabulary=vocabulary,
            unknown=unknown,
            metadata={} if metadata is None else metadata,
        )
        object.__setattr__(self, "_placed", place(sealed(network), select(None, named_arrays(network))))

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

    def __setattr__(self, name: str, value: Any) -> None:
        self._require_own(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._require_own(name)
        super().__delattr__(name)

    def _require_own(self, name: str) -> None:
        """Check that an attribute is one of a class that is made of this one, as frozen dataclasses do."""
        if type(self) is RNN or name == "_placed" or hasattr(RNN, name):
            msg = f"an RNN is immutable, its attribute {shown(name)} too; make another by `to` or RNN(layers, ...)."
            raise FrozenInstanceError(msg)

    def __repr__(self) -> str:
        return f"RNN({self._placed.summary()})"

    def _repr_html_(self) -> str:
        from rnn_backends.model.html import html  # notebooks alone need it

        return html("RNN", self._placed)
