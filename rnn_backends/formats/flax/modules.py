"""The modules beside the cells of a tree: Dense, or a table; others are refused by what their arrays show."""

import re
from collections.abc import Collection, Iterable, Mapping
from math import prod

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.flax.variables import STATISTICS
from rnn_backends.formats.made import Made
from rnn_backends.formats.modules import Module

LINEAR = {"kernel": "weight", "w": "weight", "bias": "bias", "b": "bias"}
TABLES = {"embedding": "weight", "embeddings": "weight"}
_NORM = "a normalisation"
_COMPUTING = {
    "scale": _NORM, "offset": _NORM, "gamma": _NORM, "beta": _NORM, "mean": _NORM, "var": _NORM,
    STATISTICS: "a BatchNorm or a SpectralNorm", "u": "a SpectralNorm", "sigma": "a SpectralNorm",
    "negative_slope": "a PReLU", "lora_a": "a LoRA", "lora_b": "a LoRA",
}  # fmt: skip
"""Layers that compute, by the name of an array of theirs."""
_STATE = re.compile(r"h_?0|init|start|state|hidden|carry|prev", re.IGNORECASE)


def modules_of(held: Mapping[str, Made], cells: Mapping[str, Mapping[str, str]]) -> list[Module]:
    """Return the modules beside the cells."""
    taken = {path for parts in cells.values() for path in parts.values()}
    kinds = {**dict.fromkeys(LINEAR, "kernel"), **dict.fromkeys(TABLES, "table")}
    found: dict[str, Module] = {}
    for path in held:
        prefix, _, leaf = path.rpartition("/")
        if path in taken:
            continue
        if leaf not in kinds or not prefix or _computing(path) is not None:
            raise FormatError(_unknown(path, held, cells))
        module = found.setdefault(prefix, Module(prefix, kinds[leaf], len(found)))
        own = {**LINEAR, **TABLES}[leaf]
        if own in module.arrays or module.kind != kinds[leaf]:
            both = listed([module.arrays.get(own, prefix), path])
            msg = f"{shown(prefix)} has {both} for one array; {way('keep_one')}."
            raise FormatError(msg)
        module.arrays[own] = path
    for prefix, module in found.items():
        _require_matrix(prefix, module, held)
    return list(found.values())


def require_no_statistics(paths: Collection[str]) -> None:
    """Check that a collection `batch_stats` has nothing of the network, which would compute with it."""
    if paths:
        msg = f"`batch_stats` has {listed(paths)}, of {_COMPUTING[STATISTICS]}, which has no place in a network here."
        raise FormatError(msg)


def _require_matrix(prefix: str, module: Module, held: Mapping[str, Made]) -> None:
    """Check that a module has a weight of two axes; what has another, or none, computes, and is not ignored."""
    if "weight" not in module.arrays:
        layer = "as a normalisation without its scale has"
        msg = f"{shown(prefix)} must have a kernel of two axes; it has a bias alone, {layer}; that has no place here."
        raise FormatError(msg)
    path = module.arrays["weight"]
    shape = held[path].shape
    if len(shape) != 2:
        layer = "that of a convolution, of attention or of a DenseGeneral" if len(shape) > 2 else "no Dense's"
        msg = f"{shown(prefix)} must have a kernel of two axes; {shown(path)} is of shape {shown(shape)}, {layer}."
        raise FormatError(msg)


def _computing(path: str) -> str | None:
    """Return the name of a layer that computes, of which an array is by its own name, or by the collection it is in."""
    *modules, leaf = path.split("/")
    return _COMPUTING[STATISTICS] if STATISTICS in modules else _COMPUTING.get(leaf)


def _unknown(path: str, held: Mapping[str, Made], cells: Mapping[str, Mapping[str, str]]) -> str:
    """Return the refusal of an array that belongs to no module that is understood."""
    shape = held[path].shape
    if (layer := _computing(path)) is not None:
        return f"{shown(path)} is of {layer}, which has no place in a network here."
    sizes = {held[parts["h/kernel"]].shape[-1:] for parts in cells.values()}
    is_row = shape[-1:] in sizes and prod(shape[:-1]) in {1, len(cells)}
    is_named, other = _STATE.search(path.rpartition("/")[2]), _sibling(path, held, cells)
    if is_row and (is_named or (len(shape) > 1 and other is None)):
        advice = way("module_state", roles={path: "ignore"})
        return f"{shown(path)}, of shape {shown(shape)}, may be the initial state; {advice}."
    if other is not None:
        return f"{shown(path)} stands beside {shown(other)} in one module, which is no Dense, Linear or Embed with it."
    known = "the modules that are understood, SimpleCell, Dense, Linear and Embed"
    return f"{shown(path)} is of none of {known}; {way('ignore', roles={path: 'ignore'})}."


def _sibling(path: str, held: Iterable[str], cells: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the path of a weight of the module that an array is of, or of the cell that it stands in."""
    prefix, mark, _ = path.rpartition("/")
    if not prefix:
        return None
    inside = [parts["i/kernel"] for cell, parts in cells.items() if cell and path.startswith(f"{cell}/")]
    own = [f"{prefix}{mark}{leaf}" for leaf in (*LINEAR, *TABLES)]
    return next((each for each in (*inside, *own) if each in held), None)
