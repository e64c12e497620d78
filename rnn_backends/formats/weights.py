"""Networks of weights alone: arrays by names of torch's, of a text-book's or of one's own, and options for the rest."""

from collections.abc import Mapping, Sequence

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.messages import listed, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.batch_norm import require_place, with_norms
from rnn_backends.formats.description import undescribed
from rnn_backends.formats.effective import effective
from rnn_backends.formats.entries import with_matrices
from rnn_backends.formats.folding import assembled
from rnn_backends.formats.made import Made, declared_of, flat
from rnn_backends.formats.modules import Module, modules_of, require_numbers, unknown
from rnn_backends.formats.names import entries_in, is_own, is_within, places, require_name
from rnn_backends.formats.notations import COLUMNS, require_columns
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.readings import Reading
from rnn_backends.formats.roles import given_roles, reading_of
from rnn_backends.formats.stacks import stacked
from rnn_backends.formats.stated import stated

_ROLES = {
    "layers": ("layers", "ignore"),
    "linear": ("embedding", "encoder", "readout", "ignore"),
    "kernel": ("encoder", "readout", "ignore"),
    "table": ("embedding", "ignore"),
    "norm": ("ignore",),
    "other": ("ignore",),
}
"""The roles that a module can have, by its kind."""
_TABLE = "embedding.weight"
"""The name that `names` gives to a table, (num_embeddings, features)."""


def from_weights(
    arrays: Mapping[str, Made], options: LoadOptions, account: Account, *, ordered: bool = True
) -> Network:
    """Return the network of arrays that are declared by name.

    Parameters
    ----------
    arrays : mapping of str to Made
    options : LoadOptions
    account : Account
    ordered : bool, default True
        Whether the arrays stand in the order in which their modules were made; where they are sorted by their names,
        as torch never writes an nn.RNN, they do not.
    """
    for name in arrays:
        require_name(name)
    held = _selected(arrays, options.key)
    held, own = _renamed(held, options.names or {})
    held = with_matrices(held, account)
    kept = {name: array for name, array in held.items() if not _is_ignored(name, options.roles or {})}
    require_numbers(declared_of(kept))
    floats = [name for name, array in kept.items() if np.dtype(array.dtype).kind == "f"]
    ordered = ordered and (len(floats) == 1 or floats != sorted(floats))
    held = effective(kept)
    roles = given_roles(modules_of(declared_of(held)), options.roles or {}, [*arrays, *held]) | own
    found, reading = _network_arrays(held, options, roles, account, ordered=ordered)
    return network_of(found, reading, options, account)


def network_of(arrays: Mapping[str, Made], reading: Reading, options: LoadOptions, account: Account) -> Network:
    """Return the network of arrays by its own names, whose encoder and readout are of these modules."""
    if reading.embedding is not None:
        options = options.taking_tokens(reading.embedding.prefix)
    description = undescribed(options, places(arrays))
    tables = [Activation("identity")] if reading.embedding is not None else []
    description = description._replace(
        encoder=[*tables, *stated("encoder", [None] * len(reading.encoder), options)],
        readout=stated("readout", [None] * len(reading.readout), options, output_size=_output_size(reading, arrays)),
    )
    return assembled(arrays, description, account)


def _output_size(reading: Reading, arrays: Mapping[str, Made]) -> int | None:
    return arrays[f"readout.{len(reading.readout) - 1}.weight"].shape[0] if reading.readout else None


def _selected(held: Mapping[str, Made], key: tuple[str, ...] | None) -> Mapping[str, Made]:
    """Return the arrays whose names begin with a key, without it."""
    if key is None:
        return held
    begin = f"{'.'.join(key)}."
    found = {name.removeprefix(begin): array for name, array in held.items() if name.startswith(begin)}
    if not found:
        there = listed(dict.fromkeys(name.partition(".")[0] for name in held))
        msg = f"`key` must be the beginning of names; none begins with {shown(begin)}, but with {there}."
        raise FormatError(msg)
    return found


def _renamed(held: Mapping[str, Made], names: Mapping[str, str]) -> tuple[dict[str, Made], dict[str, str]]:
    """Return the arrays with the names that are given to some of them, and the roles that these have by them."""
    found, roles = dict(held), {}
    for theirs, given in names.items():
        name, turned = given.removesuffix(".T"), given.endswith(".T")
        is_known = is_own(name) and not (turned and entries_in(name))  # whose transpose has other entries
        if theirs not in held or not (is_known or name == _TABLE):
            what = f"{shown(theirs)}, which is no array of it" if theirs not in held else f"the name {shown(given)}"
            known = "weight_ih_l0, weight_hh_l0_reverse, bias_l0, encoder.0.weight, readout.bias and h_0, or with .T"
            msg = f"`names` has {what}; it maps {listed(held)} to {known}."
            raise FormatError(msg)
        if name in found and name not in names:
            msg = f"`names` gives {shown(theirs)} the name {shown(name)}, which another array has."
            raise FormatError(msg)
        array = found.pop(theirs) if found.get(theirs) is held[theirs] else held[theirs]
        array = array.turned() if turned else array
        found[name] = flat(array) if name.startswith("bias") or name.endswith("bias") else array
        if name.partition(".")[0] in {"embedding", "encoder", "readout"}:
            roles[name.rpartition(".")[0]] = name.partition(".")[0]
    ordered = sorted(roles, key=lambda prefix: int(f"0{prefix.partition('.')[2]}"))
    return found, {prefix: roles[prefix] for prefix in ordered}


