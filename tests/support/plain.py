"""The text-book equations in NumPy, for weights that stand as in the text-book, (to, from); and such weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[Any]
X = np.random.default_rng(8).normal(size=(5, 2, 3))


def states(
    x: Float, w_ih: Float, w_hh: Float, bias: Any = 0.0, g1: Callable[[Any], Any] = np.tanh, h_0: Any = 0.0
) -> Float:
    """Return the states of a cell at all steps; x is time first."""
    x, w_ih, w_hh = (np.asarray(each, np.float64) for each in (x, w_ih, w_hh))
    h, found = np.zeros((*x.shape[1:-1], len(w_hh))) + h_0, []
    for step in x:
        h = g1(step @ w_ih.T + h @ w_hh.T + bias)
        found.append(h)
    return np.stack(found)


def of_torch(state: Mapping[str, Any], x: Float, prefix: str = "", g1: Callable[[Any], Any] = np.tanh) -> Float:
    """Return the states of the last layer of an nn.RNN that runs forward, at all steps."""
    held = {name.removeprefix(prefix): np.asarray(array, np.float64) for name, array in state.items()}
    index = 0
    while f"weight_ih_l{index}" in held:
        bias = held.get(f"bias_ih_l{index}", 0.0) + held.get(f"bias_hh_l{index}", 0.0)
        x = states(x, held[f"weight_ih_l{index}"], held[f"weight_hh_l{index}"], bias, g1)
        index += 1
    return x


def linear(state: Mapping[str, Any], prefix: str, x: Float) -> Float:
    """Return W x + b."""
    found: Float = x @ np.asarray(state[f"{prefix}.weight"], np.float64).T
    return found + np.asarray(state[f"{prefix}.bias"], np.float64) if f"{prefix}.bias" in state else found


def softmax(z: Float) -> Float:
    """Return the softmax over the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    found: Float = e / e.sum(axis=-1, keepdims=True)
    return found


def normal(*shape: int, seed: int = 0) -> Any:
    """Return numbers that are drawn by a seed and the shape."""
    return np.random.default_rng((seed, *shape)).normal(size=shape) / 2


def network(input_size: int = 3, hidden_size: int = 4, prefix: str = "rnn.", seed: int = 0) -> dict[str, Any]:
    """Return the state dict of an nn.RNN of one layer."""
    return {
        f"{prefix}weight_ih_l0": normal(hidden_size, input_size, seed=seed),
        f"{prefix}weight_hh_l0": normal(hidden_size, hidden_size, seed=seed),
        f"{prefix}bias_ih_l0": normal(hidden_size, seed=seed),
        f"{prefix}bias_hh_l0": normal(hidden_size, seed=seed + 1),
    }


def fully(prefix: str, rows: int, columns: int, seed: int = 5) -> dict[str, Any]:
    """Return the arrays of an nn.Linear."""
    return {f"{prefix}.weight": normal(rows, columns, seed=seed), f"{prefix}.bias": normal(rows, seed=seed)}


def norm(prefix: str, size: int) -> dict[str, Any]:
    """Return the arrays of an nn.BatchNorm1d."""
    return {
        f"{prefix}.weight": normal(size, seed=6) + 1,
        f"{prefix}.bias": normal(size, seed=7),
        f"{prefix}.running_mean": normal(size, seed=8),
        f"{prefix}.running_var": normal(size, seed=9) ** 2 + 0.5,
        f"{prefix}.num_batches_tracked": np.array(7),
    }


def normed(state: Mapping[str, Any], prefix: str, x: Any) -> Any:
    """Return what a BatchNorm gives where nothing is trained."""
    held = {name.rpartition(".")[2]: array for name, array in state.items() if name.startswith(f"{prefix}.")}
    return (x - held["running_mean"]) / np.sqrt(held["running_var"] + 1e-5) * held["weight"] + held["bias"]
