"""The numbers of a `Noise`, drawn on the host: those of a cell at a step, whatever else is drawn."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rnn_backends.backends.selection import Placement
from rnn_backends.core.arrays import HALF, Array, Host, is_integer
from rnn_backends.core.network import Network, hidden_sizes
from rnn_backends.core.noise import Noise


def drawn_there(network: Network, place: Placement, dtype: str, start: int, x: Array, cells: slice) -> list[Array]:
    """Return the numbers of some cells for the steps of an input, time first, on the device of a network with noise.

    As arrays (seq_len, batch, hidden_size) of the dtype that is computed in, a single sequence as a batch of one.
    """
    noise: Any = network.noise
    sizes: Any = list(enumerate(hidden_sizes(network.layers)))[cells]
    batch = x.shape[1] if x.ndim == 3 - is_integer(x) else 1
    wide = "float32" if dtype in HALF else dtype
    drawn = draws(noise, sizes, start, x.shape[0], batch)
    return [place.backend.from_host(numbers, wide, place.device) for numbers in drawn]


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
        draw, numbers = np.random.Generator(source).standard_normal, np.empty((seq_len, batch, size))
        # Of integers of Python's: setting a state of arrays takes twice as long.
        begun: Any = source.state
        counter, key = (begun["state"][part].tolist() for part in ("counter", "key"))
        state: Any = {**begun, "state": {"counter": counter, "key": key}, "buffer": begun["buffer"].tolist()}
        for t, step in enumerate(numbers, start):
            for b, row in enumerate(step):
                # As `source.jumped(b * 2**64 + t)`, which would make a new generator: 1 us instead of 20.
                counter[2:] = t, b
                source.state = state
                draw(out=row)
        numbers *= np.asarray(noise.std)
        yield numbers
