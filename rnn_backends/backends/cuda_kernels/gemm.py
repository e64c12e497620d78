"""Products of matrices by cuBLAS, called with addresses: `cupy.matmul` takes the host three times as long."""

import os
from typing import Any

import cupy
import numpy as np

from rnn_backends.errors import BackendUnavailableError

PLAIN, TRANSPOSED = 0, 1
KINDS = {"float32": 0, "float64": 1}
"""CUDA_R_32F and CUDA_R_64F."""

CAPTURED = (
    "this call needs a product of matrices, which CuPy refuses while a stream is being captured. Capture a call of "
    "token ids, or one of so few features that the kernel 'block' multiplies them itself; see docs/gpu.md."
)


class Gemm:
    """Products of a dtype with the transpose of weights, on the current stream; see `__call__`.

    cuBLAS is imported when the first is made: its library may be missing where there is no GPU.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        from cupy_backends.cuda.libs import cublas  # this way CuPy finds NVIDIA's library first

        self.cublas = cublas
        self.kind = KINDS[dtype.name]
        name = {"float64": "64F", "float32": "32F_FAST_TF32" if is_tf32_asked_for() else "32F"}[dtype.name]
        self.compute = int(getattr(self.cublas, f"CUBLAS_COMPUTE_{name}"))
        self.factors = np.array([0, 1], dtype)  # on the host, where cuBLAS reads them at each call
        self.alpha, self.betas = self.factors[1:].ctypes.data, (self.factors.ctypes.data, self.factors[1:].ctypes.data)

    def __call__(self, x: int, weight: int, out: int, sizes: tuple[int, int, int], pitch: int, *, add: bool) -> None:
        """Write x W^T to `out`, or add it to what is there.

        Parameters
        ----------
        x, weight, out : int
            Addresses of (rows, inner), (columns, inner) and (rows, columns).
        sizes : tuple of int
            rows, columns, inner.
        pitch : int
            How many numbers a row of `out` is from the next; those of the others are contiguous.
        add : bool

        Raises
        ------
        BackendUnavailableError
            The current stream is being captured.
        """
        rows, columns, inner = sizes
        try:
            self.cublas.gemmEx(
                cupy.cuda.get_cublas_handle(), TRANSPOSED, PLAIN, columns, rows, inner,
                self.alpha, weight, self.kind, inner, x, self.kind, inner,
                self.betas[add], out, self.kind, pitch, self.compute, self.cublas.CUBLAS_GEMM_DEFAULT,
            )  # fmt: skip
        except NotImplementedError as error:
            raise BackendUnavailableError(CAPTURED) from error


def is_tf32_asked_for() -> bool:
    """Return whether CuPy's environment variable asks for float32 products in TF32."""
    return int(os.environ.get("CUPY_TF32", "0")) > 0
