"""Tensors in a .pt file: where in which storage their elements lie."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from rnn_backends.errors import FormatError
from rnn_backends.formats.made import Made, Place, stored
from rnn_backends.formats.source import Source

Order: TypeAlias = Literal["<", ">"]
MAX_AXES, MAX_SIZE = 64, 2**48
ORDERS: dict[bytes, Order] = {b"little": "<", b"big": ">"}
"""NumPy's marks of byte orders, by the names that files have for them."""

STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "bf16", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip
"""The dtypes of storages by their classes, which are torch's own."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers in a row: the member of the zip file that holds them, their dtype and how many there are."""

    key: str
    dtype: str
    count: int

    @property
    def stored(self) -> "np.dtype[Any]":
        """The dtype of their bytes; of bfloat16, which NumPy lacks, integers."""
        return np.dtype("u2" if self.dtype == "bf16" else self.dtype)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: where in a storage its elements lie, offset and strides being counted in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> int:
        """How many elements of the storage lie between its first and its last."""
        reach = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return 0 if 0 in self.shape else reach + 1

    def read(self, source: Callable[[], Source], order: Order) -> Made:
        """Return the tensor, which is read in the machine's byte order when it is asked for."""
        kind, is_bfloat16 = self.storage.stored.newbyteorder(order), self.storage.dtype == "bf16"
        place = Place(source, kind, self.strides, self.offset, is_bfloat16)
        return stored(self.shape, place, "f4" if is_bfloat16 else self.storage.dtype)


def tensor_of(storage: Storage, offset: Any, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> Tensor:
    """Return a tensor, which must lie within its storage."""
    numbers = (offset, *shape, *strides)
    if not all(type(number) is int and 0 <= number < MAX_SIZE for number in numbers):
        problem = "of a wrong size"
    elif not len(shape) == len(strides) <= MAX_AXES:
        problem = "whose strides do not fit its shape"
    else:
        found = Tensor(storage, offset, shape, strides)
        if offset + found.span <= storage.count or 0 in shape:
            return found
        problem = "that reaches past the end of its storage"
    msg = f"its pickle has a tensor {problem}; it is damaged, or not of torch.save."
    raise FormatError(msg)
