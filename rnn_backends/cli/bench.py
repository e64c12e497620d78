"""The command `bench`: the time of this library's backends, and of torch and ONNX Runtime, for given shapes.

Each contestant has a process of its own: the threads of a library spin on after a call, on processors that the next
one needs.  The processes take turns, so that a machine that is busy for a while slows down all of them.
"""

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, sleep
from timeit import Timer
from typing import Any, NamedTuple

import numpy as np

from rnn_backends import __version__, errors
from rnn_backends.backends.selection import parse, use_backend
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.cli.info import library_version
from rnn_backends.cli.process import Process
from rnn_backends.cli.reports import columns, one_line
from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import named_arrays
from rnn_backends.formats.files import replaced
from rnn_backends.model.loading import load
from rnn_backends.model.rnn import RNN
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.reference import Bounded, excess, reference

SHAPES = ([1000, 1, 64, 100], [50, 8, 16, 32], [128, 32, 128, 256])
BACKENDS, OTHERS = ("numpy",), ("torch", "onnxruntime")
SEQUENCES = 8  # that differ in a batch: the float64 reference is slow
SAMPLE_SECONDS, IDLE_SECONDS, LONGEST_WAIT_SECONDS = 5e-3, 2e-3, 0.5
NETWORK, PROBLEM = "network.safetensors", "problem.npz"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of the command."""

    shapes: list[list[int]] | None
    layers: int
    dtype: str
    backends: list[str] | None
    against: list[str] | None
    threads: int
    rounds: int
    json: Path | None


class Ready(NamedTuple):
    """A contestant that is ready: a call returns when its result is there, and `output` brings that to the host."""

    call: Callable[[], Any]
    version: str | None
    device: str = "cpu"
    output: Callable[[Any], Host] = np.asarray


def bench(request: Request, note: Callable[[str], None]) -> Iterator[str]:
    """Measure all shapes and yield the lines of a table; remarks are given to `note` as they come."""
    with ExitStack() as stack:
        file = None if request.json is None else stack.enter_context(replaced(request.json))
        cells = [cell for shape in request.shapes or SHAPES for cell in measured(shape, request, note)]
        if file is not None:
            about = {"rnn_backends": __version__, "python": platform.python_version(), "platform": platform.platform()}
            options = {"processors": os.cpu_count(), "layers": request.layers, "threads": request.threads}
            file.write(json.dumps({**about, **options, "dtype": request.dtype, "cells": cells}, indent=1).encode())
    rows = [["T B I H", "contestant", "device", "ms", "ratio", "error"]]
    for cell in cells:
        numbers = (1e3 * np.median(cell["seconds"]), *cell["ratio"], cell["error"])
        ms, median, lower, upper, error = (f"{number:.3g}" for number in numbers)
        shape = " ".join(map(str, cell["shape"]))
        rows.append([shape, cell["contestant"], cell["device"], ms, f"{median} [{lower} {upper}]", error])
    yield from columns(rows)
    yield ""
    yield "ms: a call, median of the rounds.  ratio: to the first contestant, median [quartiles]; above 1 is slower."
    yield "error: the largest difference from the float64 reference, in units of the bound on rounding."


def measured(shape: list[int], request: Request, note: Callable[[str], None]) -> list[dict[str, Any]]:
    """Start the contestants of a shape, each of which checks its result, then time them in turn."""
    turns: list[tuple[Process, dict[str, Any]]] = []
    with TemporaryDirectory(prefix="rnn-backends-") as folder, ExitStack() as stack:
        note(f"T B I H = {' '.join(map(str, shape))}")
        write_problem(Path(folder), shape, request.layers, request.dtype)
        for kind, names, default in (("backend", request.backends, BACKENDS), ("library", request.against, OTHERS)):
            for name in dict.fromkeys(default if names is None else names):
                process = stack.enter_context(Process(f"{kind} {name}", request.threads))
                try:
                    ready = process.ask([kind, name, folder, request.threads])
                except errors.RNNBackendError as error:
                    if names is not None or isinstance(error, errors.WrongResultError):
                        raise
                    note(f"without the {process.title}: {one_line(error)}")
                else:
                    turns.append((process, {"shape": shape, "contestant": process.title, **ready, "seconds": []}))
        cells, random = [cell for _, cell in turns], Random(0)
        for _ in range(request.rounds):
            random.shuffle(turns)
            for process, cell in turns:
                cell["seconds"].append(process.ask("time")["seconds"])
    first = np.asarray(cells[0]["seconds"])
    return [{**cell, "ratio": np.quantile(cell["seconds"] / first, (0.5, 0.25, 0.75)).tolist()} for cell in cells]


def write_problem(folder: Path, shape: list[int], layers: int, dtype: str) -> None:
    """Write a network, an input, and the output of the float64 reference with its bound."""
    seq_len, batch, input_size, hidden_size = shape
    case = Draw(dtype, 0).case(shape=(seq_len, min(batch, SEQUENCES), input_size, hidden_size), layers=layers)
    value, error = reference(case.layers, case.x, dtype=dtype)[0]
    order = np.arange(batch) % case.x.shape[1]
    with use_backend("numpy"):
        RNN(case.layers).save(folder / NETWORK)
    np.savez(folder / PROBLEM, x=case.x[:, order], value=value[:, order], error=error[:, order])


def contestant() -> None:
    """Be the process of a contestant: check the result of a call, then answer each line of stdin with a sample."""
    if not (question := sys.stdin.readline()):
        return
    kind, name, folder, threads = json.loads(question)
    write = partial(print, file=sys.stdout, flush=True)
    with redirect_stdout(sys.stderr):  # libraries print, too
        try:
            ready, error = checked(kind, name, Path(folder), threads)
        except ModuleNotFoundError as reason:
            message = f"{reason.name} is not installed: pip install {reason.name}"
            write(json.dumps({"raised": "BackendNotInstalledError", "message": message}))
            return
        except errors.RNNBackendError as reason:
            write(json.dumps({"raised": type(reason).__name__, "message": one_line(reason)}))
            return
        timer = Timer(ready.call)
        calls = ceil(SAMPLE_SECONDS / min(timer.repeat(3, 1)))  # the first call may compile
        wait_for_idle_threads()
        write(json.dumps({"device": ready.device, "version": ready.version, "error": error}))
        for _ in sys.stdin:
            timer.timeit(1 + calls // 4)  # wakes threads and fills caches
            seconds = timer.timeit(calls) / calls
            wait_for_idle_threads()
            write(json.dumps({"seconds": seconds}))


def checked(kind: str, name: str, folder: Path, threads: int) -> tuple[Ready, float]:
    """Return a contestant and the error of its result, in units of the bound, which it may not exceed."""
    with np.load(folder / PROBLEM) as problem:
        x, wanted = problem["x"], Bounded(problem["value"], problem["error"])
    libraries = {"torch": of_torch, "onnxruntime": of_onnxruntime}
    ready = of_backend(name, folder, x) if kind == "backend" else libraries[name](folder, x, threads)
    error = excess(ready.output(ready.call()), wanted)
    if not error <= 1.0:
        msg = f"the {kind} {name} is wrong by {error:.3g} times the bound on rounding; nothing was timed. Leave it out."
        raise errors.WrongResultError(msg)
    return ready, error


def of_backend(name: str, folder: Path, x: Host) -> Ready:
    """Return this library on a backend; on a device a call ends when one value of its result is on the host."""
    parse(name, "option --backend")  # for errors that name what the user typed
    rnn = load(folder / NETWORK, backend=name)
    placed = rnn.backend.from_host(x, rnn.dtype, rnn.device)

    def call() -> Any:
        output = rnn(placed)[0]
        if not isinstance(placed, np.ndarray):
            to_numpy(output[-1, -1, -1])
        return output

    return Ready(call, library_version(rnn.backend), rnn.device, to_numpy)


def of_torch(folder: Path, x: Host, threads: int) -> Ready:
    """Return `torch.nn.RNN` on the CPU, without gradients."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    arrays = [array for _, array in named_arrays(load(folder / NETWORK, backend="numpy").layers)]
    values = [value for k in range(0, len(arrays), 3) for value in (*arrays[k : k + 3], 0 * arrays[k + 2])]
    rnn = torch.nn.RNN(x.shape[-1], len(arrays[1]), len(arrays) // 3, dtype=getattr(torch, x.dtype.name))
    for parameter, value in zip(rnn.parameters(), values, strict=True):
        parameter.copy_(torch.tensor(value))
    tensor = torch.tensor(x)
    return Ready(lambda: rnn(tensor)[0], torch.__version__)


def of_onnxruntime(folder: Path, x: Host, threads: int) -> Ready:
    """Return a session of ONNX Runtime on the CPU, of the ONNX file that this library writes."""
    import onnx  # noqa: F401  # which writes the file
    import onnxruntime as runtime

    load(folder / NETWORK, backend="numpy").save(folder / "network.onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        session = runtime.InferenceSession(folder / "network.onnx", options, providers=["CPUExecutionProvider"])
    except runtime.capi.onnxruntime_pybind11_state.NotImplemented as error:
        msg = f"ONNX Runtime {runtime.__version__} has no RNN kernel for {x.dtype} on the CPU."
        raise errors.DTypeError(msg) from error
    return Ready(lambda: session.run(["output"], {"x": x})[0], runtime.__version__)


def wait_for_idle_threads() -> None:
    """Wait until this process uses no processor: threads of BLAS, OpenMP and ONNX Runtime spin after their work."""
    deadline = perf_counter() + LONGEST_WAIT_SECONDS
    while perf_counter() < deadline:
        before = process_time()
        sleep(IDLE_SECONDS)
        if process_time() - before < IDLE_SECONDS / 4:
            return
