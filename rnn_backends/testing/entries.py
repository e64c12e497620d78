"""The entries of a sparse matrix in float64, for the reference: summed row by row, as they are written down."""

from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.sparse import Sparse


class Entries:
    """The transpose of a sparse matrix as the right-hand side of a product, ``h @ entries``.

    Parameters
    ----------
    values : numpy.ndarray of float64, shape (num_entries,)
    columns : integer numpy.ndarray, shape (num_entries,)
    starts : integer numpy.ndarray, shape (num_rows + 1,)
    """

    __array_ufunc__ = None
    """NumPy leaves the product to this class."""

    def __init__(self, values: Host, columns: Host, starts: Host) -> None:
        self.values, self.columns, self.starts = values, columns, starts

    @classmethod
    def of(cls, matrix: Sparse) -> "Entries":
        """Return those of a matrix of NumPy arrays."""
        values, columns, starts = matrix.to_csr()
        return cls(values.astype(np.float64), columns, starts)

    @property
    def terms(self) -> int:
        """The most terms that a sum has."""
        return int(np.diff(self.starts).max())

    def __rmatmul__(self, h: Any) -> Any:
        found = np.zeros((*h.shape[:-1], len(self.starts) - 1))
        filled = np.flatnonzero(np.diff(self.starts))
        if len(filled):
            found[..., filled] = np.add.reduceat(h[..., self.columns] * self.values, self.starts[filled], axis=-1)
        return found

    def __abs__(self) -> "Entries":
        return Entries(abs(self.values), self.columns, self.starts)
