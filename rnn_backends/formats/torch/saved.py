"""Modules that were saved whole, as objects that say what live ones say; their classes are names, and stay so."""

from collections.abc import Callable, Iterator, Mapping
from math import isfinite, prod
from typing import Any

import numpy as np

from rnn_backends.core.messages import got, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.source import Account
from rnn_backends.formats.torch.beside import no_tensor
from rnn_backends.formats.torch.classes import MODES
from rnn_backends.formats.torch.pickled import Opaque
from rnn_backends.formats.torch.tensors import Tensor

_PARTS = ("_parameters", "_buffers", "_modules")
"""The attributes of a module that hold its arrays and its modules, by name."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_METHODS = ("forward", "_call_impl", "_slow_forward", "permute_hidden")
"""Attributes of one module that replace what its class computes."""
_MOST_LAYERS = 4096
_OBJECT = 50
"""The bytes of a text beside its letters, by four."""


class Array:
    """An array of a module, whose numbers are read later; one that is no plain tensor is refused as it is used."""

    def __init__(self, name: str, held: Any) -> None:
        self.name, self.held = name, held

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.tensor.shape

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The dtype of the numbers as they are read: of bfloat16 float32."""
        stored = self.tensor.storage.dtype
        return np.dtype("f4" if stored == "bf16" else stored)

    @property
    def tensor(self) -> Tensor:
        """Where its elements lie."""
        if not isinstance(self.held, Tensor):
            raise FormatError(no_tensor(self.name, self.held, self.name))
        return self.held

    def detach(self) -> "Array":
        """Return the array, which is of no graph."""
        self.tensor  # noqa: B018  # which there must be
        return self


