"""The modules of a state dict by the names of their arrays: recurrent ones, Linear, BatchNorm; torch's and others'."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import PLACE, Declared, require_no_gates
from rnn_backends.formats.notations import notations

_RECURRENT = re.compile(
    rf"(?:(.*)\.)?(?:(weight_ih|weight_hh|bias_ih|bias_hh)(?:_({PLACE}))?|((?:bias|leak|h_0)_{PLACE}))", re.S
)
_RECURRENT_PART = re.compile(r"(?:^|[.])weight_(?:ih|hh)(?:_|$|[.])", re.ASCII)
_OF_BOOKS = (("whh", "wxh"), ("waa", "wax"))
_OF_RECURRENT = re.compile(r"(?:weight|bias)_(?:ih|hh|hr)(?:_|$)", re.ASCII)
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
    known = dict(notations(declared))
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


def is_recurrent(names: Iterable[str]) -> bool:
    """Return whether arrays of these names are of a recurrent network, perhaps among others."""
    books: dict[str, set[str]] = {leaf: set() for pair in _OF_BOOKS for leaf in pair}
    for name in map(str.lower, names):
        if _RECURRENT_PART.search(name):
            return True
        prefix, _, leaf = name.rpartition(".")
        if leaf in books:
            books[leaf].add(prefix)
    return any(books[one] & books[other] for one, other in _OF_BOOKS)


def unknown(module: Module, others: Iterable[Module], declared: Declared) -> str:
    """Return the refusal of a module, beside others, that is none of those that a network is made of."""
    names, shapes = list(module.arrays.values()), {local: declared[name][1] for local, name in module.arrays.items()}
    of = f"{listed(names)}, of shape {shown(declared[names[0]][1])},"
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
