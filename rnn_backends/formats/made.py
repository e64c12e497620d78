"""Arrays that are not read yet: declared, and made when they are asked for, whole or a few MiB at a time."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.formats.arrays import gathered, widened
from rnn_backends.formats.names import Declared
from rnn_backends.formats.source import BLOCK, Source

Read: TypeAlias = Callable[[str], Host]
"""A function that returns an array by its name."""

Index: TypeAlias = tuple[slice, ...]
"""The place of a part of an array: a slice for each axis."""


class Place(NamedTuple):
    """The place of an array in a file.

    Parameters
    ----------
    source : callable
        Returns what it lies in.
    kind : numpy.dtype
        That of its elements.
    steps : tuple of int
        The strides of its axes, counted in elements.
    offset : int
        The place of its first element, counted likewise.
    is_bfloat16 : bool
        Whether its elements are the bits of bfloat16, which NumPy lacks; they become float32, exactly, and take twice
        the memory that they have in the file.
    name : str
        What the account calls it.
    in_use : WeakValueDictionary, optional
        The arrays that were read here and are in use, by their strides, where many names may lead to one place.
    """

    source: Callable[[], Source]
    kind: "np.dtype[Any]"
    steps: tuple[int, ...]
    offset: int = 0
    is_bfloat16: bool = False
    name: str = "an array in it"
    in_use: "WeakValueDictionary[Any, Host] | None" = None

    @property
    def outer(self) -> int:
        """The axis of the longest stride."""
        return int(np.argmax(self.steps)) if self.steps else 0

    def read(self, index: Index) -> Host:
        """Return a part, read anew, column by column, as a model keeps it; it is accounted where it is kept."""
        sizes = tuple(each.stop - each.start for each in index)
        begin = self.offset + sum(each.start * step for each, step in zip(index, self.steps, strict=True))
        found = gathered(self.source(), self.kind, begin, sizes, self.steps)
        return widened(found) if self.is_bfloat16 else found


class Made(NamedTuple):
    """An array: its dtype and shape, and a function that reads or computes it.

    Parameters
    ----------
    dtype : str
    shape : tuple of int
    make : callable
        Returns it.
    place : Place, optional
        Where it lies in a file, so that it can be read by its parts.
    is_new : bool, default False
        Whether each call of `make` makes an array that nobody else has, so that it may be overwritten.
    """

    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], Host]
    place: Place | None = None
    is_new: bool = False

    def turned(self) -> "Made":
        """Return the transpose."""
        place = None if self.place is None else self.place._replace(steps=self.place.steps[::-1])
        if place is not None and self.is_new:
            return stored(self.shape[::-1], place, self.dtype)
        return Made(self.dtype, self.shape[::-1], lambda: self.make().T, place, self.is_new)

    def reshaped(self, shape: tuple[int, ...]) -> "Made":
        """Return the same numbers in another shape."""
        return Made(self.dtype, shape, lambda: np.reshape(self.make(), shape))

    def parts(self) -> Iterator[tuple[Index, Host]]:
        """Yield its parts, of a few MiB each, with their places."""
        return in_tiles(self.make()) if self.place is None else _read(self.place, self.shape)

    def passing(self) -> Host:
        """Return it for something that is computed of it and accounted itself."""
        return self.make() if self.place is None else _whole(self.place, self.shape)

    def own(self) -> Host:
        """Return it as an array that can be written to, and that nobody else has."""
        if self.place is not None:
            return writable(_kept(self.place, self.shape))
        return writable(self.make()) if self.is_new else self.make().copy("K")

    def changed(self, change: Callable[[Index, Host], Host]) -> Host:
        """Return the array of what a function makes of its parts in float64, each rounded once.

        The function is given the place of a part, and may overwrite the part.
        """
        if self.place is not None:
            _account_for(self.place, self.shape)
        in_place = self.place is None and self.is_new
        found: Host = self.own() if in_place else np.empty(self.shape, self.dtype, "F")
        with np.errstate(all="ignore"):
            for index, part in in_tiles(found) if in_place else self.parts():
                found[index] = change(index, part.astype(np.float64))
        return closed(found)


def of_array(array: Host) -> Made:
    """Return an array that is held already."""
    return Made(array.dtype.name, array.shape, lambda: array)


def stored(shape: tuple[int, ...], place: Place, dtype: str) -> Made:
    """Return an array of a file, read at each call, but where its place knows that it is in use."""

    def make() -> Host:
        owner = None if place.in_use is None else place.in_use.get(place.steps)
        if owner is not None:
            return owner.reshape(shape, order="F")
        found = _kept(place, shape)
        if place.in_use is not None and isinstance(found.base, np.ndarray):
            place.in_use[place.steps] = found.base
        return found

    return Made(dtype, shape, make, place, is_new=True)


def row_by_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of an array that lies row by row, counted in elements."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _kept(place: Place, shape: tuple[int, ...]) -> Host:
    _account_for(place, shape)
    return _whole(place, shape)


def _account_for(place: Place, shape: tuple[int, ...]) -> None:
    place.source().account.take(place.name, "bytes", prod(shape) * place.kind.itemsize)


def _whole(place: Place, shape: tuple[int, ...]) -> Host:
    """Return an array of a file, of which little is held twice."""
    if not place.is_bfloat16:
        return place.read(tuple(slice(0, size) for size in shape))
    found: Host = np.empty(shape, np.float32, "F")
    for index, part in _read(place, shape, BLOCK // 4):
        found[index] = part
    return closed(found)


def _read(place: Place, shape: tuple[int, ...], size: int = BLOCK) -> Iterator[tuple[Index, Host]]:
    return ((index, place.read(index)) for index in tiles(shape, place.outer, size))


def tiles(shape: tuple[int, ...], outer: int, size: int = BLOCK) -> Iterator[Index]:
    """Yield the places of parts that make up an array, of so many elements each at most.

    They are whole in all axes but the outer one, or, where that would be larger, in fewer.
    """
    steps = list(shape)
    for axis in sorted(range(len(shape)), key=lambda axis: axis != outer):
        steps[axis] = max(1, min(shape[axis], size * steps[axis] // max(1, prod(steps))))
    starts = product(*(range(0, length, step) for length, step in zip(shape, steps, strict=True)))
    for start in starts:
        yield tuple(slice(at, min(at + step, length)) for at, step, length in zip(start, steps, shape, strict=True))


def outer_of(array: Host) -> int:
    """Return the axis of the longest stride."""
    return int(np.argmax(np.abs(array.strides))) if array.ndim else 0


def in_tiles(array: Host, outer: int | None = None, size: int = BLOCK) -> Iterator[tuple[Index, Host]]:
    """Yield views of the parts of an array, along an axis, or as they lie in memory, with their places."""
    for index in tiles(array.shape, outer_of(array) if outer is None else outer, size):
        yield index, array[index]


def writable(array: Host) -> Host:
    """Return an array that nobody else has, read-only as it may be, as one that can be written to."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    owner.flags.writeable = True
    view = array.view()
    view.flags.writeable = True
    return view


def closed(array: Host) -> Host:
    """Return an array that is complete as a read-only view, which cannot be made writable and so is never copied."""
    held: object = array
    while isinstance(held, np.ndarray):
        held.flags.writeable = False
        held = held.base
    return array.view()


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
