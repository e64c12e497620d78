"""torch: `nn.RNN`, ragged sequences packed, and `nn.RNNCell` for single steps, in inference mode."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_backends.arrays import Host
from rnn_backends.commands.benchmark.contestant import AbsentError, Contestant
from rnn_backends.commands.benchmark.problem import Drawn


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant."""
    if drawn.problem.leak is not None:
        msg = "nn.RNN has no leak"
        raise AbsentError(msg)
    torch.set_num_threads(threads)
    call = _step(drawn) if drawn.problem.step else _sequence(drawn)
    return Contestant("torch", call, context=torch.inference_mode)


def _sequence(drawn: Drawn) -> Callable[[Host], Any]:
    problem, embed = drawn.problem, _embedding(drawn)
    dtype = getattr(torch, problem.dtype)
    rnn = torch.nn.RNN(drawn.feature_size, problem.hidden_size, bidirectional=problem.bidirectional, dtype=dtype)
    with torch.no_grad():
        for (w_ih, w_hh, bias), suffix in zip(drawn.feature_weights(), ("_l0", "_l0_reverse"), strict=False):
            values = {"weight_ih": w_ih, "weight_hh": w_hh, "bias_ih": bias, "bias_hh": np.zeros_like(bias)}
            for name, value in values.items():
                getattr(rnn, name + suffix).copy_(torch.tensor(value))
    rnn.eval()
    if drawn.lengths is None:
        return lambda x: rnn(embed(torch.from_numpy(x)))[0].numpy()
    lengths = torch.tensor(drawn.lengths)

    def ragged(x: Host) -> Any:
        packed = pack_padded_sequence(embed(torch.from_numpy(x)), lengths, enforce_sorted=False)
        output, _ = pad_packed_sequence(rnn(packed)[0], total_length=problem.seq_len)
        return output.numpy()

    return ragged


def _step(drawn: Drawn) -> Callable[[Host], Any]:
    problem, embed = drawn.problem, _embedding(drawn)
    cell = torch.nn.RNNCell(drawn.feature_size, problem.hidden_size, dtype=getattr(torch, problem.dtype))
    (w_ih, w_hh, bias), *_ = drawn.feature_weights()
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), (w_ih, w_hh, bias, np.zeros_like(bias)), strict=True):
            parameter.copy_(torch.tensor(value))
    h = torch.zeros(problem.batch, problem.hidden_size, dtype=cell.weight_hh.dtype)

    def step(x: Host) -> Any:
        nonlocal h
        h = cell(embed(torch.from_numpy(x))[0], h)
        return h[None].numpy()

    return step


def _embedding(drawn: Drawn) -> Callable[[Any], Any]:
    """Return what makes features of the input: of token ids rows of W_ih^T, of features themselves."""
    if not drawn.problem.tokens:
        return lambda x: x
    embedding: Callable[[Any], Any] = torch.nn.Embedding.from_pretrained(torch.tensor(drawn.token_rows))
    return embedding
