"""The limit of the arithmetic: matrix products of as many operations as the problem has, by NumPy, and no more.

For a batch one product, (T * B, I + H) times (I + H, H).  A step of one sequence needs all of W_hh before the next may
begin, so there it is the product of W_hh with a vector, T times in one call of NumPy, after that of the inputs, (T, I)
times (I, H).  For token ids, which are not multiplied, I is 0; twice as much for two directions.
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
    random = np.random.default_rng(0)
    size, input_size = problem.hidden_size, 0 if problem.tokens else problem.input_size

    def normal(*sizes: int) -> Host:
        return random.normal(size=sizes).astype(problem.dtype)

    rows = problem.batch if problem.step else problem.seq_len * problem.batch
    if problem.batch == 1:
        factors = [(normal(rows, input_size), normal(input_size, size)), (normal(size, size), normal(rows, size, 1))]
    else:
        factors = [(normal(rows, input_size + size), normal(input_size + size, size))]
    products = [(left, right, np.matmul(left, right)) for left, right in factors]

    def call(_: Host) -> None:
        for _cell in drawn.cells:
            for left, right, result in products:
                np.matmul(left, right, out=result)

    return Contestant("product", call, output=None)
