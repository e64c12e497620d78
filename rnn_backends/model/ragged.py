"""`Ragged`: sequences of different lengths one after another in one array, read from whatever holds them.

A million short sequences must cost no more than their lists do: what is looked at sequence by sequence is a length,
and all else, types, dtypes, widths and ids, is looked at for many at once.  Only where something there is wrong, or
unusual, is each sequence looked at by itself, and the error names it.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from rnn_backends.backends.nested import from_lists
from rnn_backends.backends.transfer import as_host
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, Host, array_namespace, dtype_name, is_integer
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import require_dense
from rnn_backends.errors import DTypeError, ShapeError
from rnn_backends.model.vocabulary import Encoder, Vocabulary


class Ragged:
    """Sequences one after another.

    Parameters
    ----------
    values : array, shape (steps of all, input_size) or (steps of all,)
    lengths : numpy.ndarray of int64, shape (count,)
    first : int, default 0
        The place of the first of them among all that there are.
    """

    def __init__(self, values: Array, lengths: Host, first: int = 0) -> None:
        self.values, self.lengths, self.first = values, lengths, first

    @cached_property
    def offsets(self) -> Host:
        """The place of the first step of each sequence in the values, and the end of the last, (count + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])

    def part(self, start: int, stop: int) -> "Ragged":
        """Return some of the sequences; of their values no copy is made."""
        ends = self.offsets[[start, stop]].tolist()
        values = self.values if ends == [0, self.values.shape[0]] else self.values[ends[0] : ends[1], ...]
        return Ragged(values, self.lengths[start:stop], self.first + start)

    def place_of(self, step: int) -> tuple[int, int]:
        """Return the place, among all sequences, of the one in which a step of the values stands, and that step's."""
        index = int(np.searchsorted(self.offsets, step, "right")) - 1
        return self.first + index, step - int(self.offsets[index])


def name_of(index: int) -> str:
    """Return the name of a sequence in messages."""
    return f"sequences[{index}]"


def flat(values: Any, lengths: Any) -> Ragged:
    """Return sequences that lie one after another already."""
    counts = as_host("lengths", lengths)
    if not isinstance(counts, np.ndarray) or counts.ndim != 1:
        msg = f"`lengths` must be integers on the host, one for each sequence; got {got(lengths)}."
        raise DTypeError(msg)
    values = as_host("sequences", values)
    require_dense("sequences", values)
    checks.require_together([("sequences", values)])
    if len(values.shape) not in {1, 2}:
        msg = (
            "with `lengths`, `sequences` must be the steps of all sequences one after another, of shape (steps, "
            f"input_size) or (steps,); got {shown(tuple(values.shape))}."
        )
        raise ShapeError(msg)
    if counts.size and counts.min() < 0:
        checks.refuse("lengths", counts, values.shape[0] + 1, "length", (int(counts.argmin()),))
    counts = counts.astype(np.int64)
    if counts.sum() != values.shape[0]:
        msg = f"`lengths` must sum to the {values.shape[0]} steps in `sequences`; they sum to {counts.sum()}."
        raise ShapeError(msg)
    return Ragged(values, counts)


def of_sequences(sequences: Sequence[Any], first: int = 0, vocabulary: Vocabulary | None = None) -> Ragged:
    """Return sequences of a list, each an array, a list of steps, or a text where there is a vocabulary."""
    kinds = set(map(type, sequences))
    texts = sum(issubclass(kind, str) for kind in kinds)
    if texts and vocabulary is not None:
        if texts < len(kinds):
            _require_texts(sequences, first)
        return _of_texts(sequences, first, vocabulary)
    found = None
    if kinds == {np.ndarray}:
        found = _of_arrays(sequences, first)
    elif kinds == {list}:
        found = _of_lists(sequences, first)
    return _one_by_one(sequences, first) if found is None else found


def _of_arrays(arrays: Sequence[Host], first: int) -> Ragged | None:
    """Return arrays of NumPy; None if they are not alike."""
    dtypes = set(map(attrgetter("dtype"), arrays))
    if len(dtypes) > 1 or next(iter(dtypes)).kind not in "iuf" or not next(iter(dtypes)).isnative:
        return None
    if set(map(attrgetter("ndim"), arrays)) not in ({1}, {2}):
        return None
    try:
        values = np.concatenate(arrays)
    except ValueError:  # of widths that differ
        return None
    return Ragged(values, _lengths(arrays), first)


