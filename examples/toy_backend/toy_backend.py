"""How to add a backend: `make`, below, is all that rnn_backends needs to run on another array library.

    pip install ./examples/toy_backend
    RNN_BACKEND=toy python -c "import rnn_backends as rb; print(rb.RNN.init(3, 4))"

Whether a backend is right, three lines tell (run them with pytest):

    from rnn_backends.testing import BackendConformance

    class TestToy(BackendConformance):
        backend = "toy"
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import array_api_compat.numpy
import numpy as np

from rnn_backends import Backend


def make() -> Backend:
    """Return the backend; pyproject.toml names this function as the entry point ``toy``.

    A library that is installed but cannot run raises
    rnn_backends.BackendUnavailableError here, with the reason; there is no fallback to
    another backend.
    """
    return Backend(
        # The name that users write: RNN.init(..., backend="toy").  It must be that of
        # the entry point.
        name="toy",
        # The functions of the array API standard: the library's own namespace, or one
        # that wraps it.
        xp=xp,
        # Is this object one of the library's arrays?  It is asked often: it must be
        # quick and never raise.
        owns=lambda array: isinstance(array, ToyArray),
        # The one way from the library to the host; a copy.
        to_numpy=lambda array: array.data.copy(),
        # The library's device objects by the names users write, backend="toy:1"; the
        # default one first.
        devices=lambda: {"toy:0": TOY_DEVICES[0], "toy:1": TOY_DEVICES[1]},
        # Which of float16, bfloat16, float32 and float64 there are.
        dtypes=lambda: ("float16", "float32", "float64"),
        # There is more for those who need it: `asarray`, the one way from the host to
        # the library, where xp.asarray(host, dtype=dtype, device=device, copy=True) does
        # not do; `on`, where the library's functions take no device; and `recurrence`,
        # to walk a layer through time faster than by steps.
    )


# What follows is not part of the example: it is the library, which a real backend only imports.  Its arrays
# are NumPy's in disguise, but they behave as those of a GPU do: they mix with nothing, they stay on their
# device, and nothing turns them into NumPy arrays by accident.

TOY_DEVICES = ("first toy device", "second toy device")


class ToyArray:
    """An array of the toy library."""

    __array_ufunc__ = None  # so that NumPy leaves an operator with one of its arrays to this class

    def __init__(self, data: Any, device: str) -> None:
        self.data, self.device = np.asarray(data), device
        self.shape, self.ndim, self.dtype = self.data.shape, self.data.ndim, self.data.dtype

    def __array__(self, *_: Any, **__: Any) -> Any:
        msg = "toy arrays do not turn into NumPy arrays on their own."
        raise TypeError(msg)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return xp

    @property
    def T(self) -> "ToyArray":  # noqa: N802  # the standard's name
        return ToyArray(self.data.T, self.device)


def _lift(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of toy arrays, all on one device, of one of NumPy arrays."""

    def lifted(*args: Any, device: str | None = None, **options: Any) -> Any:
        devices = set() if device is None else {device}

        def unwrap(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return type(value)(map(unwrap, value))
            if isinstance(value, np.ndarray):
                msg = "toy arrays do not mix with NumPy arrays."
                raise TypeError(msg)
            if not isinstance(value, ToyArray):
                return value
            devices.add(value.device)
            return value.data

        result = function(*unwrap(args), **options)
        if not isinstance(result, (np.ndarray, np.generic)):
            return result
        if len(devices) > 1:
            msg = "toy arrays on two devices do not mix."
            raise ValueError(msg)
        return ToyArray(result, *(devices or TOY_DEVICES[:1]))

    return lifted


class _Namespace(ModuleType):
    def asarray(self, host: Any, *, dtype: Any = None, device: str | None = None, copy: bool | None = None) -> ToyArray:
        data, here = (host.data, host.device) if isinstance(host, ToyArray) else (host, TOY_DEVICES[0])
        return ToyArray(np.array(data, dtype=dtype, copy=copy), device or here)

    def __getattr__(self, name: str) -> Any:
        found = getattr(array_api_compat.numpy, name)
        return found if isinstance(found, type) or not callable(found) else _lift(found)


xp = _Namespace("toy")

for _operator in (
    *("getitem", "neg", "invert", "lt", "le", "gt", "ge", "eq", "ne", "and", "or"),
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "matmul"),
):
    setattr(ToyArray, f"__{_operator}__", _lift(getattr(np.ndarray, f"__{_operator}__")))
