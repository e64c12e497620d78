"""`Runner`: the states of a model, of whole sequences, of their last steps, or chunk by chunk."""

from typing import Any

from rnn_backends.core.arrays import Array, ArrayLike, Input
from rnn_backends.core.trace import trace
from rnn_backends.errors import ArgumentError
from rnn_backends.model.chunks import ChunkedCall, is_in_blocks, is_one_chunk
from rnn_backends.model.model import Model, part_of_rnn
from rnn_backends.model.reading import read_at_once, summarize
from rnn_backends.model.stream import Stream


@part_of_rnn
class Runner(Model):
    """The part of `RNN` that runs its layers."""

    def __call__(
        self, x: Input, h_0: ArrayLike | None = None, *, lengths: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> tuple[Array, Any]:
        """Run the network over whole sequences.

        Parameters
        ----------
        x : array, host data, text or texts, shape (seq_len, batch, input_size) or (seq_len, input_size)
            Floating-point features; (batch, seq_len, input_size) with `batch_first`.  Integers, (seq_len,
            batch) or (seq_len,), are token ids, as are the characters or words of a text if there is a vocabulary;
            several texts are a batch, and have their lengths with them.  A model that takes features turns integers
            into numbers.
        h_0 : array or host data, shape (num_cells, batch, hidden_size) or (num_cells, hidden_size), optional
            The states before the first step, layer by layer, forward before backward; default: those of the model,
            else zeros.  Of cells of several sizes, a sequence of one array (batch, hidden_size) for each.
        lengths : array or host data, shape (batch,), optional
            The number of valid steps of each sequence.
        mask : boolean array or host data, with the axes of token ids, optional
            True for the steps to take; at the others, wherever they are, every layer holds its state.

        Returns
        -------
        output : array, shape (seq_len, batch, num_directions * hidden_size)
            The states of the last layer, held where the mask leaves out a step; 0 beyond a sequence's length.
        h_n : array, shape (num_cells, batch, hidden_size)
            The state of each cell after its last valid step; of cells of several sizes, a tuple of one array
            (batch, hidden_size) for each.

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
        call = placed.prepared(x, h_0, lengths, mask)
        if (call is None or not is_one_chunk(call)) and is_in_blocks(placed, x, lengths, mask):
            output, h_n = ChunkedCall(placed, x, h_0, lengths, mask).run()
            with placed.on_device():
                return placed.swap_time_axis(output), h_n
        if call is not None:
            return call(x)
        with placed.on_device():
            x, h_0, lengths, mask = placed.receive(x, h_0, lengths, mask)
            output, h_n = placed.run(x, h_0, lengths, mask)
            return placed.swap_time_axis(output), h_n

    def last(
        self,
        x: Input,
        h_0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        reads: str | None = None,
    ) -> Array:
        """Return the output of the last step of each sequence, without holding that of every step.

        Some tens of MiB are held, however many steps there are, and some 100 by stacked bidirectional layers.  Of long
        sequences n of these take n times the work: those below the last one are run again from states that are kept,
        whose number grows with the square root of that of the steps.  Where torch records for gradients, all is held.

        Parameters
        ----------
        x, h_0, lengths, mask
            As for `__call__`.
        reads : {"last", "final", "mean", "max"}, optional
            As of `RNN`; default: what the model reads, ``"last"`` where that is every step.

        Returns
        -------
        array, shape (batch, num_directions * hidden_size)
            Of a sequence without a step the initial state, or 0 of mean and max.

        Raises
        ------
        ArgumentError
            `reads` is none of these; and the errors of `__call__`.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> rnn = rb.RNN.init(3, 4)
        >>> x = np.ones((5, 2, 3))
        >>> bool(np.allclose(rnn.last(x, lengths=[5, 2])[1], rnn(x)[0][1, 1]))
        True
        """
        reads = self._placed.require_reads(reads) if reads is not None or self.reads != "steps" else "last"
        if reads == "steps":
            msg = "last returns one vector for each sequence; `reads` must be 'last', 'final', 'mean' or 'max'."
            raise ArgumentError(msg)
        if (prepared := self._placed.prepared(x, h_0, lengths, mask)) is not None and is_one_chunk(prepared):
            return read_at_once(self._placed, prepared, x, reads)
        call = ChunkedCall(self._placed, x, h_0, lengths, mask)
        with self._placed.on_device():
            return summarize(call, reads).read

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
            ``recurrent_product_l{k}`` W_aa a<t-1>, ``noise_l{k}`` of a model with noise, ``sum_l{k}`` the sum of these
            and the bias, and ``hidden_state_l{k}`` a<t>.  Of a `RateCell` the state is x<t>, the recurrent product is
            W_aa g1(x<t-1>), and ``output_l{k}`` is g1(x<t>); of a cell of one's own there is the state, and its output
            where it has such.  These are 0 beyond a length, and all but state and output where a step is masked.
            Before them stand ``encoder_{k}``, the results of the encoder;
            after them ``readout_{k}``, those of a head but the last, ``logits`` and ``probabilities``, which are not 0
            beyond a length, and are (batch, output_size) of a model that reads its sequences as a whole.

        Examples
        --------
        >>> import rnn_backends as rb
        >>> list(rb.RNN.init(3, 4).trace([0, 2, 1]))
        ['input_product_l0', 'recurrent_product_l0', 'sum_l0', 'hidden_state_l0']
        """
        placed = self._placed
        with placed.on_device():
            x, h_0, lengths, mask = placed.receive(x, h_0, lengths, mask)
            steps = trace(placed.network, x, h_0, lengths, mask, placed.recurrence, placed.noise(0, x))
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
