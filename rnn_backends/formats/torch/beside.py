"""Values beside the tensors of a state dict: left out where it computes nothing, refused where it is a weight."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.modules import is_recurrent
from rnn_backends.formats.names import is_within
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.torch.joined import without_twins
from rnn_backends.formats.torch.placeholders import Opaque
from rnn_backends.formats.torch.tensors import Tensor

_WEIGHT = re.compile(
    r"(?:weight|bias)(?:_(?:ih|hh|g|v|orig)(?:_.*)?|_l[0-9].*)?|h_0(?:_l[0-9].*)?|w(?:ax|aa|ya|xh|hh|hy)|why|b[ahy]",
    re.IGNORECASE | re.DOTALL,
)
"""The last part of the name of a weight, by torch or a text-book."""
_BIASES = re.compile(r"(?:^|[.])bias_(?:ih|hh)(?:_|$|[.])", re.ASCII)


class Parts(NamedTuple):
    """The tensors of a state dict, its weights that are none by name, and the options without roles of other values."""

    tensors: dict[str, Any]
    weights: dict[str, Any]
    options: LoadOptions


def parts_of(state: Mapping[Any, Any], options: LoadOptions, is_tensor: Callable[[Any], bool]) -> Parts:
    """Return the parts of a state dict; of others than those that begin with `key`, the tensors."""
    begin = _begin(options)
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and is_tensor(value)}
    said = dict(options.roles or {}) | dict.fromkeys(options.names or {}, "names")
    twins = without_twins({name: _memory(value) for name, value in tensors.items()}, begin, said)
    tensors = {name: value for name, value in tensors.items() if name not in twins}
    state = {name: value for name, value in state.items() if name not in twins}
    others = {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and name not in tensors and name.startswith(begin)
    }
    local = [name.removeprefix(begin) for name in others]
    own = [name.removeprefix(begin) for name in tensors if name.startswith(begin)]
    ignored = [key for key, role in (options.roles or {}).items() if role == "ignore"]
    modules = {name.rpartition(".")[0] for name in own} - {""}
    weights = {
        name: value
        for name, value in others.items()
        if not any(is_within(name.removeprefix(begin), key) for key in ignored)
        and _is_weight(name.removeprefix(begin), value, modules)
    }
    spent = {key for key in ignored if _any(key, local) and not _any(key, own)}
    if spent:
        roles = {key: role for key, role in (options.roles or {}).items() if key not in spent}
        options = replace(options, roles=roles or None)
    return Parts(tensors, weights, options)


def _memory(value: Any) -> Any:
    """Return what is equal of arrays that are the same memory: of a file a record of it, else addresses and strides."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return value.__array_interface__["data"][0], value.shape, value.strides, value.dtype.str
    address, strides = (getattr(value, name, None) for name in ("data_ptr", "stride"))
    if callable(address) and callable(strides):
        with suppress(RuntimeError):  # of a tensor without memory, such as a sparse one
            return address(), tuple(value.shape), tuple(strides())
    return id(value)


def tensors_of(state: Mapping[Any, Any], options: LoadOptions) -> tuple[dict[str, Tensor], LoadOptions]:
    """Return the tensors of the state dict of a file, and the options without the roles of what is none."""
    parts = parts_of(state, options, lambda value: isinstance(value, Tensor))
    for name, value in parts.weights.items():
        raise FormatError(no_tensor(name, value, name.removeprefix(_begin(options))))
    return parts.tensors, parts.options


def no_tensor(name: str, value: Any, key: str) -> str:
    """Return the refusal of a weight that is no plain tensor; a network does not do without one of its cells."""
    if isinstance(value, Opaque):
        what = f"made by {shown(f'{value.module}.{value.name}')}, and is no plain tensor"
    else:
        what = f"no tensor, but of type {type(value).__name__}"
    is_torch = isinstance(value, Opaque) and value.module.startswith("torch")
    ways = [] if is_recurrent([name]) or _BIASES.search(name) else [way("ignore", roles={key: "ignore"})]
    ways.append(way("plain_tensor" if is_torch else "torch_load"))
    return f"{shown(name)} is {what}; {', else '.join(ways)}."


def _is_weight(name: str, value: Any, modules: set[str]) -> bool:
    """Return whether a value, which is no tensor, may be one of the weights.

    A whole number beside them counts, as an array of one does.
    """
    prefix, _, leaf = name.rpartition(".")
    if isinstance(value, Opaque) and value.module.startswith("torch"):
        return True
    if value is None or isinstance(value, (str, bool)):
        return False
    if _WEIGHT.fullmatch(leaf):
        return True
    numbers = isinstance(value, float) or (isinstance(value, (list, tuple)) and any(_numbers(value)))
    return prefix in modules and (numbers or (isinstance(value, Opaque) and value.module.startswith("numpy")))


def _numbers(value: list[Any] | tuple[Any, ...]) -> Iterator[bool]:
    """Yield whether each item of a list may be a number, or hold some."""
    return (not isinstance(each, (str, bool, type(None))) for each in value)


def _begin(options: LoadOptions) -> str:
    """Return the beginning of names that is left of a key."""
    return "".join(f"{part}." for part in (options.key or ()))


def _any(key: str, names: Any) -> bool:
    return any(is_within(name, key) for name in names)
