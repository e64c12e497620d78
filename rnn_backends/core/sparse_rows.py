"""The rows of a sparse matrix: what they must be, and how their entries are laid out side by side."""

from collections.abc import Iterator
from numbers import Integral
from typing import Any

from rnn_backends.core.arrays import Array, array_namespace, cast, device, dtype_name, is_integer
from rnn_backends.core.messages import got, shown
from rnn_backends.core.parameters import require_floating, require_sizes
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError

AT_ONCE = 2**18
"""The most places that are laid out at once, beside which little more is held meanwhile."""
LARGEST = 2**31 - 1
"""The most rows or columns, as columns are held in 32 bits, and one beyond the last stands for none."""


def laid_out(
    data: Array, indices: Array, starts: Array, counts: Array, no_column: int
) -> Iterator[tuple[Array, Array]]:
    """Yield the entries of rows and their columns: the first ones of all rows, then the second ones, and so on."""
    xp = array_namespace(data)
    room, step = int(xp.max(counts)), max(1, AT_ONCE // counts.shape[0])
    for begin in range(0, max(1, room), step):
        number = xp.arange(begin, min(begin + step, room), dtype=counts.dtype, device=device(data))[:, None]
        inside = xp.reshape(number < counts[None, :], (-1,))
        entries = xp.reshape(number + starts[None, :], (-1,))
        entries = xp.where(inside, entries, xp.zeros_like(entries))
        held, taken = xp.take(data, entries), xp.astype(xp.take(indices, entries), xp.int32)
        yield (
            cast(xp.where(inside, held, xp.zeros_like(held)), data.dtype),
            xp.where(inside, taken, xp.full_like(taken, no_column)),
        )


def joined(arrays: list[Array]) -> Array:
    """Return arrays as one; the list is empty then, and what was in it is not held any more."""
    found = arrays[0] if len(arrays) == 1 else array_namespace(arrays[0]).concat(arrays)
    arrays.clear()
    return found


def require_axes(shape: Any) -> tuple[int, int]:
    """Check that a shape is that of a matrix, and return it."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sizes) != 2 or not all(isinstance(size, Integral) for size in sizes):
        what = shown(sizes) if sizes else got(shape)
        msg = f"`shape` must be two integers, the number of rows and that of columns; got {what}."
        raise ShapeError(msg)
    if min(sizes) < 1 or max(sizes) > LARGEST:
        msg = f"`shape` must have no empty axis, and none above {LARGEST}; got {shown(sizes)}."
        raise ShapeError(msg)
    return int(sizes[0]), int(sizes[1])


def require_kinds(data: Array, indices: Array, indptr: Array, rows: int) -> None:
    """Check the shapes and dtypes of entries."""
    require_floating("data", data)
    if len(data.shape) != 1:
        msg = f"`data` must have one axis; got shape {shown(tuple(data.shape))}."
        raise ShapeError(msg)
    for name, array, wanted, size in (
        ("indices", indices, "(num_entries,)", int(data.shape[0])),
        ("indptr", indptr, "(num_rows + 1,)", rows + 1),
    ):
        if not is_integer(array):
            msg = f"`{name}` must be integers; got {dtype_name(array)}. Convert them to int32."
            raise DTypeError(msg)
        require_sizes(name, tuple(array.shape), wanted, (size,))


def require_values(data: Array, indices: Array, indptr: Array, counts: Array, columns: int) -> None:
    """Check that entries are in the matrix, and rows in the entries."""
    xp, size = array_namespace(data), int(data.shape[0])
    first, last = int(indptr[0]), int(indptr[-1])
    # A difference of starts out of range may be too large for its dtype, and be positive again.
    falls = int(xp.min(indptr)) < first or int(xp.max(indptr)) > last or int(xp.min(counts)) < 0
    if first or last != size or falls:
        msg = (
            f"`indptr` must rise from 0 to the number of entries, {size}; it begins with {first}, ends with {last} and "
            f"{'falls' if falls else 'does not fall'} between."
        )
        raise ArgumentError(msg)
    lowest, highest = (int(xp.min(indices)), int(xp.max(indices))) if size else (0, 0)
    if lowest < 0 or highest >= columns:
        msg = f"every column in `indices` must be in 0..{columns - 1}; they go from {lowest} to {highest}."
        raise ArgumentError(msg)
