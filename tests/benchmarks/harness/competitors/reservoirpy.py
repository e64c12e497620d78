"""reservoirpy: its `Reservoir` node with the problem's matrices, for one leaky reservoir."""

from collections.abc import Callable

import numpy as np
from reservoirpy.nodes import Reservoir

from harness.contestant import AbsentError, Contestant
from harness.problem import Drawn
from rnn_backends.core.arrays import Host


def make(drawn: Drawn, threads: int) -> Contestant:
    """Return the contestant; it computes with NumPy, and its threads are those of NumPy."""
    del threads
    problem = drawn.problem
    if problem.leak is None or problem.batch != 1 or problem.tokens or problem.bidirectional or problem.ragged:
        msg = "it is measured for one leaky reservoir with features as input"
        raise AbsentError(msg)
    (w_ih, w_hh, bias), *_ = drawn.weights()
    node = Reservoir(lr=problem.leak, W=w_hh, Win=w_ih, bias=bias, activation="tanh", dtype=w_hh.dtype.type)
    node.initialize(drawn.x[:, 0])
    start = np.zeros_like(bias)  # its own state is float64, to which it would convert everything

    def sequence(x: Host) -> Host:
        node.state = {"out": start}
        output: Host = node.run(x[:, 0])
        return output[:, None]

    node.state = {"out": start}
    step: Callable[[Host], Host] = lambda x: node.step(x[0, 0])[None, None]  # noqa: E731
    return Contestant("reservoirpy", step if problem.step else sequence)
