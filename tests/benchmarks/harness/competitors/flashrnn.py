"""FlashRNN (the package `flashrnn`), whose fused kernels keep the weights on the chip, with its function "elman".

It builds its kernels by nvcc and g++ when it is first called, of which nothing can be done without a GPU: this file follows
its documentation, and never ran.  Arrays are Wx (B, T, G, N, D), R (G, N, D, D), b (G, N, D) and states (S, B, T, N, D),
where G = S = 1 and N, the heads, is 1 for a W_hh that is whole.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from flashrnn import flashrnn

from harness.competitors.torch import CUDNN_ERROR, TF32_ERROR, device_of, on_gpu
from harness.contestant import AbsentError, Contestant, fill_with_nan
from harness.problem import Drawn

if TYPE_CHECKING:
    from harness.gpu import Gpu

DTYPES = ("float32", "float16", "bfloat16")
FUSED, ALTERNATING = "cuda_fused", "cuda"


def make(drawn: Drawn, gpu: "Gpu") -> Contestant:
    """Return the contestant by its fused kernels or, where they do not take the shape, by its others."""
    problem = drawn.problem
    if problem.dtype not in DTYPES:
        msg = f"it takes {', '.join(DTYPES)}"
        raise AbsentError(msg)
    if problem.tokens or problem.bidirectional or problem.ragged or problem.step or problem.leak is not None:
        msg = "it is measured for whole sequences of features, in one direction and of equal lengths"
        raise AbsentError(msg)
    device = device_of(gpu)
    gpu.require_stream(torch.cuda.current_stream(device).cuda_stream)
    dtype = getattr(torch, problem.dtype)
    place = partial(torch.tensor, dtype=dtype, device=device)
    return Contestant(
        "flashrnn",
        _built(drawn, place),
        output=lambda y: y.float().cpu().numpy(),
        place=place,
        context=partial(on_gpu, allow_tf32=False),
        poison=fill_with_nan,
        allowed=TF32_ERROR if problem.dtype == "float32" else CUDNN_ERROR,  # it multiplies float32 in TF32
    )


def _built(drawn: Drawn, place: Callable[[Any], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the call by the first of its backends that builds and runs the shape."""
    reasons = []
    for backend in (FUSED, ALTERNATING):
        call = _call(drawn, place, backend)
        try:
            with on_gpu(allow_tf32=False):
                call(place(drawn.inputs[0]))
        except (RuntimeError, ValueError, AssertionError, OSError, ImportError) as error:  # as torch's builder raises
            reasons.append(f"{backend}: {(str(error).strip() or type(error).__name__).splitlines()[0]}")
            continue
        return call
    msg = f"it does not build or run here ({'; '.join(reasons)})"
    raise AbsentError(msg)


def _call(drawn: Drawn, place: Callable[[Any], torch.Tensor], backend: str) -> Callable[[torch.Tensor], torch.Tensor]:
    (w_ih, w_hh, bias), *_ = drawn.weights()
    weight, recurrent, b = place(w_ih), place(w_hh)[None, None], place(bias)[None, None]

    def call(x: torch.Tensor) -> torch.Tensor:
        inputs = torch.nn.functional.linear(x, weight).transpose(0, 1)[:, :, None, None]
        states, _ = flashrnn(inputs, recurrent, b, function="elman", backend=backend, dtype=drawn.problem.dtype)
        return states[0, :, :, 0].transpose(0, 1)

    return call
