"""The command `info`: what is installed, which backends work, and why the others do not; or what a model file holds.

It reports what goes wrong, and fails where a model file cannot be read.
"""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import rnn_backends
from rnn_backends.backends.backend import Backend
from rnn_backends.backends.cpu_kernels.choice import NOT_BUILT, state
from rnn_backends.backends.cpu_kernels.threads import thread_count
from rnn_backends.backends.registry import BUILTIN, list_backends, load_backend
from rnn_backends.backends.selection import VARIABLE, select
from rnn_backends.cli import contents
from rnn_backends.cli.loading import Loading
from rnn_backends.cli.reports import Row, aligned, one_line, reason_of
from rnn_backends.core.checks import library_name
from rnn_backends.core.messages import shown, shown_path
from rnn_backends.errors import BackendNotInstalledError, RNNBackendError

BUILDING = (
    "; NumPy walks, several times slower. With a C compiler `pip install .` builds one, in a clone `pip install -e .`"
)
"""The advice of `info` where no kernel was built."""
ADVICE = ("line", "options", "note")
"""The parts of a report on a file that cannot be read, beside the reason."""
LISTED = "the list of backends"
UNCHECKED = "none was checked yet; each is, before its first use on a device"


def collect() -> dict[str, Any]:
    """Return all that `info` reports without a model, as what JSON can hold."""
    backends = {name: _probe(name, origin) for name, origin in list_backends().items()}
    return {
        "rnn_backends": rnn_backends.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        VARIABLE: os.environ.get(VARIABLE),
        "default": _default(),
        "cpu_kernel": _kernel(),
        "backends": backends,
        "cuda_kernels": _cuda_kernels(_devices_of_cupy(backends)),
    }


def of_model(loading: Loading) -> dict[str, Any]:
    """Return what a model file holds, or why it cannot be read, as what JSON can hold."""
    try:
        rnn = loading.load("numpy")
    except (RNNBackendError, OSError, MemoryError) as error:
        way = loading.proposal(error)
        advice = (None, None, None) if way is None else (way.line, way.options, way.note())
        found = dict(zip(ADVICE, advice, strict=True))
        reason = reason_of(error).removeprefix(f"{shown_path(loading.model)}: ")
        return {"model": str(loading.model), "reason": reason, **found}
    return {"model": str(loading.model), "reason": None, **contents.describe(rnn)}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what `collect` or `of_model` found, for people."""
    if "model" not in found:
        for line in aligned(rows(found)):
            yield line.rstrip()
    elif found["reason"] is None:
        yield from contents.lines(found["model"], found)
    else:
        yield from aligned([("model", f"{found['model']}: cannot be read: {found['reason']}")])
        if found["line"] is not None:
            yield f"A line that reads it, with examples for what the file does not record:  {found['line']}"
            yield f"The same as options of a command:  {found['options']}"
        if found["note"] is not None:
            yield found["note"]


def rows(found: dict[str, Any]) -> list[Row]:
    """Return what `collect` found as rows for people."""
    default, variable = found["default"], found[VARIABLE]
    kernel = found["cpu_kernel"]
    hint = BUILDING if kernel["state"] == NOT_BUILT else ""
    used = default["reason"] or f"models are placed on {default['backend']} ({default['device']})"
    return [
        ("rnn_backends", found["rnn_backends"]),
        ("Python", found["python"]),
        ("platform", found["platform"]),
        ("NumPy", found["numpy"]),
        (VARIABLE, f"{'not set' if variable is None else shown(variable)}: {used}"),
        ("CPU kernel", kernel["reason"] or f"{kernel['state']}; threads: {kernel['threads']}{hint}"),
        ("", ""),
        *((f"{name} ({held['origin']})", _state(held)) for name, held in found["backends"].items()),
        *_verdicts(found),
    ]


def _verdicts(found: dict[str, Any]) -> list[Row]:
    if not found["cuda_kernels"]:
        return [("CUDA kernels", UNCHECKED)] if _devices_of_cupy(found["backends"]) else []
    return [
        (f"{held['device']}, CUDA kernel {held['kernel']}, {held['dtype']}", held["reason"] or "passed its check")
        for held in found["cuda_kernels"]
    ]


def library_version(backend: Backend) -> str | None:
    """Return the version of the library that a backend computes with, None if its module does not state it."""
    name = library_name(backend.xp) if hasattr(backend.xp, "__name__") else ""
    if backend.name in BUILTIN:
        name = BUILTIN[backend.name].packages[0]
    version = getattr(sys.modules.get(name.partition(".")[0]), "__version__", None)
    return None if version is None else str(version)


def _default() -> dict[str, Any]:
    """Return the backend and device of models made without a choice, or why they cannot be used."""
    try:
        backend, device = select()
    except RNNBackendError as error:
        return {"backend": None, "device": None, "reason": one_line(error)}
    return {"backend": backend.name, "device": device, "reason": None}


def _kernel() -> dict[str, Any]:
    """Return the CPU kernel of the numpy backend, or why there is none, and its threads; or which variable is wrong."""
    try:
        return {"state": state(), "threads": thread_count(), "reason": None}
    except RNNBackendError as error:
        return {"state": None, "threads": None, "reason": one_line(error)}


def _devices_of_cupy(backends: dict[str, dict[str, Any]]) -> list[str]:
    devices: list[str] = backends["cupy"]["devices"] if "cupy" in backends else []
    return devices


def _cuda_kernels(devices: Sequence[str]) -> list[dict[str, Any]]:
    """Return the verdicts that are known on the CUDA kernels on some devices of CuPy; nothing is checked for it."""
    if not devices:
        return []
    from rnn_backends.backends.cuda_kernels.trust import known

    try:
        return [
            {"device": device, "kernel": regime, "dtype": dtype, "passed": reason is None, "reason": reason}
            for index, device in enumerate(devices)
            for regime, dtype, reason in known(index)
        ]
    except (RuntimeError, ImportError, OSError):  # without NVRTC no kernel was ever checked
        return []


def _probe(name: str, origin: str) -> dict[str, Any]:
    """Load a backend and count its devices."""
    version, devices, reason, install = None, [], None, None
    try:
        backend = load_backend(name, LISTED)
        version, devices = library_version(backend), list(backend.device_names())
    except RNNBackendError as error:
        reason = one_line(error).replace(f" (from {LISTED})", "")
        if isinstance(error, BackendNotInstalledError) and isinstance(error.__cause__, ModuleNotFoundError):
            install = BUILTIN[name].install
    return {
        "origin": origin,
        "works": reason is None,
        "version": version,
        "devices": devices,
        "reason": reason,
        "install": install,
    }


def _state(held: dict[str, Any]) -> str:
    if held["install"] is not None:
        return f"not installed: {held['install']}"
    if not held["works"]:
        return f"cannot be used: {held['reason']}"
    version = "" if held["version"] is None else f", version {held['version']}"
    return f"works{version}, on {', '.join(held['devices'])}"
