"""The loop of the text-books in NumPy: one-hot vectors for tokens, one column for each sequence, a state for each step."""

import numpy as np

from harness.contestant import AbsentError, Contestant
from harness.problem import Drawn
from rnn_backends.core.arrays import Host


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant; its threads are those of NumPy."""
    del threads
    problem = drawn.problem
    if problem.bidirectional or problem.ragged or problem.step or problem.leak is not None:
        msg = "it is measured for whole sequences of equal lengths"
        raise AbsentError(msg)
    (wax, waa, bias), *_ = drawn.weights()
    ba = bias[:, None]

    def one_hot(ids: Host) -> Host:
        columns = np.zeros((problem.input_size, problem.batch), problem.dtype)
        columns[ids, np.arange(problem.batch)] = 1.0
        return columns

    def call(x: Host) -> Host:
        a = np.zeros((problem.hidden_size, problem.batch), problem.dtype)
        states = []
        for given in x:
            a = np.tanh(wax @ (one_hot(given) if problem.tokens else given.T) + waa @ a + ba)
            states.append(a.T)
        return np.stack(states)

    return Contestant("textbook", call)