def _network_arrays(
    held: Mapping[str, Made], options: LoadOptions, roles: Mapping[str, str], account: Account, *, ordered: bool
) -> tuple[dict[str, Made], Reading]:
    """Return the arrays of the network by its names, and the roles of the modules that they are of."""
    declared = declared_of(held)
    modules = modules_of(declared)
    require_columns(declared)
    stack = stacked([module for module in modules if module.kind == "layers"], roles, declared, ordered=ordered)
    for module in modules:
        if module.kind == "other":
            raise FormatError(unknown(module, modules, declared))
    linears = [module for module in modules if module.kind == "linear"]
    before = [module for module in linears if ordered and module.place < stack.modules[0].place]
    require_kinds(modules, roles)
    fixed = {prefix: role for prefix, role in roles.items() if role not in {"ignore", "layers"}}
    fixed |= {module.prefix: "readout" for module in linears if module.prefix in stack.depths}  # of a text-book
    reading = reading_of(linears, before, fixed, stack.widths, declared, options, ordered=ordered)
    held = {name: flat(array) if name.rpartition(".")[2].lower() in COLUMNS else array for name, array in held.items()}
    arrays = {name: held[theirs] for name, theirs in stack.names.items()} | linears_of(reading, held)
    arrays = {name: _shaped(name, array) for name, array in arrays.items()}
    norms = [module for module in modules if module.kind == "norm"]
    if options.batch_norm_eps is not None and not norms:
        msg = f"there is no BatchNorm; {way('leave_out', option='batch_norm_eps')}."
        raise FormatError(msg)
    placed: dict[str, list[tuple[Module, bool]]] = {}
    for norm in norms:
        places = _neighbours(norm, modules, reading, arrays, stack.depths) if ordered else []
        require_place(norm, places, options.batch_norm_eps, ordered=ordered)
        for name, is_after in places:
            placed.setdefault(name, []).append((norm, is_after))
    for name, beside in placed.items():
        arrays |= with_norms(arrays, name, beside, held, options.batch_norm_eps or 0.0, account)
    return arrays, reading


def require_kinds(modules: Sequence[Module], roles: Mapping[str, str]) -> None:
    """Check that the given roles are those that modules of their kinds can have."""
    for module in modules:
        role = roles.get(module.prefix)
        if role not in {None, *_ROLES[module.kind]}:
            wanted = listed(_ROLES[module.kind])
            msg = f"`roles` makes {shown(module.prefix)} the {role}; of its kind, {module.kind}, it may be {wanted}."
            raise FormatError(msg)


def _is_ignored(name: str, roles: Mapping[str, str]) -> bool:
    return any(role == "ignore" and is_within(name, key) for key, role in roles.items())


def linears_of(reading: Reading, held: Mapping[str, Made]) -> dict[str, Made]:
    """Return the arrays of the encoder and of the readout by the names of the network."""
    found = {}
    if reading.embedding is not None:
        found["encoder.0.weight"] = held[reading.embedding.arrays["weight"]].turned()
    for name, module in _named(reading).items():
        found |= {f"{name}.{local}": held[theirs] for local, theirs in module.arrays.items()}
    return found


def _named(reading: Reading) -> dict[str, Module]:
    """Return the Linear of a reading by their names in the network."""
    first = 0 if reading.embedding is None else 1
    encoder = {f"encoder.{first + place}": module for place, module in enumerate(reading.encoder)}
    return encoder | {f"readout.{place}": module for place, module in enumerate(reading.readout)}


def _shaped(name: str, array: Made) -> Made:
    """Return an initial state without the axis of a batch of one."""
    if name == "h_0" and (len(array.shape) == 1 or (len(array.shape) == 3 and array.shape[1] == 1)):
        return array.reshaped((array.shape[0] if len(array.shape) == 3 else 1, array.shape[-1]))
    return array


def _neighbours(
    norm: Module,
    modules: Sequence[Module],
    reading: Reading,
    arrays: Mapping[str, Made],
    depths: Mapping[str, int],
) -> list[tuple[str, bool]]:
    """Return the weights that a BatchNorm is folded into, and whether it is applied after them.

    It follows the Linear before it; after a recurrent module, or before all others, it comes before the next.
    """
    names = {module.prefix: name for name, module in _named(reading).items()}
    if reading.embedding is not None:
        names[reading.embedding.prefix] = "encoder.0"
    earlier = [module for module in modules if module.place < norm.place and module.kind != "norm"]
    last = max(earlier, key=lambda module: module.place, default=None)
    if last is not None and last.prefix in names:
        return [(f"{names[last.prefix]}.weight", True)]
    if last is not None:
        above = [depth for depth in depths.values() if depth > depths.get(last.prefix, 0)]
        if above:
            return [(name, False) for name in _first_weights(min(above)) if name in arrays]
        return [("readout.0.weight", False)] if reading.readout else []
    if "encoder.0.weight" in arrays:
        return [("encoder.0.weight", False)] if reading.embedding is None else []
    return [(name, False) for name in _first_weights(0) if name in arrays]


def _first_weights(depth: int) -> tuple[str, str]:
    return f"weight_ih_l{depth}", f"weight_ih_l{depth}_reverse"
