"""`Sparse`: a recurrent matrix of which few entries are stored, in operations of the array API standard.

The standard has no sparse arrays and no sums over segments.  Rows of about as many entries are therefore kept together,
the k-th entries of all of them side by side, each row filled up to as many as the longest of them has: less than twice
the entries, whatever their distribution, and one place for each row without any.  What fills up is 0, and takes a state
that is 0, so that neither results nor gradients know of it.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Array, Host, array_namespace, as_indices
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import require_floating
from rnn_backends.core.sparse_rows import joined, laid_out, require_axes, require_kinds, require_values
from rnn_backends.errors import BackendMismatchError, DTypeError, ShapeError

BUDGET = 2**22
"""The most products that are held at once, where a batch can be cut to that."""
_WAY = "scipy.sparse.csr_array((data, indices, indptr), shape)"


@dataclass(frozen=True, eq=False, repr=False)
class Sparse:
    """A sparse matrix, as `Cell` holds one for a ``weight_hh`` that was given as one of scipy or cupyx.

    Made by `from_csr`, or by a `Cell`.  Entries that are zero or share a place stay as they are; those of one place add
    up.  The arrays, whose dtype and library are those of the entries, are laid out for `product`: in parts of rows of
    about as many entries, of each part first the first entries of all rows, then the second ones, and so on.

    Parameters
    ----------
    values : array, shape (num_places,)
        The entries, and zeros that fill up rows.
    columns : integer array, shape (num_places,)
        Their columns; that of a zero that fills up is the number of columns.
    order : integer array, shape (num_rows,), optional
        The place of each row of the matrix among those of the parts; None where they stand in order.
    parts : tuple of (int, int)
        The number of rows of each part, and of places of each of its rows.
    shape : tuple of int
        The number of rows and of columns.
    num_entries : int
        The number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> matrix = rb.Sparse.from_csr(np.array([2.0, 3.0]), np.array([1, 0]), np.array([0, 1, 1, 2]), (3, 2))
    >>> matrix
    Sparse(shape=(3, 2), num_entries=2)
    >>> matrix.product(np.array([[10.0, 100.0]]))
    array([[200.,   0.,  30.]])
    """

    values: Array
    columns: Array
    order: Array | None
    parts: tuple[tuple[int, int], ...]
    shape: tuple[int, int]
    num_entries: int

    @classmethod
    def from_csr(cls, data: Array, indices: Array, indptr: Array, shape: tuple[int, int]) -> "Sparse":
        """Return the matrix of its entries row by row, as the ``csr_array`` of scipy and the one of cupyx have them.

        Everything stays on the device of the arrays; numbers alone are read, for the sizes and the checks, and so it
        cannot be traced.

        Parameters
        ----------
        data : array, shape (num_entries,)
        indices : integer array, shape (num_entries,)
            Their columns, in any order.
        indptr : integer array, shape (num_rows + 1,)
            Row i has the entries from ``indptr[i]`` to ``indptr[i + 1]``.
        shape : tuple of int

        Returns
        -------
        Sparse

        Raises
        ------
        ShapeError, DTypeError
            An array has another shape, or a dtype of another kind.
        ArgumentError
            A column is out of range, or the starts of the rows decrease, or do not end with the entries.
        """
        sizes = require_axes(shape)
        require_kinds(data, indices, indptr, sizes[0])
        xp = array_namespace(data)
        indices, indptr = as_indices(indices), as_indices(indptr)
        counts = indptr[1:] - indptr[:-1]
        require_values(data, indices, indptr, counts, sizes[1])
        bounds = [2**power for power in range(max(0, int(xp.max(counts)) - 1).bit_length())]
        kinds = xp.zeros_like(counts)
        for bound in bounds:
            kinds = kinds + xp.astype(counts > bound, counts.dtype)
        rows = xp.argsort(kinds, stable=True)
        ends = [int(xp.sum(xp.astype(kinds <= kind, xp.int64))) for kind in range(len(bounds) + 1)]
        parts, values, columns = [], list[Array](), list[Array]()
        for begin, end in pairwise([0, *ends]):
            if begin == end:
                continue
            starts, sizes_of_rows = (xp.take(each, rows[begin:end]) for each in (indptr, counts))
            parts.append((end - begin, int(xp.max(sizes_of_rows))))
            for each in laid_out(data, indices, starts, sizes_of_rows, sizes[1]):
                values.append(each[0])
                columns.append(each[1])
        order = None if len(parts) == 1 else xp.astype(xp.argsort(rows), xp.int32)
        return cls(joined(values), joined(columns), order, tuple(parts), sizes, int(data.shape[0]))

    def __repr__(self) -> str:
        return f"Sparse(shape={self.shape}, num_entries={self.num_entries})"

    @property
    def is_filled_up(self) -> bool:
        """Whether there are places beside those of the entries."""
        return sum(rows * room for rows, room in self.parts) > self.num_entries

    def product(self, h: Array) -> Array:
        """Return W h for each of some states.

        Parameters
        ----------
        h : array, shape (..., num_columns)
            Of the dtype of the entries.

        Returns
        -------
        array, shape (..., num_rows)

        Raises
        ------
        ShapeError
            The last axis of `h` is not as long as a row.
        """
        xp = array_namespace(h)
        *leading, size = h.shape or (0,)
        if size != self.shape[1]:
            msg = f"`h` must have shape (..., num_columns) = (..., {self.shape[1]}); got {shown(tuple(h.shape))}."
            raise ShapeError(msg)
        count = prod(leading)
        rows = xp.reshape(h, (count, size))
        step = max(1, BUDGET // max(1, self.columns.shape[0]))
        cuts = [*range(0, max(1, count), step), count]
        sums = [self._sums(rows[start:stop, :]) for start, stop in pairwise(cuts)]
        return xp.reshape(sums[0] if len(sums) == 1 else xp.concat(sums), (*leading, self.shape[0]))

    def _sums(self, h: Array) -> Array:
        xp, found, begin = array_namespace(h), list[Array](), 0
        if self.is_filled_up:
            h = xp.concat([h, xp.zeros_like(h[:, :1])], axis=1)
        products = xp.take(h, self.columns, axis=1) * self.values
        for rows, room in self.parts:
            part = xp.reshape(products[:, begin : begin + room * rows], (h.shape[0], room, rows))
            found.append(xp.sum(part, axis=1, dtype=h.dtype))
            begin += room * rows
        if self.order is None:
            return found[0]
        return xp.take(xp.concat(found, axis=1), self.order, axis=1)

    def to_csr(self) -> tuple[Host, Host, Host]:
        """Return the entries row by row, as `from_csr` takes them, of a matrix on NumPy.

        Returns
        -------
        data : numpy.ndarray, shape (num_entries,)
        indices : numpy.ndarray of int32, shape (num_entries,)
        indptr : numpy.ndarray of int32, or of int64 for more entries than that counts, shape (num_rows + 1,)

        Raises
        ------
        BackendMismatchError
            It is an array of another library.

        Examples
        --------
        >>> import numpy as np
        >>> import rnn_backends as rb
        >>> matrix = rb.Sparse.from_csr(np.array([2.0, 3.0]), np.array([1, 0]), np.array([0, 1, 1, 2]), (3, 2))
        >>> matrix.to_csr()[1]
        array([1, 0], dtype=int32)
        """
        if not isinstance(self.values, np.ndarray):
            msg = (
                f"`to_csr` takes a matrix on NumPy; got one of {type(self.values).__name__}. Move the model first: "
                "rnn.to('numpy')."
            )
            raise BackendMismatchError(msg)
        rows = self._rows_of_places()
        kept = np.flatnonzero(self.columns < self.shape[1])
        kept = kept[np.argsort(rows[kept], kind="stable")]
        counts = np.bincount(rows[kept], minlength=self.shape[0])
        starts = np.concatenate([[0], np.cumsum(counts)])
        kind = np.int32 if self.num_entries < 2**31 else np.int64
        return self.values[kept], self.columns[kept], starts.astype(kind)

    def _rows_of_places(self) -> Host:
        """Return the row of each place, those that fill up rows among them, of a matrix on NumPy."""
        rows = np.arange(self.shape[0]) if self.order is None else np.argsort(self.order)
        ends = np.cumsum([0, *(count for count, _ in self.parts)])
        held = zip(pairwise(ends), self.parts, strict=True)
        found = [np.tile(rows[begin:end], room) for (begin, end), (_, room) in held]
        return np.concatenate(found)


def is_sparse(value: object) -> bool:
    """Return whether a value is a sparse matrix, of scipy or cupyx or this one."""
    return isinstance(value, Sparse) or (hasattr(value, "tocsr") and hasattr(value, "shape"))


def as_sparse(name: str, value: Any) -> Sparse:
    """Return a sparse matrix of scipy or cupyx, of any of their formats, as one of this package."""
    if isinstance(value, Sparse):
        return value
    if len(value.shape) != 2:
        msg = f"`{name}` must be a sparse matrix; got one of shape {shown(tuple(value.shape))}."
        raise ShapeError(msg)
    with _on_device_of(value):
        held = value.tocsr()
        require_floating(name, held.data)
        return Sparse.from_csr(held.data, held.indices, held.indptr, (int(held.shape[0]), int(held.shape[1])))


def _on_device_of(value: Any) -> AbstractContextManager[Any]:
    """Return the device of a matrix where that is a context: CuPy computes on the current device alone."""
    place = getattr(getattr(value, "data", None), "device", None)
    return place if isinstance(place, AbstractContextManager) else nullcontext()


def require_known_layout(name: str, value: Any) -> None:
    """Check that a value is no sparse array of a library whose sparse arrays are not taken, such as torch's."""
    if isinstance(value, np.ndarray):
        return
    if hasattr(value, "todense") or "sparse" in str(getattr(value, "layout", "")):
        msg = (
            f"`{name}` must be an array, or a sparse matrix of scipy or cupyx; got {got(value)}. Give it as {_WAY}, of "
            "its entries on the host."
        )
        raise DTypeError(msg)
