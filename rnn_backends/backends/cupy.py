"""CuPy: NVIDIA GPUs.

That CuPy imports proves nothing: its wheels do so without a GPU, a driver or a CUDA toolkit.  Counting
the devices is what fails there, each time, and with CUDA's own reason.
"""

from typing import Any

import array_api_compat.cupy as xp
import cupy

from rnn_backends.arrays import Array, Host
from rnn_backends.backends.kernels.launch import recurrence
from rnn_backends.backends.record import Backend
from rnn_backends.errors import BackendUnavailableError
from rnn_backends.scan import each_direction


def make() -> Backend:
    """Return the backend, if there is a GPU that it can run on."""
    _require_gpu()
    return Backend(
        name="cupy",
        xp=xp,
        owns=lambda array: isinstance(array, cupy.ndarray),
        to_numpy=lambda array: array.get(),
        asarray=_asarray,
        devices=_devices,
        dtypes=lambda: ("float16", "float32", "float64"),
        # CuPy makes arrays on the current device of the thread, whatever `device=` says.
        on=lambda device: device,
        recurrence=each_direction(recurrence),
    )


def _devices() -> dict[str, Any]:
    return {f"cuda:{i}": cupy.cuda.Device(i) for i in range(cupy.cuda.runtime.getDeviceCount())}


def _require_gpu() -> None:
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        reason = "cudaErrorNoDevice: CUDA counts 0 devices"
    except (RuntimeError, ImportError, OSError) as error:  # CUDARuntimeError is a RuntimeError
        count, reason = 0, str(error)
    if count == 0:
        msg = (
            f"is installed (cupy {cupy.__version__}) but cannot run: {reason}. No usable NVIDIA GPU or driver was "
            "found. Nothing was run on the CPU instead; choose backend='numpy' for that."
        )
        raise BackendUnavailableError(msg)


def _asarray(host: Host, dtype: Any, device: Any) -> Array:
    with device:
        return cupy.asarray(host, dtype=dtype)
