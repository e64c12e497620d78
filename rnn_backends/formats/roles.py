"""Roles of the modules of a state dict: given, or inferred where their order and shapes leave one reading."""

from collections.abc import Iterable, Mapping, Sequence

from rnn_backends.core.messages import got, listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import LONGEST, way
from rnn_backends.formats.modules import Module
from rnn_backends.formats.names import Declared, is_within
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.readings import Reading, Readings, Widths, stand_side_by_side
from rnn_backends.formats.values import Activations

MOST = 6
"""The most modules whose roles are inferred."""
_LISTED = 3


def given_roles(
    modules: Sequence[Module], roles: Mapping[str, str], names: Iterable[str], mark: str = "."
) -> dict[str, str]:
    """Return the roles that are given by the prefix of each module, in the order in which they are given.

    A key is the prefix of a module or the beginning of several, up to a mark, or the name of an array.
    """
    names = list(names)
    found: dict[str, str] = {}
    for key, role in roles.items():
        own = [module.prefix for module in modules if is_within(module.prefix, key, mark)]
        if not own and not any(is_within(name, key, mark) for name in names):
            prefixes = listed(dict.fromkeys(module.prefix for module in modules))
            msg = f"`roles` names {shown(key)}, which is no module of the state dict; those are {prefixes}."
            raise FormatError(msg)
        for prefix in own:
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
    order = Readings(linears, before, declared, fixed)
    every = order.every(widths)
    complete = [each for each in every if _is_complete(each, options)]
    if ordered:
        chosen = _natural(order.natural(order.in_order(widths), every), complete)
    else:
        # An activation that is not given yet speaks for nothing.
        possible = [each for each in every if not _is_excluded(each, options)]
        only = every if len(every) == 1 else possible
        chosen = only[0] if len(only) == 1 else None
    if chosen is not None and not _is_contradicted(chosen, options):
        _require_one_chain(chosen.readout, widths, declared, options)
        return chosen
    found = sorted(complete or every, key=lambda each: -len(each.readout))
    guess = _guess(linears, before, widths, declared)
    example = guess if not found or guess in [each.roles for each in found] else found[0].roles
    if len(str(example)) > LONGEST:  # of what does not fit in a message it proposes more at each try
        example = {prefix: role for prefix, role in example.items() if prefix not in fixed} or example
    raise FormatError(_refusal(linears, widths, declared, every, example))


def _natural(natural: Reading | None, complete: Sequence[Reading]) -> Reading | None:
    """Return the reading by order, unless others have their activations given too: then nothing but order is for it."""
    is_other = any(natural is None or each.roles != natural.roles for each in complete)
    return None if is_other else natural


def _require_one_chain(readout: Sequence[Module], widths: Widths, declared: Declared, options: LoadOptions) -> None:
    """Check that the Linears of a readout are no heads side by side, unless each is given its activation."""
    heads = [(declared[each.arrays["weight"]][1][1], _owner(each)) for each in readout]
    if stand_side_by_side(heads, widths.output_size) and not isinstance(options.readout_activation, tuple):
        which = ", ".join(f"{shown(module.prefix)} {_sizes(module, declared)}" for module in readout[:_LISTED])
        raise FormatError(side_by_side(which, [module.prefix for module in readout]))


def _owner(module: Module) -> str:
    """Return the nn.Sequential that a module is in; the name of a module that is in none."""
    parent, _, number = module.prefix.rpartition(".")
    return parent if number.isdecimal() else module.prefix


def side_by_side(which: str, names: Sequence[str]) -> str:
    """Return the refusal of Linears that may be applied one after the other, or each to what the RNN gives."""
    roles = {name: "ignore" if place else "readout" for place, name in enumerate(names)}
    return f"{which} may stand side by side or one after the other; {way('side_by_side', roles=roles)}."


def _is_complete(reading: Reading, options: LoadOptions) -> bool:
    """Return whether the activations that are given are those of the Linear in a reading."""
    return all(
        len(modules) == len(given) if isinstance(given, tuple) else bool(modules) == (given is not None)
        for modules, given in _pairs(reading, options)
    )


def _is_excluded(reading: Reading, options: LoadOptions) -> bool:
    """Return whether activations are given for other Linear than those of a reading."""
    return any(
        len(modules) != len(given) if isinstance(given, tuple) else not modules
        for modules, given in _pairs(reading, options)
        if given is not None
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
    linears: Sequence[Module], widths: Widths, declared: Declared, every: Sequence[Reading], example: Mapping[str, str]
) -> str:
    """Return the refusal of modules without a reading, or with several."""
    which = ", ".join(f"{shown(module.prefix)} {_sizes(module, declared)}" for module in linears)
    which = which if len(linears) <= _LISTED else f"the {len(linears)} Linear and tables beside it"
    around = f"before or after the RNN, which takes {widths.input_size} features and gives {widths.output_size}"
    if not every:
        return f"{which} cannot stand, one after the other, {around}; {way('roles_each')}."
    problem = "may stand" if any(each.roles != example for each in every) else "may stand in more than one order"
    problem = "fit by their sizes, but not where they stand," if len(every) == 1 else problem
    return f"{which} {problem} {around}; {way('roles', roles=example)}."


def _sizes(module: Module, declared: Declared) -> str:
    rows, columns = declared[module.arrays["weight"]][1]
    return f"({got(columns)} -> {got(rows)})"


def _as_given(linears: Sequence[Module], fixed: Mapping[str, str]) -> Reading:
    by_prefix = {module.prefix: module for module in linears}
    groups: dict[str, list[Module]] = {"embedding": [], "encoder": [], "readout": []}
    for prefix, role in fixed.items():
        if prefix in by_prefix:
            groups[role].append(by_prefix[prefix])
    for table in groups["embedding"]:
        if "bias" in table.arrays:
            msg = f"{shown(table.prefix)} has a bias, and can be no embedding; {way('roles_each')}."
            raise FormatError(msg)
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
        if columns == width and module.kind != "kernel" and "bias" not in module.arrays and module is before[0]:
            found[module.prefix] = "embedding"
        elif rows == width and module.kind != "table":
            found[module.prefix], width = "encoder", columns
    width = widths.output_size
    for module in linears:
        rows, columns = shapes[module.prefix]
        if found[module.prefix] == "ignore" and module.kind != "table" and columns == width:
            found[module.prefix], width = "readout", rows
    return found
