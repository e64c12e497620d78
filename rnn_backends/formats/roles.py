"""Roles of the modules of a state dict: given, or inferred where their order and shapes leave one reading."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.modules import Module
from rnn_backends.formats.names import Declared, listed, shown
from rnn_backends.formats.options import Activations, LoadOptions

MOST = 6
"""The most modules whose roles are inferred."""
_LISTED = 3


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


def given_roles(
    modules: Sequence[Module], roles: Mapping[str, str], names: Iterable[str], mark: str = "."
) -> dict[str, str]:
    """Return the roles that are given by the prefix of each module, in the order in which they are given.

    A key is the prefix of a module or the beginning of several, up to a mark, or the name of an array.
    """
    names = list(names)
    found: dict[str, str] = {}
    for key, role in roles.items():
        own = [module.prefix for module in modules if module.prefix == key or module.prefix.startswith(f"{key}{mark}")]
        if not own and not any(name == key or name.startswith(f"{key}{mark}") for name in names):
            prefixes = listed(dict.fromkeys(module.prefix for module in modules))
            msg = f"`roles` names {key!r}, which is no module of the state dict; those are {prefixes}."
            raise FormatError(msg)
        for prefix in own:
            found.pop(prefix, None)
            found[prefix] = role
    return found


def reading_of(
    linears: Sequence[Module],
    before: Sequence[Module],
    fixed: Mapping[str, str],
    widths: Widths,
    declared: Declared,
    options: LoadOptions,
    *,
    ordered: bool,
) -> Reading:
    """Return the one reading of the modules that are not recurrent.

    Parameters
    ----------
    linears : sequence of Module
    before : sequence of Module
        Those of them that stand before the recurrent ones.
    fixed : mapping of str to str
        Roles that are given, by prefix.
    widths : Widths
    declared : Declared
    options : LoadOptions
        Whether there is an activation for an encoder or a readout.
    ordered : bool
        Whether the order of the modules is that in which they were made.

    Raises
    ------
    FormatError
        There is no reading, or more than one.
    """
    if all(module.prefix in fixed for module in linears):
        return _as_given(linears, fixed)
    if len(linears) > MOST:
        example = _guess(linears, before, widths, declared)
        msg = f"{len(linears)} modules beside the RNN have too many readings; {way('roles', roles=example)}."
        raise FormatError(msg)
    order = _Order(linears, before, declared, fixed)
    every = order.readings(widths, ordered=False)
    complete = [each for each in every if _is_complete(each, options)]
    chosen = order.natural(order.readings(widths, ordered=True), every) if ordered else None
    if not ordered or (chosen is not None and complete and complete != [chosen]):
        # Where several have their activations given, order alone would decide.
        only = complete if len(every) > 1 else every
        chosen = only[0] if not ordered and len(only) == 1 else None
    if chosen is not None and not _is_contradicted(chosen, options):
        return chosen
    raise FormatError(_refusal(linears, before, widths, declared, complete or every))


def _is_complete(reading: Reading, options: LoadOptions) -> bool:
    """Return whether the activations that are given are those of the Linear in a reading."""
    return all(
        len(modules) == len(given) if isinstance(given, tuple) else bool(modules) == (given is not None)
        for modules, given in _pairs(reading, options)
    )


def _is_contradicted(reading: Reading, options: LoadOptions) -> bool:
    """Return whether an activation is given for Linears that are not there, and none for those that are."""
    pairs = _pairs(reading, options)
    return any(given is not None and not modules for modules, given in pairs) and any(
        given is None and modules for modules, given in pairs
    )


def _pairs(reading: Reading, options: LoadOptions) -> tuple[tuple[tuple[Module, ...], Activations | None], ...]:
    """Return the Linears of the encoder and of the readout, each with what is given for them."""
    return (reading.encoder, options.encoder_activation), (reading.readout, options.readout_activation)


def _refusal(
    linears: Sequence[Module], before: Sequence[Module], widths: Widths, declared: Declared, found: Sequence[Reading]
) -> str:
    natural = max(found, key=lambda each: len(each.readout), default=None)
    example = _guess(linears, before, widths, declared) if natural is None else natural.roles
    which = ", ".join(f"{shown(module.prefix)} {_sizes(module, declared)}" for module in linears)
    which = which if len(linears) <= _LISTED else f"the {len(linears)} Linear and tables beside it"
    around = f"the RNN, which takes {widths.input_size} features and gives {widths.output_size}"
    problem = "may stand before or after" if len(found) > 1 else "do not stand where they fit, before or after"
    problem = problem if found else "cannot stand, one after the other, before or after"
    return f"{which} {problem} {around}; {way('roles', roles=example)}."


def _sizes(module: Module, declared: Declared) -> str:
    rows, columns = declared[module.arrays["weight"]][1]
    return f"({columns} -> {rows})"


def _as_given(linears: Sequence[Module], fixed: Mapping[str, str]) -> Reading:
    by_prefix = {module.prefix: module for module in linears}
    groups: dict[str, list[Module]] = {"embedding": [], "encoder": [], "readout": []}
    for prefix, role in fixed.items():
        if prefix in by_prefix:
            groups[role].append(by_prefix[prefix])
    if len(groups["embedding"]) > 1:
        names = [module.prefix for module in groups["embedding"]]
        example = dict.fromkeys(names[1:], "ignore")
        msg = f"a network has one embedding; there are {listed(names)}; {way('ignore', roles=example)}."
        raise FormatError(msg)
    return Reading(next(iter(groups["embedding"]), None), tuple(groups["encoder"]), tuple(groups["readout"]))


def _guess(linears: Sequence[Module], before: Sequence[Module], widths: Widths, declared: Declared) -> dict[str, str]:
    """Return roles with which there is a network, by place and shape, as an example in a message."""
    shapes = {module.prefix: declared[module.arrays["weight"]][1] for module in linears}
    found = {module.prefix: "ignore" for module in linears}
    width = widths.input_size
    for module in reversed(before):
        rows, columns = shapes[module.prefix]
        if rows == width and module.kind != "table":
            found[module.prefix], width = "encoder", columns
        elif columns == width and module.kind != "kernel" and "bias" not in module.arrays:
            found[module.prefix] = "embedding"
            break
    width = widths.output_size
    for module in linears:
        rows, columns = shapes[module.prefix]
        if found[module.prefix] == "ignore" and module.kind != "table" and columns == width:
            found[module.prefix], width = "readout", rows
    return found


class _Order:
    """Readings of some modules, whose order may mean something, with the roles that are given to some of them."""

    def __init__(
        self, linears: Sequence[Module], before: Sequence[Module], declared: Declared, fixed: Mapping[str, str]
    ) -> None:
        self.linears, self.before, self.fixed = list(linears), list(before), fixed
        self.shapes = {module.prefix: declared[module.arrays["weight"]][1] for module in linears}

    def readings(self, widths: Widths, *, ordered: bool) -> list[Reading]:
        """Return the readings in which each module takes what the one before it gives."""
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
            follows = follows or not (ordered or _are_siblings(module, taken[-1]))
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
                if any(_are_siblings(module, each) and rest.index(each) > rest.index(module) for each in rest):
                    continue
                others = [each for each in rest if each is not module]
                rows, columns = self.shapes[module.prefix]
                if not others and columns == width and module.kind != "kernel" and "bias" not in module.arrays:
                    yield Reading(module, taken, readout)
                if rows == width and module.kind != "table":
                    waiting.append((others, (module, *taken), columns))


def _are_siblings(one: Module, other: Module) -> bool:
    """Return whether two modules are numbered ones of a Sequential, which are applied in their order."""
    (parent, _, number), (same, _, another) = one.prefix.rpartition("."), other.prefix.rpartition(".")
    return parent == same and number.isdecimal() and another.isdecimal()
