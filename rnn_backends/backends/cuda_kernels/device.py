"""The properties of a device, and the kernels that CuPy compiles for it."""

from functools import cache
from typing import Any

import cupy

from rnn_backends.backends.cuda_kernels.plan import Plan
from rnn_backends.backends.cuda_kernels.sources import ENTRIES, body, defines, source
from rnn_backends.backends.cuda_kernels.tile import Device


@cache
def properties(index: int) -> Device:
    """Return what a plan needs to know of a device."""
    device = cupy.cuda.Device(index)
    of = device.attributes
    return Device(
        int(device.compute_capability),
        of["MultiProcessorCount"],
        of["MaxSharedMemoryPerBlockOptin"],
        of["MaxSharedMemoryPerMultiprocessor"],
        of["MaxThreadsPerMultiProcessor"],
        bool(of["CooperativeLaunch"]),
    )


@cache
def compiled(regime: str, macros: tuple[tuple[str, Any], ...], shared: int, device: int) -> Any:
    """Return a kernel for a class of shapes, ready to be launched on the current device, which is `device`."""
    # As options, macros would have CuPy preprocess an empty file for each set of them, also where the kernel is kept.
    code = defines(macros) + source("device.cu") + body(regime, macros)
    # As a cooperative kernel, it would need libcudadevrt.
    kernel = cupy.RawKernel(code, ENTRIES[regime], ("-std=c++17",))
    if shared > 48 * 1024:  # which every kernel may have
        kernel.max_dynamic_shared_size_bytes = shared
    return kernel


def fits(function: Any, plan: Plan) -> bool:
    """Return whether all blocks of a plan are on the chip at once; CuPy would launch fewer, and they would wait."""
    resident = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(function.ptr, plan.threads, plan.shared)
    return bool(plan.blocks <= resident * properties(cupy.cuda.Device().id).multiprocessors)
