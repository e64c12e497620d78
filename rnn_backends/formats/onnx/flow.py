"""Records of the arrays that a network computes: what each holds, and where each of its axes came from.

Axes are followed, not guessed: an axis is an object, merged and split axes remember what they are made of, and
two arrays of equal shape whose axes differ are different.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.messages import got
from rnn_backends.errors import FormatError
from rnn_backends.formats.scaling import Scaling


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis of an array as it was made; equal to no other axis.

    That of sorted sequences knows the one that they had, and the name of the lengths that they are `sorted_by`.
    """

    name: str
    size: int | None = None
    sorted_from: "Axis | None" = None
    sorted_by: str | None = None


_ROOM = 80

Group: TypeAlias = tuple[Axis, ...]
"""The axes that were merged into one axis of a flow, outermost first; none for a new axis of size 1."""


@dataclass(frozen=True)
class Size:
    """A size that is not a number yet, that of merged axes.  Shape tensors are object arrays of these and integers."""

    group: Group


@dataclass(frozen=True, eq=False)
class Zeros:
    """Zeros, for states to start from; the axes of some are known."""

    axes: tuple[Group, ...] | None = None


class Flow(NamedTuple):
    """An array that depends on the input."""

    content: Any
    axes: tuple[Group, ...]


@dataclass(frozen=True, eq=False)
class Input:
    """An input of the graph, or the part of the first axis of a `whole` one from `start` to `stop`.

    It may be `computed` with in another dtype than that in which it comes.
    """

    name: str
    atoms: Group
    dtype: str
    start: int | None = None
    stop: int | None = None
    whole: "Input | None" = None
    computed: str | None = None


@dataclass(frozen=True, eq=False)
class Fixed:
    """A constant that is repeated along axes of the input; `atoms` are those of its own."""

    value: Host
    atoms: Group


@dataclass(frozen=True, eq=False)
class Tokens:
    """One-hot vectors of the token ids of an input."""

    ids: Flow
    features: Axis


@dataclass(frozen=True, eq=False)
class Product:
    """A Linear of an encoder or a readout, W x + b, and its activation once it has been applied.

    What it takes is scaled `before`, and what it gives `after`, where a graph does so.
    """

    weight: Host
    output: Axis
    bias: Host | None = None
    activation: Any = None
    before: Scaling | None = None
    after: Scaling | None = None


@dataclass(frozen=True, eq=False)
class Encoded:
    """Results of an encoder, of the features or the token ids of an input."""

    source: Input | Tokens
    linears: tuple[Product, ...]


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer in its place in the network."""

    layer: Layer
    below: "Stage | Input | Tokens | Encoded"
    seq: Axis
    batch: Group
    directions: Group
    hidden: Axis
    lengths: Input | None
    h_0: tuple[Flow | Host | None, ...]
    """The initial states of each node: an input, a constant (num_cells, hidden_size), or None where they are zero."""

    @property
    def features(self) -> Group:
        """The axes of the states without those of time and batch, forward before backward."""
        return (*self.directions, self.hidden)


@dataclass(frozen=True, eq=False)
class Result:
    """An output of the network.

    Parameters
    ----------
    atoms : Group
        The axes of the array before it is rearranged.
    stage : Stage, optional
        The layer whose states these are, or are read out: at all steps, at `step`, 0 or -1, or `pooled` over all.
    cells : tuple of Cell
        The cells whose last states these are, or are read out, where there is no stage.
    several : Group
        The axis of the cells, where there are several of one size; else their states lie side by side.
    pooled : {"mean", "max"}, optional
    linears : tuple of Product
        The readout so far.
    dtype : str, optional
        The dtype in which the graph gives it, where that is another than it computes with.
    """

    atoms: Group
    stage: Stage | None = None
    cells: tuple[Cell, ...] = ()
    several: Group = ()
    step: int | None = None
    pooled: str | None = None
    linears: tuple[Product, ...] = ()
    dtype: str | None = None

    @property
    def features(self) -> Group:
        """The axes of one row of what can be multiplied."""
        if self.linears:
            return (self.linears[-1].output,)
        return self.stage.features if self.stage is not None else (*self.several, self.atoms[-1])

    @property
    def is_whole(self) -> bool:
        """Whether these are the states of a layer at all steps, as they are."""
        return self.stage is not None and self.step is None and self.pooled is None and not self.linears


def dtype_of(source: Input) -> str:
    """Return the dtype of the weights that take an input; those in bfloat16 are read as float32."""
    return source.computed or ("float32" if source.dtype == "bfloat16" else source.dtype)


def input_of(below: Any) -> Input:
    """Return the input that comes to the first layer, which may be encoded."""
    source = below.source if isinstance(below, Encoded) else below
    held: Input = source.ids.content if isinstance(source, Tokens) else source
    return held


def moved(data: Flow | Zeros, axes: tuple[Group, ...]) -> Flow | Zeros:
    """Return a flow, or zeros, with other axes."""
    return Zeros(axes) if isinstance(data, Zeros) else Flow(data.content, axes)


def takes_tokens(below: Any) -> bool:
    """Return whether what comes to the first layer is made of token ids."""
    return isinstance(below.source if isinstance(below, Encoded) else below, Tokens)


def size_of(group: Group) -> int | None:
    """Return the size of merged axes; None if one of theirs is unknown."""
    sizes = [axis.size for axis in group]
    return None if None in sizes else prod(size for size in sizes if size is not None)


def order_of(group: Group) -> tuple[str | None, ...]:
    """Return the names of the lengths that merged axes are sorted by; None of an axis as it came."""
    return tuple(axis.sorted_by for axis in group)


def named(group: Group) -> str:
    """Name merged axes for a message."""
    text = " ".join(axis.name if axis.size is None else f"{axis.name}={axis.size}" for axis in group) or "1"
    return text if len(text) <= _ROOM else f"{text[: _ROOM - 3]}..."


def stated(sizes: Sequence[Any]) -> str:
    """Return sizes for a message, ? where one is not a number yet."""
    text = ", ".join("?" if isinstance(size, (Size, NoneType)) else got(size) for size in sizes)
    return f"[{text}]" if len(text) <= _ROOM else f"[{text[: _ROOM - 3]}...]"


def outlined(axes: Sequence[Group]) -> str:
    """Name the axes of an array for a message, as many as it has room for."""
    text = " by ".join(f"({named(group)})" for group in axes)
    return text if len(text) <= _ROOM else f"{text[: _ROOM - 3]}..."


def arranged(array: Host, atoms: Group, axes: Sequence[Group]) -> Host:
    """Return an array that has these axes with those of a flow: permuted, merged and with new ones of size 1."""
    sizes = dict(zip(atoms, array.shape, strict=True))
    order = [axis for group in axes for axis in group]
    if lost := tuple(axis for axis in atoms if axis not in order):
        if any(sizes[axis] != 1 for axis in lost):
            msg = f"the axis {named(lost[:1])} was removed from the array as one of size 1; it has {sizes[lost[0]]}."
            raise FormatError(msg)
        order += lost
    moved = np.transpose(array, [atoms.index(axis) for axis in order])
    return moved.reshape([prod(sizes[axis] for axis in group) for group in axes])