class Module:
    """What nn.Module has, as far as it is asked."""

    __module__ = "torch.nn.modules.module"

    def forward(self, *_: Any) -> Any:
        """Stand for the method that a module may replace; it is not called."""
        raise NotImplementedError

    _call_impl = _slow_forward = permute_hidden = forward

    def within(self, path: str) -> "Module | None":
        """Return the module at a path in this one, if there is one."""
        found: Module | None = self
        for name in path.split("."):
            found = None if found is None else vars(found)["_modules"].get(name)
        return found

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """Yield all modules, each once."""
        waiting: list[tuple[str, Module]] = [("", self)]
        seen: set[int] = set()
        while waiting:
            path, module = waiting.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            children = reversed(vars(module)["_modules"].items())
            waiting += [(f"{path}.{name}".lstrip("."), each) for name, each in children if each is not None]

    def modules(self) -> Iterator["Module"]:
        """Yield all modules, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, recurse: bool = True) -> Iterator[tuple[str, Array]]:
        """Yield the arrays that are trained."""
        return self._arrays("_parameters", recurse)

    def named_buffers(self, recurse: bool = True) -> Iterator[tuple[str, Array]]:
        """Yield the other arrays."""
        return self._arrays("_buffers", recurse)

    def _arrays(self, kind: str, recurse: bool) -> Iterator[tuple[str, Array]]:
        for path, module in self.named_modules() if recurse else [("", self)]:
            yield from ((f"{path}.{name}".lstrip("."), Array(name, held)) for name, held in vars(module)[kind].items())

    def state_dict(self) -> dict[str, Any]:
        """Return what stands for its arrays, by all the names that they have."""
        found: dict[str, Any] = {}
        waiting: list[tuple[str, Module]] = [("", self)]
        while waiting:
            prefix, module = waiting.pop()
            own = {**vars(module)["_parameters"], **vars(module)["_buffers"]}
            found |= {f"{prefix}{name}": held for name, held in own.items()}
            children = reversed(vars(module)["_modules"].items())
            waiting += [(f"{prefix}{name}.", each) for name, each in children if each is not None]
        return found


def module_of(held: Opaque, account: Account) -> Module | None:
    """Return the module that a placeholder stands for; None if it stands for something else."""
    if not _is_module(held):
        return None
    _account_for(held, account)
    return _made(held, {}, {})


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
        own, buffers, modules = (module.state[part] for part in _PARTS)
        for part in (own, buffers, modules):
            account.take("its modules", "items", len(part))
            size = sum(len(name) for name in part if isinstance(name, str))
            account.take("its modules", "bytes", 4 * (size + len(part) * (_OBJECT + len(prefix))))
        waiting += [(f"{prefix}{name}.", part, depth + 1) for name, part in reversed(modules.items())]


def _made(held: Any, known: dict[int, Module], classes: dict[str, type]) -> Module:
    """Return a module with all in it; what is none, though it stands for one, has no arrays and no modules."""
    if id(held) in known:
        return known[id(held)]
    name = held.name if isinstance(held, Opaque) else f"builtins {type(held).__name__}"
    classes[name] = classes.get(name) or _class(name, Module)
    module: Module = classes[name]()
    known[id(held)] = module
    state: Mapping[Any, Any] = held.state if _is_module(held) else {part: {} for part in _PARTS}
    texts = {key: value for key, value in state.items() if isinstance(key, str)}
    vars(module).update({key: value for key, value in texts.items() if key in _METHODS or not hasattr(Module, key)})
    for part in ("_parameters", "_buffers"):
        vars(module)[part] = {
            key: value for key, value in state[part].items() if isinstance(key, str) and value is not None
        }
    vars(module)["_modules"] = {
        str(key): None if value is None else _made(value, known, classes) for key, value in state["_modules"].items()
    }
    for kind in _HOOKS:
        hooks = texts.get(kind)
        vars(module)[kind] = dict(enumerate(map(_hook, hooks.values()))) if isinstance(hooks, dict) else {}
    _require_facts(name, module)
    _require_spectral(module)
    return module


def _class(name: str, base: type) -> type:
    """Return a class that has the name of another, and of its module."""
    owner, _, own = (ascii(part)[1:-1] for part in name.partition(" "))  # no class may have any other name
    return type(own, (base,), {"__module__": owner, "__qualname__": own})


class _Hook:
    """What runs before or after a module."""


def _hook(held: Any) -> Any:
    name = getattr(held, "name", None)
    hook: Any = _class(name if isinstance(name, str) else "builtins object", _Hook)()
    if isinstance(held, Opaque) and isinstance(held.state, dict):
        vars(hook).update({key: held.state[key] for key in ("name", "dim") if key in held.state})
    return hook


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and isfinite(value)


def _is_axis(value: Any) -> bool:
    return value is None or type(value) is int


_SIZES: Mapping[str, Callable[[Any], bool]] = {"input_size": _is_size, "hidden_size": _is_size}
_NORM: Mapping[str, Callable[[Any], bool]] = {
    "num_features": _is_size, "track_running_stats": _is_flag, "eps": _is_number,
}  # fmt: skip
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
    "torch.nn.modules.activation Threshold": {"threshold": _is_number, "value": _is_number},
}  # fmt: skip
"""What modules of torch record that their numbers depend on, by class: the attributes, and whether a value is one."""
_KINDS = {name.partition(" ")[2] for name in _FACTS}


def _require_facts(name: str, module: Module) -> None:
    """Check that a module of torch records what it must, and has the modules in it that it must: none."""
    owner, _, own = name.partition(" ")
    if not (owner.startswith("torch.nn.modules.") and own in _KINDS):
        return
    facts = _FACTS.get(name)
    wrong = next((each for each, fits in (facts or {}).items() if not fits(vars(module).get(each))), None)
    if facts is None or wrong is not None or vars(module)["_modules"]:
        what = f"{wrong} {got(vars(module).get(wrong))}" if wrong else "modules in it or an odd name"
        msg = f"it holds a {shown(f'{owner}.{own}')} with {what}; it is damaged, or of another version of torch."
        raise FormatError(msg)


def _require_spectral(module: Module) -> None:
    """Check that the parts of a spectral norm are there and fit."""
    arrays = {**vars(module)["_parameters"], **vars(module)["_buffers"]}
    for hook in vars(module)["_forward_pre_hooks"].values():
        if type(hook).__module__ != "torch.nn.utils.spectral_norm":
            continue
        name, axis = vars(hook).get("name"), vars(hook).get("dim")
        whole, u, v = (getattr(arrays.get(f"{name}_{part}"), "shape", ()) for part in ("orig", "u", "v"))
        fits = type(axis) is int and 0 <= axis < len(whole) and u == whole[axis : axis + 1]
        if not (isinstance(name, str) and fits and v == (prod(whole) // max(1, whole[axis]),)):
            msg = f"it holds a spectral norm of {got(name)} whose parts do not fit; it is damaged."
            raise FormatError(msg)
