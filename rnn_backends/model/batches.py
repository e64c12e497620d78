"""`batches`: many sequences of different lengths, packed into batches of nearly equal ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from math import prod
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.arrays import Array, ArrayLike, Host, dtype_name, is_array, is_integer
from rnn_backends.core.checks import require_together
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import require_flag
from rnn_backends.errors import DTypeError, ShapeError
from rnn_backends.model.chunks import BUDGET
from rnn_backends.model.init import require_integer
from rnn_backends.model.padding import like, padded
from rnn_backends.model.ragged import Ragged, flat, of_sequences
from rnn_backends.model.vocabulary import Vocabulary

WINDOW = 32
"""The number of batches whose sequences are sorted together.

Lengths within a batch differ by about one part in so many of how they differ at all, which is what is padded; and as
many batches are held at once of sequences that are read from an iterator.
"""
LEAST_BYTES = 256
"""The bytes that a step is counted as at least where the network is not known: those of 64 states of float32."""
OBJECTS = {"object", "str", "string"}
"""Names of the dtypes of NumPy and pandas that hold a sequence in each of their elements."""

StepsOf = Callable[[int], int]
"""A function of the number of features of a step, that gives the number of padded steps of a batch."""


class Batch(NamedTuple):
    """A batch of sequences of nearly equal lengths, the longest first; all arrays on their library and device."""

    x: Array
    """The sequences with zeros after their ends, (seq_len, batch, ...), or (batch, seq_len, ...)."""
    lengths: Array
    """The number of steps of each sequence, (batch,)."""
    index: Array
    """The place of each sequence among those that were given, (batch,)."""


def batches(
    sequences: Iterable[ArrayLike],
    *,
    lengths: ArrayLike | None = None,
    budget: int | None = None,
    batch_first: bool = False,
) -> Iterator[Batch]:
    """Yield sequences of different lengths in batches of nearly equal ones, longest first.

    Parameters
    ----------
    sequences : iterable of arrays or host data, shape (length, input_size) or (length,) each
        Features or token ids.  An iterator is read as batches are asked for, and no more of it held than 32 of them.
        With `lengths`, the steps of all sequences one after another in one array, (steps, input_size) or (steps,).
    lengths : integers on the host, shape (number of sequences,), optional
        The number of steps of each sequence, where they lie one after another in `sequences`.
    budget : int, optional
        The most steps of a batch, padding included; one that is longer is a batch by itself.  Default: as many as
        16 MiB hold, a step being counted as 256 bytes or those of its features, whichever are more.
    batch_first : bool, default False
        Whether the batch is the first axis of x, as of a model that was made so.

    Yields
    ------
    Batch
        A named tuple of x, of lengths, to pass with it, and of index: result ``k`` of the batch is that of the
        sequence at place ``index[k]``.  Each sequence is in one batch.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        The arguments are wrong, or a sequence is, which is named; found when it is read.
    BackendMismatchError, DeviceError
        The sequences belong to more than one library or device.

    See Also
    --------
    RNN.predict_many : The predictions for many sequences, in the order in which they are given.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> rnn, found = rb.RNN.init(10, 4), np.empty((4, 4), np.float32)
    >>> for batch in rb.batches([[3, 1, 2], [4], [1, 5, 9, 2], [6]], budget=6):
    ...     print(batch.x.shape, batch.index)
    ...     found[batch.index] = rnn.last(batch.x, lengths=batch.lengths)
    (4, 1) [2]
    (3, 2) [0 1]
    (1, 1) [3]
    >>> bool(np.allclose(found[2], rnn.last([1, 5, 9, 2])))
    True
    """
    require_flag("batch_first", batch_first)
    if budget is not None:
        require_integer("budget", budget, 1)
    steps_of = steps_within(budget, lambda features: BUDGET // max(LEAST_BYTES, 4 * features))
    return _each(windows(sequences, lengths, None, steps_of), batch_first)


def _each(found: Iterator[tuple[Ragged, int]], batch_first: bool) -> Iterator[Batch]:
    for window, steps in found:
        for chosen in packs(window.lengths, steps):
            x = padded(window, chosen, batch_first)
            yield Batch(x, like(x, window.lengths[chosen]), like(x, window.first + chosen))


def steps_within(budget: int | None, default: StepsOf) -> StepsOf:
    """Return the function that gives the number of padded steps of a batch, at least 1."""
    return lambda features: max(1, default(features)) if budget is None else int(budget)


def packs(lengths: Host, steps: int) -> Iterator[Host]:
    """Yield the places of the sequences of each batch, longest first, of so many padded steps at most."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        count = max(1, steps // max(1, int(lengths[order[start]])))
        yield order[start : start + count]
        start += count


