"""Modules made of what stands for them in a pickle: their attributes, hooks and classes, of which nothing is run."""

from collections.abc import Callable, Mapping
from itertools import count
from math import isfinite, prod
from typing import Any

from rnn_backends.core.messages import got, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.torch.classes import MODES, bare
from rnn_backends.formats.torch.placeholders import Opaque
from rnn_backends.formats.torch.saved import Module
from rnn_backends.formats.torch.tensors import MAX_SIZE

_PARTS = ("_parameters", "_buffers", "_modules")
"""The attributes of a module that hold its arrays and its modules, by name."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_METHODS = ("forward", "_call_impl", "_slow_forward", "permute_hidden")
"""Attributes of one module that replace what its class computes."""
_MOST_LAYERS = 4096
_MODULE, _CLASS, _NAME = 2000, 2000, 60
"""Bytes of memory of a module, of a class, and of a name beside its letters."""
_COPIES = 3
"""How many times the path of an array is held."""


def module_of(held: Opaque, account: Account) -> Module | None:
    """Return the module that a placeholder stands for; None if it stands for something else."""
    if not _is_module(held):
        return None
    _account_for(held, account)
    return _Restoring(account).module(held)


def _is_module(held: Any) -> bool:
    state = held.state if isinstance(held, Opaque) else None
    return isinstance(state, dict) and all(isinstance(state.get(part), dict) for part in _PARTS)


def _account_for(held: Opaque, account: Account) -> None:
    """Account for a module: those in it may be shared, and so be in a file but once, or hold themselves."""
    waiting: list[tuple[str, Any, int]] = [("", held, 0)]
    while waiting:
        prefix, module, depth = waiting.pop()
        account.take("its modules", "depth", depth)
        account.take("its modules", "items", 1)
        if not _is_module(module):
            continue
        for part in map(module.state.get, _PARTS):
            account.take("its modules", "items", len(part))
            names = [prefix, *(name for name in part if isinstance(name, str))]
            size = (len(part) - 1) * len(prefix) + sum(map(len, names))
            size *= 1 if all(map(str.isascii, names)) else 4
            account.take("its modules", "bytes", _COPIES * (size + len(part) * _NAME))
        for hooks in map(module.state.get, _HOOKS):
            account.take("its hooks", "items", len(hooks) if isinstance(hooks, dict) else 0)
        modules = module.state["_modules"]
        waiting += [(f"{prefix}{name}.", part, depth + 1) for name, part in reversed(modules.items())]


class _Restoring:
    """Makes modules, each of them, each class and each dict of hooks once, however often a file refers to it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.modules: dict[int, Module] = {}
        self.hooks: dict[int, dict[int, Any]] = {}
        self.classes: dict[tuple[type, str, str], type] = {}

    def module(self, held: Any) -> Module:
        """Return a module with all in it; what is none, though it stands for one, has no arrays and no modules."""
        if id(held) in self.modules:
            return self.modules[id(held)]
        self.account.take("its modules", "bytes", _MODULE)
        kind = self.class_of(held, Module)
        module: Module = kind()
        self.modules[id(held)] = module
        state: Mapping[Any, Any] = held.state if _is_module(held) else {part: {} for part in _PARTS}
        vars(module).update({key: state[key] for key in _KEPT if key in state})
        for part in ("_parameters", "_buffers"):
            arrays = state[part].items()
            vars(module)[part] = {key: value for key, value in arrays if isinstance(key, str) and value is not None}
        vars(module)["_modules"] = children = {}
        for key, value in state["_modules"].items():
            if not isinstance(key, (str, int)):
                msg = f"it holds a module in a {bare(kind.__name__)} whose name is none; it is damaged."
                raise FormatError(msg)
            children[str(key)] = None if value is None else self.module(value)
        vars(module).update({part: self.hooks_of(state.get(part)) for part in _HOOKS})
        _require_facts(kind, module)
        _require_spectral(module)
        return module

    def class_of(self, held: Any, base: type) -> type:
        """Return a class that has the name of the one that a placeholder is of, and of its module."""
        is_known = isinstance(held, Opaque)
        owner, own = (held.module, held.name) if is_known else ("builtins", type(held).__name__)
        if (base, owner, own) not in self.classes:
            self.account.take("its classes", "bytes", _CLASS)
            names = [ascii(part)[1:-1] for part in (owner, own)]  # no class may have any other name
            found = type(names[1], (base,), {"__module__": names[0], "__qualname__": names[1]})
            self.classes[base, owner, own] = found
        return self.classes[base, owner, own]

    def hooks_of(self, held: Any) -> dict[int, Any]:
        """Return the hooks of a module, by number."""
        if not isinstance(held, dict):
            return {}
        if id(held) not in self.hooks:
            self.account.take("its hooks", "bytes", _MODULE + len(held) * _NAME)
            self.hooks[id(held)] = dict(zip(count(), map(self.hook, held.values())))
        return self.hooks[id(held)]

    def hook(self, held: Any) -> Any:
        found: _Hook = self.class_of(held, _Hook)()
        state = held.state if isinstance(held, Opaque) and isinstance(held.state, dict) else {}
        found.name, found.dim = state.get("name"), state.get("dim")
        return found


