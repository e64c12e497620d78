"""torch: `nn.RNN`, ragged sequences packed, and `nn.RNNCell` for single steps, in inference mode.

On a GPU `nn.RNN` is cuDNN's, which multiplies float32 in TF32 by default.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from harness.contestant import AbsentError, Contestant, fill_with_nan
from harness.problem import Drawn

if TYPE_CHECKING:
    from harness.gpu import Gpu

CPU = torch.device("cpu")
TF32_ERROR = 2.0**14
"""A product in TF32, whose operands have 11 bits instead of 24, is off by so many float32 bounds at most."""
CUDNN_ERROR = 8.0
"""cuDNN's roundings are its own: sums in half precision it rounds before they are activated, unlike the bound."""


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant on the CPU."""
    run = _made(drawn, CPU)
    torch.set_num_threads(threads)
    return Contestant("torch", lambda x: run(torch.from_numpy(x)).numpy(), context=torch.inference_mode)


def make_on_gpu(drawn: Drawn, gpu: "Gpu", *, allow_tf32: bool) -> Contestant:
    """Return the contestant on a GPU, with TF32 or without."""
    if not (torch.cuda.is_available() and torch.backends.cudnn.is_available()):
        msg = f"torch {torch.__version__} finds no GPU, or no cuDNN; install a build of it for CUDA"
        raise AbsentError(msg)
    if allow_tf32 and drawn.problem.dtype != "float32":
        msg = "TF32 is a way to multiply float32"
        raise AbsentError(msg)
    device = device_of(gpu)
    gpu.require_stream(torch.cuda.current_stream(device).cuda_stream)
    dtype = torch.int32 if drawn.problem.tokens else getattr(torch, drawn.problem.dtype)
    return Contestant(
        "torch-tf32" if allow_tf32 else "torch",
        _made(drawn, device),
        output=lambda y: (y.float() if y.dtype == torch.bfloat16 else y).cpu().numpy(),
        place=lambda x: torch.tensor(x, dtype=dtype, device=device),
        context=partial(on_gpu, allow_tf32),
        poison=(lambda _: None) if drawn.problem.step else fill_with_nan,
        allowed=TF32_ERROR if allow_tf32 else CUDNN_ERROR,
    )


def device_of(gpu: "Gpu") -> torch.device:
    """Return torch's own object for a GPU."""
    return torch.device("cuda", gpu.index)


@contextmanager
def on_gpu(allow_tf32: bool) -> Iterator[None]:
    """Be in inference mode, with TF32 or without in cuDNN and in cuBLAS, which single steps use."""
    modules = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [module.allow_tf32 for module in modules]
    for module in modules:
        module.allow_tf32 = allow_tf32
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, allowed in zip(modules, before, strict=True):
            module.allow_tf32 = allowed


def _made(drawn: Drawn, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from an input to the states (T, B, D * H); both are tensors on a device."""
    if drawn.problem.leak is not None:
        msg = "nn.RNN has no leak"
        raise AbsentError(msg)
    return _step(drawn, device) if drawn.problem.step else _sequence(drawn, device)


def _sequence(drawn: Drawn, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    problem, embed = drawn.problem, _embedding(drawn, device)
    options: dict[str, Any] = {"dtype": getattr(torch, problem.dtype), "device": device}
    rnn = torch.nn.RNN(drawn.feature_size, problem.hidden_size, bidirectional=problem.bidirectional, **options)
    with torch.no_grad():
        for (w_ih, w_hh, bias), suffix in zip(drawn.feature_weights(), ("_l0", "_l0_reverse"), strict=False):
            values = {"weight_ih": w_ih, "weight_hh": w_hh, "bias_ih": bias, "bias_hh": np.zeros_like(bias)}
            for name, value in values.items():
                getattr(rnn, name + suffix).copy_(torch.tensor(value))
    rnn.eval()
    if drawn.lengths is None:
        return lambda x: rnn(embed(x))[0]
    lengths = torch.tensor(drawn.lengths)

    def ragged(x: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(embed(x), lengths, enforce_sorted=False)
        return pad_packed_sequence(rnn(packed)[0], total_length=problem.seq_len)[0]

    return ragged


def _step(drawn: Drawn, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    problem, embed = drawn.problem, _embedding(drawn, device)
    options: dict[str, Any] = {"dtype": getattr(torch, problem.dtype), "device": device}
    cell = torch.nn.RNNCell(drawn.feature_size, problem.hidden_size, **options)
    (w_ih, w_hh, bias), *_ = drawn.feature_weights()
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), (w_ih, w_hh, bias, np.zeros_like(bias)), strict=True):
            parameter.copy_(torch.tensor(value))
    h = torch.zeros(problem.batch, problem.hidden_size, **options)

    def step(x: torch.Tensor) -> torch.Tensor:
        nonlocal h
        h = cell(embed(x)[0], h)
        return h[None]

    return step


def _embedding(drawn: Drawn, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from the input to features: of token ids, rows of W_ih^T."""
    if not drawn.problem.tokens:
        return lambda x: x
    rows = torch.tensor(drawn.token_rows, dtype=getattr(torch, drawn.problem.dtype), device=device)
    embedding: Callable[[torch.Tensor], torch.Tensor] = torch.nn.Embedding.from_pretrained(rows)
    return embedding
