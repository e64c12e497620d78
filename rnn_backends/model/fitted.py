"""`Fitted`: a model with a readout that is fitted to its states."""

from collections.abc import Sequence
from typing import Self

from rnn_backends.core.arrays import ArrayLike, Input
from rnn_backends.core.linear import Linear
from rnn_backends.model.model import part_of_rnn
from rnn_backends.model.replaceable import Replaceable


@part_of_rnn
class Fitted(Replaceable):
    """The part of `RNN` that fits a readout."""

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

        It minimises sum |y<t> - W_ya a<t> - b_y|^2 + ridge |W_ya|^2 over all steps together; b_y is not penalised.
        The sums of products that this takes are added up in chunks of time, so that a few times 16 MiB are held
        beside them, however long the sequences are: x and y may be an `np.memmap` each.

        Parameters
        ----------
        x : array, host data, text, or list of arrays or texts
            As for `RNN.__call__`.  A list of arrays, (length, input_size) or token ids (length,), or of texts, are
            sequences of any lengths; they are run in batches of nearly equal ones.
        y : array or host data, shape (seq_len, batch, output_size) or (seq_len, output_size)
            The outputs that are wanted, with the axes of `x`; not looked at beyond a length, where masked, or in the
            washout.  Of a list of sequences, a list of one array (length, output_size) for each.  Where each sequence
            is read as a whole, one output for each, (batch, output_size) or (output_size,).
        ridge : float
            The factor of |W_ya|^2, at least 0: as ``alpha`` of scikit-learn's Ridge and ``ridge`` of reservoirpy's.
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
            `ridge` or `washout` has an impossible value, no step is left, a number is not finite, or the states are
            linearly dependent and the ridge is 0.
        ShapeError, DTypeError, BackendMismatchError, DeviceError
            An argument does not fit.
        BackendUnavailableError
            The library has no ``linalg.eigh``, which is of an extension of the array API standard.

        Notes
        -----
        All is computed on the model's device, in float64, whatever the dtype of the model, to which the readout is
        rounded in the end; four numbers are copied to the host.  A library that has no float64, as JAX has none until
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
