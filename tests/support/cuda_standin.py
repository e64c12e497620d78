"""The time of a GPU without a GPU: launches, events and waiting on a timeline, for `standin` and for torch.

python -m cuda_standin MAKER THREADS BACKEND     # the process of a contestant on a GPU, on the stand-in
"""

import ctypes
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import device_standin
import numpy as np
import pytest
import shim
import standin

MODULES = ("harness.gpu", "harness.competitors.on_gpu")
BUSY_SIZE, BUSY_SECONDS = 3, 5e-3
HOST_SECONDS, DEVICE_SECONDS = 10e-6, 2e-6  # of a launch
STEP_SECONDS = 1e-7  # of each further step that a kernel takes
CLOCK_KHZ = 1_500_000
QUEUE = 200
"""How many launches the device takes before the host waits for one to begin."""


class Timeline:
    """The time on the host, the times at which launched work ends on the device, and a log of all in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ends: list[float] = [0.0]
        self.log: list[str] = []

    @property
    def free(self) -> float:
        return max(self.now, self.ends[-1])

    def launch(self, name: str, device_seconds: float = DEVICE_SECONDS, host_seconds: float = HOST_SECONDS) -> None:
        self.log.append(name)
        if len(self.ends) > QUEUE:
            self.now = max(self.now, self.ends[-QUEUE])
        self.now += host_seconds
        self.ends.append(self.free + device_seconds)

    def wait(self) -> None:
        self.log.append("wait")
        self.now = self.free


timeline = Timeline()


class Event:
    time = math.inf

    def record(self) -> None:
        timeline.log.append("event")
        self.time = timeline.free

    def synchronize(self) -> None:
        timeline.now = max(timeline.now, self.time)

    @property
    def done(self) -> bool:
        return timeline.now >= self.time


def launching(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def launched(*arguments: Any, **options: Any) -> Any:
        is_busy_work = name == "product" and arguments[0].shape == (BUSY_SIZE, BUSY_SIZE)
        timeline.launch("busy" if is_busy_work else name, BUSY_SECONDS if is_busy_work else DEVICE_SECONDS)
        return function(*arguments, **options)

    return launched


def walking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the launch of a kernel the time of its steps."""

    def launched(kernel: Any, grid: Any, block: Any, arguments: Any, *others: Any, **options: Any) -> None:
        layout = sys.modules["rnn_backends.backends.cuda_kernels.argument"].layout(kernel.real)
        walk = np.frombuffer(ctypes.string_at(arguments[0].ptr, layout.itemsize), layout)[0]
        timeline.launch("kernel", DEVICE_SECONDS + STEP_SECONDS * (int(walk["end"]) - int(walk["begin"]) - 1))
        function(kernel, grid, block, arguments, *others, **options)

    return launched


def add_time(cupy: Any) -> None:
    """Give the stand-in for CuPy what the benchmarks need of it beside arrays."""
    cupy.matmul = launching("product", cupy.matmul)
    cublas = standin.cublas()
    cublas.gemmEx = launching("gemm", cublas.gemmEx)
    cupy.copyto = launching("copy", cupy.copyto)
    cupy.cuda.Event = Event
    cupy.cuda.get_elapsed_time = lambda start, stop: 1e3 * (stop.time - start.time)


def add_cuda(patch: pytest.MonkeyPatch, torch: Any) -> None:
    """Make torch believe in a GPU, whose tensors are on the CPU."""
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=0))
    patch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    patch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    patch.setattr(torch.nn.RNN, "forward", launching("torch", torch.nn.RNN.forward))
    competitor = import_module("harness.competitors.torch")
    patch.setattr(competitor, "device_of", lambda _: torch.device("cpu"))


@contextmanager
def of_cupy() -> Iterator[ModuleType]:
    """Put the stand-in where CuPy would be, and yield the module of `Gpu`."""
    with standin.installed() as cupy, pytest.MonkeyPatch.context() as patch:
        add_time(cupy)
        patch.setattr(device_standin.Device, "synchronize", lambda _: timeline.wait(), raising=False)
        patch.setattr(standin.Array, "__array_ufunc__", launching("operation", standin.Array.__array_ufunc__))
        patch.setattr(standin.RawKernel, "__call__", walking(standin.RawKernel.__call__))
        patch.setitem(device_standin.Device.attributes, "ClockRate", CLOCK_KHZ)
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        gpu = import_module(MODULES[0])
        patch.setattr(gpu, "BUSY_SIZE", BUSY_SIZE)
        patch.setattr(gpu, "perf_counter", lambda: timeline.now)
        try:
            yield gpu
        finally:
            for name in MODULES:
                sys.modules.pop(name, None)  # they hold the stand-in


@contextmanager
def installed(with_torch: bool = True) -> Iterator[ModuleType]:
    """Do the same, and give torch a GPU, too, if it is there."""
    with of_cupy() as gpu, pytest.MonkeyPatch.context() as patch:
        if with_torch and find_spec("torch") is not None:
            add_cuda(patch, import_module("torch"))
        yield gpu


if __name__ == "__main__":
    with installed(sys.argv[1].startswith("torch")):
        from harness import gpu_child

        standin.trust()
        gpu_child.main()
    shim.clear()
