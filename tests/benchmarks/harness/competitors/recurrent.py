"""The limit of the recurrence for one sequence: the product of W_hh with a vector, step by step, and no more.

Each step needs all of W_hh, so this is the limit that memory, or for a small W_hh a call of BLAS, sets for NumPy.  A
compiled kernel, which calls no BLAS, can be faster.
"""

import numpy as np

from harness.contestant import AbsentError, Contestant
from harness.problem import Drawn
from rnn_backends.core.arrays import Host


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant; its threads are those of NumPy."""
    del threads
    problem = drawn.problem
    if problem.batch != 1:
        msg = "it is measured for one sequence; see product"
        raise AbsentError(msg)
    weights = [np.ascontiguousarray(w_hh.T) for _, w_hh, _ in drawn.weights()]
    vector = np.random.default_rng(0).normal(size=problem.hidden_size).astype(problem.dtype)
    result = np.empty_like(vector)
    dot, steps = np.dot, range(1 if problem.step else problem.seq_len)

    def call(_: Host) -> None:
        for weight in weights:
            for _step in steps:
                dot(vector, weight, result)

    return Contestant("recurrent", call, output=None)
