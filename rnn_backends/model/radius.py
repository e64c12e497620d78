"""The spectral radius of a square matrix: the largest absolute value of its eigenvalues."""

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import ArgumentError
from rnn_backends.model.coordinates import coordinates

DENSE = 1000
"""The most rows of a matrix whose eigenvalues are all computed, in about a second."""
EIGENVALUES = 6
"""The eigenvalues that are asked for of a larger one: of random matrices many are nearly as large as the largest."""
VECTORS = 128
"""The vectors among which ARPACK looks for them.

With its own default of 20 it stops at smaller ones at times, without a word, and radii are wrong by up to 2%.
"""
TOLERANCE = 1e-8
"""The error at which it stops; that of the radius is smaller by far."""
RESTARTS = 300
"""The times that ARPACK starts again from the best of its vectors."""


def spectral_radius(matrix: Host | Sparse) -> float:
    """Return the spectral radius of a square matrix on NumPy.

    Raises
    ------
    ModuleNotFoundError
        It has more than `DENSE` rows, and scipy is not installed.
    ArgumentError
        It is such a one, and ARPACK fails or does not converge.
    """
    if matrix.shape[0] > DENSE:
        return _by_arpack(matrix)
    return float(np.abs(np.linalg.eigvals(_dense(matrix) if isinstance(matrix, Sparse) else matrix)).max())


def _by_arpack(matrix: Host | Sparse) -> float:
    """Return the spectral radius of a large matrix, of which products with vectors alone are taken."""
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.linalg import ArpackError, eigs
    except ModuleNotFoundError as error:
        msg = (
            f"the spectral radius of more than {DENSE} units needs the package scipy, which is not installed: "
            "pip install 'rnn-backends[scipy]'."
        )
        raise ModuleNotFoundError(msg, name=error.name) from error
    begin = np.random.default_rng(0).uniform(-1.0, 1.0, matrix.shape[0])  # or it would draw one, another each time
    options = {"k": EIGENVALUES, "ncv": VECTORS, "tol": TOLERANCE, "maxiter": RESTARTS, "v0": begin}
    try:
        given = csr_array(matrix.to_csr(), shape=matrix.shape) if isinstance(matrix, Sparse) else matrix
        found = eigs(given, return_eigenvectors=False, **options)
    except ArpackError as error:
        msg = (
            f"scipy's ARPACK finds no largest eigenvalue of a matrix of {matrix.shape[0]} rows: all are 0, or the "
            "absolute values of too many are nearly equal. Take another seed or density."
        )
        raise ArgumentError(msg) from error
    return float(np.abs(found).max())


def _dense(matrix: Sparse) -> Host:
    rows, columns, values = coordinates(matrix)
    dense = np.zeros(matrix.shape)
    dense[rows, columns] = values
    return dense
