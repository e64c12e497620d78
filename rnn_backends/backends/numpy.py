"""NumPy: arrays in host memory, computed on the CPU."""

import array_api_compat.numpy as xp
import numpy as np

from rnn_backends.backends.record import Backend


def make() -> Backend:
    """Return the backend."""
    return Backend(
        name="numpy",
        xp=xp,
        owns=lambda array: isinstance(array, (np.ndarray, np.generic)),
        to_numpy=np.asarray,
        asarray=lambda host, dtype, _: np.asarray(host, dtype=dtype),
        devices=lambda: {"cpu": "cpu"},
        dtypes=lambda: ("float16", "float32", "float64"),
    )
