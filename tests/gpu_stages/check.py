"""A kernel on small networks, against the float64 reference: `python -m gpu_stages.check FINDINGS STAGE KERNEL --help`.

The kernel is that of the environment variable RNN_CUPY_KERNEL; KERNEL only names it in what is found.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rnn_backends as rb
from gpu_stages.findings import REFUSED, RIGHT, WRONG, Findings, leave
from rnn_backends.core.arrays import HALF
from rnn_backends.testing import cases, excess, reference
from rnn_backends.testing.cases import Draw
from rnn_backends.testing.conformance import flat


def drawn(dtype: str, given: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Yield one ragged case of each shape, or each so-manieth feature."""
    if given.shape is None:
        yield from list(cases(dtype).items())[:: given.every]
        return
    for shape in [*given.shape, *(given.half_shape if dtype in HALF else [])]:
        seq_len, batch, *_ = shape
        lengths = [seq_len * place // max(batch - 1, 1) for place in range(batch)]
        yield f"shape {shape}", Draw(dtype, 0).case(shape=tuple(shape), h_0=True, lengths=lengths)


def error(case: Any, dtype: str) -> float:
    """Return the largest error of output and last states, in units of the bound."""
    got = rb.RNN(case.layers).to("cupy", dtype)(case.x, case.h_0, lengths=case.lengths, mask=case.mask)
    wanted = reference(case.layers, case.x, case.h_0, case.lengths, case.mask, dtype)
    return max(excess(rb.to_numpy(actual), of) for actual, of in zip(flat(got), flat(wanted), strict=True))


def refusal() -> str:
    """Return why the kernel does not run on this device, nothing if it does."""
    try:
        rb.RNN.init(3, 96, backend="cupy")(np.zeros((8, 2, 3), np.float32))
    except rb.ArgumentError as reason:
        return str(reason)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("findings", Path), ("stage", str), ("kernel", str)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--dtype", nargs="+", required=True)
    parser.add_argument(
        "--shape",
        nargs=4,
        type=int,
        action="append",
        help="one case of this shape; again for more; default: the features",
    )
    parser.add_argument(
        "--half-shape", nargs=4, type=int, action="append", default=[], help="the same, in 16 bits alone"
    )
    parser.add_argument("--every", type=int, default=1, help="leave out features between")
    given = parser.parse_args()
    findings = Findings(given.findings)
    if reason := refusal():
        leave(REFUSED, reason)
    there = [dtype for dtype in given.dtype if dtype in rb.get_backend("cupy").dtypes()]
    if not there:
        leave(REFUSED, f"there is no {' or '.join(given.dtype)} here")
    worst = 0.0
    for dtype in there:
        for name, case in drawn(dtype, given):
            found = error(case, dtype)
            worst = max(worst, found)
            findings.add(stage=given.stage, kernel=given.kernel, dtype=dtype, case=name, excess=found)
    leave(RIGHT if worst <= 1.0 else WRONG, f"the largest error is {worst:.3g} times the bound")


if __name__ == "__main__":
    main()
