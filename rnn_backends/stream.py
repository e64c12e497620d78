"""`Stream`: a sequence in pieces, the state kept between them."""

from typing import TYPE_CHECKING, Any

from rnn_backends import checks
from rnn_backends.arrays import Array, is_integer
from rnn_backends.backends.transfer import as_host, receive
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.initial import require_size

if TYPE_CHECKING:
    from rnn_backends.model import RNN


class Stream:
    """Runs a network over sequences that come in pieces; made by `RNN.stream`, and for one user.

    Parameters
    ----------
    rnn : RNN
        A network without backward cells, which would need the end of a sequence first.
    batch_size : int, default 1
        How many sequences run side by side.

    Raises
    ------
    ArgumentError
        The network has a backward cell, or the batch size is not a positive integer.
    """

    def __init__(self, rnn: "RNN", batch_size: int = 1) -> None:
        require_size("batch_size", batch_size)
        if any(layer.backward is not None for layer in rnn.layers):
            msg = "a stream needs a network without backward cells, which start at the end of a sequence."
            raise ArgumentError(msg)
        self.rnn = rnn
        self.batch_size = batch_size
        self._state: Array | None = None

    @property
    def state(self) -> Array | None:
        """The states after the last piece, (num_layers, batch_size, hidden_size); None before the first."""
        return self._state

    def reset(self, h_0: Any = None) -> None:
        """Begin new sequences, from the states (num_layers, batch_size, hidden_size) or from zeros."""
        if h_0 is not None:
            h_0 = receive("h_0", h_0, self.rnn._placement, self.rnn.dtype)
            checks.require_state(self.rnn.layers, h_0, (self.batch_size,))
        self._state = h_0

    def __call__(self, x: Any) -> Array:
        """Run the next piece, of any number of steps, none included.

        Parameters
        ----------
        x : array or host data
            As for `RNN.__call__`, with `batch_size` sequences; with one, the batch axis may be missing.

        Returns
        -------
        array, shape (seq_len, batch_size, hidden_size)
            The states of the last layer, without the batch axis where `x` lacks it.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError, BackendMismatchError, DeviceError
            As for `RNN.__call__`; the state stays as it was.
        """
        x = as_host("x", x)
        axes = len(x.shape) + is_integer(x)
        batch = x.shape[0 if self.rnn.batch_first else 1] if axes == 3 else 1
        if batch != self.batch_size:
            wanted = f"batch_size = {self.batch_size} sequences"
            msg = f"`x` must hold {wanted}; got {batch} in shape {tuple(x.shape)}."
            raise ShapeError(msg)
        h_0 = self._state
        if axes != 3 and h_0 is not None:
            h_0 = h_0[:, 0, :]
        output, h_n = self.rnn(x, h_0)
        self._state = h_n if axes == 3 else h_n[:, None, :]
        return output

    def logits(self, x: Any) -> Array:
        """Run the next piece as a call does; return W_ya a<t> + b_y, shape (seq_len, batch_size, output_size)."""
        readout = self.rnn._require_readout("logits")
        with self.rnn._on_device():
            return readout(self(x))

    def probabilities(self, x: Any) -> Array:
        """Run the next piece as a call does; return g2(logits), of their shape."""
        readout = self.rnn._require_readout("probabilities")
        with self.rnn._on_device():
            return readout.activate(self.logits(x))
