"""Measure the cupy backend on a GPU: each kernel, the equation as written, and torch.nn.RNN; write the table.

python tests/benchmarks/gpu.py [--output docs/benchmarks/gpu.md]

It needs CuPy and torch, and a GPU that nobody else uses.  What is timed is a whole forward, the input projection included,
from one CUDA event to another, behind work that keeps the device busy until the host has launched all of it; `call` is
the time of one call on the host, until its result is there.  Inputs differ from call to call, results are overwritten with
NaN before their memory is used again, and the first steps of each result are checked against the float64 reference.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import cupy
import numpy as np
import torch

import rnn_backends as rb
from rnn_backends.backends.kernels.plan import REGIMES
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw

OUTPUT = Path(__file__).parents[2] / "docs" / "benchmarks" / "gpu.md"
ROUNDS, COPIES, CHECKED = 9, 3, 8
NOT_RUN = float("nan")


class Row(NamedTuple):
    """A line of the table: a shape, and torch's time in units of ours that must be and is to be reached."""

    must: float
    aim: float
    dtype: str
    shape: tuple[int, int, int, int]


ROWS = [
    *(Row(1.5, 2.5, "float32", (512, batch, 64, size)) for size in (32, 64) for batch in (1, 32, 132)),
    *(Row(2.0, 3.0, "float32", (512, batch, 128, 128)) for batch in (1, 32, 132)),
    *(Row(1.8, 3.0, "float32", (512, batch, 128, size)) for size in (192, 256) for batch in (1, 32, 132)),
    *(Row(5.0, 10.0, "float32", (512, batch, 128, size)) for size in (288, 384) for batch in (1, 32)),
    *(Row(4.0, 8.0, "float32", (256, batch, 256, size)) for size in (512, 768, 1024) for batch in (1, 16)),
    *(Row(3.0, 5.0, "float32", (256, batch, 256, 2048)) for batch in (1, 16)),
    Row(1.5, 2.5, "float32", (256, 64, 256, 1024)),
    *(Row(1.0, 1.5, "float32", (256, batch, 256, 1536)) for batch in (64, 256)),
    *(Row(4.0, 8.0, "float64", (256, batch, 128, size)) for size in (128, 512, 1024) for batch in (1, 16)),
    *(Row(1.0, 1.5, "float16", (512, batch, 256, size)) for size in (256, 512, 1024) for batch in (16, 64)),
    *(Row(2.0, 4.0, "float32", (seq_len, 1, 32, 64)) for seq_len in (1, 8, 32)),
]


def ours(kernel: str | None, cell: rb.Cell) -> Callable[[Any], Any]:
    """Return a call of this library, by one of its kernels or by its own choice."""
    rnn = rb.RNN([cell]).to("cupy")

    def call(x: Any) -> Any:
        os.environ["RNN_CUPY_KERNEL"] = kernel or ""
        return rnn(x)[0]

    return call


def theirs(cell: rb.Cell, tf32: bool) -> Callable[[Any], Any]:
    """Return a call of torch."""
    rnn = torch.nn.RNN(
        cell.input_size, cell.hidden_size, dtype=getattr(torch, cell.weight_hh.dtype.name), device="cuda"
    )
    values = (cell.weight_ih, cell.weight_hh, cell.bias, np.zeros_like(cell.weight_hh[0]))
    with torch.no_grad():
        for parameter, value in zip(rnn.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value))

    def call(x: Any) -> Any:
        torch.backends.cudnn.allow_tf32 = tf32
        with torch.inference_mode():
            return rnn(x)[0]

    return call


class Library(NamedTuple):
    """What timing needs of CuPy or torch."""

    place: Callable[[Any], Any]
    event: Callable[[], Any]
    elapsed: Callable[[Any, Any], float]  # in milliseconds
    wait: Callable[[], object]
    poison: Callable[[Any], object]
    keep_busy: Callable[[], object]


