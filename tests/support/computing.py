"""What a process that is started by `multiprocessing` computes: a module that it can import by its name."""

from typing import Any

import numpy as np

import rnn_backends as rb

X = np.ones((5, 2, 3), np.float32)


def compute(rnn: rb.RNN) -> list[float]:
    """Use the registry in several ways; the results are of the library's own."""
    targets = np.zeros((5, 2), int)
    made = rb.RNN.init(3, 4, output_size=3)
    return [float(each.loss(X, targets)) for each in (rnn, made, rb.RNN(rnn.layers, rnn.readout))]


def computed_in_a_process(rnn: rb.RNN, results: Any) -> None:
    results.put(compute(rnn))
