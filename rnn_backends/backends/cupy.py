"""CuPy: NVIDIA GPUs.

CuPy's wheels import without a GPU, a driver or a CUDA toolkit; counting the devices fails there, each time, with
CUDA's own reason.
"""

from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy as np

from rnn_backends.backends.backend import Backend
from rnn_backends.backends.cuda_kernels.launch import recurrence
from rnn_backends.core.arrays import Array, Host
from rnn_backends.errors import BackendUnavailableError


def make() -> Backend:
    """Return the backend, if there is a GPU that it can run on."""
    _require_gpu()
    return Backend(
        name="cupy",
        xp=xp,
        owns=lambda array: isinstance(array, cupy.ndarray),
        to_numpy=_to_numpy,
        asarray=_asarray,
        devices=_devices,
        dtypes=_dtypes,
        # CuPy makes arrays on the current device of the thread, whatever `device=` says.
        on=lambda device: device,
        recurrence=recurrence,
    )


def _devices() -> dict[str, Any]:
    return {f"cuda:{i}": cupy.cuda.Device(i) for i in range(cupy.cuda.runtime.getDeviceCount())}


def _dtypes() -> dict[str, Any]:
    """Return float16, float32, float64, and bfloat16 where ml_dtypes gives it to NumPy and CuPy 14."""
    found = {name: np.dtype(name) for name in ("float16", "float32", "float64")}
    if int(cupy.__version__.partition(".")[0]) >= 14 and np.lib.NumpyVersion(np.__version__) >= "2.1.2":
        try:
            import ml_dtypes
        except ImportError:
            return found
        found["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
    return found


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


def _to_numpy(array: Array) -> Host:
    host: Host = array.get()
    return host.astype(np.float32) if host.dtype.name == "bfloat16" else host


def _asarray(host: Host, dtype: Any, device: Any) -> Array:
    with device:
        return cupy.asarray(host, dtype=dtype, order="C")
