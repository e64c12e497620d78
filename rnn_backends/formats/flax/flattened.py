"""The parameters in a tree, by their paths, without what counts."""

import re
from collections.abc import Mapping
from typing import Any

from rnn_backends.core.arrays import FLOATING, dtype_name, is_array
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.flax.variables import WANTED, Variables, is_float, kept, leaves

_WEIGHTS = {"kernel", "bias", "embedding", "w", "b", "embeddings"}
_COUNTS = re.compile(r"bool|u?int(?:8|16|32|64)")


def flattened(variables: Variables, account: Account) -> dict[str, Any]:
    """Return the arrays of parameters by path."""
    found: dict[str, Any] = {}
    for path, value in leaves(variables.params):
        if not _is_parameter(path, value):
            continue
        if path in found:
            msg = f"{shown(path)} stands in the tree twice; a name may have no slash."
            raise FormatError(msg)
        found[kept(path, account)] = value
    if not found:
        msg = f"{WANTED}; the tree holds no arrays of floating point."
        raise FormatError(msg)
    return found


def require_numbers(tree: Mapping[str, Any]) -> None:
    """Check that arrays are of numbers; that those of weights are of floating point is checked with the network."""
    for path, array in tree.items():
        name = dtype_name(array)
        if name not in FLOATING and not _COUNTS.fullmatch(name):
            msg = f"{shown(path)} must be an array of {', '.join(FLOATING)}; got one of dtype {shown(name)}."
            raise FormatError(msg)


def _is_parameter(path: str, value: Any) -> bool:
    """Return whether a leaf is a weight by its name, or an array of floating point: others are counts, keys, texts."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return False
    if not is_array(value) or hasattr(type(value), "value"):
        msg = f"{shown(path)} must be an array, or a mapping of them; got {type(value).__name__}; {way('pure_dict')}."
        raise FormatError(msg)
    return is_float(value) or path.rpartition("/")[2] in _WEIGHTS
