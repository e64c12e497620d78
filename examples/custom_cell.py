"""A recurrent cell of one's own, on every backend at once: a minimal gated unit.

    python examples/custom_cell.py [backend ...]

    f<t> = sigmoid(W_f x<t> + U_f a<t-1>)
    a<t> = (1 - f<t>) a<t-1> + f<t> tanh(W_a x<t> + U_a (f<t> a<t-1>))

(Zhou, Wu, Zhang and Zhou, Minimal gated unit for recurrent neural networks, 2016,
without biases.)  Two methods make a cell: `project` does for all steps at once what
needs no state, `step` takes one step of time.  Written in operations of the array API
standard, they run wherever a network is placed; because the class is a dataclass, its
arrays move with the network.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

import rnn_backends as rb

sigmoid, tanh = rb.Activation("sigmoid"), rb.Activation("tanh")


@dataclass(frozen=True)
class MinimalGatedUnit:
    weight: Any
    """W_f over W_a, shape (2 * hidden_size, input_size)."""
    recurrent: Any
    """U_f over U_a, shape (2 * hidden_size, hidden_size)."""

    @property
    def hidden_size(self) -> int:
        return int(self.recurrent.shape[1])

    def project(self, x: Any) -> Any:
        return x @ self.weight.T

    def step(self, projected: Any, h: Any) -> Any:
        n = self.hidden_size
        gate = sigmoid(projected[:, :n] + h @ self.recurrent[:n, :].T)
        new = tanh(projected[:, n:] + (gate * h) @ self.recurrent[n:, :].T)
        return (1.0 - gate) * h + gate * new


def main(*backends: str) -> None:
    random = np.random.default_rng(0)
    shapes = (12, 4), (12, 6), (3, 6)
    w, u, w_y = (random.normal(size=shape).astype("float32") for shape in shapes)
    network = rb.RNN([MinimalGatedUnit(w, u)], readout=rb.Linear(w_y))
    x = random.normal(size=(20, 2, 4))
    for backend in backends or ("numpy",):
        rnn = network.to(backend)
        print(rnn)
        print(rb.to_numpy(rnn.predict(x, lengths=[20, 7])).T)


if __name__ == "__main__":
    main(*sys.argv[1:])
