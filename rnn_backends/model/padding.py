"""`pad`: sequences of different lengths as one batch, and the steps of a batch as sequences again."""

from collections.abc import Sequence

import numpy as np

from rnn_backends.core.arrays import Array, ArrayLike, Host, array_namespace, device, where_valid
from rnn_backends.core.parameters import require_flag
from rnn_backends.errors import DTypeError
from rnn_backends.model.ragged import Ragged, of_sequences


def pad(sequences: Sequence[ArrayLike], batch_first: bool = False) -> tuple[Array, Array]:
    """Make one batch of sequences of different lengths, with zeros after their ends.

    Parameters
    ----------
    sequences : sequence of arrays or host data, shape (length, input_size) or (length,) each
        Features or token ids, of lengths from 0 on; lists, NumPy arrays, or arrays of one library and device.
    batch_first : bool, default False
        Whether the batch is the first axis of the result, as of a model that was made so.

    Returns
    -------
    x : array, shape (seq_len, batch, input_size) or (seq_len, batch)
        As long as the longest sequence, in the dtype that all of them can be converted to.
    lengths : integer array, shape (batch,)
        To pass with x: ``rnn(x, lengths=lengths)``.  Both are on the library and device of the sequences.

    Raises
    ------
    ShapeError, DTypeError
        There is no sequence, or one is no array of numbers, or differs from the first in more than its length.
    BackendMismatchError, DeviceError
        The sequences belong to more than one library or device.

    See Also
    --------
    batches : Many sequences in batches of alike lengths.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> x, lengths = rb.pad([[3, 1, 2], [4]])
    >>> x.T
    array([[3, 1, 2],
           [4, 0, 0]])
    >>> lengths
    array([3, 1])
    >>> rb.RNN.init(5, 4).last(x, lengths=lengths).shape
    (2, 4)
    """
    require_flag("batch_first", batch_first)
    is_several = isinstance(sequences, Sequence) and not isinstance(sequences, (str, bytes, bytearray, memoryview))
    if not is_several or not len(sequences):
        other = "an empty one" if is_several else f"a {type(sequences).__name__}"
        msg = f"`sequences` must be a list of at least one array, one for each sequence; got {other}."
        raise DTypeError(msg)
    ragged = of_sequences(sequences)
    return padded(ragged, np.arange(len(ragged.lengths)), batch_first), like(ragged.values, ragged.lengths)


def like(array: Array, numbers: Host) -> Array:
    """Return integers of the host on the library and device of an array."""
    if isinstance(array, np.ndarray):
        return numbers
    return array_namespace(array).asarray(numbers, device=device(array))


def padded(ragged: Ragged, chosen: Host, batch_first: bool) -> Array:
    """Return some of the sequences as one batch, with zeros after their ends."""
    values, axis = ragged.values, 0 if batch_first else 1
    starts, lengths = (np.expand_dims(each[chosen], 1 - axis) for each in (ragged.offsets, ragged.lengths))
    steps = np.expand_dims(np.arange(lengths.max(initial=0)), axis)
    valid, rest = steps < lengths, tuple(values.shape[1:])
    if not valid.any():
        return array_namespace(values).zeros((*valid.shape, *rest), dtype=values.dtype, device=device(values))
    taken = taken_steps(values, np.where(valid, starts + steps, starts.min()), valid.shape)
    valid = valid.reshape(*valid.shape, *(1 for _ in rest))
    return taken if valid.all() else where_valid(taken, like(values, valid))


def source_of(ragged: Ragged, packs: Sequence[Host], batch_first: bool) -> Host:
    """Return where each step of the sequences stands among those of batches, one batch after the other."""
    place, stride, begin = np.empty_like(ragged.lengths), np.empty_like(ragged.lengths), 0
    for chosen in packs:
        lengths, batch = ragged.lengths[chosen], np.arange(len(chosen))
        seq_len = int(lengths.max(initial=0))
        place[chosen] = begin + (batch * seq_len if batch_first else batch)
        stride[chosen] = 1 if batch_first else len(chosen)
        begin += seq_len * len(chosen)
    steps: Host = np.arange(ragged.offsets[-1]) - np.repeat(ragged.offsets[:-1], ragged.lengths)
    steps *= np.repeat(stride, ragged.lengths)
    steps += np.repeat(place, ragged.lengths)
    return steps


def taken_steps(values: Array, index: Host, shape: tuple[int, ...]) -> Array:
    """Return the rows of an array at some places, with the axes of the places."""
    if isinstance(values, np.ndarray):
        return values.take(index, axis=0).reshape(*shape, *values.shape[1:])
    xp = array_namespace(values)
    taken = xp.take(values, like(values, index.reshape(-1)), axis=0)
    return xp.reshape(taken, (*shape, *values.shape[1:]))
