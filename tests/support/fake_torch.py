"""Modules that say of themselves what torch's say, where torch is not installed."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pt_files
from numpy.typing import NDArray


class Tensor(np.ndarray[Any, Any]):
    """An array that can be detached, as of a graph."""

    def detach(self) -> NDArray[Any]:
        return np.asarray(self)


class Module:
    """What nn.Module has, as far as it is asked."""

    def __init__(self, children: Mapping[str, Any] = {}, state: Mapping[str, Any] = {}, **held: Any) -> None:
        self._modules = dict(children)
        self._state = {name: array.view(Tensor) for name, array in state.items()}
        self.training = True
        vars(self).update(held)

    def forward(self, x: Any) -> Any:
        raise NotImplementedError

    def children(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        yield prefix, self
        for name, child in self._modules.items():
            yield from child.named_modules(f"{prefix}.{name}".lstrip("."))

    def modules(self) -> Iterator[Any]:
        return (module for _, module in self.named_modules())

    def named_parameters(self, recurse: bool = True) -> Iterator[tuple[str, Any]]:
        yield from self._state.items()
        for name, child in self._modules.items() if recurse else ():
            yield from ((f"{name}.{each}", array) for each, array in child.named_parameters())

    def named_buffers(self, recurse: bool = True) -> Iterator[tuple[str, Any]]:
        return iter(())

    def state_dict(self) -> dict[str, Any]:
        return dict(self.named_parameters())


Module.__module__ = "torch.nn.modules.module"
_CLASSES: dict[str, type] = {}


def owned(kind: str, parent: type = Module) -> type:
    """A class of torch's own."""
    if kind not in _CLASSES:
        own = {"__module__": "torch.nn.modules.any", "forward": lambda self, x: x}
        _CLASSES[kind] = type(kind, (parent,), own)
    return _CLASSES[kind]


def fake(kind: str, children: Mapping[str, Any] = {}, state: Mapping[str, Any] = {}, **held: Any) -> Any:
    return owned(kind)(children, state, **held)


def rnn(**options: Any) -> Any:
    held: dict[str, Any] = {"mode": "RNN_RELU", "batch_first": True, "bidirectional": False, "num_layers": 1}
    state = options.pop("state", pt_files.cell())
    hidden_size, input_size = state["weight_ih_l0"].shape
    return fake("RNN", state=state, input_size=input_size, hidden_size=hidden_size, **held | options)


def sized(outputs: int, inputs: int) -> Any:
    """An RNN of some sizes."""
    draw = np.random.default_rng(outputs * 10 + inputs)
    state = {"weight_ih_l0": draw.normal(size=(outputs, inputs)), "weight_hh_l0": draw.normal(size=(outputs, outputs))}
    return rnn(state={name: array.astype("f4") for name, array in state.items()}, batch_first=False)


def linear(inputs: int = 4, outputs: int = 2) -> Any:
    weight = np.random.default_rng(inputs * 10 + outputs).normal(size=(outputs, inputs)).astype("f4")
    state = {"weight": weight, "bias": np.arange(outputs, dtype="f4")}
    return fake("Linear", state=state, in_features=inputs, out_features=outputs)


def embedding(size: int = 3, **options: Any) -> Any:
    table = options.pop("table", np.random.default_rng(5).normal(size=(9, size)).astype("f4"))
    held: dict[str, Any] = {"max_norm": None, "num_embeddings": len(table), "embedding_dim": table.shape[1]}
    return fake("Embedding", state={"weight": table}, **held | options)


def norm(size: int, **options: Any) -> Any:
    draw = np.random.default_rng(size).uniform(0.5, 2, (4, size)).astype("f4")
    state = dict(zip(("running_mean", "running_var", "weight", "bias"), draw, strict=True))
    return fake("BatchNorm1d", state=state, num_features=size, track_running_stats=True, eps=0.5, **options)


def softmax(kind: str = "Softmax", dim: int | None = -1) -> Any:
    return fake(kind, dim=dim)


def sequential(*parts: Any) -> Any:
    return fake("Sequential", {str(place): part for place, part in enumerate(parts)})


class Net(Module):
    """A class of the user's."""

    def forward(self, x: Any) -> Any:
        return x


def net(**children: Any) -> Any:
    return Net(children)