def windows(
    sequences: Any, lengths: Any, vocabulary: Vocabulary | None, steps_of: StepsOf, name: str = "sequences"
) -> Iterator[tuple[Ragged, int]]:
    """Return an iterator over the sequences, some batches of them at once, with the number of steps of a batch.

    What can be checked before any sequence is read is checked at once.
    """
    if lengths is not None:
        return _of_flat(flat(sequences, lengths), steps_of)
    return _of_each(iter(_several(sequences)), vocabulary, steps_of, name)


def _several(sequences: Any) -> Iterable[Any]:
    """Return sequences that are several, in an order."""
    other = ""
    if isinstance(sequences, (str, bytes, bytearray, memoryview)):
        other = " For one text, call the method of a single input."
    elif is_array(sequences) and dtype_name(sequences) not in OBJECTS:
        other = " For the steps of all sequences one after another, give `lengths` as well."
    elif isinstance(sequences, Iterable) and not isinstance(sequences, (Mapping, Set)):
        return sequences
    msg = f"`sequences` must be a list or an iterator of arrays, one for each sequence; got {got(sequences)}.{other}"
    raise DTypeError(msg)


def _of_flat(held: Ragged, steps_of: StepsOf) -> Iterator[tuple[Ragged, int]]:
    """Yield parts of sequences that lie one after another."""
    steps = steps_of(prod(held.values.shape[1:]))
    ends = np.cumsum(np.maximum(held.lengths, 1))
    start = 0
    while start < len(ends):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + WINDOW * steps, "right")))
        yield held.part(start, stop), steps
        start = stop


def _of_each(
    sequences: Iterator[Any], vocabulary: Vocabulary | None, steps_of: StepsOf, name: str
) -> Iterator[tuple[Ragged, int]]:
    """Yield parts of sequences that an iterator gives one by one."""
    first = 0
    known: tuple[str, Array] | None = None
    while taken := _next(sequences, steps_of):
        window = of_sequences(taken, first, vocabulary, name)
        first += len(taken)
        if window.lengths.any():
            window = window if known is None else _as_before(window, known)
            known = known or (window.name_of(window.place_of(0)[0]), window.values[:0, ...])
        elif known is not None:
            window = window.with_values(known[1])
        yield window, steps_of(prod(window.values.shape[1:]))
        del taken, window  # or they would be held while the next ones are read


def _next(sequences: Iterator[Any], steps_of: StepsOf) -> list[Any]:
    """Return the next sequences, of the steps of some batches; none at the end."""
    taken: list[Any] = []
    left, is_known = WINDOW * steps_of(1), False
    for each in sequences:
        taken.append(each)
        length = _length(each)
        if length and not is_known:
            left, is_known = WINDOW * steps_of(_width(each)) - len(taken), True
        left -= length or 1
        if left <= 0:
            break
    return taken


def _length(sequence: Any) -> int:
    """Return the number of steps of a sequence; 0 of what is none, which is refused when it is read."""
    try:
        return len(sequence)
    except TypeError:  # some arrays have a shape alone
        shape = getattr(sequence, "shape", ())
        return int(shape[0]) if shape else 0


def _width(sequence: Any) -> int:
    """Return the number of features of a sequence that is not empty, 1 of token ids or text."""
    if is_array(sequence):
        return prod(sequence.shape[1:])
    return len(sequence[0]) if isinstance(sequence, (list, tuple)) and isinstance(sequence[0], (list, tuple)) else 1


def _as_before(window: Ragged, known: tuple[str, Array]) -> Ragged:
    """Return sequences, which must be like the one that was read first."""
    values, (before, first) = window.values, known
    index, _ = window.place_of(0)
    name = window.name_of(index)
    require_together([(before, first), (name, values)])
    if values.shape[1:] != first.shape[1:]:
        wanted = "".join(f", {size}" for size in first.shape[1:]) or ","
        shape = shown(window.shape_of(index))
        msg = f"`{name}` must have shape (length{wanted}), as the other sequences; got {shape}."
        raise ShapeError(msg)
    if is_integer(values) == is_integer(first):
        return window
    if is_integer(values) and isinstance(values, np.ndarray):
        return window.with_values(values.astype(first.dtype))
    msg = (
        f"all `{window.name}` must be of one kind, integers or floating point; got {dtype_name(first)} and, of "
        f"`{name}`, {dtype_name(values)}. Convert them to one dtype."
    )
    raise DTypeError(msg)
