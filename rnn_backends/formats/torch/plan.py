"""What is applied to what in a torch module: its parts in order, as they are registered or as `roles` gives them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import got
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.readings import stand_side_by_side
from rnn_backends.formats.roles import side_by_side
from rnn_backends.formats.stated import example
from rnn_backends.formats.torch.classes import OUTPUTS
from rnn_backends.formats.torch.parts import MAIN, Applied, Part, Plan, outline
from rnn_backends.formats.torch.roles import cells_of, embedding_of, linear_roles

MANY_TO_ONE = ("last", "final", "mean", "max")


def plan(parts: Sequence[Part], options: LoadOptions) -> Plan:
    """Return what is applied to what; a module records that where it is an nn.Sequential."""
    cells = cells_of(parts)
    parts = _without_selectors(parts, options)
    embedding = embedding_of(parts, cells[0])
    roles = linear_roles(parts, cells, embedding)
    _require_one_chain([part for part in parts if roles.get(part.path) == "readout"], cells[-1].gives, options)
    if embedding is not None:
        roles[embedding.path] = "encoder"
    around = _Around.of(parts, roles, cells)
    held: dict[str, list[Part]] = {"encoder": [], "readout": []}
    for place, part in enumerate(parts):
        if part.kind == "rnn":
            continue
        role = roles.get(part.path) or part.role or around.beside[place]
        if role is None and part.kind == "norm":
            role = _norm_role(place, part, around)
        if role is None and part.kind == "activation":
            role = _activation_role(place, part, around)
        if role is not None:
            held[role].append(part)
    if embedding is not None:  # `roles` may give it this place, wherever it is declared
        held["encoder"].sort(key=lambda part: part is not embedding)
    last = {part.chain: part for part in parts if part.kind in MAIN}
    encoder = _applied(held["encoder"], last, cells[0].takes)
    readout = _applied(held["readout"], last, cells[-1].gives)
    _require_features("encoder", encoder, cells[0], options)
    _require_features("readout", readout, cells[-1], options)
    return Plan(encoder, cells, readout)


class _Around(NamedTuple):
    """What the role of a part follows from, looked at once for all of them.

    Parameters
    ----------
    parts : sequence of Part
    roles : dict of str to str
        The roles of the Linears and of an embedding, by path.
    takes : int
        What the RNN takes.
    start, end : int
        The places of the first cell and of the last.
    readout : list of int
        The places of the Linears of the readout.
    outputs : int
        How many activations of outputs are in no nn.Sequential.
    beside : list of str or None
        The role of the nearest part in the same nn.Sequential, those before coming first, for each part.
    """

    parts: Sequence[Part]
    roles: Mapping[str, str]
    takes: int
    start: int
    end: int
    readout: list[int]
    outputs: int
    beside: list[str | None]

    @classmethod
    def of(cls, parts: Sequence[Part], roles: Mapping[str, str], cells: Sequence[Part]) -> "_Around":
        readout = [place for place, part in enumerate(parts) if roles.get(part.path) == "readout"]
        outputs = sum(part.kind == "activation" and part.label in OUTPUTS and part.chain is None for part in parts)
        ends = (parts.index(cells[0]), parts.index(cells[-1]))
        return cls(parts, roles, cells[0].takes, *ends, readout, outputs, _beside(parts, roles))


def _require_one_chain(readout: Sequence[Part], width: int, options: LoadOptions) -> None:
    """Check that the Linears of a readout are no heads side by side, unless roles or activations of each are given."""
    heads = [(part.takes, part.path if part.chain is None else part.chain) for part in readout]
    is_said = isinstance(options.readout_activation, tuple) or all(part.role for part in readout)
    if stand_side_by_side(heads, width) and not is_said:
        raise FormatError(side_by_side(outline(readout), [part.path for part in readout]))


def _without_selectors(parts: Sequence[Part], options: LoadOptions) -> list[Part]:
    """Return the parts without classes of the user's: what comes right after an nn.RNN selects of its results."""
    found: list[Part] = []
    for place, part in enumerate(parts):
        if part.kind != "code":
            found.append(part)
            continue
        before = parts[place - 1] if place else part
        after = parts[place + 1] if place + 1 < len(parts) else part
        is_selector = part.chain is not None and before.label == "RNN" and before.chain == part.chain
        if not is_selector or after.kind == "rnn":
            roles = {part.path: "ignore"}
            msg = f"{part} is a class of your own, which is not looked into; {way('ignore', roles=roles)}."
            raise FormatError(msg)
        if options.reads is None:
            msg = f"{part} selects from what the RNN gives, by code that is not looked into; {way('module_reads')}."
            raise FormatError(msg)
    return found


def _beside(parts: Sequence[Part], roles: Mapping[str, str]) -> list[str | None]:
    found: list[str | None] = [None] * len(parts)
    forward = list(enumerate(parts))
    for order, of_rnn in ((forward[::-1], "encoder"), (forward, "readout")):
        nearest: dict[int, str | None] = {}
        for place, part in order:
            if part.chain is None:
                continue
            found[place] = nearest.get(part.chain, found[place])
            if part.kind in MAIN:
                nearest[part.chain] = of_rnn if part.kind == "rnn" else roles.get(part.path)
    return found


