"""The records that hold a network's arrays: frozen, of stated shapes, without behaviour of their own.

A network is a stack of layers; a layer holds a recurrent cell for each direction that it runs in; the
cell itself, which is the equation, is `rnn_backends.forward.Cell`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from math import prod
from operator import is_
from typing import Any, Protocol

from rnn_backends.core.activations import Activation, applied, as_activation
from rnn_backends.core.arrays import FLOATING, Array, array_namespace, cast, dtype_name, is_array, is_masked, widen
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError


class RecurrentCell(Protocol):
    """What a layer runs: any object with these two methods can stand in for a `Cell`.

    Write them in operations of the array API standard and the cell runs on every backend.  Make it a
    dataclass and its arrays move with the model.  A cell whose state is wider or narrower than what
    `project` returns states its width as an attribute ``hidden_size``.
    """

    def project(self, x: Array) -> Array:
        """Do what needs no state, for all steps at once: rows (N, input_size) or ids (N,) -> (N, K)."""

    def step(self, projected: Array, h: Array) -> Array:
        """Take one step of time: (B, K) and the state (B, hidden_size) -> the state (B, hidden_size)."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a network: a cell for each direction that it runs in.

    Parameters
    ----------
    forward, backward : Cell, optional
        The cells that walk the sequence from its first step on and from its last step back.  One of
        the two may be missing; with both, their outputs are joined on the last axis, forward first.
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

    @cached_property
    def cells(self) -> tuple[tuple[RecurrentCell, bool], ...]:
        """The cells with whether each runs in reverse, forward before backward."""
        cells = ((self.forward, False), (self.backward, True))
        return tuple((cell, reverse) for cell, reverse in cells if cell is not None)


@dataclass(frozen=True, eq=False)
class Linear:
    """The readout y<t> = g2(W_ya a<t> + b_y).

    Parameters
    ----------
    weight : array, shape (output_size, num_directions * hidden_size)
    bias : array, shape (output_size,), optional
    activation : str, Activation or callable, default "softmax"
        g2, from logits to probabilities, over the last axis.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
    """

    weight: Array
    bias: Array | None = None
    activation: Callable[[Array], Array] | str = "softmax"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", as_activation(self.activation))
        outputs, _ = require_matrix("weight` of the readout `Linear", self.weight)
        if self.bias is not None:
            require_shape("bias` of the readout `Linear", self.bias, "(output_size,)", (outputs,))
        if outputs == 1 and getattr(self.activation, "name", None) in {"softmax", "log_softmax"}:
            msg = "a softmax over one output is 1 whatever the input; give Linear activation='sigmoid' or 'identity'."
            raise ArgumentError(msg)

    @property
    def output_size(self) -> int:
        """The number of outputs, classes or characters."""
        return int(self.weight.shape[0])

    def __call__(self, hidden: Array) -> Array:
        """Return the logits W_ya a + b_y, (..., num_directions * hidden_size) -> (..., output_size)."""
        *leading, size = hidden.shape
        xp = array_namespace(hidden)
        logits = xp.reshape(widen(hidden), (prod(leading), size)) @ widen(self.weight).T
        if self.bias is not None:
            logits = logits + widen(self.bias)
        return cast(xp.reshape(logits, (*leading, self.output_size)), hidden.dtype)

    def activate(self, logits: Array) -> Array:
        """Return g2(logits), the probabilities."""
        return applied(self.activation, logits)  # type: ignore[arg-type]  # a name became a callable


@dataclass(frozen=True, eq=False)
class Network:
    """All that a model holds and that a file of one must tell.

    Parameters
    ----------
    layers : tuple of Layer
    readout : Linear, optional
    batch_first : bool, default False
        Whether sequences come as (batch, seq_len, features) instead of (seq_len, batch, features).
    vocabulary : str, optional
        For networks over characters: the character with token id i is ``vocabulary[i]``.
    metadata : mapping of str to str
        Notes that travel with the weights: their source, their licence.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        Two layers do not fit, or their arrays differ in dtype.
    """

    layers: tuple[Layer, ...]
    readout: Linear | None = None
    batch_first: bool = False
    vocabulary: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        output = require_network(self.layers)
        if not isinstance(self.readout, Linear | None):
            msg = f"`readout` must be a Linear; got {type(self.readout).__name__}. Write readout=Linear(weight, bias)."
            raise ArgumentError(msg)
        require_one_dtype(named_arrays(self))
        if self.readout is not None and output not in {None, self.readout.weight.shape[1]}:
            msg = f"`weight` of the readout must have shape (output_size, {output}); got {self.readout.weight.shape}."
            raise ShapeError(msg)
        if not isinstance(self.batch_first, bool):
            msg = f"`batch_first` must be True or False; got {self.batch_first!r}."
            raise ArgumentError(msg)
        if not isinstance(self.vocabulary, str | None):
            msg = f"`vocabulary` must be a text, each of its characters a token; got {type(self.vocabulary).__name__}."
            raise ArgumentError(msg)
        is_mapping = isinstance(self.metadata, Mapping)
        if not is_mapping or not all(isinstance(text, str) for note in self.metadata.items() for text in note):
            msg = f"`metadata` must be texts by name; got {self.metadata!r}."
            raise ArgumentError(msg)
        object.__setattr__(self, "metadata", dict(self.metadata))  # not the caller's own, which may change
        if self.vocabulary is not None and len(set(self.vocabulary)) != len(self.vocabulary):
            msg = "`vocabulary` must hold each character once."
            raise ArgumentError(msg)


