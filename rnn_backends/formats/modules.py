"""The modules of a state dict by the names of their arrays: recurrent ones, Linear, BatchNorm; torch's and others'.

Beside torch's, these notations are known: waa wax wya ba by and Whh Wxh Why bh by of the text-books, whose vectors are
columns, and Wxh Whh bias of MLX.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import PLACE, Declared, listed, require_no_gates, shown

_RECURRENT = re.compile(
    rf"(?:(.*)\.)?(?:(weight_ih|weight_hh|bias_ih|bias_hh)(?:_({PLACE}))?|((?:bias|leak|h_0)_{PLACE}))", re.S
)
_NOTATIONS = (
    {"wax": "weight_ih_l0", "waa": "weight_hh_l0", "ba": "bias_l0", "wya": "weight", "by": "bias"},
    {"wxh": "weight_ih_l0", "whh": "weight_hh_l0", "bh": "bias_l0", "why": "weight", "by": "bias"},
    {"wxh": "weight_ih_l0", "whh": "weight_hh_l0", "bias": "bias_l0"},
)
_ROWS = {
    "wx": "weight_ih_l0.T", "wh": "weight_hh_l0.T", "b": "bias_l0", "w_vocab": "readout.weight.T",
    "b_vocab": "readout.bias", "w_embed": "embedding.weight",
}  # fmt: skip
"""CS231n's notation, whose vectors are rows: too short to be known for sure, and so only named in a message."""
_RECURRENT_PART = re.compile(r"(?:^|[.])weight_(?:ih|hh)(?:_|$|[.])", re.ASCII)
_OF_RECURRENT = re.compile(r"(?:weight|bias)_(?:ih|hh|hr)(?:_|$)", re.ASCII)
COLUMNS = {"ba", "bh", "by"}
"""The biases of the text-books, which may stand as columns."""
_STATE = re.compile(r"h_?0|init|start|state|hidden|carry|prev", re.IGNORECASE)
LOSS = re.compile(r"(?:^|_)(?:criterion|loss)(?:_|$)", re.IGNORECASE)
_NUMBERS = "fiubc"
_LOCALS = {"weight", "bias", "bias_l0"}
_DIGITS = 10
_FEW = 3
_ATTENTION = {"in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_k", "bias_v"}
_FACTORS = {"weight_g", "weight_v", "weight_orig", "weight_mask", "weight_u"}
_STATISTICS = {"running_mean", "running_var"}


@dataclass
class Module:
    """Arrays of one prefix.

    Parameters
    ----------
    prefix : str
    kind : {"layers", "linear", "kernel", "table", "norm", "other"}
        A linear may be a ``Linear`` or, without a bias, the table of an embedding; kernel and table are known.
    place : int
        The number of modules before it.
    arrays : mapping of str to str
        Names in the file by those within the module: ``weight``, ``bias``, ``weight_ih_l0``.
    """

    prefix: str
    kind: str
    place: int
    arrays: dict[str, str] = field(default_factory=dict)


def modules_of(declared: Declared) -> list[Module]:
    """Return the modules in the order of their first arrays, without what computes nothing: counters and losses."""
    known = dict(_notations(declared))
    found: dict[tuple[str, str], Module] = {}
    for name, (dtype, shape) in declared.items():
        prefix, kind, local = known.get(name) or _named(name)
        if np.dtype(dtype).kind in "iub" and prod(shape) == 1 and local not in _LOCALS:
            continue
        module = found.setdefault((prefix, kind), Module(prefix, kind, len(found)))
        if local in module.arrays:
            msg = f"{listed([module.arrays[local], name])} are both {local} of one module; {way('keep_one')}."
            raise FormatError(msg)
        module.arrays[local] = name
        if local.startswith("weight_hh"):
            require_no_gates(name, shape)
    for module in found.values():
        if module.kind == "linear":
            module.kind = _kind(module, declared)
    return _by_number([module for module in found.values() if not _is_loss(module, declared)])


def require_numbers(declared: Declared) -> None:
    """Check that arrays are of numbers that NumPy has, as torch's quantized tensors are not."""
    for name, (dtype, _) in declared.items():
        try:
            is_known = np.dtype(dtype).kind in _NUMBERS
        except TypeError:
            is_known = False
        if not is_known:
            msg = f"{shown(name)} is of dtype {shown(dtype)}, which cannot be read; {way('plain_dtype')}."
            raise FormatError(msg)


