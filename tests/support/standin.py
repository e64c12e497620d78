"""A stand-in for CuPy without a GPU: what this package calls of it, on NumPy arrays, with CuPy's rules.

Arrays are made on the current device, whatever `device=` says; nothing but an array of the current device takes part in
an operation; the host's arrays are refused.  A `RawKernel` runs in the shim, or in the interpreter of PTX.
"""

import ctypes
import importlib
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import array_api_compat
import cublas_standin
import numpy as np
import pytest
import shim
from device_standin import CudaError, Device, Stream, current_stream

from rnn_backends.backends import registry
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.backends.cuda_kernels.sources import source
from rnn_backends.core.arrays import FLOATING

MODULES = (
    "rnn_backends.backends.cupy",
    *(
        f"rnn_backends.backends.cuda_kernels.{name}"
        for name in ("argument", "choices", "device", "gemm", "launch", "selfcheck", "trust", "walk")
    ),
)


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the stand-in; the class knows what lies where it was asked for an address."""

    known: WeakValueDictionary[int, Any] = WeakValueDictionary()  # noqa: RUF012

    def __init__(self, host: Any, device: Device | None = None) -> None:
        self.host = np.asarray(host)
        self.device = device or Device()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return wrapped(getattr(ufunc, method)(*map(unwrapped, inputs), **{k: unwrapped(v) for k, v in options.items()}))

    def __getattr__(self, name: str) -> Any:
        if name in {"shape", "dtype", "ndim", "size", "itemsize", "nbytes", "flags"}:
            return getattr(self.host, name)
        if name in {"astype", "copy", "fill"}:
            return function_of(getattr(unwrapped(self), name))
        raise AttributeError(name)

    @property
    def T(self) -> "Array":  # noqa: N802
        return Array(self.host.T, self.device)

    def view(self, dtype: Any) -> "Array":
        return Array(self.host.view(dtype), self.device)

    def reshape(self, *shape: Any) -> "Array":
        return Array(self.host.reshape(*shape), self.device)

    def __getitem__(self, key: Any) -> "Array":
        return Array(self.host[unwrapped(key)], self.device)

    def __setitem__(self, key: Any, value: Any) -> None:
        unwrapped(self)[key] = unwrapped(value)

    def __len__(self) -> int:
        return len(self.host)

    @property
    def data(self) -> Any:
        pointer = unwrapped(self).ctypes.data
        Array.known[pointer] = self.host
        return SimpleNamespace(
            ptr=pointer, copy_from_device_async=lambda other, nbytes: ctypes.memmove(pointer, other.ptr, nbytes)
        )

    def get(self) -> Any:
        return self.host.copy()

    def to_the_host(self) -> Any:
        msg = "CuPy would wait for the device, and copy from it"
        raise AssertionError(msg)

    __bool__ = __int__ = __float__ = __index__ = to_the_host


Array.__module__ = "cupy"  # by which the owner of an array is found


def unwrapped(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(unwrapped, value))
    if isinstance(value, (np.ndarray, np.bool_)) or (isinstance(value, np.generic) and value.dtype.kind not in "iuf"):
        msg = f"Unsupported type {type(value)}"
        raise TypeError(msg)
    if not isinstance(value, Array):
        return value
    if value.device.id != Device.current:
        msg = f"Array device must be same as the current device: array device = {value.device.id} while current = {Device.current}"
        raise ValueError(msg)
    return value.host


def wrapped(value: Any) -> Any:
    return Array(value) if isinstance(value, (np.ndarray, np.generic)) else value


def function_of(function: Any) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        options.pop("device", None)
        assert all(a.host.flags.aligned for a in arguments if isinstance(a, Array)), "a kernel of CuPy's would fault"
        return wrapped(function(*map(unwrapped, arguments), **{k: unwrapped(v) for k, v in options.items()}))

    return call


class Namespace(ModuleType):
    """NumPy's functions on arrays of the stand-in."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(np, name)
        return value if isinstance(value, type) or not callable(value) else function_of(value)


def asarray(value: Any, dtype: Any = None, order: Any = None, **_: Any) -> Array:
    return Array(np.array(value.host if isinstance(value, Array) else value, dtype=dtype, order=order))


def where(condition: Array, one: Array, other: Array) -> Array:
    """Choose, as CuPy does without a loop for bfloat16, of which it so makes float32."""
    chosen = np.where(*map(unwrapped, (condition, one, other)))
    return Array(chosen.astype(np.float32) if chosen.dtype.name == "bfloat16" else chosen)


class CPointer:
    """Where the value of an argument is, on the host."""

    def __init__(self, pointer: int) -> None:
        self.ptr = pointer


def struct_of(argument: CPointer, real: str, chunk: int) -> shim.Struct:
    """Return the struct at an address, with the arrays that its pointers lead to, as a kernel must find them."""
    layout = (argument_of := sys.modules["rnn_backends.backends.cuda_kernels.argument"]).layout(real)
    struct = np.array(np.frombuffer(ctypes.string_at(argument.ptr, layout.itemsize), layout)[0])
    arrays = {name: Array.known[int(struct[name])] for name in argument_of.POINTERS if struct[name]}
    weights = [Array.known[int(pointer)] for cell in struct["cells"] for pointer in cell if pointer]
    assert not any(cell["h_0"] % (16 if chunk > 1 else 1) for cell in struct["cells"]), "vectors of h_0 would fault"
    for array in (*arrays.values(), *weights):
        assert array.flags.c_contiguous
        assert array.flags.aligned
    return shim.Struct(struct, arrays, ("states", "last"), weights)


