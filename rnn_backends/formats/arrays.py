"""Arrays of files and of any library as NumPy's, and the ways in which they change: gathered, widened, folded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from rnn_backends.core.arrays import Host, dtype_name, is_array, is_masked
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import Declared
from rnn_backends.formats.source import BLOCK, Source

ToHost: TypeAlias = Callable[[Any], Host]
"""A function that returns an array of any library as one of NumPy; bfloat16 as float32, exactly."""


def declare(arrays: Mapping[Any, Any]) -> Declared:
    """Return the dtypes and shapes of arrays by name; anything that is no array is refused by name."""
    declared = {}
    for name, array in arrays.items():
        if not isinstance(name, str) or not is_array(array):
            msg = f"the value of {shown(name)} must be an array, and its name a text; got {got(array)}."
            raise FormatError(msg)
        if str(getattr(array, "device", "")) == "meta":
            msg = f"{shown(name)} is on torch's meta device, and has no values; {way('values')}."
            raise FormatError(msg)
        dtype = dtype_name(array)
        declared[name] = ("float32" if dtype == "bfloat16" else dtype, tuple(map(int, array.shape)))
    return declared


def unmasked(name: str, array: Any) -> Any:
    """Return an array of a caller's, which must not be a masked one."""
    if is_masked(array):
        msg = f"{shown(name)} must not be a masked array, whose mask would be lost; fill it."
        raise FormatError(msg)
    return array


def gathered(
    source: Source, stored: "np.dtype[Any]", offset: int, shape: tuple[int, ...], strides: Sequence[int]
) -> Host:
    """Return an array whose elements lie so in a source, offset and strides being counted in elements.

    It is in the machine's byte order, read-only and column by column, as a model keeps it, which then makes no copy.
    A few elements are read at a time along the axis of the longest stride, so that little is held twice.  It is
    accounted where it is kept.
    """
    held: Host = np.empty(shape or (1,), stored.newbyteorder("="), "F")
    strides = strides or (1,)
    axis = int(np.argmax(strides))
    rest = 1 + sum((size - 1) * stride for size, stride in zip(held.shape, strides, strict=True))
    rest -= (held.shape[axis] - 1) * strides[axis]
    step = 1 + max(0, BLOCK // stored.itemsize - rest) // max(1, strides[axis])
    for begin in range(0, held.shape[axis] if held.size else 0, step):
        part = held[(slice(None),) * axis + (slice(begin, begin + step),)]
        count = rest + (part.shape[axis] - 1) * strides[axis]
        flat = source.block((offset + begin * strides[axis]) * stored.itemsize, count, stored)
        part[...] = np.ndarray(part.shape, stored, flat.data, 0, [stride * stored.itemsize for stride in strides])
    held.flags.writeable = False
    return held.reshape(shape, order="F")  # a view, which cannot be made writable


def widened(bits: Host) -> Host:
    """Return bfloat16, which NumPy lacks, as float32, exactly; it is given as integers of its bits."""
    wide: Host = bits.astype(np.uint32)
    wide <<= 16
    wide.flags.writeable = False
    return wide.view(np.float32)