def _by_number(modules: list[Module]) -> list[Module]:
    """Return modules with those of a Sequential, which are numbered, in their order; a file may have sorted them."""
    siblings: dict[str, list[Module]] = {}
    for module in modules:
        parent, _, number = module.prefix.rpartition(".")
        if number.isdecimal() and len(number) < _DIGITS:
            siblings.setdefault(parent, []).append(module)
    taken = {id(module): place for place, module in enumerate(modules)}
    found = list(modules)
    for group in siblings.values():
        places = sorted(taken[id(module)] for module in group)
        counts = sorted(module.place for module in group)
        group.sort(key=lambda module: int(module.prefix.rpartition(".")[2]))
        for place, count, module in zip(places, counts, group, strict=True):
            found[place], module.place = module, count
    return found


def _is_loss(module: Module, declared: Declared) -> bool:
    """Return whether the arrays of a module are the class weights of a loss, by its name and theirs."""
    name = module.prefix.rpartition(".")[2]
    vectors = all(len(declared[each][1]) <= 1 for each in module.arrays.values())
    return bool(LOSS.search(name)) and vectors and module.arrays.keys() <= {"weight", "pos_weight"}


def require_columns(declared: Declared) -> None:
    """Check that names are of no notation whose vectors are rows, where names or shapes show it."""
    rows = {name: _ROWS[name.lower()] for name in declared if name.lower() in _ROWS}
    if {"wx", "wh"} <= {name.lower() for name in rows}:
        msg = f"{listed(rows)} are not torch's names; if vectors are rows there, {way('names', names=rows)}."
        raise FormatError(msg)
    known = dict(_notations(declared))
    shapes = {local: declared[name][1] for name, (_, _, local) in known.items()}
    size = shapes.get("weight_hh_l0", ())[:1]
    turned = (
        len(shapes.get("weight_ih_l0", ())) == 2 and shapes["weight_ih_l0"][:1] != size == shapes["weight_ih_l0"][1:]
    )
    readout = shapes.get("weight", ())
    turned = turned or (len(readout) == 2 and readout[1:] != size == readout[:1])
    names = {name: f"{'readout.' * (kind == 'linear')}{local}" for name, (_, kind, local) in known.items()}
    given = {name: own if "bias" in own else f"{own}.T" for name, own in names.items()}
    biases = [shape for local, shape in shapes.items() if "bias" in local]
    if turned or any(len(shape) == 2 and shape[1] > 1 for shape in biases):
        msg = f"{listed(given)} are of a text-book, but their vectors are no columns; {way('names', names=given)}."
        raise FormatError(msg)
    matrices = [shape for local, shape in shapes.items() if "bias" not in local]
    is_book = {name.rpartition(".")[2].lower() for name in known} & {*COLUMNS, "why", "wya"}
    if is_book and all(shape[:1] == shape[1:] for shape in matrices) and not any(len(shape) == 2 for shape in biases):
        msg = (
            f"{listed(given)} are of a text-book and square, and do not record whether vectors are rows or columns; "
            f"{way('names_of_rows', names=given)}."
        )
        raise FormatError(msg)


def is_recurrent(names: Iterable[str]) -> bool:
    """Return whether arrays of these names are of a recurrent network, perhaps among others."""
    leaves = {name.lower() for name in names}
    if any(_RECURRENT_PART.search(name) for name in leaves):
        return True
    groups: dict[str, set[str]] = {}
    for name in leaves:
        prefix, _, leaf = name.rpartition(".")
        groups.setdefault(prefix, set()).add(leaf)
    return any({"whh", "wxh"} <= group or {"waa", "wax"} <= group for group in groups.values())


