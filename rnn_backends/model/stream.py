"""`Stream`: a sequence in chunks, the state kept between them."""

from copy import copy
from typing import Any, Self

from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, ArrayLike, Input, is_integer
from rnn_backends.core.forward import encoded, in_compute_dtype, started, state_dtype, walk_layers
from rnn_backends.core.messages import shown
from rnn_backends.core.noise import with_noise
from rnn_backends.core.reading import readings_of
from rnn_backends.core.recurrence import last_states
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
        if placed.has_backward:
            msg = "a stream needs a network without backward cells, which start at the end of a sequence."
            raise ArgumentError(msg)
        self._batch_size = int(batch_size)
        self._placed = placed
        with placed.on_device():
            self._layers = in_compute_dtype(placed.network.layers)
        self._begin(None)

    @property
    def batch_size(self) -> int:
        """The number of sequences that run side by side."""
        return self._batch_size

    @property
    def state(self) -> Any:
        """The states after the last chunk, (num_layers, batch_size, hidden_size); None before the first.

        Of layers of several sizes, a tuple of one array (batch_size, hidden_size) for each.  What the readout has read
        of a sequence as a whole, and the step at which noise is drawn next, are not among them: a copy or a pickle of
        the stream has these too.
        """
        if self._state is None:
            return None
        with self._placed.on_device():
            return self._copy(self._state)

    def reset(self, h_0: ArrayLike | None = None) -> None:
        """Begin new sequences: what the readout has read of the old ones is forgotten, and noise is drawn from step 0.

        Parameters
        ----------
        h_0 : array or host data, shape (num_layers, batch_size, hidden_size), optional
            The states before their first step; default: those of the model, else zeros.

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
        placed, state = self._placed, None
        if h_0 is not None:
            given = placed.to_device("h_0", placed.as_host("h_0", h_0))
            checks.require_state(placed.network.layers, given, (self.batch_size,))
            with placed.on_device():
                state = self._copy(given)
        self._begin(state)

    def _begin(self, state: Any) -> None:
        """Begin new sequences with the states of all cells; None for those that the network starts from."""
        self._state = state
        self._position = 0
        (self._reading,) = readings_of(self._placed.network.layers[-1], self._placed.network.reads)

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
        call = self._placed.prepared(x)
        if call is not None and call.steps[1] == self._batch_size:
            output, self._state = call.run(call.take(x), self._state)
            self._reading.add(output, None)
            return call.give(output)
        with self._placed.on_device():
            chunk = self._placed.receive(x)[0]
            has_batch = chunk.ndim + is_integer(chunk) == 3
            batch = chunk.shape[1] if has_batch else 1
            if batch != self.batch_size:
                shape = tuple(self._placed.swap_time_axis(chunk, is_integer(chunk)).shape)
                msg = f"`x` must hold batch_size = {self.batch_size} sequences; got {batch} in shape {shown(shape)}."
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
            Without the batch axis where `x` lacks it.  Of a model that reads its sequences as a whole,
            (batch_size, output_size): those of the steps up to here, since the last `reset`.

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
        self._placed.require_readout("logits")
        with self._placed.on_device():
            states = self(x)
            if self._placed.network.reads == "steps":
                return self._placed.logits(states)
            ((cell, _),) = self._layers[-1].cells
            read = self._reading.result(cell, last_states(self._state)[-1])
            return self._placed.logits(read if states.ndim == 3 else read[0, :])

    def probabilities(self, x: Input) -> Array:
        """Run the next chunk and return g2(logits), softmax by default.

        Parameters
        ----------
        x : array, host data or text
            As for a call of the stream.

        Returns
        -------
        array, shape (seq_len, batch_size, output_size)
            As of `logits`.

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
            return readout[-1].activate(self.logits(x))

    def __copy__(self) -> Self:
        """Return a stream that goes on by itself from where this one is."""
        other = object.__new__(type(self))
        other.__dict__ = {**self.__dict__, "_reading": copy(self._reading)}
        return other

    def __repr__(self) -> str:
        return f"Stream(batch_size={self.batch_size}, {self._placed.summary()})"

    def _repr_html_(self) -> str:
        from rnn_backends.model.html import html  # notebooks alone need it

        return html("Stream", self._placed, batch_size=self.batch_size)

    def _run(self, x: Array) -> Array:
        """Run all layers over (seq_len, batch, ...) and keep their last states."""
        placed, state = self._placed, self._state
        network = placed.network
        given = started(network, x, None) if state is None else state
        given, x = None if given is None else last_states(given), encoded(network, x, None, None)
        dtype, layers = state_dtype(network.layers, x), with_noise(self._layers, placed.noise(self._position, x))
        output, last = walk_layers(layers, x, given, None, placed.recurrence, dtype)
        self._position += x.shape[0]
        self._state = self._copy(last)  # it may be part of what is the caller's, or hold what torch records
        self._reading.add(output, None)
        return output

    def _copy(self, state: Any) -> Any:
        if isinstance(state, tuple):
            return tuple(map(self._copy, state))
        return self._placed.placement.backend.xp.asarray(state, copy=True)
