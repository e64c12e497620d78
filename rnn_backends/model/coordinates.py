"""The entries of a sparse matrix by their places."""

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.sparse import Sparse


def coordinates(matrix: Sparse) -> tuple[Host, Host, Host]:
    """Return rows, columns and values of the entries of a matrix on NumPy, row by row.

    Those that share a place are one, their sum, in float64.
    """
    values, columns, starts = matrix.to_csr()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(starts))
    places, which = np.unique(rows * matrix.shape[1] + columns, return_inverse=True)
    rows, columns = np.divmod(places, matrix.shape[1])
    return rows, columns, np.bincount(which, values.astype(np.float64), len(places))
