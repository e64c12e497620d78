"""The parameters in a tree, by their paths: of a TrainState or other variables, without what counts."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rnn_backends.core.arrays import dtype_name, is_array
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.names import listed, shown

MAX_PATH = 2000
_WANTED = "parameters of Flax, a mapping of mappings of arrays, are wanted"
_WEIGHTS = {"kernel", "bias", "embedding", "w", "b", "embeddings"}
_BESIDE = {"opt_state", "step"}
"""Entries of a TrainState beside its parameters."""


def flattened(tree: Mapping[Any, Any], key: str | tuple[str, ...] | None) -> dict[str, Any]:
    """Return the arrays of a tree of mappings by path, those of `key`, or of ``params`` where there is one."""
    found = {path: array for path, array in _leaves(_parameters(tree, key)) if _is_parameter(path, array)}
    if not found:
        msg = f"{_WANTED}; the tree holds no arrays of floating point."
        raise FormatError(msg)
    return found


def _parameters(tree: Any, key: str | tuple[str, ...] | None) -> Any:
    """Return the part of a tree that holds the parameters."""
    for part in (key,) if isinstance(key, str) else key or ():
        if not isinstance(tree, Mapping) or part not in tree:
            there = listed(tree) if isinstance(tree, Mapping) else "no names"
            msg = f"`key` must be the names on the way to the parameters; there is no {shown(part)} among {there}."
            raise FormatError(msg)
        tree = tree[part]
    while isinstance(tree, Mapping) and isinstance(tree.get("params"), Mapping):
        alike = [name for name, part in tree.items() if name not in _BESIDE and _is_alike(part, tree["params"])]
        if len(alike) > 1:
            msg = f"the tree holds several networks, in {listed(alike)}; {way('key', key=repr(alike[0]))}."
            raise FormatError(msg)
        tree = tree["params"]
    if not isinstance(tree, Mapping):
        msg = f"{_WANTED}; got {type(tree).__name__}."
        raise FormatError(msg)
    return tree


def _is_alike(part: Any, params: Mapping[Any, Any]) -> bool:
    """Return whether a part has the names of the parameters, as averages of them have."""
    while isinstance(part, Mapping) and part.keys() == {"params"}:
        part = part["params"]
    while params.keys() == {"params"} and isinstance(params["params"], Mapping):
        params = params["params"]
    return isinstance(part, Mapping) and bool(params) and part.keys() == params.keys()


def _leaves(tree: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    seen = set()
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Mapping):
            if len(place) > MAX_PATH:
                msg = f"the tree goes deeper than any network's, at {shown(place)}."
                raise FormatError(msg)
            parts = [(f"{place}/{name}" if place else str(name), part) for name, part in value.items()]
            waiting.extend(reversed(parts))
        elif place in seen:
            msg = f"{shown(place)} stands in the tree twice; a name may have no slash."
            raise FormatError(msg)
        else:
            seen.add(place)
            yield place, value


def _is_parameter(path: str, value: Any) -> bool:
    """Return whether a leaf is an array that is not of integers, which count steps or are keys, but for weights."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return False
    if not is_array(value) or hasattr(type(value), "value"):
        msg = f"{shown(path)} must be an array, or a mapping of them; got {type(value).__name__}; {way('pure_dict')}."
        raise FormatError(msg)
    kind = np.dtype("float32" if (name := dtype_name(value)) == "bfloat16" else name).kind
    return kind == "f" or path.rpartition("/")[2] in _WEIGHTS
