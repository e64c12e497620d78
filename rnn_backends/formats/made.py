"""Arrays that are not read yet: declared, and made when they are asked for."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.formats.names import Declared

Read: TypeAlias = Callable[[str], Host]
"""A function that returns an array by its name."""


class Made(NamedTuple):
    """An array: its dtype and shape, and a function that reads or computes it."""

    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], Host]

    def turned(self) -> "Made":
        """Return the transpose."""
        return Made(self.dtype, self.shape[::-1], lambda: self.make().T)

    def reshaped(self, shape: tuple[int, ...]) -> "Made":
        """Return the same numbers in another shape."""
        return Made(self.dtype, shape, lambda: np.reshape(self.make(), shape))


def made(name: str, declared: Declared, read: Read) -> Made:
    """Return an array of a file as it is."""
    dtype, shape = declared[name]
    return Made(dtype, shape, lambda: read(name))


def flat(array: Made) -> Made:
    """Return a bias that stands as a column or as a row in one axis."""
    sizes = [size for size in array.shape if size != 1]
    return array.reshaped((sizes[0] if sizes else 1,)) if len(array.shape) == 2 and len(sizes) < 2 else array


def declared_of(arrays: Mapping[str, Made]) -> Declared:
    """Return the dtypes and shapes by name."""
    return {name: (array.dtype, array.shape) for name, array in arrays.items()}
