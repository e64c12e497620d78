"""Modules of torch as people write them: attributes, and a forward of their own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

T, B = 7, 2


class Net(nn.Module):  # type: ignore[misc]  # mypy does not look into torch
    """A class of the user's: attributes in the order in which they are given, and a forward."""

    def __init__(self, forward: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.call = forward
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Any) -> Any:
        return self.call(self, x)


class SelectLast(nn.Module):  # type: ignore[misc]
    """The usual selector between an nn.RNN and an nn.Linear."""

    def forward(self, results: Any) -> Any:
        return results[0][-1]


class Own(nn.Module):  # type: ignore[misc]
    """Code of the user's without weights."""

    def forward(self, x: Any) -> Any:
        return x


def drawn(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=shape)


def settled(module: Any) -> Any:
    """A module in float64, its BatchNorms with statistics and weights of their own, as after training."""
    module = module.double()
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            for array, low in ((part.running_mean, -1), (part.running_var, 0.5), (part.weight, 0.5), (part.bias, -1)):
                if array is not None:
                    array.data = low + torch.rand(array.shape, generator=generator, dtype=torch.float64)
    return module.eval()


def result(module: Any, x: Any) -> NDArray[Any]:
    """What a module gives, as torch computes it where nothing is trained."""
    training = {part: part.training for part in module.modules()}
    with torch.no_grad():
        found = module.eval()(torch.as_tensor(x))
    for part, was in training.items():
        part.training = was
    return np.asarray(found)


class Relu(nn.RNN):  # type: ignore[misc]
    """A subclass that computes what nn.RNN does."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes, nonlinearity="relu")


class Twice(nn.RNN):  # type: ignore[misc]
    """A subclass that does not."""

    def forward(self, x: Any, h_0: Any = None) -> Any:
        return super().forward(2 * x, h_0)


class Chain(nn.Sequential):  # type: ignore[misc]
    """A subclass of nn.Sequential that is applied as one."""


class Symmetric(nn.Module):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return x.triu() + x.triu(1).T
