"""Records of an unrolled graph: what each of its steps holds, and constants and Linears that steps share by value.

Two steps that apply equal constants to the same thing hold one `Link`, so that comparing steps is comparing objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_backends.core.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.flow import Axis, Flow, Group, Input, Stage, Tokens, named, size_of
from rnn_backends.formats.onnx.scales import Affine


@dataclass(frozen=True, eq=False)
class Link:
    """A Linear of one step: its constants after the product, whose sum is its bias, and its activation if any."""

    root: Any
    parent: "Link | None"
    weight: Host
    output: Axis
    added: tuple[Host, ...] = ()
    activation: Any = None


@dataclass(frozen=True, eq=False)
class Moment:
    """One step of a sequence, or what Linears give of it; `root` is the sequence, and `place` counts from its front."""

    root: "Input | Tokens | Affine | Stage | Chain"
    seq: Axis
    place: int
    link: Link | None = None


@dataclass(frozen=True, eq=False)
class Flipped:
    """A sequence from its last step to its first."""

    flow: Flow
    seq: Axis


@dataclass(frozen=True, eq=False)
class Given:
    """The product of the recurrent weight and a state to start from: zeros, a constant, or a flow."""

    state: Any
    weight: Host
    added: tuple[Host, ...] = ()


@dataclass(frozen=True, eq=False)
class Beside:
    """Two arrays of one step, side by side, which one matrix takes."""

    parts: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Summed:
    """The sum of two products: that of the input and that of the state before."""

    terms: tuple[Flow, Flow]
    added: tuple[Host, ...] = ()


class Chain:
    """The states of a layer that a graph computes one by one, the first of which may lack its recurrent product.

    Parameters
    ----------
    seq : Axis
        The axis of steps.
    link : Link
        The product of what it takes.
    given : Given, optional
        Where it starts; None where that is folded into the first state.
    batch : tuple of Axis
    weight : Host
        That of the state before.
    biases : tuple of Host
        All that is added at each step but the first.
    activation : Activation
    reverse : bool
    first : Link, optional
        The first state, where the graph has no recurrent product of it.
    """

    def __init__(
        self, seq: Axis, link: Link, given: Given | None, batch: Group, weight: Host, biases: tuple[Host, ...],
        activation: Any, reverse: bool, first: Link | None = None,
    ) -> None:  # fmt: skip
        self.seq, self.link, self.given, self.batch, self.weight = seq, link, given, batch, weight
        self.biases, self.activation, self.reverse, self.first = biases, activation, reverse, first
        self.hidden = Axis("hidden_size", weight.shape[0])
        self.count = 1
        self.stage: Stage | None = None
        self.is_open = False
        self.depth: int = 1 + (link.root.depth if isinstance(link.root, Chain) else 0)

    def place_of(self, number: int) -> int:
        """Return the place of a state, by its number in the order of computation."""
        return (self.seq.size or 0) - 1 - number if self.reverse else number

    def number_of(self, place: int) -> int:
        """Return the number of the state at a place."""
        return self.place_of(place)  # which is its own inverse


def aligned(main: Sequence[Group], other: Sequence[Group], loose: bool = False) -> tuple[Group, ...]:
    """Return the axes of a sum of two arrays of one step without that of features, which may be repeated.

    Of a state to start from, which has axes of its own, sizes alone are compared.
    """
    rank = max(len(main), len(other)) - 1
    first, second = ([()] * (rank + 1 - len(axes)) + list(axes[:-1]) for axes in (main, other))
    found: list[Group] = []
    for one, two in zip(first, second, strict=True):
        sizes = (size_of(one), size_of(two))
        alike = two in {one, ()} or (loose and (sizes[0] == sizes[1] or (None in sizes and one != ())))
        if not alike:
            msg = f"the axes ({named(one)}) and ({named(two)}) of one step differ."
            raise FormatError(msg)
        found.append(one)
    return tuple(found)


REFUSED: Mapping[type, str] = {
    Summed: "a step of a recurrence",
    Given: "what the recurrent weight gives of a state",
    Beside: "an input and a state side by side",
    Flipped: "a sequence from its last step to its first",
    Affine: "what is scaled or shifted, and neither a Linear nor a layer takes,",
}
"""The names of what no other operator takes."""
