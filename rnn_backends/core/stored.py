"""`Stored`: an array that is read as it is used."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Array, Host


class Stored(ABC):
    """An array that is not in memory, for it may be longer than that, and whose steps are read as they are used.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        In the machine's byte order.
    """

    def __init__(self, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        self.shape, self.dtype = shape, dtype

    @abstractmethod
    def steps(self, start: int, stop: int, axis: int) -> Host:
        """Return some steps, of which the axis is given."""

    def stand_in(self) -> Host:
        """Return an array of zeros of the same dtype and shape, which takes no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)

    def __getitem__(self, place: tuple[int, ...]) -> Any:
        """Return one number."""
        return self.steps(place[0], place[0] + 1, 0)[0, *place[1:]]


def steps_of(array: Array, start: int, stop: int, axis: int) -> Array:
    """Return the steps of an array, or of one that is stored, on an axis, 0 or 1."""
    if isinstance(array, Stored):
        return array.steps(start, stop, axis)
    if (start, stop) == (0, array.shape[axis]):
        return array
    return array[:, start:stop, ...] if axis else array[start:stop, ...]
