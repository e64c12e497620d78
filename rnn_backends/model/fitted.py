"""`Fitted`: a readout that is fitted to the states of a model, and runs of what it then predicts."""

from collections.abc import Sequence
from typing import Self

from rnn_backends.core.arrays import Array, ArrayLike, Input
from rnn_backends.core.linear import Linear
from rnn_backends.model.model import part_of_rnn
from rnn_backends.model.replaceable import Replaceable


@part_of_rnn
class Fitted(Replaceable):
    """The part of `RNN` that fits a readout, and feeds what it gives back."""

    def fit_readout(
        self,
        x: Input,
        y: ArrayLike | Sequence[ArrayLike],
        *,
        ridge: float,
        washout: int = 0,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        h_0: ArrayLike | None = None,
        reads: str | None = None,
    ) -> Self:
        """Return the model with a readout W_ya a<t> + b_y of the least squared error, by ridge regression.

        It minimises ``sum |y<t> - W_ya a<t> - b_y|^2 + ridge |W_ya|^2`` over all steps together; b_y is not penalised.
        The sums of products that this takes are added up in chunks of time, so that a few times 16 MiB are held
        beside them, however long the sequences are: x and y may be an `np.memmap` each.  A list is read as it is used:
        copies are held of the sequences of 32 batches of that size at most, or of one that is longer.

        Parameters
        ----------
        x : array, host data, text, or list of arrays or texts
            As for `RNN.__call__`.  A list of arrays, (length, input_size) or token ids (length,), or of texts, are
            sequences of any lengths; they are run in batches of nearly equal ones.  Lists of numbers in lists are one
            array.
        y : array or host data, shape (seq_len, batch, output_size) or (seq_len, output_size)
            The outputs that are wanted, with the axes of `x`; not looked at beyond a length, where masked, or in the
            washout.  Of a list of sequences, a list of one array (length, output_size) for each.  Where each sequence
            is read as a whole, one output for each, (batch, output_size) or (output_size,).
        ridge : float
            The factor of ``|W_ya|^2``, at least 0: as ``alpha`` of scikit-learn's Ridge and ``ridge`` of reservoirpy's.
        washout : int, default 0
            The number of valid steps at the beginning of each sequence that are left out, while the state forgets where
            it started.  A sequence that has no more of them adds nothing.
        lengths, mask, h_0
            As for `RNN.__call__`.  A list of sequences takes neither lengths nor a mask.
        reads : {"steps", "last", "final", "mean", "max"}, optional
            What the readout reads, as of `RNN`, which the new model keeps; default: what the model says.

        Returns
        -------
        RNN
            With ``readout=Linear(weight, bias, "identity")`` in place of the one that it had.

        Raises
        ------
        ArgumentError
            `ridge` or `washout` has an impossible value, no step is left, a number is not finite, the states are
            linearly dependent and the ridge is 0, the readout does not fit the dtype of the model, or a model with
            noise, whose draws depend on the place in the batch, is given a list.
        ShapeError, DTypeError, BackendMismatchError, DeviceError
            An argument does not fit.
        BackendUnavailableError
            The library has no ``linalg.eigh``, which is of an extension of the array API standard.

        Notes
        -----
        All is computed on the model's device, in float64, whatever the dtype of the model, to which the readout is
        rounded in the end; six numbers are copied to the host.  A library that has no float64, as JAX has none until
        it is switched on (``jax.config.update("jax_enable_x64", True)``), computes in float32: the ridge must
        then be larger.

        Where cells walk backward, the states of all steps are held.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> x = np.sin(np.arange(400) / 5)[:, None]
        >>> rnn = rb.reservoir(1, 50).fit_readout(x[:300], x[1:301], ridge=1e-6, washout=50)
        >>> bool(abs(rnn.logits(x[:399]) - x[1:])[300:].max() < 0.001)
        True
        """
        from rnn_backends.model.fitting import fitted_readout  # most programs fit nothing

        weight, bias = fitted_readout(self._placed, (x, y, lengths, mask, h_0), ridge, washout, reads)
        reads = self._placed.require_reads(reads)
        return self.replace(readout=Linear(weight, bias, "identity"), reads=reads)

    def roll_out(
        self, x: ArrayLike, steps: int, *, inputs: ArrayLike | None = None, h_0: ArrayLike | None = None
    ) -> Array:
        """Continue sequences of features by feeding the output of each step back to the model.

        The first output is that of the last step of `x`; each of the others is that of a step which takes the output
        before it.  A model that takes more features than it gives takes the output as its last ones, after the
        `inputs` of that step.  This is the feedback of reservoir computing, the columns of W_ax for it being W_fb:

            a<t> = g1(W_aa a<t-1> + W_in u<t> + W_fb y<t-1> + b_a),   x<t> = [u<t>, y<t-1>],   W_ax = [W_in, W_fb]

        Parameters
        ----------
        x : array or host data, shape (seq_len, batch, input_size) or (seq_len, input_size)
            The steps that are known, at least one.
        steps : int
            The number of outputs.
        inputs : array or host data, shape (steps - 1, batch, input_size - output_size), optional
            u<t> of the steps after `x`, with its axes; left out where the outputs are all of the input, or one is asked
            for.
        h_0 : array or host data, shape (num_cells, batch, hidden_size) or (num_cells, hidden_size), optional
            As for `RNN.__call__`.

        Returns
        -------
        array, shape (steps, batch, output_size)
            (batch, steps, output_size) with `batch_first`, and (steps, output_size) of a single sequence.

        Raises
        ------
        ArgumentError
            The model does not predict its own next features: its sizes do not fit, its readout is a softmax or reads
            the mean or the maximum, it takes tokens, or a cell walks backward; or `steps` is not positive.
        ShapeError, DTypeError, BackendMismatchError, DeviceError
            An argument does not fit.

        Examples
        --------
        A wave, and one that follows another, which is known:

        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> wave = np.sin(np.arange(400) / 5)[:, None]
        >>> rnn = rb.reservoir(1, 50).fit_readout(wave[:300], wave[1:301], ridge=1e-6, washout=50)
        >>> bool(abs(rnn.roll_out(wave[:301], 20) - wave[301:321]).max() < 0.01)
        True
        >>> u, y = wave[1:], 0.5 * wave[1:] * wave[:-1]
        >>> x = np.concatenate([u[1:], y[:-1]], axis=1)  # u<t> beside y<t-1>
        >>> rnn = rb.reservoir(2, 50).fit_readout(x[:300], y[1:301], ridge=1e-6, washout=50)
        >>> y_free = rnn.roll_out(x[:301], 20, inputs=u[302:321])
        >>> bool(abs(y_free - y[301:321]).max() < 0.01)
        True
        """
        from rnn_backends.model.rolling import rolled_out  # most programs let nothing run free

        return rolled_out(self._placed, x, steps, inputs, h_0)
