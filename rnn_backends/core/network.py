"""`Network`: all that a model holds, from what its input is to what its readout reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rnn_backends.core.arrays import Array, ArrayArgument, array_namespace, is_array
from rnn_backends.core.layers import Layer, named_arrays
from rnn_backends.core.linear import Linear, as_linears
from rnn_backends.core.messages import got, listed, shown
from rnn_backends.core.noise import Noise, require_noise
from rnn_backends.core.parameters import require_choice, require_flag, require_floating, require_one_dtype
from rnn_backends.errors import ArgumentError, ShapeError

READS = ("steps", "last", "final", "mean", "max")
"""Parts of the output that a readout may read: that of every step, or one of each sequence."""
TAKES = ("tokens", "features")


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """All that a model holds and that a file of one keeps.

    Parameters
    ----------
    layers : tuple of Layer
    readout, encoder : Linear or sequence of Linear, optional
        Applied to what `reads` names, and to each step of the input; held as tuples.
    reads : {"steps", "last", "final", "mean", "max"}, default "steps"
        What the readout reads.
    takes : {"tokens", "features"}, optional
        What the input is.
    h_0 : array, shape (num_cells, hidden_size), or one array (hidden_size,) for each cell, optional
        The states before the first step where a call gives none; zeros by default.
    noise : Noise, optional
        What is added to the sums of all cells.
    batch_first : bool, default False
        Whether sequences come as (batch, seq_len, features) instead of (seq_len, batch, features).
    vocabulary : str or sequence of str, optional
        The characters, or the words, by token id.
    unknown : str, optional
        The item of the vocabulary that stands for what is not in it.
    metadata : mapping of str to str
        Notes that travel with the weights: their source, their licence.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        Two parts do not fit, or their arrays differ in dtype.
    """

    layers: tuple[Layer, ...]
    readout: tuple[Linear, ...] = ()
    encoder: tuple[Linear, ...] = field(default=(), kw_only=True)
    reads: str = field(default="steps", kw_only=True)
    takes: str | None = field(default=None, kw_only=True)
    h_0: Array | tuple[Array, ...] | None = field(default=None, kw_only=True)
    noise: Noise | None = field(default=None, kw_only=True)
    batch_first: bool = field(default=False, kw_only=True)
    vocabulary: str | tuple[str, ...] | None = field(default=None, kw_only=True)
    unknown: str | None = field(default=None, kw_only=True)
    metadata: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    if TYPE_CHECKING:  # what is given is checked, what is held is computed with

        def __init__(
            self,
            layers: tuple[Layer, ...],
            readout: Linear | Sequence[Linear] | None = None,
            *,
            encoder: Linear | Sequence[Linear] | None = None,
            reads: str = "steps",
            takes: str | None = None,
            h_0: ArrayArgument | Sequence[ArrayArgument] | None = None,
            noise: Noise | None = None,
            batch_first: bool = False,
            vocabulary: str | Sequence[str] | None = None,
            unknown: str | None = None,
            metadata: Mapping[str, str] = ...,
        ) -> None: ...

    def __repr__(self) -> str:
        return f"Network(layers={self.layers!r}, readout={self.readout!r}, encoder={self.encoder!r})"

    def __post_init__(self) -> None:
        held = {
            "readout": as_linears("readout", self.readout, "softmax"),
            "encoder": as_linears("encoder", self.encoder, "identity"),
            "metadata": MappingProxyType(_as_metadata(self.metadata)),
        }
        for name, value in held.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "vocabulary", as_vocabulary(self.vocabulary, self.unknown, self.input_size))
        require_flag("batch_first", self.batch_first)
        require_choice("reads", self.reads, READS)
        object.__setattr__(self, "takes", _as_takes(self.takes, self.vocabulary))
        require_one_dtype(named_arrays(self))
        _require_chain("encoder", self.encoder, None)
        self._require_inputs()
        width = require_fitting(self.layers, self.encoder[-1].output_size if self.encoder else None)
        _require_chain("readout", self.readout, width)
        if self.noise is not None:
            require_noise(self.noise, self.layers)
        if self.h_0 is not None:
            object.__setattr__(self, "h_0", _as_initial(self.layers, self.h_0))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "metadata": dict(self.metadata)}  # what it is held in has no pickle

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, metadata=MappingProxyType(state["metadata"]))

    def _require_inputs(self) -> None:
        """Check that the encoder gives what the first layer takes."""
        wanted = getattr(self.layers[0].cells[0][0], "input_size", None)
        if self.encoder and wanted is not None and self.encoder[-1].output_size != wanted:
            msg = (
                f"`encoder` must give {wanted} features, as many as the first layer takes; it gives "
                f"{self.encoder[-1].output_size}. The weight of a Linear is (output_size, input_size): the table of an "
                "embedding is to be transposed."
            )
            raise ShapeError(msg)

    @property
    def input_size(self) -> int | None:
        """The number of features or token ids; None for a cell of one's own that does not state it."""
        return self.encoder[0].input_size if self.encoder else getattr(self.layers[0].cells[0][0], "input_size", None)


def hidden_sizes(layers: Sequence[Layer]) -> list[int | None]:
    """Return the hidden_size of each cell, layer by layer, None where it is not stated."""
    return [getattr(cell, "hidden_size", None) for layer in layers for cell, _ in layer.cells]


def is_uneven(layers: Sequence[Layer]) -> bool:
    """Return whether the states of the cells are of several sizes, and so come as a tuple."""
    return len(set(hidden_sizes(layers)) - {None}) > 1


