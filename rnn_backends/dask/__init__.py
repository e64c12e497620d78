"""Models over the arrays and bags of Dask: ``pip install 'rnn-backends[dask]'``.

>>> import dask.array as da
>>> import rnn_backends as rb
>>> import rnn_backends.dask
>>> rnn = rb.RNN.init(12, 64, output_size=9, backend="numpy")
>>> x = da.ones((29, 1000, 12), chunks=(-1, 250, -1))
>>> rb.dask.predict(rnn, x).compute().shape
(29, 1000)
"""

from typing import Any

from rnn_backends.core.messages import got
from rnn_backends.dask.blocks import Blocks
from rnn_backends.dask.tasks import modules, of_many, sent, task_of
from rnn_backends.errors import ArgumentError, DTypeError
from rnn_backends.model.rnn import RNN

__all__ = ["last", "predict", "probabilities", "sent"]


def predict(rnn: RNN, x: Any, *, lengths: Any = None, reads: str | None = None) -> Any:
    """Return the ids of the largest logits, of the sequences of a Dask array or bag.

    Nothing is computed: the result is lazy, of known dtype, and of known shape where that of `x` is.  The model goes to
    each worker once, without its backend's arrays, and is placed there as RNN_BACKEND of the worker says, else on its
    own backend.  Blocks are of NumPy, as are results, wherever they are computed.

    Parameters
    ----------
    rnn : RNN
    x : dask.array.Array or dask.bag.Bag
        An array as of `rnn_backends.RNN.__call__`, of blocks of sequences.  The features are in one block, and time
        is, or in several where no cell runs backward: these are run one after the other, the states being carried.
        Of a bag each item is a sequence, as of `rnn_backends.RNN.predict_many`, of any length.
    lengths : dask.array.Array or integers on the host, shape (batch,), optional
        The number of valid steps of each sequence of an array.
    reads : str, optional
        What the readout reads; default: what the model says.

    Returns
    -------
    dask.array.Array of int64, shape (seq_len, batch), or dask.bag.Bag
        -1 beyond a sequence's length; (batch,) where each sequence is read as a whole.  Of a bag one item for each, an
        array of its steps, or an int where it is read as a whole.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        The arguments are wrong, time is in several blocks and a cell runs backward, or the model has no readout.
    ModuleNotFoundError
        There is no Dask.

    Examples
    --------
    >>> import dask.bag
    >>> import rnn_backends as rb
    >>> import rnn_backends.dask
    >>> rnn = rb.RNN.init(3, 4, output_size=2)
    >>> bag = dask.bag.from_sequence([[0, 2, 1], [1]], npartitions=2)
    >>> ids = rb.dask.predict(rnn, bag, reads="last").compute(scheduler="sync")
    >>> len(ids), {type(each) for each in ids}
    (2, {<class 'int'>})
    """
    return _lazy("predict", rnn, x, lengths, reads)


def probabilities(rnn: RNN, x: Any, *, lengths: Any = None, reads: str | None = None) -> Any:
    """Return g2(logits) of the sequences of a Dask array or bag.

    Parameters
    ----------
    rnn, x, lengths, reads
        As for `predict`.

    Returns
    -------
    dask.array.Array, shape (seq_len, batch, output_size), or dask.bag.Bag
        In the dtype of the model, bfloat16 as float32; 0 beyond a sequence's length.  (batch, output_size) where each
        sequence is read as a whole.  Of a bag one item for each.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, ModuleNotFoundError
        As for `predict`.

    Examples
    --------
    >>> import dask.array as da
    >>> import rnn_backends as rb
    >>> import rnn_backends.dask
    >>> rnn = rb.RNN.init(3, 4, output_size=5, backend="numpy")
    >>> p = rb.dask.probabilities(rnn, da.ones((100, 6, 3), chunks=(25, 2, 3)), reads="mean")
    >>> p.shape, p.chunks, p.dtype
    ((6, 5), ((2, 2, 2), (5,)), dtype('float32'))
    """
    return _lazy("probabilities", rnn, x, lengths, reads)


def last(rnn: RNN, x: Any, *, lengths: Any = None, reads: str | None = None) -> Any:
    """Return the output of the last step of the sequences of a Dask array or bag.

    Parameters
    ----------
    rnn, x, lengths
        As for `predict`.
    reads : {"last", "final", "mean", "max"}, optional
        As for `rnn_backends.RNN.last`.

    Returns
    -------
    dask.array.Array, shape (batch, num_directions * hidden_size), or dask.bag.Bag
        In the dtype of the model, bfloat16 as float32.  Of a bag one item for each.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, ModuleNotFoundError
        As for `predict`.

    Examples
    --------
    >>> import dask.array as da
    >>> import rnn_backends as rb
    >>> import rnn_backends.dask
    >>> rb.dask.last(rb.RNN.init(3, 4, backend="numpy"), da.ones((5, 6, 3), chunks=(5, 2, 3))).shape
    (6, 4)
    """
    return _lazy("last", rnn, x, lengths, reads)


def _lazy(method: str, rnn: RNN, x: Any, lengths: Any, reads: str | None) -> Any:
    array, bag = modules("dask.array", "dask.bag")
    task = task_of(method, rnn, reads)
    if isinstance(x, bag.Bag):
        if lengths is not None:
            msg = "the items of a bag have lengths of their own; leave `lengths` out."
            raise ArgumentError(msg)
        return x.map_partitions(of_many, sent(rnn), method=method, reads=task.reads)
    if not isinstance(x, array.Array):
        msg = f"`x` must be a Dask array or bag; got {got(x)}. For anything else, call the model's own method."
        raise DTypeError(msg)
    return Blocks(rnn, task, x, lengths).result()
