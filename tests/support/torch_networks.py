"""Whole networks in torch, one sequence at a time and without padding: `torch.nn.RNN` where it has the cell, else its
operations step by step."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rnn_backends.core.network import Network
from rnn_backends.testing import Record

FUNCTIONS: dict[str, Any] = {
    "identity": lambda z, _, __: z,
    "tanh": lambda z, _, __: torch.tanh(z),
    "sigmoid": lambda z, _, __: torch.sigmoid(z),
    "relu": lambda z, _, __: torch.relu(z),
    "affine": lambda z, alpha, beta: alpha * z + beta,
    "leaky_relu": lambda z, alpha, _: functional.leaky_relu(z, alpha),
    "thresholded_relu": lambda z, alpha, _: functional.threshold(z, alpha, 0.0),
    "clipped_relu": lambda z, alpha, _: functional.hardtanh(z, 0.0, alpha),
    "scaled_tanh": lambda z, alpha, beta: alpha * torch.tanh(beta * z),
    "hard_sigmoid": lambda z, alpha, beta: torch.clamp(alpha * z + beta, 0.0, 1.0),
    "elu": lambda z, alpha, _: functional.elu(z, alpha),
    "softsign": lambda z, _, __: functional.softsign(z),
    "softplus": lambda z, _, __: functional.softplus(z),
    "softmax": lambda z, _, __: torch.softmax(z, dim=-1),
    "log_softmax": lambda z, _, __: torch.log_softmax(z, dim=-1),
}


def tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.array(array))


def activate(activation: Any, z: torch.Tensor) -> torch.Tensor:
    return FUNCTIONS[activation.name](z, activation.alpha, activation.beta)


def applied(linear: Any, x: torch.Tensor) -> torch.Tensor:
    """Return a Linear before its activation; of ids, by an embedding."""
    bias = None if linear.bias is None else tensor(linear.bias)
    if x.is_floating_point():
        return functional.linear(x, tensor(linear.weight), bias)
    rows = functional.embedding(x, tensor(linear.weight.T))
    return rows if bias is None else rows + bias


def walk(cell: Any, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a cell over one sequence, (seq_len, input_size); return its states and the last one."""
    if not len(x):
        return x.new_zeros((0, cell.hidden_size)), h
    w_ih, w_hh = tensor(cell.weight_ih), tensor(cell.weight_hh)
    bias = torch.zeros_like(h) if cell.bias is None else tensor(cell.bias)
    if cell.clip is None and cell.leak is None and cell.activation.name in {"tanh", "relu"}:
        module = torch.nn.RNN(cell.input_size, cell.hidden_size, nonlinearity=cell.activation.name, dtype=h.dtype)
        weights = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh, "bias_ih_l0": bias, "bias_hh_l0": torch.zeros_like(h)}
        module.load_state_dict(weights)
        states, _ = module(x, h[None])
        return states, states[-1]
    found = []
    for row in x:
        z = w_ih @ row + w_hh @ h + bias
        a = activate(cell.activation, z if cell.clip is None else torch.clamp(z, -cell.clip, cell.clip))
        leak = None if cell.leak is None else torch.as_tensor(np.array(cell.leak), dtype=h.dtype)
        h = a if leak is None else (1 - leak) * h + leak * a
        found.append(h)
    return torch.stack(found), h


def sequence(network: Network, x: torch.Tensor, states: list[torch.Tensor], reads: str) -> dict[str, torch.Tensor]:
    """Run a network over the valid steps of one sequence."""
    for linear in network.encoder:
        x = activate(linear.activation, applied(linear, x))
    if not x.is_floating_point():
        first: Any = network.layers[0].cells[0][0]
        x = functional.one_hot(x, first.input_size).to(states[0].dtype)
    last: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []
    for layer in network.layers:
        outputs = []
        for cell, reverse in layer.cells:
            found, end = walk(cell, x.flip(0) if reverse else x, states[len(last)])
            outputs.append(found.flip(0) if reverse else found)
            last.append(end)
        x = torch.cat(outputs, dim=-1)
    ends = torch.cat(last[-len(outputs) :], dim=-1)
    read = {
        "steps": lambda: x,
        "final": lambda: ends,
        "last": lambda: x[-1] if len(x) else ends,
        "mean": lambda: x.mean(dim=0) if len(x) else torch.zeros_like(ends),
        "max": lambda: x.max(dim=0).values if len(x) else torch.zeros_like(ends),
    }[reads]()
    *head, readout = network.readout
    for linear in head:
        read = activate(linear.activation, applied(linear, read))
    logits = applied(readout, read)
    results = {"output": x, "logits": logits, "probabilities": activate(readout.activation, logits)}
    return results | {f"h_n[{k}]": end for k, end in enumerate(last)}


def compare(record: Record, results: dict[str, Any], rtol: float) -> None:
    """Check the results of a model, time first, against torch, sequence by sequence."""
    network, x, h_0, lengths, mask = record
    for b in range(x.shape[1]):
        taken = np.arange(len(x)) < (len(x) if lengths is None else lengths[b])
        taken = taken if mask is None else taken & mask[:, b]
        given = network.h_0 if h_0 is None else [part[b] for part in h_0]
        sizes = [cell.hidden_size for layer in network.layers for cell, _ in layer.cells]  # type: ignore[attr-defined]
        dtype = network.readout[0].weight.dtype
        states = [tensor(np.zeros(size, dtype)) for size in sizes] if given is None else [tensor(h) for h in given]
        for name, found in sequence(network, tensor(x[taken, b]), states, network.reads).items():
            actual = results[name]
            at_steps = name == "output" or (name in {"logits", "probabilities"} and network.reads == "steps")
            actual = actual[taken, b] if at_steps else actual[b]
            np.testing.assert_allclose(actual, found.detach().numpy(), rtol=rtol, atol=rtol, err_msg=f"{name}, {b}")
