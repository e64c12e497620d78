"""Sequences in the rows of tables: those of an id are the steps of one, or each row is a whole one."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.cli.running.names import Names
from rnn_backends.cli.running.rows import Row
from rnn_backends.cli.running.samples import Sample
from rnn_backends.cli.running.values import Values, is_list, kind_of
from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import FormatError


class Columns(NamedTuple):
    """The columns, or fields, that are read: of the id, of x, and of the targets."""

    id: str | None
    x: tuple[str, ...] | None
    targets: str | None


class _Steps:
    """The sequence whose steps are read: numbers alone, as the text of all rows would take many times as much."""

    def __init__(self, label: int | str, line: int) -> None:
        self.label, self.line = label, line
        self.x: list[list[float]] = []
        self.targets: list[int] = []


class Table:
    """The samples in rows.

    Parameters
    ----------
    columns : Columns
    values : Values
        What the network takes.
    names : Names
        Those of the classes, by which targets may be given.
    reads : str
        What the readout reads.
    report_columns : callable
        It is given the columns of x as soon as they are known.
    """

    def __init__(
        self,
        columns: Columns,
        values: Values,
        names: Names,
        reads: str,
        report_columns: Callable[[Sequence[str]], None],
    ) -> None:
        self._report_columns = report_columns
        self._columns, self._values, self._names, self._reads = columns, values, names, reads
        self._place = values.place
        self._x: tuple[str, ...] = ()
        self._is_whole = False
        self._steps: _Steps | None = None
        self._seen: set[int | str] = set()

    def samples(self, pieces: Iterable[Iterator[Row]]) -> Iterator[Iterator[Sample]]:
        """Yield the samples, those of rows that came together together."""
        for rows in pieces:
            yield self._of(rows)
        if self._steps is not None:
            yield iter([self._of_steps(self._steps)])

    def _of(self, rows: Iterator[Row]) -> Iterator[Sample]:
        for row in rows:
            if not self._x:
                self._x = self._chosen(row[1])
                self._report_columns(self._x)
                self._is_whole = self._values.vocabulary is not None or is_list(row[1][self._x[0]])
            if self._is_whole:
                yield self._whole(row)
            else:
                yield from self._step(row)

    def needed(self, names: Iterable[str]) -> list[str]:
        """Return those of the columns of a table that are read, in their order."""
        names = list(names)
        read = {*self._chosen(names), self._columns.id, self._columns.targets}
        return [name for name in names if name in read]

    def _chosen(self, values: Collection[str]) -> tuple[str, ...]:
        """Return the columns of x: those that are named, else those that are left."""
        is_text, others = self._values.vocabulary is not None, {self._columns.id, self._columns.targets}
        for name in (*others, *(self._columns.x or ())):
            if name is not None and name not in values:
                msg = f"there is no column {shown(name)}; there are {listed(values)}."
                raise FormatError(msg)
        left = tuple(name for name in values if name not in others)
        usual = "text" if is_text else "x"
        chosen = self._columns.x or ((usual,) if usual in left else left)
        if taken := others & {*chosen}:
            msg = f"column {shown(taken.pop())} is named twice: it cannot be input and id or target at once."
            raise FormatError(msg)
        if not chosen or (is_text and len(chosen) > 1):
            msg = (
                f"the text must be in one column, and there are {listed(chosen)}; name it by --x, and the id's by --id."
            )
            raise FormatError(msg)
        return chosen

    def _value(self, row: Row, name: str) -> Any:
        number, values = row
        if name not in values:
            msg = f"{self._place} {number} has no {shown(name)}, which the first one has."
            raise FormatError(msg)
        return values[name]

    def _label(self, row: Row) -> int | str:
        if self._columns.id is None:
            return row[0]
        found = self._value(row, self._columns.id)
        if not isinstance(found, (str, int)) or isinstance(found, bool):
            msg = f"the id in {self._place} {row[0]} must be text or an integer; got {got(found)}."
            raise FormatError(msg)
        return found

    # Each row a sequence

    def _whole(self, row: Row) -> Sample:
        value = self._value(row, self._x[0]) if len(self._x) == 1 else self._side_by_side(row)
        x = self._values.sequence(row[0], value)
        return Sample(self._label(row), x, self._targets_of_whole(row, len(x)))

    def _side_by_side(self, row: Row) -> Any:
        """Return lists, one for each feature, as one of steps."""
        lists = [self._value(row, name) for name in self._x]
        try:
            return [list(step) for step in zip(*lists, strict=True)]
        except (TypeError, ValueError):
            msg = f"{listed(self._x)} in {self._place} {row[0]} must be lists of one length."
            raise FormatError(msg) from None

    def _targets_of_whole(self, row: Row, steps: int) -> Host | None:
        """Return a class for each step, or one where the readout reads the sequence as a whole.

        Sequences are padded to the longest of a batch: a number of targets that is wrong would no longer show there.
        """
        if self._columns.targets is None:
            return None
        given = self._value(row, self._columns.targets)
        if isinstance(given, np.ndarray):
            given = given.tolist()
        if self._reads != "steps" and not isinstance(given, list):
            return self._classes(row[0], [given])[0]  # type: ignore[no-any-return]
        if isinstance(given, str) and self._names.vocabulary is not None:
            given = given if self._names.unit == "character" else given.split()
        if self._reads == "steps" and isinstance(given, (list, str)) and len(given) == steps:
            return self._classes(row[0], given)
        wanted = f"a list of {steps} classes, one for each step" if self._reads == "steps" else "one class"
        msg = f"the targets in {self._place} {row[0]} must be {wanted}; got {kind_of(given)}."
        raise FormatError(msg)

    def _classes(self, number: int, given: Sequence[Any]) -> Host:
        """Return the ids of classes that are given by name or id."""
        found = [self._names.id_of(each) for each in given]
        if None in found:
            wrong = given[found.index(None)]
            none = f"which is no id and none of the classes {self._names}"
            msg = f"{self._place} {number} has the target {got(wrong)}, {none}."
            raise FormatError(msg)
        return np.array(found, np.int64)

    # Each row a step

    def _step(self, row: Row) -> Iterator[Sample]:
        """Take a step, and yield the sequence before where it begins another."""
        steps, label = self._steps, self._label(row)
        if steps is None or (self._columns.id is not None and label != steps.label):
            if steps is not None:
                yield self._of_steps(steps)
            if label in self._seen:
                again = f"it begins again in {self._place} {row[0]}"
                msg = f"the rows of the sequence {shown(label)} are not together: {again}; sort them."
                raise FormatError(msg)
            self._seen.add(label)
            self._steps = steps = _Steps(label, row[0])
        steps.x.append([self._number(row, name) for name in self._x])
        if self._columns.targets is not None:
            steps.targets += self._classes(row[0], [self._value(row, self._columns.targets)]).tolist()

    def _number(self, row: Row, name: str) -> float:
        value = self._value(row, name)
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            found = f"got {got(value)} in {self._place} {row[0]}"
            msg = f"column {shown(name)} must hold numbers; {found}; leave it out by --x or --id."
            raise FormatError(msg) from None

    def _of_steps(self, steps: _Steps) -> Sample:
        x = self._values.steps(steps.line, steps.x, self._x)
        return Sample(steps.label, x, self._targets_of(steps))

    def _targets_of(self, steps: _Steps) -> Host | None:
        """Return the class of each step, or that of all where the readout reads the sequence as a whole."""
        if self._columns.targets is None:
            return None
        found = np.array(steps.targets, np.int64)
        if self._reads == "steps":
            return found
        if (found != found[0]).any():
            msg = (
                f"the sequence {shown(steps.label)} is read as a whole, and its rows from {self._place} {steps.line} "
                "on have several targets; give all of them the same."
            )
            raise FormatError(msg)
        one: Host = found[0]
        return one
