"""`Stream`: a sequence in chunks, the state kept between them."""

from rnn_backends.backends.transfer import receive
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, ArrayLike, Input, is_integer
from rnn_backends.core.forward import in_compute_dtype, initial_states, state_dtype
from rnn_backends.core.recurrence import last_states, scan_layer
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.model.init import require_integer
from rnn_backends.model.placed import Placed


class Stream:
    """A run over sequences that arrive in chunks; made by `RNN.stream`, for one user and one thread.

    Parameters
    ----------
    placed : Placed
        A network without backward cells, which start at the end of a sequence.
    batch_size : int, default 1
        The number of sequences that run side by side.

    Raises
    ------
    ArgumentError
        The network has a backward cell, or the batch size is not a positive integer.

    See Also
    --------
    RNN.stream : Make a stream.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> stream = rb.RNN.init(3, 4).stream()
    >>> stream([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).shape
    (2, 4)
    >>> stream.state.shape
    (1, 1, 4)
    """

    def __init__(self, placed: Placed, batch_size: int = 1) -> None:
        require_integer("batch_size", batch_size, 1)
        if any(layer.backward is not None for layer in placed.network.layers):
            msg = "a stream needs a network without backward cells, which start at the end of a sequence."
            raise ArgumentError(msg)
        self.batch_size = batch_size
        self._placed = placed
        with placed.on_device():
            self._layers = in_compute_dtype(placed.network.layers)
        self._states: list[Array] | None = None

    @property
    def state(self) -> Array | None:
        """The states after the last chunk, (num_layers, batch_size, hidden_size); None before the first."""
        if self._states is None:
            return None
        with self._placed.on_device():
            return self._placed.placement.backend.xp.stack(self._states)

    def reset(self, h_0: ArrayLike | None = None) -> None:
        """Begin new sequences.

        Parameters
        ----------
        h_0 : array or host data, shape (num_layers, batch_size, hidden_size), optional
            The states before their first step; zeros by default.

        Raises
        ------
        ShapeError, DTypeError, BackendMismatchError, DeviceError
            As for `RNN.__call__`; the state stays as it was.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> stream = rb.RNN.init(3, 2).stream()
        >>> stream.reset([[[0.5, -0.5]]])
        >>> stream.state.tolist()
        [[[0.5, -0.5]]]
        >>> stream.reset()
        >>> stream.state is None
        True
        """
        if h_0 is None:
            self._states = None
            return
        state = receive("h_0", h_0, self._placed.placement, self._placed.dtype)
        checks.require_state(self._placed.network.layers, state, (self.batch_size,))
        with self._placed.on_device():
            self._states = [self._copy(state[k, ...]) for k in range(len(self._layers))]

    def __call__(self, x: Input) -> Array:
        """Run the next chunk, of any number of steps, none included.

        Parameters
        ----------
        x : array, host data or text
            As for `RNN.__call__`, with `batch_size` sequences; with one, the batch axis may be missing.

        Returns
        -------
        array, shape (seq_len, batch_size, hidden_size)
            The states of the last layer, without the batch axis where `x` lacks it.

        Raises
        ------
        ShapeError, DTypeError, ArgumentError, BackendMismatchError, DeviceError
            As for `RNN.__call__`; the state stays as it was.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(3, 4)
        >>> x = np.ones((6, 2, 3))
        >>> stream = rnn.stream(batch_size=2)
        >>> chunks = [stream(x[:2]), stream(x[2:])]
        >>> bool(np.allclose(np.concatenate(chunks), rnn(x)[0], atol=1e-6))
        True
        """
        with self._placed.on_device():
            chunk = self._placed.receive(x)[0]
            has_batch = chunk.ndim + is_integer(chunk) == 3
            batch = chunk.shape[1] if has_batch else 1
            if batch != self.batch_size:
                shape = tuple(self._placed.swap_time_axis(chunk, is_integer(chunk)).shape)
                msg = f"`x` must hold batch_size = {self.batch_size} sequences; got {batch} in shape {shape}."
                raise ShapeError(msg)
            output = self._run(chunk if has_batch else chunk[:, None, ...])
            return self._placed.swap_time_axis(output) if has_batch else output[:, 0, :]

    def logits(self, x: Input) -> Array:
        """Run the next chunk and return W_ya a<t> + b_y.

        Parameters
        ----------
        x : array, host data or text
            As for a call of the stream.

        Returns
        -------
        array, shape (seq_len, batch_size, output_size)
            Without the batch axis where `x` lacks it.

        Raises
        ------
        ArgumentError
            The model has no readout; and the errors of a call.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> rb.RNN.init(3, 4, output_size=5).stream().logits([0, 2]).shape
        (2, 5)
        """
        readout = self._placed.require_readout("logits")
        with self._placed.on_device():
            return readout(self(x))

    def probabilities(self, x: Input) -> Array:
        """Run the next chunk and return g2(logits), softmax by default.

        Parameters
        ----------
        x : array, host data or text
            As for a call of the stream.

        Returns
        -------
        array, shape (seq_len, batch_size, output_size)
            Without the batch axis where `x` lacks it.

        Raises
        ------
        ArgumentError
            The model has no readout; and the errors of a call.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> p = rb.RNN.init(3, 4, output_size=5).stream().probabilities([0, 2])
        >>> p.sum(axis=-1).round(3).tolist()
        [1.0, 1.0]
        """
        readout = self._placed.require_readout("probabilities")
        with self._placed.on_device():
            return readout.activate(self.logits(x))

    def __repr__(self) -> str:
        return f"Stream(batch_size={self.batch_size}, {self._placed.summary()})"

    def _run(self, x: Array) -> Array:
        """Run all layers over (seq_len, batch, ...) and keep their last states."""
        states, kept = self._states, []
        recurrence, layers = self._placed.recurrence, self._placed.network.layers
        for k, layer in enumerate(self._layers):
            h = initial_states(layer, x, state_dtype(layers, x)) if states is None else [states[k]]
            x, ends = recurrence(layer, x, h, None) or scan_layer(layer, x, h, None)
            (last,) = last_states(ends)
            # It may be a part of all states, which are then kept with it, or, of the last layer, are the caller's.
            kept.append(self._copy(last) if x.shape[0] > 1 or k + 1 == len(self._layers) else last)
        self._states = kept
        return x

    def _copy(self, array: Array) -> Array:
        return self._placed.placement.backend.xp.asarray(array, copy=True)
