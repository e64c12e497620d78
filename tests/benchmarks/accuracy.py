"""Measure how far results are from float64, in units of torch's error.

python tests/benchmarks/cpu.py accuracy
"""

from typing import Any

import numpy as np
from harness.competitors import distribution_version
from harness.processes import answer
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.backends.cpu_kernels import choice
from rnn_backends.core.arrays import Host

ACTIVATIONS = ("tanh", "relu")
NETWORKS = 40
MOST_STEPS, MOST_STATES, MOST_FEATURES, MOST_SEQUENCES = 300, 300, 100, 8

Float64 = NDArray[np.float64]


def measure(networks: int = NETWORKS) -> dict[str, Any]:
    """Return the ratios of the rms and of the largest error by kernel and activation, and why there are none."""
    if distribution_version("torch") is None:
        return {"ratios": {}, "absent": {"torch": "not installed: pip install torch"}}
    kernels = (*choice.kernels(), choice.OFF)
    call = f"ratios_to_torch({networks})"
    return {"ratios": {kernel: answer("accuracy", call, {choice.VARIABLE: kernel}) for kernel in kernels}, "absent": {}}


def ratios_to_torch(networks: int) -> dict[str, Any]:
    """Return, for each activation, our error over torch's for each network."""
    found: dict[str, Any] = {}
    for activation in ACTIVATIONS:
        pairs = [errors(seed, activation) for seed in range(networks)]
        found[activation] = {name: [of(own) / of(theirs) for own, theirs in pairs] for name, of in MEASURES.items()}
    return found


def rms(error: Float64) -> float:
    return float(np.sqrt(np.mean(error**2)))


def largest(error: Float64) -> float:
    return float(np.abs(error).max())


MEASURES = {"rms": rms, "largest": largest}


def errors(seed: int, activation: str) -> tuple[Float64, Float64]:
    """Return the errors of this library and of torch, of a random network on a random input in float32."""
    random = np.random.default_rng(seed)
    seq_len, hidden_size = random.integers(10, [MOST_STEPS, MOST_STATES], endpoint=True)
    batch, input_size = random.integers(1, [MOST_SEQUENCES, MOST_FEATURES], endpoint=True)
    rnn = rb.RNN.init(int(input_size), int(hidden_size), activation=activation, seed=seed, backend="numpy")
    x = random.standard_normal((seq_len, batch, input_size), np.float32)
    cell = rnn.layers[0].forward
    assert isinstance(cell, rb.Cell)
    truth = in_float64(cell, activation, x)
    return np.asarray(rnn(x)[0], np.float64) - truth, by_torch(cell, activation, x) - truth


def in_float64(cell: rb.Cell, activation: str, x: Host) -> Float64:
    """Return the states by the equation, in float64."""
    w_ih, w_hh, bias = (np.asarray(array, np.float64) for array in (cell.weight_ih, cell.weight_hh, cell.bias))
    h, states = np.zeros((x.shape[1], len(w_hh))), []
    for x_t in x.astype(np.float64):
        h = x_t @ w_ih.T + h @ w_hh.T + bias
        h = np.tanh(h) if activation == "tanh" else np.maximum(h, 0.0)
        states.append(h)
    return np.stack(states)


def by_torch(cell: rb.Cell, activation: str, x: Host) -> Float64:
    """Return the states by `torch.nn.RNN`."""
    import torch

    other = torch.nn.RNN(cell.input_size, cell.hidden_size, nonlinearity=activation)
    arrays = [np.array(array) for array in (cell.weight_ih, cell.weight_hh, cell.bias)]
    with torch.inference_mode():
        for parameter, value in zip(other.parameters(), (*arrays, 0 * arrays[2]), strict=True):
            parameter.copy_(torch.from_numpy(value))
        return np.asarray(other(torch.from_numpy(x))[0].numpy(), np.float64)