def _norm_role(place: int, part: Part, around: _Around) -> str:
    """Return the role of a BatchNorm whose place is not recorded: by its size, between the RNN and the readout."""
    first = around.readout[0] if around.readout else -1
    before = around.parts[first]
    only = around.end < place < first and part.gives == before.takes != before.gives
    if only and around.takes != part.gives:
        return "readout"
    role = "encoder" if place < around.start else "readout"
    order = {
        other.path: around.roles.get(other.path, role)
        for other in around.parts
        if other is part or other.kind == "linear"
    }
    msg = f"where {part} is applied is not recorded; {way('module_norm', roles=order)}."
    raise FormatError(msg)


def _activation_role(place: int, part: Part, around: _Around) -> str:
    """Return the role of an activation whose place is not recorded: the readout, of one of outputs after it."""
    parts, readout = around.parts, around.readout
    if part.label in OUTPUTS and readout and place > readout[-1] and around.outputs == 1:
        return "readout"
    inner, size = [None] * (len(readout) - 1), parts[readout[-1]].gives if readout else None
    before = {part.path: "readout", **{parts[each].path: "readout" for each in readout}}
    wanted = example("readout", inner, size)
    advice = way("module_activation", roles={part.path: "ignore"}, example=wanted, before=before)
    msg = f"where {part} is applied is not recorded; {advice}."
    raise FormatError(msg)


def _applied(held: Sequence[Part], last: Mapping[int | None, Part], width: int) -> list[Applied]:
    """Return the Linears of a role, each with the BatchNorms beside it and the activation that is applied to it.

    Where an activation is applied to none, as to the results of an RNN of some width, there is one that is an identity.
    """
    found: list[Applied] = []
    before: list[Part] = []
    first = next((part.takes for part in held if part.kind in MAIN), width)
    for part in held:
        above = found[-1] if found else None
        if part.kind in MAIN:
            found.append(Applied(part, (*before,)))
            before.clear()
        elif part.kind == "norm":
            if above is not None and above.by is None:
                found[-1] = above._replace(after=(*above.after, part))
            else:
                before.append(part)
        elif above is None or above.by is not None or before:
            size = first if above is None else above.part.gives
            found.append(Applied(Part(part.path, "identity", gives=size), (*before,), (), part.activation, part))
            before.clear()
        else:
            found[-1] = above._replace(activation=part.activation, by=part)
    if before:  # after an activation, or alone
        found.append(Applied(Part(before[0].path, "identity", gives=before[0].gives), (*before,)))
    return [each if each.by or not _is_closed(each.part, last) else _closed(each) for each in found]


def _is_closed(part: Part, last: Mapping[int | None, Part]) -> bool:
    """Return whether it is recorded that no activation is applied to a part: the next in its chain is known.

    `last` holds the last part of each chain that has weights.
    """
    return part.kind in {"embedding", "identity"} or (part.chain is not None and last[part.chain] is not part)


def _closed(applied: Applied) -> Applied:
    return applied._replace(activation=Activation("identity"))


def is_overruled(role: str, place: int, count: int, options: LoadOptions) -> bool:
    """Return whether the caller gives the activation of a Linear: that of the last, or one for each."""
    given = getattr(options, f"{role}_activation")
    return isinstance(given, tuple) or (given is not None and place == count - 1)


def _require_features(role: str, found: Sequence[Applied], cell: Part, options: LoadOptions) -> None:
    """Check that each activation is one there is here, and that softmaxes and BatchNorms are over the features.

    They are applied to (batch, features) where the readout reads one output of each sequence, else to three axes.
    """
    flat = role == "readout" and options.reads in MANY_TO_ONE
    for place, applied in enumerate(found):
        for norm in (*applied.before, *applied.after):
            if norm.chain is not None and norm.chain == cell.chain and not flat:
                msg = f"{norm} is over axis 1, not over the features of each step; {way('module_many_to_one')}."
                raise FormatError(msg)
        by = applied.by
        if by is None or is_overruled(role, place, len(found), options):
            continue
        if applied.activation is None:
            advice = way("module_function", role=role, example=_in_place(role, found, place, "function"))
            msg = f"{by} is none of the activations here; {advice}."
            raise FormatError(msg)
        if by.axis != -1 and by.axis not in ((1, None) if flat else (2,)):
            own = repr(getattr(applied.activation, "name", None))
            advice = way("module_softmax", role=role, example=_in_place(role, found, place, own))
            if role == "readout" and options.reads is None and by.axis in {1, None}:
                advice = f"{way('module_many_to_one')}, or {advice}"
            shape = "(batch, features)" if flat else "(seq_len, batch, features)"
            msg = f"{by} is over axis {got(by.axis)}, not over the features of {shape}; {advice}."
            raise FormatError(msg)


def _in_place(role: str, found: Sequence[Applied], place: int, own: str) -> str:
    """Return a value of the option that gives the activations of a role, with one in its place."""
    names = [repr(getattr(each.activation, "name", "relu")) for each in found]
    if found[-1].activation is None:
        names[-1] = example(role, (), found[-1].part.gives)
    names[place] = own
    return own if len(names) == 1 else f"({', '.join(names)})"
