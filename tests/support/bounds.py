"""Bounds that more than one test file needs."""

import numpy as np

import rnn_backends as rb
from rnn_backends.testing import Bounded
from rnn_backends.testing.reference import ROUNDOFF


def logits_bound(rnn: rb.RNN, states: Bounded, dtype: str) -> Bounded:
    assert rnn.readout is not None
    assert rnn.readout.bias is not None
    weight, bias = np.asarray(rnn.readout.weight, "f8"), np.asarray(rnn.readout.bias, "f8")
    terms = (weight.shape[1] + 2) * ROUNDOFF[dtype]
    magnitude = (abs(states.value) + states.error) @ abs(weight).T + abs(bias)
    return Bounded(states.value @ weight.T + bias, states.error @ abs(weight).T + terms / (1 - terms) * magnitude)
