"""Values of a table as the input of a network: texts, token ids, features."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import FormatError, VocabularyError
from rnn_backends.model.placed import Placed
from rnn_backends.model.vocabulary import Encoder


def is_list(value: Any) -> bool:
    """Return whether a value of a table is a list; those of numbers in Parquet are arrays."""
    return isinstance(value, (list, np.ndarray))


def kind_of(value: Any) -> str:
    """Return what a message says of a value of a table, of a list how long it is."""
    return f"a list of {len(value)}" if is_list(value) else got(value)


class Values:
    """Input of a network, made of the values in the lines or rows of a table; errors name the line.

    Parameters
    ----------
    placed : Placed
    count : callable
        It is given the token ids of each text.
    place : str
        What the table is made of, lines or rows.
    """

    def __init__(self, placed: Placed, count: Callable[[Host], None], place: str) -> None:
        self._count, self.place = count, place
        self._takes, self._size, self.vocabulary = placed.network.takes, placed.input_size, placed.vocabulary
        self._is_ids: bool | None = None if self._takes is None else self._takes == "tokens"

    def sequence(self, number: int, value: Any) -> Host:
        """Return a text, or a list of token ids or of steps of features, as an array."""
        if isinstance(value, str) and self.vocabulary is not None:
            try:
                ids = Encoder(self.vocabulary, f"the text in {self.place} {number}").encode(value, is_last=True)
            except VocabularyError as error:
                raise FormatError(str(error)) from error
            self._count(ids)
            return ids
        try:
            array = np.asarray(value)
        except ValueError:  # of lists of different lengths
            array = np.asarray(None)
        if array.shape == (0,):
            return np.empty(0, np.int32) if self._is_ids is not False else np.empty((0, self._size or 1))
        found = self._fitting(array)
        if found is None:
            msg = f"x in {self.place} {number} must be {self._wanted()}; got {kind_of(value)}."
            raise FormatError(msg)
        if self._is_ids:
            self._require_ids(number, found)
        return found

    def _fitting(self, array: Host) -> Host | None:
        """Return an array as ids or features, whichever they are; None where it is neither, or not what came before."""
        kind = array.dtype.kind
        if kind not in "iuf":
            return None
        if self._is_ids is None:  # the first one that is not empty says it
            self._is_ids = array.ndim == 1 and kind in "iu" and self._size != 1
        if self._is_ids:
            return array if array.ndim == 1 and kind in "iu" else None
        if array.ndim == 1 and self._size == 1:
            array = array[:, None]
        is_right = array.ndim == 2 and self._size in {None, array.shape[1]}
        return array.astype(np.float64) if is_right else None  # of integers core would make token ids

    def _wanted(self) -> str:
        ids = "a list of token ids" if self.vocabulary is None else "a text, or a list of token ids"
        features = f"a list of steps with {self._size} numbers each"
        return {True: ids, False: features, None: f"{ids}, or {features}"}[self._is_ids]

    def _require_ids(self, number: int, ids: Host) -> None:
        outside = (ids < 0) | (ids >= (self._size or 2**31))
        if outside.any():
            most = (self._size or 2**31) - 1
            msg = f"each token id must be in 0..{most}; got {ids[outside.argmax()]} in {self.place} {number}."
            raise FormatError(msg)

    def steps(self, number: int, rows: list[list[float]], columns: tuple[str, ...]) -> Host:
        """Return rows of numbers, the steps of a sequence that begins in a line, as ids or features."""
        x = np.array(rows, np.float64)
        if len(columns) == 1 and (self._takes == "tokens" or (self._takes is None and self._size != 1)):
            if not ((x == np.trunc(x)) & (np.abs(x) < 2**53)).all():
                column = shown(columns[0])
                where = f"those from {self.place} {number} on"
                msg = f"the token ids in column {column} must be integers; {where} are not."
                raise FormatError(msg)
            self._require_ids(number, x[:, 0].astype(np.int64))
            return x[:, 0].astype(np.int64)
        if x.shape[1] != self._size:
            msg = (
                f"the model takes {self._size} features, and there are {x.shape[1]} columns of them, "
                f"{listed(columns)}; choose by --x NAME,NAME, and name that of an id by --id."
            )
            raise FormatError(msg)
        return x
