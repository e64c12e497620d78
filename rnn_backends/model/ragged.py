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
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.backends.nested import from_lists
from rnn_backends.backends.transfer import as_host
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, Host, array_namespace, dtype_name, is_integer
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import require_dense
from rnn_backends.errors import DTypeError, ShapeError
from rnn_backends.model.vocabulary import Encoder, Vocabulary

Found = tuple[Array, Host]
"""The values of sequences one after another, and the lengths."""


class _Place(NamedTuple):
    """Where sequences stand: the place of the first among all, and the argument that holds them."""

    first: int
    name: str

    def name_of(self, index: int) -> str:
        return f"{self.name}[{index}]"


class Ragged:
    """Sequences one after another.

    Parameters
    ----------
    values : array, shape (steps of all, input_size) or (steps of all,)
    lengths : numpy.ndarray of int64, shape (count,)
    first : int, default 0
        The place of the first of them among all that there are.
    name : str, default "sequences"
        The argument that holds them, in messages.
    """

    def __init__(self, values: Array, lengths: Host, first: int = 0, name: str = "sequences") -> None:
        self.values, self.lengths, self.first, self.name = values, lengths, first, name

    @cached_property
    def offsets(self) -> Host:
        """The place of the first step of each sequence in the values, and the end of the last, (count + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])

    def part(self, start: int, stop: int) -> "Ragged":
        """Return some of the sequences; of their values no copy is made."""
        ends = self.offsets[[start, stop]].tolist()
        values = self.values if ends == [0, self.values.shape[0]] else self.values[ends[0] : ends[1], ...]
        return Ragged(values, self.lengths[start:stop], self.first + start, self.name)

    def with_values(self, values: Array) -> "Ragged":
        """Return the same sequences of other numbers."""
        return Ragged(values, self.lengths, self.first, self.name)

    def name_of(self, index: int) -> str:
        """Return the name, in messages, of the sequence at a place among all."""
        return _Place(self.first, self.name).name_of(index)

    def shape_of(self, index: int) -> tuple[int, ...]:
        """Return the shape of the sequence at a place among all."""
        length = int(self.lengths[index - self.first]) if len(self.lengths) else 0
        return (length, *self.values.shape[1:])

    def place_of(self, step: int) -> tuple[int, int]:
        """Return the place, among all sequences, of the one in which a step of the values stands, and that step's."""
        index = min(int(np.searchsorted(self.offsets, step, "right")), max(1, len(self.lengths))) - 1
        return self.first + index, step - int(self.offsets[index])


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
    checks.require_range("lengths", counts, values.shape[0] + 1, "length")  # or their sum may be none of int64
    counts = counts.astype(np.int64)
    if counts.sum() != values.shape[0]:
        msg = f"`lengths` must sum to the {values.shape[0]} steps in `sequences`; they sum to {counts.sum()}."
        raise ShapeError(msg)
    return Ragged(values, counts)


def of_sequences(
    sequences: Sequence[Any], first: int = 0, vocabulary: Vocabulary | None = None, name: str = "sequences"
) -> Ragged:
    """Return sequences of a list, each an array, a list of steps, or a text where there is a vocabulary."""
    kinds = set(map(type, sequences))
    texts = sum(issubclass(kind, str) for kind in kinds)
    found = None
    if texts and vocabulary is not None:
        found = _of_texts(sequences, _Place(first, name), vocabulary, is_mixed=texts < len(kinds))
    elif kinds == {np.ndarray}:
        found = _of_arrays(sequences)
    elif kinds == {list}:
        found = _of_lists(sequences)
    values, lengths = _one_by_one(sequences, _Place(first, name)) if found is None else found
    return Ragged(values, lengths, first, name)


def _of_arrays(arrays: Sequence[Host]) -> Found | None:
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
    return values, _lengths(arrays)


def _of_lists(lists: Sequence[list[Any]]) -> Found | None:
    """Return lists of numbers, or of lists of as many numbers each; None for all others."""
    steps = list(chain.from_iterable(lists))
    try:
        values = from_lists("sequences", steps)
    except (DTypeError, TypeError, ValueError, RuntimeError):  # which is said of the one that is to blame
        return None
    if not steps:
        return np.empty(0), _lengths(lists)
    if values is None or values.dtype.kind not in "iuf" or values.ndim > 2:
        return None
    return values, _lengths(lists)


def _of_texts(texts: Sequence[str], place: _Place, vocabulary: Vocabulary, *, is_mixed: bool) -> Found:
    """Return texts as token ids."""
    if is_mixed:
        index, other = next((k, each) for k, each in enumerate(texts, place.first) if not isinstance(each, str))
        msg = f"`{place.name_of(index)}` must be a text, as other sequences are; got {got(other)}."
        raise DTypeError(msg)
    if vocabulary.unit == "character":
        lengths, ids = _lengths(texts), vocabulary.ids_of_characters("".join(texts))
    else:
        words = list(map(str.split, texts))
        lengths, ids = _lengths(words), vocabulary.ids_of_words(list(chain.from_iterable(words)))
    if ids.size and ids.min() < 0:
        index, _ = Ragged(ids, lengths).place_of(int(ids.argmin()))
        Encoder(vocabulary, place.name_of(place.first + index)).encode(
            texts[index], is_last=True
        )  # which says what is wrong
    return ids, lengths


def _lengths(sequences: Sequence[Any]) -> Host:
    return np.fromiter(map(len, sequences), np.int64, len(sequences))


def _one_by_one(sequences: Sequence[Any], place: _Place) -> Found:
    """Return sequences of any kinds, each looked at by itself."""
    found = {}
    for index, each in enumerate(sequences, place.first):
        name = place.name_of(index)
        if isinstance(each, str):
            msg = f"`{name}` must hold numbers; got text; give a list of texts to a model with a vocabulary as it is."
            raise DTypeError(msg)
        found[name] = as_host(name, each)
        require_dense(name, found[name])
    checks.require_together(found.items())
    arrays = _alike(found)
    xp, dtype = array_namespace(arrays[0]), _common_dtype(arrays, place.name)
    lengths = np.array([int(array.shape[0]) for array in arrays], np.int64)
    return xp.concat([xp.astype(array, dtype) for array in arrays]), lengths


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


def _common_dtype(arrays: Sequence[Array], name: str) -> Any:
    """Return the dtype that all arrays can be converted to."""
    xp = array_namespace(arrays[0])
    if all(map(is_integer, arrays)) and len({array.dtype for array in arrays}) > 1:
        return xp.int64  # of int64 and uint64 NumPy would make floating point
    try:
        return xp.result_type(*(array.dtype for array in arrays))
    except TypeError as error:  # integers and floating point, in a library that does not mix them
        found = ", ".join(sorted({dtype_name(array) for array in arrays}))
        msg = f"all `{name}` must be of one kind, integers or floating point; got {found}. Convert them to one dtype."
        raise DTypeError(msg) from error
