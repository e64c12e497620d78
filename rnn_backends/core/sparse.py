"""`Sparse`: a recurrent matrix of which most entries are zero, in operations of the array API standard.

The standard has no sparse arrays and no sums over segments.  Rows of about as many entries are therefore kept
together, each filled up with zeros to the next power of two: less than twice the entries, whatever their distribution.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Array, Host, array_namespace, device
from rnn_backends.core.messages import shown
from rnn_backends.core.parameters import require_floating
from rnn_backends.errors import ShapeError

BUDGET = 2**22
"""The most products that are held at once, where a batch can be cut to that."""


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Rows of a sparse matrix with room for so many entries each.

    Parameters
    ----------
    values : array, shape (num_rows, room)
        The entries, and zeros after them.
    columns : integer array, shape (num_rows, room)
        Their columns; those of the zeros are that of the row's last entry.
    """

    values: Array
    columns: Array


@dataclass(frozen=True, eq=False, repr=False)
class Sparse:
    """A sparse matrix, as `Cell` holds one for the `weight_hh` that was given as one of scipy or cupyx.

    Parameters
    ----------
    parts : tuple of Rows
        By the number of their entries.
    order : integer array, shape (num_rows,)
        The place of each row of the matrix among those of the parts.
    shape : tuple of int
        The number of rows and of columns.

    Examples
    --------
    >>> import numpy as np
    >>> from rnn_backends.core.sparse import Sparse
    >>> matrix = Sparse.of(np.array([2.0, 3.0]), np.array([1, 0]), np.array([0, 1, 1, 2]), (3, 2))
    >>> matrix.product(np.array([[10.0, 100.0]]))
    array([[200.,   0.,  30.]])
    """

    parts: tuple[Rows, ...]
    order: Array
    shape: tuple[int, int]

    @classmethod
    def of(cls, values: Array, columns: Array, starts: Array, shape: tuple[int, int]) -> "Sparse":
        """Return the matrix of its entries row by row, as scipy's ``csr_array`` has them, on their device.

        Parameters
        ----------
        values : array, shape (num_entries,)
            ``data`` of scipy.
        columns : integer array, shape (num_entries,)
            ``indices`` of scipy.
        starts : integer array, shape (num_rows + 1,)
            ``indptr`` of scipy: row i has the entries from ``starts[i]`` to ``starts[i + 1]``.
        shape : tuple of int

        Returns
        -------
        Sparse
        """
        xp, place = array_namespace(values), device(values)
        counts = starts[1:] - starts[:-1]
        rooms = [0] + [2**power for power in range(max(0, int(xp.max(counts)) - 1).bit_length() + 1)]
        parts, rows = [], []
        for low, room in zip([-1, *rooms], rooms, strict=False):
            (chosen,) = xp.nonzero((counts > low) & (counts <= room))
            if not chosen.shape[0]:
                continue
            offsets = xp.arange(room, dtype=starts.dtype, device=place)[None, :]
            count = xp.take(counts, chosen)[:, None]
            entries = xp.reshape(
                xp.take(starts, chosen)[:, None] + xp.where(offsets < count, offsets, count - 1), (-1,)
            )
            held = xp.reshape(xp.take(values, entries), (chosen.shape[0], room))
            held = xp.where(offsets < count, held, xp.zeros_like(held))
            parts.append(Rows(held, xp.reshape(xp.take(columns, entries), (chosen.shape[0], room))))
            rows.append(chosen)
        order = xp.astype(xp.argsort(xp.concat(rows)), columns.dtype)
        return cls(tuple(parts), order, shape)

    def __repr__(self) -> str:
        return f"Sparse(shape={self.shape}, entries={self.num_entries})"

    @property
    def num_entries(self) -> int:
        """The number of places that hold a number, those that fill up rows among them."""
        return sum(part.values.shape[0] * part.values.shape[1] for part in self.parts)

    def product(self, h: Array) -> Array:
        """Return W h for each of some states.

        Parameters
        ----------
        h : array, shape (..., num_columns)

        Returns
        -------
        array, shape (..., num_rows)
        """
        xp = array_namespace(h)
        *leading, size = h.shape
        rows = xp.reshape(h, (-1, size))
        count = rows.shape[0]
        step = max(1, BUDGET // max(1, *(part.values.shape[0] * part.values.shape[1] for part in self.parts)))
        cuts = [*range(0, max(1, count), step), count]
        sums = [self._sums(rows[start:stop, :]) for start, stop in pairwise(cuts)]
        return xp.reshape(sums[0] if len(sums) == 1 else xp.concat(sums), (*leading, self.shape[0]))

    def _sums(self, h: Array) -> Array:
        xp, found = array_namespace(h), []
        for part in self.parts:
            rows, room = part.columns.shape
            taken = xp.take(h, xp.reshape(part.columns, (rows * room,)), axis=1)
            found.append(xp.sum(xp.reshape(taken, (h.shape[0], rows, room)) * part.values, axis=-1))
        return xp.take(xp.concat(found, axis=1), self.order, axis=1)

    def entries(self) -> tuple[Host, Host, Host]:
        """Return the entries that are not zero of a matrix on NumPy, row by row, as `of` takes them."""
        flat = [(np.repeat(np.arange(part.values.shape[0]), part.values.shape[1]), part) for part in self.parts]
        begin = np.cumsum([0, *(part.values.shape[0] for part in self.parts)])
        places = np.concatenate([rows + first for (rows, _), first in zip(flat, begin[:-1], strict=True)])
        rows = np.argsort(self.order)[places]
        values = np.concatenate([part.values.ravel() for _, part in flat])
        columns = np.concatenate([part.columns.ravel() for _, part in flat])
        kept = np.flatnonzero(values != 0)
        kept = kept[np.argsort(rows[kept], kind="stable")]
        counts = np.bincount(rows[kept], minlength=self.shape[0])
        return values[kept], columns[kept], np.concatenate([[0], np.cumsum(counts)])


def is_sparse(value: object) -> bool:
    """Return whether a value is a sparse matrix, of scipy or cupyx or this one."""
    return isinstance(value, Sparse) or (hasattr(value, "tocsr") and hasattr(value, "shape"))


def as_sparse(name: str, value: Any) -> Sparse:
    """Return a sparse matrix of scipy or cupyx, of any of their formats, as one of this package."""
    if isinstance(value, Sparse):
        return value
    held = value.tocsr(copy=True)
    if len(held.shape) != 2:
        msg = f"`{name}` must be a sparse matrix; got one of shape {shown(tuple(held.shape))}."
        raise ShapeError(msg)
    held.sum_duplicates()
    require_floating(name, held.data)
    return Sparse.of(held.data, held.indices, held.indptr, (int(held.shape[0]), int(held.shape[1])))
