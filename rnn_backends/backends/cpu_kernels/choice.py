"""The choice of a kernel: the best that this processor runs, or the one that RNN_CPU_KERNEL names."""

import os
from typing import Any

from rnn_backends.core.messages import shown
from rnn_backends.errors import BackendUnavailableError

NOT_BUILT = "not built"
_module: Any = None
_fault = NOT_BUILT
try:
    import rnn_backends.backends.cpu_kernels.compiled as _compiled
except ModuleNotFoundError:  # installed without a compiler
    pass
except (ImportError, SystemError) as _error:  # built for another Python, or for another system library
    _fault = f"cannot be loaded: {_error}"
else:
    _module = _compiled

VARIABLE = "RNN_CPU_KERNEL"
OFF = "off"


def compiled() -> Any:
    """Return the compiled module, None where it was not built."""
    return _module


def kernels() -> tuple[str, ...]:
    """Return the kernels that this processor runs, the best first."""
    return () if _module is None else _module.RUNS


def chosen() -> str | None:
    """Return the kernel to walk with, None for NumPy.

    Raises
    ------
    BackendUnavailableError
        RNN_CPU_KERNEL names a kernel that is not here.
    """
    here, name = kernels(), os.environ.get(VARIABLE, "")
    if not name:
        return here[0] if here else None
    if name == OFF:
        return None
    if name not in here:
        has = ", ".join(here) if here else f"none: {_reason()}"
        advice = f"unset it, or set it to {'one of those or ' if here else ''}'off'"
        msg = f"{VARIABLE} names the CPU kernel {shown(name)}, and this installation has {has}; {advice}."
        raise BackendUnavailableError(msg)
    return name


def state() -> str:
    """Return the kernel that is used, or why there is none, in a few words.

    Raises
    ------
    BackendUnavailableError
        As for `chosen`.
    """
    return chosen() or _reason()


def _reason() -> str:
    """Return why there is no kernel to walk with."""
    if _module is None:
        return _fault
    return f"off, by {VARIABLE}" if kernels() else "no kernel for this processor"
