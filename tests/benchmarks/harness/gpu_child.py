"""The process of a contestant on a GPU, `python -m harness.gpu_child MAKER THREADS BACKEND`: JSON lines in and out.

MAKER is "ours", for BACKEND, or a competitor on the GPU of BACKEND.  A question names what is wanted: `about` the GPU, a
`problem` with the file of its right outputs, which is prepared and checked, a sample by a `clock`, or the errors `again`.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harness.competitors import ON_GPU, distribution_version, prepare
from harness.contestant import AbsentError, Contestant, largest_error, ours_on_gpu
from harness.machine import stay_on
from harness.problem import Drawn, Problem
from harness.table import OF_CUPY
from rnn_backends.backends.selection import get_backend, parse
from rnn_backends.cli.info import library_version
from rnn_backends.cli.process import environment
from rnn_backends.cli.reports import one_line
from rnn_backends.errors import ArgumentError, RNNBackendError
from rnn_backends.testing.reference import Bounded

if TYPE_CHECKING:
    from harness.gpu import Gpu

OURS = "ours"
Answer = dict[str, Any]


class Ready(NamedTuple):
    """A contestant with its problem, and what takes samples of it by clock."""

    contestant: Contestant
    drawn: Drawn
    samples: dict[str, Callable[[], float]]


class Entrant:
    """What answers: a maker on a GPU, with the problem that it was given last."""

    def __init__(self, maker: str, threads: int, backend: str) -> None:
        self.maker, self.threads, self.backend = maker, threads, backend
        self.gpu = gpu_of(backend)
        self.ready: Ready | None = None

    def answer(self, question: dict[str, Any]) -> Answer:
        """Return what is asked for."""
        if "about" in question:
            from harness.gpu import about

            return {"device": about(self.gpu.index), "index": self.gpu.index, "environment": _environment()}
        if "problem" in question:
            self.ready = None  # no two problems are held at once
            return self.prepared(question)
        assert self.ready is not None
        return self.checked(self.ready) if "again" in question else self.sample(self.ready, question["clock"])

    def prepared(self, question: dict[str, Any]) -> Answer:
        """Make the contestant of a problem and check it, or return why it takes no part."""
        with np.load(question["outputs"]) as outputs:
            drawn = Drawn.of(Problem(**question["problem"]), Bounded(outputs["value"], outputs["error"]))
        try:
            if self.maker == OURS:
                contestant = ours_on_gpu(self.backend, drawn)
            else:
                contestant = prepare(self.maker, drawn, self.threads, self.gpu)
            ready = Ready(contestant, drawn, {})
            answer = self.checked(ready)
        except AbsentError as error:
            return {"absent": one_line(error)}
        except RNNBackendError as error:
            return {"failed": one_line(error)}
        self.ready = ready
        return {**answer, "versions": self.versions()}

    def checked(self, ready: Ready) -> Answer:
        """Return the largest error in units of the bound, or that it is more than is allowed; a limit has none."""
        contestant, drawn, _ = ready
        if contestant.output is None:
            return {"excess": None}
        with self.gpu.device:
            error = largest_error(contestant, contestant.output, drawn)
        if error <= contestant.allowed:
            return {"excess": error}
        more = "" if contestant.allowed == 1.0 else f", more than {contestant.allowed:g}"
        return {"failed": f"wrong: {error:.3g} times the bound{more}"}

    def sample(self, ready: Ready, clock: str) -> Answer:
        """Return the seconds of a call, and whether the device waited for its launches."""
        contestant, drawn, samples = ready
        if clock not in samples:
            samples[clock] = self.gpu.clocks()[clock](contestant, drawn.inputs)
        return {"seconds": samples[clock](), "launch_bound": bool(self.gpu.launch_bound)}

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that compute; a distribution may have another name than the backend."""
        names = {"numpy", "cupy", *([self.backend.partition(":")[0]] if self.maker == OURS else [])}
        found = {name: distribution_version(name) or library_version(get_backend(name)) for name in names}
        found |= {name: distribution_version(name) for name in ON_GPU.get(self.maker, ())}
        if "torch" in found:
            from torch.backends import cudnn

            found["cudnn"] = str(cudnn.version())
        return {name: version for name, version in sorted(found.items()) if version is not None}


def gpu_of(backend: str) -> "Gpu":
    """Return the GPU that a backend is on.

    Raises
    ------
    ArgumentError
        It is on none where CuPy can time something.
    """
    device = parse(backend, "--backend").device
    if not device.startswith("cuda"):
        msg = (
            f"{backend} is on {device}, which CuPy's events do not time; measure cupy or torch:cuda here, and a CPU "
            "by tests/benchmarks/cpu.py."
        )
        raise ArgumentError(msg)
    get_backend("cupy")  # or raise the reason for which it cannot be used
    from harness.gpu import Gpu

    gpu = Gpu(int(device.partition(":")[2]))
    if backend.partition(":")[0] == "torch":
        import torch

        gpu.require_stream(torch.cuda.current_stream(gpu.index).cuda_stream)
    return gpu


def _environment() -> dict[str, str]:
    """Return the variables that matter, as far as they are set."""
    names = (*sorted(environment(1, {})), *OF_CUPY)
    return {name: os.environ[name] for name in names if name in os.environ}


def main() -> None:
    """Answer each line of stdin."""
    (maker, threads, backend), out = sys.argv[1:], sys.stdout
    stay_on(int(threads))
    with redirect_stdout(sys.stderr), suppress(KeyboardInterrupt):  # libraries print, too
        try:
            entrant = Entrant(maker, int(threads), backend)
        except RNNBackendError as error:
            print(json.dumps({"raised": type(error).__name__, "message": one_line(error)}), file=out, flush=True)
            return
        for line in sys.stdin:
            print(json.dumps(entrant.answer(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
