"""Readings of the modules of a state dict that are not recurrent: which stand before the RNN, and which after it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rnn_backends.formats.modules import Module
from rnn_backends.formats.names import Declared


class Reading(NamedTuple):
    """Modules in the order in which they are applied.

    Parameters
    ----------
    embedding : Module or None
    encoder, readout : tuple of Module
    """

    embedding: Module | None = None
    encoder: tuple[Module, ...] = ()
    readout: tuple[Module, ...] = ()

    @property
    def roles(self) -> dict[str, str]:
        """The roles by prefix."""
        found = {} if self.embedding is None else {self.embedding.prefix: "embedding"}
        found |= {module.prefix: "encoder" for module in self.encoder}
        return found | {module.prefix: "readout" for module in self.readout}


class Widths(NamedTuple):
    """The features that the first layer takes and that the last one gives."""

    input_size: int
    output_size: int


class Readings:
    """Readings of some modules, whose order may mean something, with the roles that are given to some of them."""

    def __init__(
        self, linears: Sequence[Module], before: Sequence[Module], declared: Declared, fixed: Mapping[str, str]
    ) -> None:
        self.linears, self.before, self.fixed = list(linears), list(before), fixed
        self.shapes = {module.prefix: declared[module.arrays["weight"]][1] for module in linears}

    def every(self, widths: Widths) -> list[Reading]:
        """Return all readings in which each module takes what the one before it gives."""
        return self._fitting(widths, ordered=False)

    def in_order(self, widths: Widths) -> list[Reading]:
        """Return those in which the modules of a role stand in their order."""
        return self._fitting(widths, ordered=True)

    def _fitting(self, widths: Widths, *, ordered: bool) -> list[Reading]:
        every = (
            reading
            for readout in self._readouts((), widths.output_size, ordered)
            for reading in self._encoders(readout, widths.input_size, ordered)
        )
        return [each for each in every if all(self.fixed.get(name, role) == role for name, role in each.roles.items())]

    def natural(self, found: list[Reading], every: list[Reading]) -> Reading | None:
        """Return the reading in which modules stand where they are applied, if no other is as likely.

        A module that stands after the RNN is not taken for one before it, nor an embedding before it for a readout; a
        Linear before it is, where it can be nothing else in whatever order.
        """
        after = [module for module in self.linears if module not in self.before]
        natural = [each for each in found if [module for module in self.linears if module in each.readout] == after]
        if not natural:
            return every[0] if len(every) == 1 and all(module in every[0].readout for module in after) else None
        tables = [each.embedding for each in natural]
        rivals = [
            each
            for each in found
            if each not in natural
            and all(module in each.readout for module in after)
            and any(module in each.readout and module not in tables for module in self.before)
        ]
        return natural[0] if len(natural) == 1 and not rivals else None

    def _readouts(self, taken: tuple[Module, ...], width: int, ordered: bool) -> Iterator[tuple[Module, ...]]:
        yield taken
        for place, module in enumerate(self.linears):
            rows, columns = self.shapes[module.prefix]
            follows = not taken or place > self.linears.index(taken[-1])
            follows = follows or not (ordered or are_siblings(module, taken[-1]))
            if columns == width and follows and module not in taken and module.kind != "table":
                yield from self._readouts((*taken, module), rows, ordered)

    def _encoders(self, readout: tuple[Module, ...], width: int, ordered: bool) -> Iterator[Reading]:
        """Yield readings with the rest as an encoder."""
        waiting: list[tuple[list[Module], tuple[Module, ...], int]] = [
            ([module for module in self.linears if module not in readout], (), width)
        ]
        while waiting:
            rest, taken, width = waiting.pop()
            if not rest:
                yield Reading(None, taken, readout)
            for module in rest[-1:] if ordered else rest:
                if any(are_siblings(module, each) and rest.index(each) > rest.index(module) for each in rest):
                    continue
                others = [each for each in rest if each is not module]
                rows, columns = self.shapes[module.prefix]
                if not others and columns == width and module.kind != "kernel" and "bias" not in module.arrays:
                    yield Reading(module, taken, readout)
                if rows == width and module.kind != "table":
                    waiting.append((others, (module, *taken), columns))


def stand_side_by_side(modules: Sequence[tuple[int, object]], width: int) -> bool:
    """Return whether Linears may all be applied to what is as wide, instead of one after the other.

    Each is given by the number of features that it takes, and by the nn.Sequential that it is in; those of one make
    one head.
    """
    heads = [takes for place, (takes, owner) in enumerate(modules) if not place or owner != modules[place - 1][1]]
    return len(heads) > 1 and all(takes == width for takes in heads)


def are_siblings(one: Module, other: Module) -> bool:
    """Return whether two modules are numbered ones of a Sequential, which are applied in their order."""
    (parent, _, number), (same, _, another) = one.prefix.rpartition("."), other.prefix.rpartition(".")
    return parent == same and number.isdecimal() and another.isdecimal()
