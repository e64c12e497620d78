"""The numbers of a `Noise`, drawn on the host: those of a cell at a step, whatever was drawn before."""

from collections.abc import Iterable, Iterator

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.noise import Noise


def draws(noise: Noise, cells: Iterable[tuple[int, int]], start: int, seq_len: int, batch: int) -> Iterator[Host]:
    """Yield the numbers of some cells at the steps from `start` on.

    Parameters
    ----------
    noise : Noise
    cells : iterable of pair of int
        The index of each cell among all of the network, and its hidden size.
    start, seq_len, batch : int

    Yields
    ------
    numpy.ndarray of float64, shape (seq_len, batch, hidden_size)
    """
    for cell, size in cells:
        source = np.random.Philox(np.random.SeedSequence(noise.seed, spawn_key=(cell,)))
        generator, numbers, state = np.random.Generator(source), np.empty((seq_len, batch, size)), source.state
        for t in range(seq_len):
            # As `source.jumped(start + t)`, which would make a new generator: 1 us instead of 20.
            state["state"]["counter"][2] = start + t
            source.state = state
            generator.standard_normal(out=numbers[t])
        numbers *= np.asarray(noise.std)
        yield numbers
