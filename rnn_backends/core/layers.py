"""`Layer`, which holds a recurrent cell for each direction that it runs in, and what a cell of one's own must be.

The cell that is the equation is `rnn_backends.core.cell.Cell`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from math import prod
from typing import Any, Protocol

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Array, cast, is_array, is_integer, widen
from rnn_backends.core.messages import got, shown
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import ArgumentError, ShapeError


class RecurrentCell(Protocol):
    """A cell of a layer: any object with these two methods stands in for a `Cell`.

    Written in operations of the array API standard, a cell runs on every backend.  The arrays of a frozen dataclass
    move with the model.  A cell whose state is wider or narrower than what `project` returns has its width as an
    attribute ``hidden_size``; an attribute ``input_size`` has inputs checked.

    A cell may give something else than its states: with a method ``output(states)``, of the shape of the states,
    (..., hidden_size), it is that which the layer above and the readout get.  It is applied to the states of all steps
    at once; beyond a length the output is 0.  ``h_0`` and ``h_n`` are the states.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from typing import Any
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> @dataclass(frozen=True)
    ... class Sum:
    ...     weight: Any
    ...     def project(self, x):
    ...         return x @ self.weight.T
    ...     def step(self, projected, h):
    ...         return projected + h
    >>> output, h_n = rb.RNN([Sum(np.ones((1, 2)))])([[1.0, 2.0], [3.0, 4.0]])
    >>> output.ravel()
    array([ 3., 10.])
    """

    def project(self, x: Array) -> Array:
        """Compute what needs no state, for all steps at once.

        Parameters
        ----------
        x : array, shape (N, input_size), or ids, shape (N,)
            The input of all steps and sequences.

        Returns
        -------
        array, shape (N, K)
            What `step` gets of each row.
        """

    def step(self, projected: Array, h: Array) -> Array:
        """Take one step of time.

        Parameters
        ----------
        projected : array, shape (batch, K)
            The rows of this step.
        h : array, shape (batch, hidden_size)
            The state before it.

        Returns
        -------
        array, shape (batch, hidden_size)
            The state after it.
        """


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """One layer of a network: a cell for each direction that it runs in.

    Parameters
    ----------
    forward, backward : Cell or RecurrentCell, optional
        The cells that walk the sequence from its first step on and from its last step back.  One of
        the two may be missing; with both, their outputs are joined on the last axis, forward first.

    Raises
    ------
    ArgumentError
        There is no cell, or one lacks the methods of `RecurrentCell`.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> cell = rb.Cell(np.zeros((4, 3)), np.zeros((4, 4)))
    >>> rb.Layer(backward=cell)
    Layer(forward=None, backward=Cell(input_size=3, hidden_size=4))
    >>> both = rb.Layer(forward=cell, backward=cell)
    >>> [reverse for _, reverse in both.cells]
    [False, True]
    """

    forward: RecurrentCell | None = None
    backward: RecurrentCell | None = None

    def __post_init__(self) -> None:
        if self.forward is None and self.backward is None:
            msg = "a Layer needs a cell: give `forward`, `backward` or both."
            raise ArgumentError(msg)
        for name, cell in (("forward", self.forward), ("backward", self.backward)):
            if cell is not None and not (hasattr(cell, "project") and hasattr(cell, "step")):
                msg = f"`{name}` of a Layer must have the methods project and step; got {type(cell).__name__}."
                raise ArgumentError(msg)

    def __repr__(self) -> str:
        return f"Layer(forward={sizes(self.forward)}, backward={sizes(self.backward)})"

    @cached_property
    def cells(self) -> tuple[tuple[RecurrentCell, bool], ...]:
        """The cells with whether each runs in reverse, forward before backward."""
        cells = ((self.forward, False), (self.backward, True))
        return tuple((cell, reverse) for cell, reverse in cells if cell is not None)


def has_output(cell: RecurrentCell) -> bool:
    """Return whether a cell gives something else than its states, by a method `output`."""
    return callable(getattr(cell, "output", None))


def outputs_of(cell: RecurrentCell, states: Array) -> Array:
    """Return what a cell gives of its states, (..., hidden_size), in their dtype: themselves, or its `output`."""
    if not has_output(cell):
        return states
    found = cell.output(widen(states))  # type: ignore[attr-defined]  # which a protocol cannot leave open
    if getattr(found, "shape", None) != states.shape:
        msg = f"output of the cell must return an array of the shape that it is given, {shown(tuple(states.shape))}; "
        msg += f"got {got(found)}."
        raise ShapeError(msg)
    return cast(found, states.dtype)


def sizes(cell: RecurrentCell | None) -> str:
    """Return the name of a cell's type with its sizes, and none of the numbers that it holds."""
    if cell is None:
        return "None"
    known = [f"{name}={getattr(cell, name)}" for name in ("input_size", "hidden_size") if hasattr(cell, name)]
    return f"{type(cell).__name__}({', '.join(known)})"


def as_layers(layers: Sequence[Layer | RecurrentCell]) -> tuple[Layer, ...]:
    """Return a sequence of cells and layers as layers, a bare cell as a layer that runs forward."""
    if not isinstance(layers, (list, tuple)) or not layers:
        hint = (
            "Write [cell] for a single one."
            if hasattr(layers, "step") or isinstance(layers, Layer)
            else ("RNN.init(input_size, hidden_size) makes a network from sizes, and rnn.layers are those of a model.")
        )
        msg = f"`layers` must be a list of at least one Cell or Layer; got {got(layers)}. {hint}"
        raise ArgumentError(msg)
    return tuple(layer if isinstance(layer, Layer) else Layer(forward=layer) for layer in layers)


def named_arrays(record: object, name: str = "") -> Iterator[tuple[str, Array]]:
    """Yield every array of a record with its name, ``layers[0].forward.weight_ih``, outermost first."""
    if is_array(record):
        yield name, record
    elif isinstance(record, tuple):
        for index, item in enumerate(record):
            yield from named_arrays(item, f"{name}[{index}]")
    elif is_dataclass(record) and not isinstance(record, (type, Activation)):
        for entry in fields(record):
            if (value := getattr(record, entry.name)) is not None:
                yield from named_arrays(value, f"{name}.{entry.name}" if name else entry.name)


def num_parameters(record: Any) -> int:
    """Return the number of elements of all arrays of a record, of a sparse matrix that of its entries.

    Integers are places in others, and no parameters.
    """
    if isinstance(record, Sparse):
        return record.num_entries
    if is_array(record):
        return 0 if is_integer(record) else prod(record.shape)
    if isinstance(record, tuple):
        return sum(map(num_parameters, record))
    if is_dataclass(record) and not isinstance(record, (type, Activation)):
        return sum(num_parameters(getattr(record, entry.name)) for entry in fields(record))
    return 0


def first_array(layers: tuple[Layer, ...]) -> Array | None:
    """Return the first array of a network that is no integers, whose dtype is that of all; None if it has none."""
    weight = getattr(layers[0].cells[0][0], "weight_ih", None)  # a shorter way to what is there nearly always
    if is_array(weight):
        return weight
    return next((array for _, array in named_arrays(layers) if not is_integer(array)), None)