def is_one_each(layers: Sequence[Layer], h_0: object) -> bool:
    """Return whether initial states are given as one array for each cell, as where these are of several sizes.

    Where a cell does not state its size, it may be so.
    """
    if not isinstance(h_0, (list, tuple)):
        return False
    return is_uneven(layers) or (None in hidden_sizes(layers) and len(h_0) > 0 and all(map(is_array, h_0)))


def require_fitting(layers: tuple[Layer, ...], width: int | None = None) -> int | None:
    """Check that each layer takes what the one before gives; return the width of the last, if it is known."""
    for index, layer in enumerate(layers):
        widths: list[int | None] = []
        for cell, reverse in layer.cells:
            name = f"layers[{index}].{'backward' if reverse else 'forward'}"
            wanted, size = getattr(cell, "input_size", None), getattr(cell, "hidden_size", None)
            if None not in {wanted, width} and wanted != width:
                msg = f"`{name}` must take {width} features, as many as come to it; its weight_ih takes {wanted}."
                raise ShapeError(msg)
            width = width or wanted
            widths.append(size)
        width = None if None in widths else sum(size for size in widths if size is not None)
    return width


def as_vocabulary(given: Any, unknown: Any, input_size: int | None) -> str | tuple[str, ...] | None:
    """Return a vocabulary, a text or a sequence of words, each of its items once, none without a token id."""
    if isinstance(given, (str, list, tuple)) and input_size is not None and len(given) > input_size:
        msg = (
            f"`vocabulary` must hold at most {input_size} items, as many as the model takes token ids; it holds "
            f"{len(given)}."
        )
        raise ArgumentError(msg)
    held = tuple(given) if isinstance(given, (list, tuple)) else given
    if not isinstance(held, str | tuple | None) or not all(isinstance(item, str) for item in held or ()):
        msg = (
            "`vocabulary` must be a text, each of its characters a token, or a list of words; got "
            f"{got(given)}{' of other things' if isinstance(held, tuple) else ''}."
        )
        raise ArgumentError(msg)
    if held is not None and len(set(held)) != len(held):
        what = "character" if isinstance(held, str) else "word"
        msg = f"`vocabulary` must hold each {what} once."
        raise ArgumentError(msg)
    if isinstance(held, tuple) and (torn := next((word for word in held if word and word.split() != [word]), None)):
        msg = f"each word of `vocabulary` must be without white space, where text is split; got {shown(torn)}."
        raise ArgumentError(msg)
    if unknown is not None and (not isinstance(unknown, str) or unknown not in tuple(held or ()) or not unknown):
        msg = (
            f"`unknown` must be an item of the vocabulary, which stands for all that is not in it; got {got(unknown)}."
        )
        raise ArgumentError(msg)
    return held


def _as_takes(takes: str | None, vocabulary: object) -> str | None:
    """Return what the input is: the ids of a vocabulary, where there is one."""
    if takes is not None:
        require_choice("takes", takes, TAKES)
    if vocabulary is not None and takes == "features":
        msg = "`takes` must be 'tokens' of a model with a vocabulary, or be left out; got 'features'."
        raise ArgumentError(msg)
    return takes if vocabulary is None else "tokens"


def _as_metadata(given: Any) -> dict[str, str]:
    is_mapping = isinstance(given, Mapping)
    if not is_mapping or not all(isinstance(text, str) for note in given.items() for text in note):
        msg = f"`metadata` must be texts by name; got {got(given)}."
        raise ArgumentError(msg)
    return dict(given)  # not the caller's own, which may change


def _require_chain(name: str, linears: tuple[Linear, ...], width: int | None) -> None:
    """Check that each Linear takes what comes to it."""
    for index, linear in enumerate(linears):
        if width is not None and linear.input_size != width:
            which = f"the {name}" if len(linears) == 1 else f"{name}[{index}]"
            found, hint = tuple(linear.weight.shape), " It is transposed." if linear.output_size == width else ""
            msg = (
                f"`weight` of {which} must have shape (output_size, {width}), as many as come to it; got {found}.{hint}"
            )
            raise ShapeError(msg)
        width = linear.output_size


def _as_initial(layers: tuple[Layer, ...], given: Any) -> Array | tuple[Array, ...]:
    """Return the initial states of a model: one array where all cells have one size, else a tuple."""
    sizes, is_one = hidden_sizes(layers), not isinstance(given, (list, tuple))
    arrays: tuple[Array, ...] = (given,) if is_one else tuple(given)
    for array in arrays:
        require_floating("h_0", array)
    shapes = [tuple(array.shape) for array in arrays]
    if is_one and not is_uneven(layers) and shapes[0] == (len(sizes), sizes[0] or (shapes[0] or (0,))[-1]):
        return given
    fits = [len(shape) == 1 and size in {None, *shape} for size, shape in zip(sizes, shapes, strict=False)]
    if not is_one and len(sizes) == len(shapes) and all(fits):
        return arrays if len(set(shapes)) > 1 else array_namespace(arrays[0]).stack(arrays)
    wanted = f"(num_cells, hidden_size) = ({len(sizes)}, {sizes[0] or 'hidden_size'})"
    if is_uneven(layers):
        wanted = f"(hidden_size,) of each cell, in a tuple: {listed((size,) for size in sizes)}"
    msg = f"`h_0` of a model must have shape {wanted}; got {listed(shapes)}."
    raise ShapeError(msg)
