"""Roles of the modules of a state dict: given, or inferred where their order and shapes leave one reading."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.modules import Module
from rnn_backends.formats.names import Declared, listed, shown
from rnn_backends.formats.options import LoadOptions

MOST = 6
"""The most modules whose roles are inferred."""
_FEW = 50


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
    order = _Order(linears, before, declared, ordered=ordered)
    found = [
        each
        for each in islice(order.readings(widths), _FEW)
        if all(fixed.get(prefix, role) == role for prefix, role in each.roles.items())
    ]
    chosen = order.preferred(found) if ordered else _consistent(found, options)
    is_other = chosen is not None and bool(chosen.encoder) and not chosen.readout and options.readout_activation
    if chosen is not None and not is_other:
        return chosen
    natural = max(found, key=lambda each: len(each.readout), default=None)
    example = natural.roles if natural is not None and not is_other else _guess(linears, before, widths, declared)
    names = ", ".join(f"{shown(module.prefix)} {_sizes(module, declared)}" for module in linears)
    around = f"the RNN, which takes {widths.input_size} features and gives {widths.output_size}"
    problem = "may stand before or after" if len(found) > 1 else "cannot stand, one after the other, before or after"
    msg = f"{names} {problem} {around}; {way('roles', roles=example)}."
    raise FormatError(msg)


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


def _consistent(found: list[Reading], options: LoadOptions) -> Reading | None:
    """Return the one reading, or the only one in which the given activations have a place, and no other is needed."""
    if len(found) > 1:
        given = (options.encoder_activation is not None, options.readout_activation is not None)
        found = [each for each in found if (bool(each.encoder), bool(each.readout)) == given]
    return found[0] if len(found) == 1 else None


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
    """Readings of some modules, whose order may mean something."""

    def __init__(
        self, linears: Sequence[Module], before: Sequence[Module], declared: Declared, *, ordered: bool
    ) -> None:
        self.linears, self.before, self.ordered = list(linears), list(before), ordered
        self.shapes = {module.prefix: declared[module.arrays["weight"]][1] for module in linears}

    def readings(self, widths: Widths) -> Iterator[Reading]:
        """Yield all readings in which each module takes what the one before it gives."""
        for readout in self._readouts((), widths.output_size):
            rest = [module for module in self.linears if module not in readout]
            yield from self._encoders(rest, (), widths.input_size, readout)

    def preferred(self, found: list[Reading]) -> Reading | None:
        """Return the reading in which modules stand where they are applied, if no other is as likely.

        A module that stands after the RNN is not taken for one before it, nor an embedding before it for a readout; a
        Linear before it, which can be nothing else, is.
        """
        natural = [each for each in found if set(map(id, each.readout)).isdisjoint(map(id, self.before))]
        natural = [each for each in natural if len(each.readout) == len(self.linears) - len(self.before)]
        after = [module for module in self.linears if module not in self.before]
        if not natural:
            likely = [each for each in found if all(module in each.readout for module in after)]
            return likely[0] if len(likely) == 1 else None
        tables = [each.embedding for each in natural]
        rivals = [
            each
            for each in found
            if each not in natural
            and all(module in each.readout for module in after)
            and any(module in each.readout and module not in tables for module in self.before)
        ]
        return natural[0] if len(natural) == 1 and not rivals else None

    def _readouts(self, taken: tuple[Module, ...], width: int) -> Iterator[tuple[Module, ...]]:
        yield taken
        for place, module in enumerate(self.linears):
            rows, columns = self.shapes[module.prefix]
            follows = not self.ordered or not taken or place > self.linears.index(taken[-1])
            if columns == width and follows and module not in taken and module.kind != "table":
                yield from self._readouts((*taken, module), rows)

    def _encoders(
        self, rest: list[Module], taken: tuple[Module, ...], width: int, readout: tuple[Module, ...]
    ) -> Iterator[Reading]:
        """Yield readings with the rest as an encoder, of which the last modules are taken."""
        if not rest:
            yield Reading(None, taken, readout)
        for module in [rest[-1]] if self.ordered and rest else rest:
            others = [each for each in rest if each is not module]
            rows, columns = self.shapes[module.prefix]
            if not others and columns == width and module.kind != "kernel" and "bias" not in module.arrays:
                yield Reading(module, taken, readout)
            if rows == width and module.kind != "table":
                yield from self._encoders(others, (module, *taken), columns, readout)