def _of_lists(lists: Sequence[list[Any]], first: int) -> Ragged | None:
    """Return lists of numbers, or of lists of as many numbers each; None for all others."""
    steps = list(chain.from_iterable(lists))
    try:
        values = from_lists("sequences", steps)
    except (DTypeError, TypeError, ValueError, RuntimeError):  # which is said of the one that is to blame
        return None
    if not steps:
        return Ragged(np.empty(0), _lengths(lists), first)
    if values is None or values.dtype.kind not in "iuf" or values.ndim > 2:
        return None
    return Ragged(values, _lengths(lists), first)


def _require_texts(sequences: Sequence[Any], first: int) -> None:
    """Check that all are texts, where one is, and name the first that is not."""
    for index, each in enumerate(sequences, first):
        if not isinstance(each, str):
            msg = f"`{name_of(index)}` must be a text, as other sequences are; got {got(each)}."
            raise DTypeError(msg)


def _of_texts(texts: Sequence[str], first: int, vocabulary: Vocabulary) -> Ragged:
    """Return texts as token ids."""
    if vocabulary.unit == "character":
        lengths, ids = _lengths(texts), vocabulary.ids_of_characters("".join(texts))
    else:
        words = list(map(str.split, texts))
        lengths, ids = _lengths(words), vocabulary.ids_of_words(list(chain.from_iterable(words)))
    found = Ragged(ids, lengths, first)
    if ids.size and ids.min() < 0:
        index, _ = found.place_of(int(ids.argmin()))
        Encoder(vocabulary, name_of(index)).encode(texts[index - first], is_last=True)  # which says what is wrong
    return found


def _lengths(sequences: Sequence[Any]) -> Host:
    return np.fromiter(map(len, sequences), np.int64, len(sequences))


def _one_by_one(sequences: Sequence[Any], first: int) -> Ragged:
    """Return sequences of any kinds, each looked at by itself."""
    found = {}
    for index, each in enumerate(sequences, first):
        name = name_of(index)
        if isinstance(each, str):
            msg = f"`{name}` must hold numbers; got text; give a list of texts to a model with a vocabulary as it is."
            raise DTypeError(msg)
        found[name] = as_host(name, each)
        require_dense(name, found[name])
    checks.require_together(found.items())
    arrays = _alike(found)
    xp, dtype = array_namespace(arrays[0]), _common_dtype(arrays)
    lengths = np.array([int(array.shape[0]) for array in arrays], np.int64)
    return Ragged(xp.concat([xp.astype(array, dtype) for array in arrays]), lengths, first)


def _alike(arrays: dict[str, Array]) -> list[Array]:
    """Return arrays whose shapes differ in their lengths alone; an empty list has the features of the others.

    Where some have other features than others, those are wrong that are fewer.
    """
    held = [each for each in arrays.values() if each.ndim and each.shape[0]] or [*arrays.values()]
    usual, _ = Counter(tuple(each.shape[1:]) for each in held).most_common(1)[0]
    known = next(each for each in held if tuple(each.shape[1:]) == usual)
    found = {name: known[:0, ...] if tuple(each.shape) == (0,) else each for name, each in arrays.items()}
    for name, array in found.items():
        if array.ndim not in {1, 2} or array.shape[1:] != known.shape[1:]:
            features = "".join(f", {size}" for size in known.shape[1:])
            wanted = "(length, input_size) or (length,)" if array is known else f"(length{features or ','})"
            msg = f"`{name}` must have shape {wanted}, as the other sequences; got {shown(tuple(array.shape))}."
            raise ShapeError(msg)
    return list(found.values())


def _common_dtype(arrays: Sequence[Array]) -> Any:
    """Return the dtype that all arrays can be converted to."""
    xp = array_namespace(arrays[0])
    if all(map(is_integer, arrays)) and len({array.dtype for array in arrays}) > 1:
        return xp.int64  # of int64 and uint64 NumPy would make floating point
    try:
        return xp.result_type(*(array.dtype for array in arrays))
    except TypeError as error:  # integers and floating point, in a library that does not mix them
        found = ", ".join(sorted({dtype_name(array) for array in arrays}))
        msg = (
            f"all `sequences` must be of one kind, integers or floating point; got {found}. Convert them to one dtype."
        )
        raise DTypeError(msg) from error
