"""Sequences in the rows of CSV and JSON Lines: those of an id are the steps of one, or each row is a whole one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.cli.data.names import Names
from rnn_backends.cli.data.rows import Row
from rnn_backends.cli.data.samples import Sample
from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError, VocabularyError
from rnn_backends.formats.names import listed
from rnn_backends.model.placed import Placed
from rnn_backends.model.vocabulary import Encoder


class Columns(NamedTuple):
    """The columns, or fields, that are read: of the id, of x, and of the targets."""

    id: str | None
    x: tuple[str, ...] | None
    targets: str | None


class Table:
    """The samples in rows.

    Parameters
    ----------
    columns : Columns
    placed : Placed
        The network that they are for.
    names : Names
        Those of the classes, by which targets may be given.
    reads : str
        What the readout reads.
    """

    def __init__(self, columns: Columns, placed: Placed, names: Names, reads: str) -> None:
        self._columns, self._placed, self._names, self._reads = columns, placed, names, reads
        self._x: tuple[str, ...] = ()
        self._is_whole = False
        self._steps: list[Row] = []
        self._seen: set[int | str] = set()

    def samples(self, pieces: Iterable[Iterator[Row]]) -> Iterator[Iterator[Sample]]:
        """Yield the samples, those of rows that came together together."""
        for rows in pieces:
            yield self._of(rows)
        if self._steps:
            yield iter([self._of_steps(self._steps)])

    def _of(self, rows: Iterator[Row]) -> Iterator[Sample]:
        for row in rows:
            if not self._x:
                self._x = self._chosen(row[1])
                self._is_whole = self._placed.vocabulary is not None or isinstance(row[1][self._x[0]], list)
            if self._is_whole:
                yield self._whole(row)
                continue
            steps = self._steps
            if steps and self._columns.id is not None and self._label(row) != self._label(steps[0]):
                yield self._of_steps(steps)
                steps.clear()
            steps.append(row)

    def _chosen(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the columns of x: those that are named, else those that are left."""
        for name in (self._columns.id, self._columns.targets, *(self._columns.x or ())):
            if name is not None and name not in values:
                msg = f"there is no column {name!r}; there are {listed(values)}."
                raise FormatError(msg)
        if self._columns.x:
            return self._columns.x
        left = tuple(name for name in values if name not in {self._columns.id, self._columns.targets})
        usual = "text" if self._placed.vocabulary is not None else "x"
        chosen = (usual,) if usual in left else left
        if not chosen or (self._placed.vocabulary is not None and len(chosen) > 1):
            msg = f"which column holds the input is open: {listed(left)}; name it by --x, and that of an id by --id."
            raise FormatError(msg)
        return chosen

    def _value(self, row: Row, name: str) -> Any:
        number, values = row
        if name not in values:
            msg = f"line {number} has no {name!r}, which the first one has."
            raise FormatError(msg)
        return values[name]

    def _label(self, row: Row) -> int | str:
        if self._columns.id is None:
            return row[0]
        found = self._value(row, self._columns.id)
        if not isinstance(found, (str, int)):
            msg = f"the id in line {row[0]} must be text or an integer; got {found!r:.80}."
            raise FormatError(msg)
        return found

    # Each row a sequence

    def _whole(self, row: Row) -> Sample:
        value = self._value(row, self._x[0])
        if len(self._x) > 1:
            value = self._side_by_side(row)
        x = self._encoded(row[0], value) if self._placed.vocabulary is not None else self._array(row[0], value)
        return Sample(self._label(row), x, self._targets_of_whole(row, len(x)))

    def _targets_of_whole(self, row: Row, steps: int) -> Host | None:
        """Return a class for each step, or one where the readout reads the sequence as a whole.

        Sequences are padded to the longest of a batch: a number of targets that is wrong would no longer show there.
        """
        if self._columns.targets is None:
            return None
        given = self._value(row, self._columns.targets)
        if self._reads != "steps" and not isinstance(given, list):
            return self._classes(row[0], [given])[0]  # type: ignore[no-any-return]
        if self._reads == "steps" and isinstance(given, list) and len(given) == steps:
            return self._classes(row[0], given)
        wanted = f"a list of {steps} classes, one for each step" if self._reads == "steps" else "one class"
        msg = f"the targets in line {row[0]} must be {wanted}; got {given!r:.80}."
        raise FormatError(msg)

    def _side_by_side(self, row: Row) -> Any:
        """Return lists, one for each feature, as one of steps."""
        lists = [self._value(row, name) for name in self._x]
        try:
            return [list(step) for step in zip(*lists, strict=True)]
        except (TypeError, ValueError):
            msg = f"{listed(self._x)} in line {row[0]} must be lists of one length."
            raise FormatError(msg) from None

    def _encoded(self, number: int, value: Any) -> Host:
        vocabulary = self._placed.vocabulary
        if not isinstance(value, str) or vocabulary is None:
            return self._array(number, value)
        try:
            return Encoder(vocabulary).encode(value, is_last=True)
        except VocabularyError as error:
            msg = f"line {number} of the input: {error}"
            raise VocabularyError(msg) from error

    def _array(self, number: int, value: Any) -> Host:
        """Return a list of token ids, or of steps of features, as an array."""
        size = self._placed.input_size
        try:
            array = np.asarray(value)
        except ValueError:  # of lists of different lengths
            array = np.asarray(None)
        if not array.size and array.ndim == 1:
            return self._nothing()
        if array.dtype.kind not in "iuf" or array.ndim not in {1, 2} or (array.ndim == 2 and size != array.shape[1]):
            msg = (
                f"x in line {number} must be a list of token ids, or of steps with {size} numbers each; got "
                f"{value!r:.80}."
            )
            raise FormatError(msg)
        if array.ndim == 2 and array.dtype.kind != "f":  # or integers would be token ids
            array = array.astype(np.float64)
        is_flat = array.ndim == 1 and (array.dtype.kind == "f" or self._placed.network.takes == "features")
        return array[:, None] if is_flat and size == 1 else array

    def _nothing(self) -> Host:
        if self._placed.network.takes == "features":
            return np.empty((0, self._placed.input_size or 1))
        return np.empty(0, np.int32)

    def _classes(self, number: int, given: Sequence[Any]) -> Host:
        """Return the ids of classes that are given by name or id."""
        found = [self._names.id_of(each) for each in given]
        if None in found:
            wrong = given[found.index(None)]
            msg = f"line {number} has the target {wrong!r:.80}, which is no id and none of the classes {self._names}."
            raise FormatError(msg)
        return np.array(found, np.int64)

    # Each row a step

    def _of_steps(self, rows: list[Row]) -> Sample:
        label = self._label(rows[0])
        if label in self._seen:
            msg = (
                f"the rows of the sequence {label!r} are not together: it begins again in line {rows[0][0]}; sort them."
            )
            raise FormatError(msg)
        self._seen.add(label)
        x = np.array([[self._number(row, name) for name in self._x] for row in rows])
        if self._is_ids():
            if not ((x == np.trunc(x)) & (np.abs(x) < 2**53)).all():
                msg = f"the token ids in column {self._x[0]!r} must be integers; those from line {rows[0][0]} are not."
                raise FormatError(msg)
            x = x[:, 0].astype(np.int64)
        elif x.shape[1] != self._placed.input_size:
            msg = (
                f"the model takes {self._placed.input_size} features, and there are {x.shape[1]} columns of them, "
                f"{listed(self._x)}; choose by --x NAME,NAME, and name that of an id by --id."
            )
            raise FormatError(msg)
        return Sample(label, x, self._targets_of(rows))

    def _is_ids(self) -> bool:
        """Return whether the one column of x holds token ids."""
        takes, size = self._placed.network.takes, self._placed.input_size
        return len(self._x) == 1 and (takes == "tokens" or (takes is None and size != 1))

    def _number(self, row: Row, name: str) -> float:
        value = self._value(row, name)
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            msg = f"column {name!r} must hold numbers; got {value!r:.80} in line {row[0]}; leave it out by --x or --id."
            raise FormatError(msg) from None

    def _targets_of(self, rows: list[Row]) -> Host | None:
        """Return the class of each step, or that of all where the readout reads the sequence as a whole."""
        name = self._columns.targets
        if name is None:
            return None
        found = np.concatenate([self._classes(row[0], [self._value(row, name)]) for row in rows])
        if self._reads == "steps":
            return found
        if (found != found[0]).any():
            msg = (
                f"the sequence {self._label(rows[0])!r} is read as a whole, and its rows from line {rows[0][0]} on "
                "have several targets; give all of them the same."
            )
            raise FormatError(msg)
        one: Host = found[0]
        return one
