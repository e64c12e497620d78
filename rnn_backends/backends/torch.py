"""torch: CPU and CUDA tensors, with autograd."""

from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from rnn_backends.backends.backend import Backend
from rnn_backends.core.arrays import Host


def make() -> Backend:
    """Return the backend."""
    return Backend(
        name="torch",
        xp=xp,
        owns=lambda array: isinstance(array, torch.Tensor),
        to_numpy=_to_numpy,
        asarray=_asarray,
        devices=_devices,
        dtypes=lambda: ("float16", "bfloat16", "float32", "float64"),
    )


def _asarray(host: Host, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    host = np.asarray(host, order="C")
    if any(stride < 0 for stride in host.strides):  # of an axis of length 1, which are contiguous for NumPy alone
        host = host.copy()
    # torch.asarray would share the memory of the caller's array, and warn where that is read-only.
    return torch.tensor(host, dtype=dtype, device=device)


def _devices() -> dict[str, Any]:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return {name: torch.device(name) for name in ("cpu", *cuda)}


def _to_numpy(array: torch.Tensor) -> Host:
    array = array.detach().to("cpu", copy=True)  # without it, a tensor on the CPU would share its memory
    host: Host = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    return host