def libraries() -> dict[str, Library]:
    """Return both."""
    square, tensor = cupy.ones((6144, 6144), cupy.float32), torch.ones((6144, 6144), device="cuda")
    return {
        "cupy": Library(
            cupy.asarray, cupy.cuda.Event, cupy.cuda.get_elapsed_time, cupy.cuda.Device().synchronize,
            lambda output: output.fill(np.nan), lambda: cupy.matmul(square, square),
        ),
        "torch": Library(
            lambda x: torch.from_numpy(x).cuda(), lambda: torch.cuda.Event(enable_timing=True),
            lambda start, stop: start.elapsed_time(stop), torch.cuda.synchronize,
            torch.inference_mode()(lambda output: output.fill_(np.nan)), lambda: torch.mm(tensor, tensor),
        ),
    }  # fmt: skip


def timed(library: Library, call: Callable[[Any], Any], xs: list[Any]) -> tuple[float, float]:
    """Return the milliseconds of a call on the device, and on the host until its result is there."""
    on_device, on_host = [], []
    for number in range(ROUNDS + 2):
        x, start, stop = xs[number % len(xs)], library.event(), library.event()
        library.keep_busy()
        start.record()
        library.poison(record(stop, call(x)))
        library.wait()
        begin = perf_counter()
        output = call(x)
        library.wait()
        on_host.append(1e3 * (perf_counter() - begin))
        on_device.append(library.elapsed(start, stop))
        library.poison(output)
    return median(on_device[2:]), median(on_host[2:])


def record(event: Any, output: Any) -> Any:
    event.record()
    return output


def measure(row: Row, parts: dict[str, Library]) -> dict[str, tuple[float, float, float]]:
    """Return for each contestant the milliseconds on the device and on the host, and the error in units of the bound."""
    seq_len, batch, input_size, hidden_size = row.shape
    draw = Draw(row.dtype, 0)
    cell = draw.cell(input_size, hidden_size)
    inputs = [draw.normal(seq_len, batch, input_size) for _ in range(COPIES)]
    wanted, _ = reference([cell], inputs[0][:CHECKED, :2], dtype=row.dtype)
    contestants: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "chosen": ("cupy", ours(None, cell)),
        **{kernel: ("cupy", ours(kernel, cell)) for kernel in (*REGIMES, "off")},
        "torch": ("torch", theirs(cell, tf32=False)),
        "torch, TF32": ("torch", theirs(cell, tf32=True)),
    }
    found = {}
    for name, (part, call) in contestants.items():
        library = parts[part]
        xs = [library.place(x) for x in inputs]
        try:
            output = call(xs[0])
        except rb.ArgumentError:  # a kernel that does not take this shape
            found[name] = (NOT_RUN, NOT_RUN, NOT_RUN)
            continue
        host = output.get() if part == "cupy" else output.cpu().numpy()
        found[name] = (*timed(library, call, xs), excess(host[:CHECKED, :2], wanted))
    return found


def lines(results: list[tuple[Row, dict[str, tuple[float, float, float]]]]) -> Iterator[str]:
    """Yield the page."""
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    yield "# How fast on a GPU\n"
    yield (
        f"{properties['name'].decode()}, CUDA driver {cupy.cuda.runtime.driverGetVersion()}, CuPy {cupy.__version__}, "
        f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}. Microseconds a step on the device, for each "
        "kernel, the equation as written (`off`) and `torch.nn.RNN`; `torch/ours` divides torch's time without TF32 by that "
        "of what is chosen, for T of 32 and less the times of a call on the host. `error` is the largest in units of the bound.\n"
    )
    names = list(results[0][1])
    yield f"| T B I H | dtype | {' | '.join(names)} | torch/ours | must | aim | error |"
    yield "|---|---|" + "---:|" * (len(names) + 4)
    for row, found in results:
        which = 1 if row.shape[0] <= 32 else 0
        ratio = found["torch"][which] / found["chosen"][which]
        times = (f"{1e3 * found[name][0] / row.shape[0]:.2f}".replace("nan", "-") for name in names)
        error = max(
            found[name][2] for name in names if found[name][2] == found[name][2] and not name.startswith("torch")
        )
        shape = " ".join(map(str, row.shape))
        yield f"| {shape} | {row.dtype} | {' | '.join(times)} | {ratio:.2f} | {row.must} | {row.aim} | {error:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    path = parser.parse_args().output
    parts, results = libraries(), []
    for row in ROWS:
        results.append((row, measure(row, parts)))
        print(row, {name: f"{1e3 * times[0] / row.shape[0]:.2f}" for name, times in results[-1][1].items()}, flush=True)
    path.write_text("\n".join(lines(results)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
