"""The process of a contestant with a sparse matrix, `python -m harness.sparse_child MAKER THREADS`: JSON lines in and out.

A question with sizes is answered with the largest distance of the states from those of SciPy in float64; null is answered
with the seconds of a call.
"""

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from memory import resident

import rnn_backends as rb
from harness.contestant import AbsentError, Contestant
from harness.machine import stay_on
from harness.timing import host_clock
from rnn_backends.cli.reports import one_line
from rnn_backends.core.arrays import Host

INPUTS = 3
ALLOWED = {"float32": 1e-5, "float64": 1e-13}
"""Distances of states, which a cell that forgets keeps to a few roundoffs, whatever the order of its sums."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A cell with a sparse W_hh of so many entries in each row, and its input."""

    hidden_size: int = 3000
    entries: int = 10
    seq_len: int = 1000
    batch: int = 1
    dtype: str = "float32"


@dataclass(frozen=True)
class Weights:
    """The weights of a cell that forgets, W_hh by its entries row by row, and an input, the same each time."""

    w_ih: Host
    w_hh: Any
    bias: Host
    x: Host

    @classmethod
    def of(cls, sizes: Sizes) -> "Weights":
        """Draw them."""
        from scipy.sparse import csr_array

        random, size, entries = np.random.default_rng(0), sizes.hidden_size, sizes.entries
        columns = np.sort(random.integers(0, size - entries + 1, (size, entries)), axis=1) + np.arange(entries)
        values = random.uniform(-1, 1, (size, entries))
        values *= 0.8 / abs(values).sum(axis=1, keepdims=True)
        starts = np.arange(size + 1) * entries
        w_hh = csr_array((values.astype(sizes.dtype).ravel(), columns.ravel(), starts), (size, size))
        normal = [
            random.standard_normal(shape).astype(sizes.dtype)
            for shape in ((size, INPUTS), size, (sizes.seq_len, sizes.batch, INPUTS))
        ]
        return cls(normal[0], w_hh, *normal[1:])

    def states(self) -> Host:
        """Return the states in float64, by SciPy."""
        w_hh, w_ih, bias = (each.astype(np.float64) for each in (self.w_hh, self.w_ih, self.bias))
        h = np.zeros((self.x.shape[1], len(w_ih)))
        found = np.empty((len(self.x), *h.shape))
        for t, x in enumerate(self.x):
            found[t] = h = np.tanh((w_hh @ h.T).T + x @ w_ih.T + bias)
        return found


def ours(weights: Weights) -> Callable[[Host], Host]:
    """Return this library with the matrix as it is."""
    rnn = rb.RNN([rb.Cell(weights.w_ih, weights.w_hh, weights.bias)])
    return lambda x: rnn(x)[0]


def dense(weights: Weights) -> Callable[[Host], Host]:
    """Return this library with the zeros beside."""
    rnn = rb.RNN([rb.Cell(weights.w_ih, weights.w_hh.toarray(), weights.bias)])
    return lambda x: rnn(x)[0]


def scipy(weights: Weights) -> Callable[[Host], Host]:
    """Return the equation as one writes it with SciPy."""
    w_hh, w_ih, bias = weights.w_hh, weights.w_ih, weights.bias

    def call(x: Host) -> Host:
        states = np.empty((len(x), x.shape[1], len(w_ih)), x.dtype)
        projected, h = x @ w_ih.T + bias, np.zeros((x.shape[1], len(w_ih)), x.dtype)
        for t, each in enumerate(projected):
            states[t] = h = np.tanh((w_hh @ h.T).T + each)
        return states

    return call


def reservoirpy(weights: Weights) -> Callable[[Host], Host]:
    """Return its `Reservoir`, which runs one sequence after the other."""
    try:
        from reservoirpy.nodes import Reservoir
    except ImportError as error:
        msg = "not installed: pip install reservoirpy"
        raise AbsentError(msg) from error
    w_hh, kind = weights.w_hh, weights.x.dtype.type
    node = Reservoir(lr=1.0, W=w_hh, Win=weights.w_ih, bias=weights.bias, activation="tanh", dtype=kind)
    node.initialize(weights.x[:, 0])
    start = np.zeros_like(weights.bias)  # its own state is float64, to which it would convert everything

    def alone(sequence: Host) -> Host:
        node.state = {"out": start}
        output: Host = node.run(sequence)
        return output

    def call(x: Host) -> Host:
        return np.stack([alone(x[:, index]) for index in range(x.shape[1])], axis=1)

    return call


MAKERS = {each.__name__: each for each in (ours, dense, scipy, reservoirpy)}


def main() -> None:
    """Answer each line of stdin."""
    (maker, threads), out = sys.argv[1:], sys.stdout
    stay_on(int(threads))
    sample: Callable[[], float] | None = None
    with redirect_stdout(sys.stderr), suppress(KeyboardInterrupt):  # libraries print, too
        for line in sys.stdin:
            question = json.loads(line)
            if question is None:
                assert sample is not None
                reply: dict[str, Any] = {"seconds": sample()}
            else:
                sample = None  # no two questions are held at once
                reply, sample = answered(maker, Sizes(**question))
            print(json.dumps(reply), file=out, flush=True)


def answered(maker: str, sizes: Sizes) -> tuple[dict[str, Any], Callable[[], float] | None]:
    """Return the answer to a question, and a clock of the contestant if it takes part."""
    weights = Weights.of(sizes)
    try:
        call = MAKERS[maker](weights)
    except AbsentError as error:
        return {"absent": one_line(error)}, None
    distance = float(abs(call(weights.x) - weights.states()).max())
    if not distance <= ALLOWED[sizes.dtype]:
        message = f"{maker} is off by {distance:.3g}, more than {ALLOWED[sizes.dtype]:g}; nothing is timed."
        return {"raised": "WrongResultError", "message": message}, None
    contestant = Contestant(maker, call)
    return {"distance": distance}, host_clock(contestant, [weights.x, weights.x[::-1].copy()])


def peak(hidden_size: int, entries: int, seq_len: int) -> dict[str, float]:
    """Return the MiB that a process has at most that makes a cell and runs it, and those of the cell and the result."""
    weights = Weights.of(Sizes(hidden_size=hidden_size, entries=entries, seq_len=seq_len))
    held = sum(each.nbytes for each in (weights.w_hh.data, weights.w_hh.indices, weights.w_hh.indptr, weights.w_ih))
    output = ours(weights)(weights.x)
    return {"process": resident("VmHWM"), "matrix": held / 2**20, "output": output.nbytes / 2**20}


if __name__ == "__main__":
    main()
