"""What is computed in Dask's tasks, and what is known of it before."""

from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.arrays import Host
from rnn_backends.core.checks import require_range
from rnn_backends.core.messages import got
from rnn_backends.errors import ArgumentError, DTypeError
from rnn_backends.model.carried import Carried
from rnn_backends.model.placed import Placed
from rnn_backends.model.rnn import RNN
from rnn_backends.model.shipped import Shipped


class Task(NamedTuple):
    """A method of a model, and what is known of its results before there are any."""

    method: str
    reads: str
    outputs: int | None
    """The size of the last axis of the results; None where they have none."""
    dtype: Any


def task_of(method: str, rnn: RNN, reads: str | None) -> Task:
    """Return the task of a method, which the model must have."""
    if not isinstance(rnn, RNN):
        msg = f"`rnn` must be a model, an RNN; got {got(rnn)}. The model comes first, then the array."
        raise DTypeError(msg)
    placed = rnn.placed
    found = placed.require_reads(reads)
    if placed.network.noise is not None:
        msg = (
            f"{method} makes batches of its own here, and what the noise of this model draws depends on the place in a "
            "batch; take a model without noise."
        )
        raise ArgumentError(msg)
    if method == "last":
        if reads == "steps":
            msg = "last returns one vector for each sequence; `reads` must be 'last', 'final', 'mean' or 'max'."
            raise ArgumentError(msg)
        found = "last" if found == "steps" else found
        outputs = _width(placed)
    else:
        outputs = placed.require_readout(method)[-1].output_size
        if method == "predict" and outputs == 1:
            msg = "predict returns the largest of several outputs; this model has one. Use probabilities."
            raise ArgumentError(msg)
    if method == "predict":
        return Task(method, found, None, np.dtype(np.int64))
    return Task(method, found, outputs, np.dtype("float32" if rnn.dtype == "bfloat16" else rnn.dtype))


def _width(placed: Placed) -> int:
    sizes = [getattr(cell, "hidden_size", None) for cell, _ in placed.network.layers[-1].cells]
    if None in sizes:
        msg = "the sizes of results must be known before any is computed; give the last layer's cells a `hidden_size`."
        raise ArgumentError(msg)
    return sum(size or 0 for size in sizes)


def modules(*names: str) -> list[Any]:
    """Return modules of Dask; those of arrays and bags take a second to import."""
    try:
        return list(map(import_module, names))
    except ModuleNotFoundError as error:
        msg = f"rnn_backends.dask needs {error.name}, which is not installed: pip install 'rnn-backends[dask]'."
        raise ModuleNotFoundError(msg, name=error.name) from error


def sent(rnn: RNN) -> Any:
    """Return a model as an argument of tasks of your own, which is sent to each worker once.

    Its name is a digest of what it holds, so that equal models are one.  For sequences that are read and predicted in
    the same task, and never sent from worker to worker.

    Parameters
    ----------
    rnn : RNN

    Returns
    -------
    dask.delayed.Delayed
        A task receives an object whose attribute ``rnn`` is the model, placed as RNN_BACKEND of the worker says, else
        on its own backend.

    Examples
    --------
    >>> import dask
    >>> import rnn_backends as rb
    >>> import rnn_backends.dask
    >>> def predicted(sequences, sent):
    ...     return sent.rnn.predict_many(sequences, reads="last")
    >>> rnn = rb.RNN.init(3, 4, output_size=2)
    >>> task = dask.delayed(predicted)([[0, 2, 1], [1]], rb.dask.sent(rnn))
    >>> task.compute().shape
    (2,)
    """
    base, delayed = modules("dask.base", "dask.delayed")
    shipped = Shipped(rnn)
    return delayed.delayed(shipped, name=f"rnn-{base.tokenize(shipped.content)}", traverse=False)


def of_many(part: Any, shipped: Shipped, method: str, reads: str) -> list[Any]:
    """Return the results of the sequences of a partition, on the host; ids as integers of Python.

    Those are pickled a hundred times as fast as NumPy's, which takes as long as to compute them.
    """
    results = getattr(shipped.rnn, f"{method}_many")(part, reads=reads)
    if isinstance(results, list):
        return list(map(to_numpy, results))
    found = to_numpy(results)
    return found.tolist() if found.ndim == 1 else list(found)


def whole(x: Any, *rest: Any, task: Task) -> Host:
    """Return the results of a block of whole sequences, on the host; lengths, if any, stand before the model."""
    *lengths, shipped = rest
    while isinstance(x, list):  # of an axis that the results do not have
        (x,) = x
    results = to_numpy(getattr(shipped.rnn, task.method)(x, lengths=lengths[0] if lengths else None, reads=task.reads))
    return results.astype(task.dtype, copy=False)


def carried_on(
    x: Host, lengths: Host | None, before: Carried | None, shipped: Shipped, task: Task, seq_len: int
) -> tuple[Host | None, Carried]:
    """Return the results at the next steps, where each is read, and where the model then stands."""
    placed = shipped.rnn.placed
    if before is None:
        before = Carried.begin(placed, task.reads)
        if lengths is not None:
            require_range("lengths", lengths, seq_len + 1, "length")
    if task.reads != "steps":
        return None, before.walk(placed, x, lengths)
    results, after = before.each(placed, task.method, x, lengths)
    return results.astype(task.dtype, copy=False), after


def finished(carried: Carried, shipped: Shipped, task: Task) -> Host:
    """Return the result of sequences that were read to their end."""
    return carried.result(shipped.rnn.placed, task.method).astype(task.dtype, copy=False)
