"""Sparse recurrent weights: right, without waiting for the device, and their speed beside dense ones.

python -m gpu_stages.sparse FINDINGS SIZES
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import cupy
import numpy as np
from cupyx.scipy import sparse

import rnn_backends as rb
from gpu_stages.findings import RIGHT, WRONG, Findings, leave
from gpu_stages.names import harness
from gpu_stages.sizes import SIZES, Shape
from rnn_backends.testing import excess, reference
from rnn_backends.testing.cases import Draw

DTYPES, FORMATS = ("float32", "float64"), ("csr", "coo", "csc")
DENSITY = 0.1
BUSY = 20
"""How many products keep the device busy."""


def on_device(cell: Any, form: str) -> rb.Cell:
    """Return a cell of NumPy arrays as one of CuPy's, with a matrix of cupyx in a format."""
    matrix = sparse.csr_matrix(tuple(map(cupy.asarray, cell.weight_hh.to_csr())), shape=cell.weight_hh.shape)
    return rb.Cell(cupy.asarray(cell.weight_ih), getattr(matrix, f"to{form}")(), cupy.asarray(cell.bias))


def errors(shape: Shape) -> Iterator[dict[str, Any]]:
    """Yield the largest error in units of the bound by dtype and format."""
    seq_len, batch, inputs, size = shape
    for dtype in DTYPES:
        draw = Draw(dtype, 0)
        cell, x = draw.cell(inputs, size, density=DENSITY), draw.normal(seq_len, batch, inputs)
        wanted, _ = reference([cell], x, dtype=dtype)
        for form in FORMATS:
            found = rb.RNN([on_device(cell, form)])(cupy.asarray(x))[0]
            yield {"dtype": dtype, "format": form, "error": excess(rb.to_numpy(found), wanted)}


def waits(shape: Shape) -> bool:
    """Return whether a call ends after work that was there before it, as it would if anything came to the host."""
    seq_len, batch, inputs, size = shape
    draw, edge = Draw("float32", 0), harness("gpu").BUSY_SIZE
    rnn, x = rb.RNN([on_device(draw.cell(inputs, size, density=DENSITY), "csr")]), draw.normal(seq_len, batch, inputs)
    placed, square, event = cupy.asarray(x), cupy.ones((edge, edge), cupy.float32), cupy.cuda.Event()
    rnn(placed)  # compiles
    for _ in range(BUSY):
        cupy.matmul(square, square)
    event.record()
    rnn(placed)
    return bool(event.done)


def entries(size: int, count: int) -> Any:
    """Return a matrix of a cell that forgets, with so many entries in each row."""
    random = np.random.default_rng(0)
    columns, starts = random.integers(0, size, size * count), np.arange(size + 1) * count
    values = random.uniform(-0.8 / count, 0.8 / count, size * count).astype(np.float32)
    return rb.Sparse.from_csr(values, columns, starts, (size, size))


def speeds(shape: Shape, count: int, rounds: int) -> dict[str, Any]:
    """Return the microseconds of a step with sparse and with dense weights, and for whose launches the device waited."""
    (seq_len, batch, inputs, size), draw = shape, Draw("float32", 0)
    matrix, (w_ih, bias) = entries(size, count), (draw.normal(size, inputs), draw.normal(size))
    dense = np.zeros(matrix.shape, np.float32)
    values, columns, starts = matrix.to_csr()
    np.add.at(dense, (np.repeat(np.arange(size), np.diff(starts)), columns), values)
    cells = {
        "sparse": on_device(rb.Cell(w_ih, matrix, bias), "csr"),
        "dense": rb.Cell(cupy.asarray(w_ih), cupy.asarray(dense), cupy.asarray(bias)),
    }
    gpu, module, found = harness("gpu").Gpu(0), harness("contestant"), dict[str, float]()
    for name, cell in cells.items():
        rnn = rb.RNN([cell])
        one = module.Contestant(
            name, lambda x, rnn=rnn: rnn(x)[0], place=cupy.asarray, poison=module.fill_with_nan
        )  # fmt: skip
        sample = gpu.device_clock(one, [draw.normal(seq_len, batch, inputs) for _ in range(2)])
        found[name] = 1e6 * median(sample() for _ in range(rounds)) / seq_len
    return {"shape": shape, "entries": count, "us_step_of": found, "launch_bound": sorted(gpu.launch_bound)}


def main() -> None:
    path, name = sys.argv[1:]
    findings, sizes = Findings(Path(path)), SIZES[name]
    worst = 0.0
    for one in errors(sizes.smoke):
        worst = max(worst, one["error"])
        findings.add(stage="rest", sparse=one)
    is_late = waits(sizes.smoke)
    findings.add(stage="rest", sparse={"waits": is_late})
    for shape, count in sizes.sparse:
        findings.add(stage="rest", sparse=speeds(shape, count, sizes.rounds))
    late = ", and a call waits for the device" if is_late else ""
    leave(WRONG if worst > 1.0 or is_late else RIGHT, f"the largest error is {worst:.3g} times the bound{late}")


if __name__ == "__main__":
    main()
