"""The names of arrays: those that a file of this package has, and torch's, which are read too."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError

PLACE = r"l(?:0|[1-9][0-9]{0,3})(?:_reverse)?"
ENTRIES = ("data", "indices", "indptr")
"""The arrays of a sparse matrix, as scipy names them, in the order in which it takes them."""
_NATIVE = re.compile(
    rf"(weight_ih|weight_hh|bias|bias_ih|bias_hh|leak|h_0)_({PLACE})|h_0|(?:encoder|readout)(?:\.[0-9]{{1,4}})?\.(?:weight|bias)"
)
_ENTRIES = re.compile(rf"(weight_hh_{PLACE})\.({'|'.join(ENTRIES)})")
LONGEST = 1000
"""The most characters of a name."""
_GATES = {3: "a GRU", 4: "an LSTM"}

Declared: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""The dtypes and shapes of arrays by name."""


def require_name(name: str) -> None:
    """Check that the name of an array or a member is no longer than any that a program writes."""
    if len(name) > LONGEST:
        msg = f"the name {shown(name)} has {len(name)} characters; a name has {LONGEST} at most."
        raise FormatError(msg)


def is_own(name: str) -> bool:
    """Return whether an array of a network can have this name."""
    return _NATIVE.fullmatch(name) is not None or entries_in(name) is not None


def entries_in(name: str) -> tuple[str, str] | None:
    """Return the sparse matrix that an array belongs to by its name, and which of `ENTRIES` it is; or None."""
    match = _ENTRIES.fullmatch(name)
    return None if match is None else (match[1], match[2])


def places(names: Iterable[str]) -> list[str]:
    """Check the names of the arrays, and return the places of the cells: l0, l0_reverse, l1."""
    found: dict[str, set[str]] = {}
    for name in names:
        match = _NATIVE.fullmatch(name)
        if match is None:
            known = "weight_ih_l0, weight_hh_l0, bias_l0, leak_l0, ..._reverse, h_0, encoder.weight, readout.0.bias"
            msg = f"{shown(name)} is no parameter of an RNN; those are {known}."
            raise FormatError(msg)
        if match[2]:
            found.setdefault(match[2], set()).add(match[1])
    indices = layer_indices(found)
    if not found or indices != list(range(len(indices))):
        msg = f"there must be layers 0, 1, ... without a gap; there are {listed(indices)}."
        raise FormatError(msg)
    for place, kinds in found.items():
        kinds -= {"leak", "h_0"}
        biases = kinds - {"weight_ih", "weight_hh"}
        if len(kinds - biases) != 2 or biases not in ({"bias"}, {"bias_ih", "bias_hh"}, set()):
            wanted = "weight_ih, weight_hh and bias, or bias_ih and bias_hh, or no bias"
            msg = f"{place} must have {wanted}; it has {', '.join(sorted(kinds))}."
            raise FormatError(msg)
    require_initial_states(set(names), found)
    return list(found)


def require_initial_states(names: set[str], found: Iterable[str]) -> None:
    """Check that there are initial states in one array, or in one for each cell, or none."""
    each = {f"h_0_{place}" for place in found}
    held = names & {"h_0", *each}
    if held not in (set(), {"h_0"}, each):
        there = listed(sorted(held))
        msg = f"there must be h_0, or each of {listed(sorted(each))}, or none of them; there is {there}."
        raise FormatError(msg)


def linear_names(names: Iterable[str], role: str) -> list[str]:
    """Return the names of the Linear of a role: ``readout``, or ``readout.0``, ``readout.1`` and so on."""
    held = {name for name in names if name.startswith(f"{role}.")}
    owners = {name.rpartition(".")[0] for name in held}
    wanted = [role] if owners == {role} else [f"{role}.{k}" for k in range(len(owners))]
    if owners != set(wanted):
        there = listed(sorted(held))
        msg = f"there must be {role}.weight, or {role}.0.weight, {role}.1.weight and so on; there is {there}."
        raise FormatError(msg)
    for owner in wanted:
        if f"{owner}.weight" not in held:
            msg = f"there is a {owner}.bias but no {owner}.weight."
            raise FormatError(msg)
    return wanted


def layer_indices(found: Iterable[str]) -> list[int]:
    """Return the indices of the layers that cells at these places make."""
    return sorted({int(place.removesuffix("_reverse")[1:]) for place in found})


def cells_in_order(found: Iterable[str]) -> list[str]:
    """Return the places of cells layer by layer, forward before backward."""
    return sorted(found, key=lambda place: (int(place.removesuffix("_reverse")[1:]), place.endswith("_reverse")))


def require_no_gates(name: str, shape: tuple[int, ...]) -> None:
    """Check that a recurrent matrix, (hidden_size, hidden_size), is not that of a network with gates."""
    rows, columns = shape if len(shape) == 2 else (0, 0)
    if columns and rows % columns == 0 and (cell := _GATES.get(rows // columns)):
        msg = f"{shown(name)} has {rows // columns} rows of gates for each unit, as {cell} has: no vanilla RNN."
        raise FormatError(msg)


def is_within(name: str, key: str, mark: str = ".") -> bool:
    """Return whether a name is a key, or begins with it up to a mark."""
    return name == key or name.startswith(f"{key}{mark}")