class RawKernel:
    """A kernel that runs in the shim, or as `run` says; the class counts the launches, and knows the latest's macros."""

    run = staticmethod(shim.run)
    launches: list[str] = []  # noqa: RUF012
    latest: dict[str, Any] = {}  # noqa: RUF012
    seed = 0

    def __init__(self, code: str, name: str, options: tuple[str, ...]) -> None:
        assert options == ("-std=c++17",), "CuPy would preprocess an empty file for each set of options"
        defines, device, self.body = code.partition(source("device.cu"))
        assert device
        self.macros = dict(line.removeprefix("#define ").split(" ", 1) for line in defines.splitlines())
        self.name = name
        self.real = "float64" if self.macros.get("DOUBLE") == "1" else "float32"
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self.kernel = self.ptr = self  # the function of the current device

    def __call__(
        self,
        grid: tuple[int],
        block: tuple[int],
        arguments: Any,
        shared_mem: int = 0,
        enable_cooperative_groups: bool = False,
    ) -> None:
        assert enable_cooperative_groups == (self.macros.get("SWEEP") == "0"), (
            "the blocks of a grid wait for each other"
        )
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        blocks = (
            min(grid[0], capacity(self, *block, shared_mem)) if enable_cooperative_groups else grid[0]
        )  # as CuPy does
        for argument in arguments:
            assert isinstance(argument, (CPointer, Array)), f"CuPy would pass {argument!r} more slowly, or otherwise"
            if isinstance(argument, Array):
                assert argument.host.flags.c_contiguous
                assert argument.host.flags.aligned
        hosts = [
            struct_of(a, self.real, int(self.macros["CHUNK"])) if isinstance(a, CPointer) else unwrapped(a)
            for a in arguments
        ]
        macros: dict[str, Any] = {k: int(v) if v.isdigit() else v for k, v in self.macros.items()}
        RawKernel.run(self.body, self.name, macros, (blocks, *block, shared_mem), hosts, RawKernel.seed)
        RawKernel.launches.append(self.name)
        RawKernel.latest = macros


resident = 1


def capacity(_: Any, __: int, ___: int) -> int:
    return Device.attributes["MultiProcessorCount"] * resident


def cublas() -> Any:
    """Return what stands in for cuBLAS while the stand-in is installed."""
    return sys.modules["cupy_backends.cuda.libs"].cublas


def make() -> tuple[ModuleType, ModuleType]:
    """Return what stands in for cupy and for array_api_compat.cupy."""
    cupy, xp = Namespace("cupy"), Namespace("array_api_compat.cupy")
    cupy.asarray = xp.asarray = asarray  # type: ignore[attr-defined]
    cupy.where = xp.where = where  # type: ignore[attr-defined]
    cupy.ndarray, cupy.RawKernel, cupy.__version__ = Array, RawKernel, "14.0.0"  # type: ignore[attr-defined]
    pool = SimpleNamespace(free_all_blocks=lambda stream: None)
    cupy.get_default_memory_pool = lambda: pool  # type: ignore[attr-defined]
    cupy.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        Device=Device,
        Stream=Stream,
        get_current_stream=current_stream,
        runtime=SimpleNamespace(
            CUDARuntimeError=CudaError,
            driverGetVersion=lambda: 13010,
            getDeviceCount=lambda: 2,
            getDeviceProperties=lambda index: {
                "name": f"Stand-in {index}".encode(), "major": 9, "minor": 0, "multiProcessorCount": 12,
            },
        ),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 1)),
        compiler=SimpleNamespace(CompileException=shim.CompileError),
        memory=SimpleNamespace(OutOfMemoryError=type("OutOfMemoryError", (MemoryError,), {})),
        function=SimpleNamespace(CPointer=CPointer),
        get_cublas_handle=lambda: 1,
        driver=SimpleNamespace(
            CUDADriverError=type("CUDADriverError", (CudaError,), {}),
            occupancyMaxActiveBlocksPerMultiprocessor=lambda *_: resident,
        ),
    )  # fmt: skip
    return cupy, xp


@contextmanager
def installed() -> Iterator[ModuleType]:
    """Put the stand-in where CuPy would be."""
    cupy, xp = make()
    with pytest.MonkeyPatch.context() as patch:
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        patch.setitem(sys.modules, "cupy", cupy)
        patch.setitem(sys.modules, "array_api_compat.cupy", xp)
        patch.setattr(array_api_compat, "cupy", xp, raising=False)
        for name, held in importlib.import_module("cupyx_standin").make().items():
            patch.setitem(sys.modules, name, held)
        for name in ("cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.libs"):
            patch.setitem(sys.modules, name, ModuleType(name))
        # No module of its own: imported so, CuPy's would not find NVIDIA's library.
        patch.setattr(sys.modules["cupy_backends.cuda.libs"], "cublas", cublas_standin.make(), raising=False)
        patch.setattr(registry, "_backends", dict(registry._backends))
        try:
            yield cupy
        finally:
            for name in MODULES:
                sys.modules.pop(name, None)  # or what was imported here would stay


def trust() -> None:
    """Keep for all kernels that they have passed their checks, where the environment says that verdicts are kept."""
    module = importlib.import_module("rnn_backends.backends.cuda_kernels.trust")
    for kernel in itertools.product(REGIMES, FLOATING, range(2)):
        module.verdicts.keep(module.key_of(*kernel), module.PASSED)
