"""`Stream`: a sequence in pieces, the state kept between them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from rnn_backends.backends.transfer import receive
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, is_integer
from rnn_backends.core.forward import in_compute_dtype, initial_states, state_dtype
from rnn_backends.core.recurrence import last_states, scan_layer
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.model.init import require_size

if TYPE_CHECKING:
    from rnn_backends.model.rnn import RNN


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
        with rnn._on_device():
            self._layers = in_compute_dtype(rnn.layers)
        self._states: list[Array] | None = None

    @property
    def state(self) -> Array | None:
        """The states after the last piece, (num_layers, batch_size, hidden_size); None before the first."""
        if self._states is None:
            return None
        with self.rnn._on_device():
            return self.rnn.backend.xp.stack(self._states)

    def reset(self, h_0: Any = None) -> None:
        """Begin new sequences, from the states (num_layers, batch_size, hidden_size) or from zeros."""
        if h_0 is None:
            self._states = None
            return
        h_0 = receive("h_0", h_0, self.rnn._placement, self.rnn.dtype)
        checks.require_state(self.rnn.layers, h_0, (self.batch_size,))
        with self.rnn._on_device():
            self._states = [self._copy(h_0[k, ...]) for k in range(len(self._layers))]

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
        with self.rnn._on_device():
            piece = self.rnn._receive(x)[0]
            has_batch = piece.ndim + is_integer(piece) == 3
            batch = piece.shape[1] if has_batch else 1
            if batch != self.batch_size:
                wanted = f"batch_size = {self.batch_size} sequences"
                msg = f"`x` must hold {wanted}; got {batch} in shape {np.shape(x)}."
                raise ShapeError(msg)
            output = self._run(piece if has_batch else piece[:, None, ...])
            return self.rnn._swap(output) if has_batch else output[:, 0, :]

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

    def _run(self, x: Array) -> Array:
        """Run all layers over (seq_len, batch, ...) and keep their last states."""
        states, kept = self._states, []
        recurrence = self.rnn._recurrence
        for k, layer in enumerate(self._layers):
            h = initial_states(layer, x, state_dtype(self.rnn.layers, x)) if states is None else [states[k]]
            x, ends = recurrence(layer, x, h, None) or scan_layer(layer, x, h, None)
            (last,) = last_states(ends)
            # It may be a part of all states, which are then kept with it, or, of the last layer, are the caller's.
            kept.append(self._copy(last) if x.shape[0] > 1 or k + 1 == len(self._layers) else last)
        self._states = kept
        return x

    def _copy(self, array: Array) -> Array:
        return self.rnn.backend.xp.asarray(array, copy=True)
