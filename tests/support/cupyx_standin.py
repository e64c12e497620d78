"""A stand-in for cupyx.scipy.sparse, of arrays of the stand-in for CuPy: what is asked of a matrix, and what may not be.

A matrix never leaves its device and is never made dense: what would do either fails.
"""

from types import ModuleType
from typing import Any

import numpy as np
from standin import Array, unwrapped

FORMATS = ("csr", "csc", "coo")


class Matrix:
    """A matrix of cupyx, by its entries."""

    def __init__(self, form: str, parts: Any, shape: tuple[int, int]) -> None:
        self.format, self.shape, (self.data, *self.places) = form, shape, parts

    @property
    def indices(self) -> Any:
        assert self.format != "coo", "it has rows and columns"
        return self.places[0]

    @property
    def indptr(self) -> Any:
        assert self.format != "coo", "it has rows and columns"
        return self.places[1]

    def _entries(self) -> tuple[Any, Any, Any]:
        """Return values, rows and columns, of arrays of the current device, as any other operation takes them."""
        values, first, second = map(unwrapped, (self.data, *self.places))
        if self.format == "coo":
            return values, first, second
        outer = np.repeat(np.arange(len(second) - 1), np.diff(second))
        return (values, outer, first) if self.format == "csr" else (values, first, outer)

    def _of(self, form: str) -> "Matrix":
        values, rows, columns = self._entries()
        outer, inner = (rows, columns) if form != "csc" else (columns, rows)
        order = np.argsort(outer, kind="stable")
        starts = np.searchsorted(outer[order], np.arange(self.shape[form == "csc"] + 1))
        parts = (values, rows, columns) if form == "coo" else (values[order], inner[order], starts)
        return Matrix(form, [Array(part.astype(part.dtype if n == 0 else np.int32)) for n, part in enumerate(parts)],
                      self.shape)  # fmt: skip

    def tocsr(self) -> "Matrix":
        return self if self.format == "csr" else self._of("csr")

    def tocsc(self) -> "Matrix":
        return self._of("csc")

    def tocoo(self) -> "Matrix":
        return self._of("coo")

    def forbidden(self, *_: object, **__: object) -> None:
        msg = "the matrix would go to the host, or be made dense"
        raise AssertionError(msg)

    get = toarray = todense = asformat = __array__ = __matmul__ = __rmatmul__ = dot = forbidden
    __array_ufunc__ = None


def csr_matrix(parts: Any, shape: tuple[int, int]) -> Any:
    return Matrix("csr", parts, shape)


def make() -> dict[str, ModuleType]:
    """Return the modules by name."""
    made = {name: ModuleType(name) for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.sparse")}
    made["cupyx.scipy.sparse"].csr_matrix = csr_matrix  # type: ignore[attr-defined]
    made["cupyx.scipy"].sparse = made["cupyx.scipy.sparse"]  # type: ignore[attr-defined]
    made["cupyx"].scipy = made["cupyx.scipy"]  # type: ignore[attr-defined]
    return made