def as_layers(layers: Sequence[Layer | RecurrentCell]) -> tuple[Layer, ...]:
    """Return a sequence of cells and layers as layers, a bare cell as a layer that runs forward."""
    if not isinstance(layers, (list, tuple)) or not layers:
        msg = f"`layers` must be a list of at least one Cell or Layer; got {layers!r}. Write [cell] for a single one."
        raise ArgumentError(msg)
    return tuple(layer if isinstance(layer, Layer) else Layer(forward=layer) for layer in layers)


def named_arrays(record: object, name: str = "") -> Iterator[tuple[str, Array]]:
    """Yield every array of a record with its name, ``layers[0].forward.weight_ih``, outermost first."""
    if is_array(record):
        yield name, record
    elif isinstance(record, tuple):
        for index, item in enumerate(record):
            yield from named_arrays(item, f"{name}[{index}]")
    elif is_dataclass(record):
        for entry in fields(record):
            yield from named_arrays(getattr(record, entry.name), f"{name}.{entry.name}".lstrip("."))


def first_array(layers: tuple[Layer, ...]) -> Array | None:
    """Return the first array of a network, whose dtype is that of all; None if it has none."""
    weight = getattr(layers[0].cells[0][0], "weight_ih", None)  # a shorter way to what is there nearly always
    return weight if is_array(weight) else next((array for _, array in named_arrays(layers)), None)


def map_arrays(function: Callable[[Array], Array], record: Any) -> Any:
    """Return a record with every one of its arrays replaced; itself, if the function changed none."""
    if is_array(record):
        return function(record)
    if isinstance(record, tuple):
        items = tuple(map_arrays(function, item) for item in record)
        return record if all(map(is_, items, record)) else items
    if is_dataclass(record) and not isinstance(record, (type, Activation)):
        held = {entry.name: getattr(record, entry.name) for entry in fields(record)}
        made = {name: map_arrays(function, value) for name, value in held.items()}
        return record if all(map(is_, made.values(), held.values())) else replace(record, **made)
    return record


def require_network(layers: tuple[Layer, ...]) -> int | None:
    """Check that layers fit each other in size and dtype; return the last one's width, if it tells."""
    require_one_dtype(named_arrays(layers, "layers"))
    return require_fitting(layers)


def require_shape(name: str, array: Array, wanted: str, shape: tuple[int, ...]) -> None:
    """Check that a parameter is a floating-point array of a shape."""
    require_floating(name, array)
    if tuple(array.shape) != shape:
        msg = f"`{name}` must have shape {wanted} = {shape}; got {tuple(array.shape)}."
        raise ShapeError(msg)


def require_matrix(name: str, array: Array) -> tuple[int, int]:
    """Check that a parameter is a floating-point matrix without an empty axis, and return its shape."""
    require_floating(name, array)
    if len(array.shape) != 2 or 0 in array.shape:
        msg = f"`{name}` must be a matrix with no empty axis; got shape {tuple(array.shape)}."
        raise ShapeError(msg)
    return int(array.shape[0]), int(array.shape[1])


def require_floating(name: str, array: Array) -> None:
    """Check that a parameter is a floating-point array."""
    if not is_array(array):
        msg = f"`{name}` must be an array; got {type(array).__name__}. Convert it, e.g. with numpy.asarray."
        raise DTypeError(msg)
    if is_masked(array):
        msg = f"`{name}` must not be a masked array, whose mask would be lost; fill it."
        raise DTypeError(msg)
    if dtype_name(array) not in FLOATING:
        msg = f"`{name}` must be one of {', '.join(FLOATING)}; got {array.dtype}. Convert it with astype."
        raise DTypeError(msg)


def require_one_dtype(arrays: Iterable[tuple[str, Array]]) -> None:
    """Check that all arrays of a network have the dtype of the first."""
    first: tuple[str, str] | None = None
    for name, array in arrays:
        dtype = dtype_name(array)
        first = first or (name, dtype)
        if dtype != first[1]:
            msg = (
                f"all parameters must have one dtype; got {first[1]} for `{first[0]}` and {dtype} for `{name}`. "
                "Convert one with astype."
            )
            raise DTypeError(msg)


def require_fitting(layers: tuple[Layer, ...]) -> int | None:
    """Check that each layer takes what the one before gives; return what the last gives, if it tells."""
    width = hidden_size = None
    for index, layer in enumerate(layers):
        for cell, reverse in layer.cells:
            name = f"layers[{index}].{'backward' if reverse else 'forward'}"
            wanted, size = getattr(cell, "input_size", None), getattr(cell, "hidden_size", None)
            if None not in {wanted, width} and wanted != width:
                msg = f"`{name}` must take {width} features, as many as come to it; its weight_ih takes {wanted}."
                raise ShapeError(msg)
            if None not in {size, hidden_size} and size != hidden_size:
                msg = (
                    f"all layers of one RNN must have one hidden_size, {hidden_size} here; `{name}` has {size}. "
                    "Feed the output of one RNN to another instead."
                )
                raise ShapeError(msg)
            width, hidden_size = width or wanted, hidden_size or size
        width = hidden_size and hidden_size * len(layer.cells)
    return width