def unknown(module: Module, others: Iterable[Module], declared: Declared) -> str:
    """Return the refusal of a module, beside others, that is none of those that a network is made of."""
    names, shapes = list(module.arrays.values()), {local: declared[name][1] for local, name in module.arrays.items()}
    of = f"{listed(names)}, of shape {declared[names[0]][1]},"
    if shapes.keys() == {"bias"}:
        return f"{of} is a bias without its weight; {way('name_both')}."
    if (kind := _computing(shapes)) is not None:
        return f"{of} are those of {kind}, which has no place in a network here."
    others = list(others)
    is_alone = not any(f"{each.prefix}.".startswith(f"{module.prefix}.") for each in others if each is not module)
    keys = [module.prefix] if is_alone and module.prefix else names[:_FEW]
    roles = dict.fromkeys(keys, "ignore")
    if len(names) == 1 and _may_be_initial(names[0], declared[names[0]][1], others, declared):
        return f"{of} may be the initial state; {way('initial', names={names[0]: 'h_0'}, roles=roles)}."
    known = "torch's nn.RNN, nn.RNNCell, nn.Embedding, nn.Linear and nn.BatchNorm1d"
    return f"{of} belongs to none of {known}; {way('ignore', roles=roles)}."


def _computing(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the name of a layer that computes, whatever its place, by the names and the shapes of its arrays.

    None of these is one that a network does without, so that no message may say how to ignore it.
    """
    if shapes.keys() & _ATTENTION:
        return "an attention"
    if shapes.keys() & _FACTORS:
        return "a weight that is normalised or pruned, whose parts do not fit one another"
    if any(_OF_RECURRENT.match(local) for local in shapes):
        return "a recurrent layer that is no nn.RNN"
    if "weight" not in shapes:
        return None
    axes = len(shapes["weight"])
    if axes > 2:
        return "a Bilinear or a convolution"
    if axes == 2:
        return "a Linear whose bias or dtype does not fit"
    if "bias" in shapes:
        return "a LayerNorm, or another normalisation"
    return "an RMSNorm, another normalisation or a PReLU"


def _may_be_initial(name: str, shape: tuple[int, ...], others: Iterable[Module], declared: Declared) -> bool:
    """Return whether an array has the shape of initial states, (num_cells, hidden_size), or that of a batch of one.

    One of a single axis must be named so, too.
    """
    sizes = [
        declared[name][1][-1:]
        for module in others
        for local, name in module.arrays.items()
        if local.startswith("weight_hh")
    ]
    if len(set(sizes)) != 1 or not shape or (len(shape) == 1 and not _STATE.search(name)):
        return False
    return shape[-1:] == sizes[0] and prod(shape[:-1]) == len(sizes)


def _notations(declared: Declared) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield the names of a text-book's or of MLX, each with its prefix, kind and local name."""
    groups: dict[str, dict[str, str]] = {}
    for name in declared:
        prefix, _, leaf = name.rpartition(".")
        groups.setdefault(prefix, {})[leaf.lower()] = name
    for prefix, leaves in groups.items():
        found = [
            notation
            for notation in _NOTATIONS
            if {leaf for leaf, local in notation.items() if local.startswith("weight_")} <= leaves.keys()
        ]
        notation = max(found, key=lambda each: len(each.keys() & leaves.keys()), default={})
        for leaf, name in leaves.items():
            if (local := notation.get(leaf)) is None:
                continue
            yield name, (prefix, "linear" if local in {"weight", "bias"} else "layers", local)


def _named(name: str) -> tuple[str, str, str]:
    if name == "h_0":
        return "", "layers", name
    if match := _RECURRENT.fullmatch(name):
        prefix, kind, place, other = match.groups()
        return prefix or "", "layers", other or f"{kind}_{place or 'l0'}"
    prefix, _, leaf = name.rpartition(".")
    return (prefix, "linear", leaf) if prefix else (name, "other", leaf)


def _kind(module: Module, declared: Declared) -> str:
    """Return the kind of a module that is not recurrent, by its arrays and their shapes."""
    shapes = {local: declared[name][1] for local, name in module.arrays.items()}
    floats = all(np.dtype(declared[name][0]).kind == "f" for name in module.arrays.values())
    if not floats:
        return "other"
    if _STATISTICS <= shapes.keys() <= {*_STATISTICS, "weight", "bias"}:
        return "norm" if {len(shape) for shape in shapes.values()} == {1} else "other"
    matrix = len(shapes.get("weight", ())) == 2 and shapes.keys() <= {"weight", "bias"}
    fits = "bias" not in shapes or (matrix and prod(shapes["bias"]) == shapes["weight"][0])
    return "linear" if matrix and fits else "other"
