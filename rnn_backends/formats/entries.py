"""Sparse recurrent matrices in files: their entries row by row, in three arrays with the names that scipy gives them.

``weight_hh_l0.data`` holds the entries, ``weight_hh_l0.indices`` their columns and ``weight_hh_l0.indptr`` where each
row begins; the matrix is (hidden_size, hidden_size).  It is made once, of what was read, and never dense.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnn_backends.core.messages import got, shown
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.made import Made
from rnn_backends.formats.names import ENTRIES, entries_in

COPIES = 6
"""The most that a file with sparse matrices may take, in times its size: what is read, and twice what is held of it,
which is less than twice as many entries."""


def named_matrix(name: str, matrix: Any) -> dict[str, Any]:
    """Return the arrays of a recurrent matrix on NumPy by the names that they have in a file."""
    if not isinstance(matrix, Sparse):
        return {name: matrix}
    return {f"{name}.{part}": array for part, array in zip(ENTRIES, matrix.to_csr(), strict=True)}


def with_matrices(arrays: Mapping[str, Made], account: Account) -> dict[str, Made]:
    """Return arrays with each sparse matrix in the place of its entries, declared as the matrix that it is."""
    groups: dict[str, dict[str, Made]] = {}
    for name, array in arrays.items():
        if (found := entries_in(name)) is not None:
            groups.setdefault(found[0], {})[found[1]] = array
    if doubled := [name for name in groups if name in arrays]:
        msg = f"{doubled[0]} must be dense or sparse; it is there as one array and by its entries."
        raise FormatError(msg)
    if groups:
        account.copies = max(account.copies, COPIES)
    whole: dict[str, Made] = {}
    for name, array in arrays.items():
        matrix, _ = entries_in(name) or (name, "")
        if matrix not in whole:
            whole[matrix] = _matrix(matrix, groups[matrix], account) if matrix in groups else array
    return whole


def _matrix(name: str, held: Mapping[str, Made], account: Account) -> Made:
    """Return a matrix, whose arrays are checked as far as they are declared."""
    if missing := [part for part in ENTRIES if part not in held]:
        msg = f"the entries of {name} must be in {', '.join(ENTRIES)}; {name}.{missing[0]} is missing."
        raise FormatError(msg)
    data, indices, indptr = (held[part] for part in ENTRIES)
    for part, array in held.items():
        if len(array.shape) != 1:
            msg = f"{name}.{part} must have one axis; got shape {shown(array.shape)}."
            raise FormatError(msg)
    for part, array in (("indices", indices), ("indptr", indptr)):
        if np.dtype(array.dtype) not in {np.dtype(np.int32), np.dtype(np.int64)}:
            msg = f"{name}.{part} must be int32 or int64; got {got(np.dtype(array.dtype))}."
            raise FormatError(msg)
    if data.shape != indices.shape:
        msg = (
            f"{name} must have a column for each entry; it has {data.shape[0]} entries and {indices.shape[0]} columns."
        )
        raise FormatError(msg)
    size = indptr.shape[0] - 1
    if size < 1:
        msg = f"{name}.indptr must have a start for each row and the end; it has {size + 1} numbers."
        raise FormatError(msg)

    def make() -> Any:
        starts, place = indptr.make(), np.dtype(data.dtype).itemsize + np.dtype(np.int32).itemsize
        # There is a place for each row without entries, else less than twice as many as entries, and while they are
        # laid out they are there twice.
        account.take(f"the rows of {name}", "bytes", 4 * place * (data.shape[0] + size))
        try:
            return Sparse.from_csr(data.make(), indices.make(), starts, (size, size))
        except ArgumentError as error:
            msg = f"{name} is wrong: {error}"
            raise FormatError(msg) from error

    return Made(data.dtype, (size, size), make)
