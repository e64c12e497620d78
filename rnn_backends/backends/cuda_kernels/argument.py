"""The argument of every kernel, the struct Walk of equation.cu: its layout, and the arrays that it leads to."""

from functools import cache
from struct import Struct
from typing import Any

import cupy
import numpy as np

from rnn_backends.core.arrays import Array
from rnn_backends.core.messages import shown
from rnn_backends.errors import ArgumentError

POINTERS = ("inputs", "features", "ids", "lengths", "states", "last")
CELL = ("weight_ih", "weight_hh", "bias", "h_0")
SIZES = ("seq_len", "batch", "size", "input_size", "pitch", "reverse", "blocks", "sequences", "begin", "end")
NUMBERS = ("alpha", "beta", "clip", "leak")

ADDRESSES, STEPS = Struct(f"{len(POINTERS) + 2 * len(CELL)}Q"), Struct("2i")


@cache
def layout(real: str) -> np.dtype[Any]:
    """Return the struct Walk of equation.cu."""
    pointers, sizes = ((name, "u8") for name in POINTERS), ((name, "i4") for name in SIZES)
    cell = [(name, "u8") for name in CELL]
    return np.dtype([*pointers, ("cells", cell, 2), *sizes, *((name, real) for name in NUMBERS)], align=True)


def address(array: Array | None) -> int:
    """Return the address of an array."""
    return 0 if array is None else int(array.data.ptr)


def dense(array: Array, alignment: int = 1) -> Array:
    """Return an array as the kernels index it, a copy only where it has strides or begins at no multiple of some bytes.

    It begins at a multiple of a number's bytes at least.
    """
    begin, is_contiguous = array.data.ptr, array.flags.c_contiguous
    if begin % max(alignment, array.itemsize) == 0 and is_contiguous:
        return array
    if begin % array.itemsize == 0:
        return cupy.array(array, order="C")
    if not is_contiguous:
        msg = (
            f"an array on the device must begin at a multiple of its {array.itemsize} bytes or be contiguous; got one "
            f"of shape {shown(array.shape)} that does neither. Make a contiguous copy where it comes from."
        )
        raise ArgumentError(msg)
    aligned = cupy.empty(array.shape, array.dtype)
    aligned.data.copy_from_device_async(array.data, array.nbytes)
    return aligned
