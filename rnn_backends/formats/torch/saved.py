"""Modules that were saved whole, as objects that say what live ones say; their classes are names, and stay so."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from rnn_backends.errors import FormatError
from rnn_backends.formats.torch.beside import no_tensor
from rnn_backends.formats.torch.tensors import Tensor


class Array:
    """An array of a module, whose numbers are read later; one that is no plain tensor is refused as it is used."""

    def __init__(self, name: str, held: Any) -> None:
        self.name, self.held = name, held

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
