"""Roles of the parts of a torch module: as they are given, or as order and shapes leave one reading."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.stacks import is_decoder
from rnn_backends.formats.torch.parts import WHOLE, Part, outline

_MOST = 10
"""The most Linears whose roles are looked for."""
Roles = dict[str, str]


def cells_of(parts: Sequence[Part]) -> list[Part]:
    """Return the recurrent parts, which are layers where each takes what the one before gives."""
    found = [part for part in parts if part.kind == "rnn"]
    if not found:
        msg = f"there must be one nn.RNN or nn.RNNCell; there is {outline(parts) or 'none'}."
        raise FormatError(msg)
    given = [part for part in found if part.role == "layers"]
    if given:
        if len(given) != len(found):
            roles = {part.path: part.role or "ignore" for part in found}
            raise FormatError(_several(found, roles))
        return found
    ordered = len(found) == 1 or (found[0].chain is not None and len({part.chain for part in found}) == 1)
    fitting = all(after.takes == before.gives for before, after in pairwise(found))
    fitting = fitting and not any(is_decoder(part.path) for part in found)
    # Two that take the same number may as well stand side by side.
    if not ordered and not (fitting and len({part.takes for part in found}) == len(found)):
        rest = "layers" if fitting else "ignore"
        raise FormatError(_several(found, {part.path: "layers" if part is found[0] else rest for part in found}))
    return found


def _several(found: list[Part], roles: Roles) -> str:
    return (
        f"there are several recurrent modules, {outline(found)}, and a module does not record what is fed to what; "
        f"{way('roles', roles=roles)}."
    )


def embedding_of(parts: Sequence[Part], first: Part) -> Part | None:
    """Return the embedding, which comes before the first layer."""
    found = [part for part in parts if part.kind == "embedding"]
    given = [part for part in found if part.role is not None]
    if len(given) == len(found) <= 1:
        return given[0] if given else None
    late = parts.index(found[0]) > parts.index(first)
    if len(found) > 1 or late:
        chosen = given[:1] or found[:1]
        roles = {part.path: "embedding" if part is chosen[0] else "ignore" for part in found}
        what = "there are several embeddings" if len(found) > 1 else "an embedding is declared after the RNN"
        msg = f"{what}, {outline(found)}, and what is fed to them is not known; {way('roles', roles=roles)}."
        raise FormatError(msg)
    return found[0]


def linear_roles(parts: Sequence[Part], cells: Sequence[Part], embedding: Part | None) -> Roles:
    """Return which Linear is one of the encoder, and which of the readout, by their paths.

    Those of the nn.Sequential that is the whole stand before or after the RNN; of any other, shapes must say it.
    """
    placed = [(place, part) for place, part in enumerate(parts) if part.kind == "linear"]
    linears = [part for _, part in placed]
    start, end = parts.index(cells[0]), parts.index(cells[-1])
    choices: list[tuple[str, ...]] = []
    for place, part in placed:
        if part.role is not None:
            choices.append((part.role,))
        elif place > end:
            choices.append(("readout",))
        elif part.chain == WHOLE == cells[0].chain:
            choices.append(("encoder",) if place < start else ("between",))
        else:
            choices.append(("encoder", "readout"))
    width, found = embedding and embedding.gives, []
    if len(linears) <= _MOST:
        found = [
            each for each in product(*choices) if not _misfits(linears, each, width, cells[0].takes, cells[-1].gives)
        ]
        if len(found) == 1:
            return {part.path: role for part, role in zip(linears, found[0], strict=True)}
    best = _best(linears, choices, width, cells)
    if embedding is not None and _misfits(linears, best, width, cells[0].takes, cells[-1].gives):
        msg = f"{embedding} does not give what the RNN takes, {cells[0].takes}; what else is fed to it is not recorded."
        raise FormatError(msg)
    roles = dict(zip((part.path for part in linears), best, strict=True))
    verb = "may stand before the RNN or after it" if found else "do not fit before or after the RNN by their sizes"
    msg = f"{outline(linears)} {verb}, {cells[0].takes} to {cells[-1].gives}; {way('roles', roles=roles)}."
    raise FormatError(msg)


def _best(
    linears: Sequence[Part], choices: Sequence[tuple[str, ...]], width: int | None, cells: Sequence[Part]
) -> tuple[str, ...]:
    """Return the roles, of those that fit, which leave out the fewest Linears and keep their order."""
    if len(linears) > _MOST // 2:
        return _greedy(linears, choices, cells)
    more = ((*(role for role in each if role != "between"), "ignore") for each in choices)
    fitting: Iterator[tuple[str, ...]] = (
        each for each in product(*more) if not _misfits(linears, each, width, cells[0].takes, cells[-1].gives)
    )
    return min(fitting, key=lambda roles: roles.count("ignore"), default=("ignore",) * len(linears))


def _greedy(linears: Sequence[Part], choices: Sequence[tuple[str, ...]], cells: Sequence[Part]) -> tuple[str, ...]:
    """Return roles by which each of the Linears that are taken fits the one that is taken before it."""
    found = ["ignore"] * len(linears)
    wanted, given = cells[0].takes, cells[-1].gives
    for place in reversed(range(len(linears))):
        if "encoder" in choices[place] and linears[place].gives == wanted:
            found[place], wanted = "encoder", linears[place].takes
    for place, part in enumerate(linears):
        if choices[place] == ("readout",) and part.takes == given:
            found[place], given = "readout", part.gives
    return tuple(found)


def _misfits(linears: Sequence[Part], roles: Sequence[str], width: int | None, takes: int, gives: int) -> bool:
    """Return whether a Linear does not take what comes to it, or gives what the RNN does not take."""
    after = gives
    for part, role in zip(linears, roles, strict=True):
        if role == "between":
            return True
        if role == "encoder":
            if width not in {None, part.takes}:
                return True
            width = part.gives
        if role == "readout":
            if part.takes != after:
                return True
            after = part.gives
    return width not in {None, takes}
