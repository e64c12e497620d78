"""What stands in for cuBLAS: products of what lies at addresses of the host."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np

REALS = {0: np.float32, 1: np.float64}
COMPUTES = {"CUBLAS_COMPUTE_32F": 68, "CUBLAS_COMPUTE_32F_FAST_TF32": 77, "CUBLAS_COMPUTE_64F": 70}


def at(address: int, shape: tuple[int, int], pitch: int, real: Any) -> Any:
    """Return the matrix at an address, whose rows are so many numbers apart."""
    itemsize = np.dtype(real).itemsize
    nbytes = ((shape[0] - 1) * pitch + shape[1]) * itemsize
    memory = (ctypes.c_char * nbytes).from_address(address)
    return np.ndarray(shape, real, memory, strides=(pitch * itemsize, itemsize))


def gemm_ex(
    handle: int, transa: int, transb: int, m: int, n: int, k: int,
    alpha: int, a: int, a_kind: int, lda: int, b: int, b_kind: int, ldb: int,
    beta: int, c: int, c_kind: int, ldc: int, compute: int, algorithm: int,
) -> None:  # fmt: skip
    """C = alpha A^T B + beta C of matrices in columns, which are rows here."""
    assert (handle, transa, transb, algorithm) == (1, 1, 0, -1)
    assert a_kind == b_kind == c_kind
    assert compute in {0: (68, 77), 1: (70,)}[c_kind]
    assert min(lda, ldb) >= k
    assert ldc >= m
    real = REALS[c_kind]
    one, old = (float(at(factor, (1, 1), 1, real)[0, 0]) for factor in (alpha, beta))
    weight, x, out = at(a, (m, k), lda, real), at(b, (n, k), ldb, real), at(c, (n, m), ldc, real)
    product = one * (x @ weight.T)
    out[...] = product + old * out if old else product  # cuBLAS does not read C where beta is 0


def make() -> Any:
    error = type("CUBLASError", (RuntimeError,), {})
    return SimpleNamespace(gemmEx=gemm_ex, CUBLAS_GEMM_DEFAULT=-1, CUBLASError=error, **COMPUTES)
