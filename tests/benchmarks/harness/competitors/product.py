"""The limit of the arithmetic: one matrix product, by NumPy, of as many operations as the problem has.

(T * B, I + H) times (I + H, H); for token ids, which are not multiplied, I is 0; two for two directions.
"""

import numpy as np

from harness.contestant import AbsentError, Contestant
from harness.problem import Drawn
from rnn_backends.core.arrays import Host


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant; its threads are those of NumPy."""
    del threads
    problem = drawn.problem
    if problem.ragged:
        msg = "how much of a ragged batch is to be computed is left open"
        raise AbsentError(msg)
    rows = problem.batch if problem.step else problem.seq_len * problem.batch
    inner = problem.hidden_size + (0 if problem.tokens else problem.input_size)
    random = np.random.default_rng(0)
    left = random.normal(size=(rows, inner)).astype(problem.dtype)
    right = random.normal(size=(inner, problem.hidden_size)).astype(problem.dtype)
    result = np.empty((rows, problem.hidden_size), problem.dtype)

    def call(_: Host) -> None:
        for _cell in drawn.cells:
            np.matmul(left, right, out=result)

    return Contestant("product", call, output=None)
