"""Trust in kernels: before one is used for the first time on a device it is checked there, and the verdict is kept."""

import re
import warnings
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import RLock
from time import time
from typing import Any

import cupy
import numpy as np

from rnn_backends.backends.cuda_kernels import selfcheck, verdicts
from rnn_backends.backends.cuda_kernels.choices import VARIABLE
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.backends.cuda_kernels.sources import every_body, source
from rnn_backends.backends.cuda_kernels.verdicts import PASSED
from rnn_backends.core.arrays import FLOATING
from rnn_backends.core.messages import short, shown
from rnn_backends.errors import BackendUnavailableError, KernelWarning

DRIVER = Path("/proc/driver/nvidia/version")

NOT_ITS_OWN = {2, *range(900, 909)}
"""The errors of CUDA that no kernel makes: no memory, and work that another thread captures."""

_verdicts: dict[tuple[str, str, int], str] = {}
_lock = RLock()  # for whoever shows warnings may call a model


def trusted(regime: str, dtype: np.dtype[Any]) -> bool:
    """Return whether a kernel may be used on the current device for states of a dtype; check it if nobody has.

    Raises
    ------
    BackendUnavailableError
        It would have to be checked while work is captured, or the check has broken the device's context.
    """
    here = regime, dtype.name, cupy.cuda.Device().id
    verdict = _verdicts.get(here)
    if verdict is None:
        with _lock:
            verdict = _verdicts.get(here) or settled(regime, dtype, here[-1])
    return verdict == PASSED


def known(index: int) -> Iterator[tuple[str, str, str | None]]:
    """Yield the kernels on which there is a verdict for a device, the dtype, and what is wrong, None if nothing is."""
    for regime in REGIMES:
        for dtype in FLOATING:
            verdict = _verdicts.get((regime, dtype, index)) or verdicts.kept(key_of(regime, dtype, index))
            if verdict is not None:
                yield regime, dtype, None if verdict == PASSED else verdict


def key_of(regime: str, dtype: str, index: int) -> str:
    """Return what a verdict depends on: the device, its driver, CUDA, CuPy, the kernel and what launches it."""
    text = source("device.cu") + every_body(regime) + own_text()
    return f"{place(index)}, {regime} {dtype}, source {sha256(text.encode()).hexdigest()}"


@cache
def own_text() -> str:
    """Return the text of what plans, launches and checks the kernels."""
    return "".join(file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.py")))


def driver() -> str:
    """Return the version of the driver, or where the system does not give it that of CUDA in it."""
    text = DRIVER.read_text(encoding="utf-8") if DRIVER.is_file() else ""
    found = re.search(r"\b\d{3}(\.\d+)+\b", text)
    return found[0] if found else str(cupy.cuda.runtime.driverGetVersion())


@cache
def place(index: int) -> str:
    """Return the device, its driver, and what compiles for it."""
    of = cupy.cuda.runtime.getDeviceProperties(index)
    versions = {
        "compute capability": f"{of['major']}.{of['minor']}",
        "driver": driver(),
        "NVRTC": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "CuPy": cupy.__version__,
    }
    return ", ".join([of["name"].decode(), *(f"{name} {version}" for name, version in versions.items())])


def settled(regime: str, dtype: np.dtype[Any], index: int) -> str:
    """Return the verdict that is kept, or that of a check, for the current device; warn where it is no good one."""
    key = key_of(regime, dtype.name, index)
    verdict = _verdicts[regime, dtype.name, index] = verdicts.kept(key) or checked(key, regime, dtype)
    if verdict != PASSED:
        msg = (
            f"the CUDA kernel {shown(regime)} is not used for {dtype.name} on {place(index)}: {verdict}. "
            f"Another kernel, or the equation as written, takes over. {VARIABLE}={regime} uses it all the same, right "
            f"or wrong; once {verdicts.where(key)} is removed, it is checked again."
        )
        warnings.warn(msg, KernelWarning, stacklevel=2)
    return verdict


def checked(key: str, regime: str, dtype: np.dtype[Any]) -> str:
    """Check a kernel, and keep the verdict; while the check lasts, what is kept tells of a process that it ends."""
    from cupy_backends.cuda.libs import cublas  # as in gemm.py

    verdict = None
    if cupy.cuda.get_current_stream().is_capturing():
        msg = (
            f"the CUDA kernel {shown(regime)} is to be checked on {place(cupy.cuda.Device().id)}, which is impossible "
            f"while a stream is captured. Call the model once with such inputs before, or set {VARIABLE}={regime}, "
            "which is not checked."
        )
        raise BackendUnavailableError(msg)
    verdicts.keep(key, time())
    try:
        verdict = selfcheck.fault(regime, dtype) or PASSED
    except cupy.cuda.compiler.CompileException as error:
        verdict = f"it does not compile: {' '.join(str(error).split())[:200]}"
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError, cublas.CUBLASError) as error:
        is_over = not does_anything()
        if not is_over and (isinstance(error, cublas.CUBLASError) or error.status in NOT_ITS_OWN):
            raise
        verdict = f"CUDA reports {short(error)}"
        if is_over:
            msg = (
                f"the CUDA kernel {shown(regime)} failed its check with {short(error)}, after which CUDA does "
                f"nothing more in this process. Start another, which does not use it if {verdicts.where(key)} could be "
                f"written, or set {VARIABLE}=off, which uses none."
            )
            raise BackendUnavailableError(msg) from error
    finally:
        verdicts.keep(key, verdict)
    return verdict


def does_anything() -> bool:
    """Return whether CUDA goes on in this process."""
    try:
        cupy.cuda.Device().synchronize()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return bool(error.status in NOT_ITS_OWN)
    return True
