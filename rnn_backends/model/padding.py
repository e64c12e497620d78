"""`pad`: sequences of different lengths as one batch."""

from collections.abc import Sequence
from typing import Any

from rnn_backends.backends.transfer import as_host
from rnn_backends.core import checks
from rnn_backends.core.arrays import Array, ArrayLike, array_namespace, device, dtype_name, is_integer
from rnn_backends.core.messages import shown
from rnn_backends.core.parameters import require_dense, require_flag
from rnn_backends.errors import DTypeError, ShapeError


def pad(sequences: Sequence[ArrayLike], batch_first: bool = False) -> tuple[Array, Array]:
    """Make one batch of sequences of different lengths, with zeros after their ends.

    Parameters
    ----------
    sequences : sequence of arrays or host data, shape (length, input_size) or (length,) each
        Features or token ids, of lengths from 0 on; lists, NumPy arrays, or arrays of one library and device.
    batch_first : bool, default False
        Whether the batch is the first axis of the result, as of a model that was made so.

    Returns
    -------
    x : array, shape (seq_len, batch, input_size) or (seq_len, batch)
        As long as the longest sequence, in the dtype that all of them can be converted to.
    lengths : integer array, shape (batch,)
        To pass with x: ``rnn(x, lengths=lengths)``.  Both are on the library and device of the sequences.

    Raises
    ------
    ShapeError, DTypeError
        There is no sequence, or one is no array of numbers, or differs from the first in more than its length.
    BackendMismatchError, DeviceError
        The sequences belong to more than one library or device.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> x, lengths = rb.pad([[3, 1, 2], [4]])
    >>> x.T
    array([[3, 1, 2],
           [4, 0, 0]])
    >>> lengths
    array([3, 1])
    >>> rb.RNN.init(5, 4).last(x, lengths=lengths).shape
    (2, 4)
    """
    require_flag("batch_first", batch_first)
    arrays = _alike(_as_arrays(sequences))
    xp, place = array_namespace(arrays[0]), device(arrays[0])
    dtype, counts = _common_dtype(xp, arrays), [int(array.shape[0]) for array in arrays]
    rest = tuple(arrays[0].shape[1:])
    rows = [
        xp.concat([xp.astype(array, dtype), xp.zeros((max(counts) - count, *rest), dtype=dtype, device=place)])
        for array, count in zip(arrays, counts, strict=True)
    ]
    return xp.stack(rows, axis=0 if batch_first else 1), xp.asarray(counts, device=place)


def _as_arrays(sequences: Any) -> dict[str, Array]:
    """Return the sequences by name as arrays: host data on NumPy, all else as it is."""
    is_several = isinstance(sequences, Sequence) and not isinstance(sequences, (str, bytes, bytearray, memoryview))
    if not is_several or not len(sequences):
        other = "an empty one" if is_several else f"a {type(sequences).__name__}"
        msg = f"`sequences` must be a list of at least one array, one for each sequence; got {other}."
        raise DTypeError(msg)
    found = {f"sequences[{index}]": each for index, each in enumerate(sequences)}
    for name, each in found.items():
        if isinstance(each, str):
            msg = f"`{name}` must hold numbers; got text; give a list of texts to a model with a vocabulary as it is."
            raise DTypeError(msg)
        found[name] = as_host(name, each)
        require_dense(name, found[name])
    checks.require_together(found.items())
    return found


def _alike(arrays: dict[str, Array]) -> list[Array]:
    """Return arrays whose shapes differ in their lengths alone; an empty list has the features of the others."""
    known = next((each for each in arrays.values() if each.ndim and each.shape[0]), next(iter(arrays.values())))
    found = {name: known[:0, ...] if tuple(each.shape) == (0,) else each for name, each in arrays.items()}
    for name, array in found.items():
        if array.ndim not in {1, 2} or array.shape[1:] != known.shape[1:]:
            features = "".join(f", {size}" for size in known.shape[1:])
            wanted = "(length, input_size) or (length,)" if array is known else f"(length{features or ','})"
            msg = f"`{name}` must have shape {wanted}, as the other sequences; got {shown(tuple(array.shape))}."
            raise ShapeError(msg)
    return list(found.values())


def _common_dtype(xp: Any, arrays: Sequence[Array]) -> Any:
    """Return the dtype that all arrays can be converted to."""
    if all(map(is_integer, arrays)) and len({array.dtype for array in arrays}) > 1:
        return xp.int64  # of int64 and uint64 NumPy would make floating point
    try:
        return xp.result_type(*(array.dtype for array in arrays))
    except TypeError as error:  # integers and floating point, in a library that does not mix them
        found = ", ".join(sorted({dtype_name(array) for array in arrays}))
        msg = (
            f"all `sequences` must be of one kind, integers or floating point; got {found}. Convert them to one dtype."
        )
        raise DTypeError(msg) from error