class _Hook:
    """What runs before or after a module."""

    __slots__ = ("dim", "name")
    name: Any
    dim: Any


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value < MAX_SIZE


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_number(value: Any) -> bool:
    return (type(value) is float and isfinite(value)) or (type(value) is int and abs(value) < MAX_SIZE)


def _is_axis(value: Any) -> bool:
    return value is None or (type(value) is int and abs(value) < MAX_SIZE)


_SIZES: Mapping[str, Callable[[Any], bool]] = {"input_size": _is_size, "hidden_size": _is_size}
_NORM: Mapping[str, Callable[[Any], bool]] = {
    "num_features": _is_size, "track_running_stats": _is_flag, "eps": _is_number,
}  # fmt: skip
_BOUNDS: Mapping[str, Callable[[Any], bool]] = {"min_val": _is_number, "max_val": _is_number}
_FACTS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "torch.nn.modules.rnn RNN": {
        **_SIZES, "mode": lambda value: isinstance(value, str) and value in MODES, "batch_first": _is_flag,
        "num_layers": lambda value: _is_size(value) and value <= _MOST_LAYERS, "bidirectional": _is_flag,
    },
    "torch.nn.modules.rnn RNNCell": {**_SIZES, "nonlinearity": lambda value: value in ("tanh", "relu")},
    "torch.nn.modules.linear Linear": {"in_features": _is_size, "out_features": _is_size},
    "torch.nn.modules.sparse Embedding": {
        "num_embeddings": _is_size, "embedding_dim": _is_size,
        "max_norm": lambda value: value is None or _is_number(value),
    },
    "torch.nn.modules.batchnorm BatchNorm1d": _NORM,
    "torch.nn.modules.batchnorm SyncBatchNorm": _NORM,
    "torch.nn.modules.activation Softmax": {"dim": _is_axis},
    "torch.nn.modules.activation LogSoftmax": {"dim": _is_axis},
    "torch.nn.modules.activation LeakyReLU": {"negative_slope": _is_number},
    "torch.nn.modules.activation ELU": {"alpha": _is_number},
    "torch.nn.modules.activation Softplus": {"beta": _is_number, "threshold": _is_number},
    "torch.nn.modules.activation Hardtanh": _BOUNDS,
    "torch.nn.modules.activation ReLU6": _BOUNDS,
    "torch.nn.modules.activation Threshold": {"threshold": _is_number, "value": _is_number},
}  # fmt: skip
"""What modules of torch record that their numbers depend on, by class: the attributes, and whether a value is one."""
_KINDS = {name.partition(" ")[2] for name in _FACTS}
_KEPT = sorted({*_METHODS, "training", *(fact for facts in _FACTS.values() for fact in facts)})
"""The attributes of a module that are asked for."""


def _require_facts(kind: type, module: Module) -> None:
    """Check that a module of torch records what it must, and has the modules in it that it must: none."""
    owner, own = kind.__module__, kind.__name__
    if not (owner.startswith("torch.nn.modules.") and own in _KINDS):
        return
    facts = _FACTS.get(f"{owner} {own}")
    held = vars(module)
    wrong = next((each for each, fits in (facts or {}).items() if each not in held or not fits(held[each])), None)
    if facts is None or wrong is not None or held["_modules"]:
        what = f"{wrong} {got(held.get(wrong))}" if wrong else "modules in it or an odd name"
        msg = f"it holds a {shown(f'{owner}.{own}')} with {what}; it is damaged, or of another version of torch."
        raise FormatError(msg)


def _require_spectral(module: Module) -> None:
    """Check that the parts of a spectral norm are there and fit."""
    hooks = vars(module)["_forward_pre_hooks"].values()
    found = [hook for hook in hooks if type(hook).__module__ == "torch.nn.utils.spectral_norm"]
    arrays = {**vars(module)["_parameters"], **vars(module)["_buffers"]} if found else {}
    names: set[str] = set()
    for hook in found:
        name, axis = hook.name, hook.dim
        whole, u, v = (getattr(arrays.get(f"{name}_{part}"), "shape", ()) for part in ("orig", "u", "v"))
        fits = type(axis) is int and 0 <= axis < len(whole) and u == whole[axis : axis + 1]
        is_first = isinstance(name, str) and name not in names
        if not (is_first and fits and v == (prod(whole) // max(1, whole[axis]),)):
            msg = f"it holds a spectral norm of {got(name)} whose parts do not fit; it is damaged."
            raise FormatError(msg)
        names.add(name)
