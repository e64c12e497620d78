"""Nested lists as arrays of NumPy, looked through before an array is made of them.

NumPy makes an array of text of a list that holds a single one, in which every number takes as much as the longest.
"""

from collections.abc import Sequence
from itertools import chain
from math import prod
from operator import countOf
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.parameters import require_unmasked

DEEPEST = 8
"""The most axes of nested lists; one that holds itself twice has twice as many items on each."""
NESTED = (list, tuple)
DTYPES: dict[type, Any] = {float: np.float64, int: np.int64}
PLAIN = {float, int, bool, complex, np.float32, np.float64, np.int32, np.int64}
"""Types of numbers, none of which holds text."""


def from_lists(name: str, value: Sequence[Any]) -> Host | None:
    """Return nested lists of numbers as an array; None for those that hold text, bytes or records.

    Raises
    ------
    DTypeError
        They hold a masked array, or a number that is masked.
    ValueError
        Lists of an axis differ in length, or are nested too deep.
    """
    rows, shape = [value], [len(value)]
    while isinstance(first := next(chain.from_iterable(rows), None), NESTED):
        rows = list(chain.from_iterable(rows))
        are_lists = all(issubclass(kind, NESTED) for kind in set(map(type, rows)))
        if not are_lists or len(set(map(len, rows))) > 1 or len(shape) == DEEPEST:
            msg = "lists of an axis differ in length, or are nested too deep"
            raise ValueError(msg)
        shape.append(len(first))
    # No list of all items is made, which takes longer than to count those of a type.
    kind, size = type(first), prod(shape)
    if kind in DTYPES and countOf(map(type, chain.from_iterable(rows)), kind) == size:
        try:
            return np.fromiter(chain.from_iterable(rows), DTYPES[kind], size).reshape(shape)
        except OverflowError:  # of integers beyond 64 bits, of which NumPy decides
            return np.asarray(value)
    kinds = set(map(type, chain.from_iterable(rows)))
    is_text = any(issubclass(each, (str, bytes, np.flexible)) for each in kinds)
    if is_text:
        return None
    if not kinds <= PLAIN:
        for item in chain.from_iterable(rows):
            require_unmasked(name, item)
            if _holds_text(item):
                return None
    return np.asarray(value)


def _holds_text(item: object) -> bool:
    return isinstance(item, np.ndarray) and item.dtype.kind in "USTV"
