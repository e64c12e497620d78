"""`Carried`: where a model of forward cells stands in sequences whose blocks of time come one after the other."""

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.arrays import Array, Host, dtype_name
from rnn_backends.core.losses import index_of_largest
from rnn_backends.core.reading import Reading, joined, readings_of
from rnn_backends.core.recurrence import last_states
from rnn_backends.model import chunk
from rnn_backends.model.chunks import ChunkedCall
from rnn_backends.model.placed import Placed
from rnn_backends.model.reading import read_on


class Carried:
    """The states after some steps, on the host, and what is read of these steps; never changed.

    Parameters
    ----------
    steps : int
        How many they are.
    state : arrays, optional
        The states of all cells; None where the network is to begin.
    readings : list of Reading
    """

    def __init__(self, steps: int, state: Any, readings: list[Reading]) -> None:
        self.steps, self.state, self.readings = steps, state, readings

    @classmethod
    def begin(cls, placed: Placed, reads: str) -> "Carried":
        """Return that before the first step."""
        return cls(0, None, [] if reads == "steps" else readings_of(placed.network.layers[-1], reads))

    def _call(self, placed: Placed, x: Host, lengths: Host | None) -> ChunkedCall:
        """Return the call of the next steps, lengths being those of the whole sequences."""
        count = x.shape[1 if placed.network.batch_first else 0]
        within = None if lengths is None else np.clip(lengths - self.steps, 0, count)
        return ChunkedCall(placed, x, self.state, within, begun=self.steps)

    def each(self, placed: Placed, method: str, x: Host, lengths: Host | None) -> tuple[Host, "Carried"]:
        """Return the results of ``"predict"`` or ``"probabilities"`` at each of the next steps."""
        call = self._call(placed, x, lengths)
        readout = placed.require_readout(method)
        use = chunk.largest if method == "predict" else partial(chunk.probabilities, readout[-1])
        results = to_numpy(call.joined(use))
        return results, Carried(self.steps + call.seq_len, on_host(call.state), [])

    def walk(self, placed: Placed, x: Host, lengths: Host | None) -> "Carried":
        """Run the next steps, and return where the model stands then."""
        call, readings = self._call(placed, x, lengths), self._readings(placed)
        with placed.on_device():
            state = read_on(call, readings)
        return Carried(self.steps + call.seq_len, on_host(state), _moved(readings, to_numpy))

    def _readings(self, placed: Placed) -> list[Reading]:
        """Return what is read so far, on the device of a model, which need not be where the steps before were run."""
        backend, device = placed.placement.backend, placed.placement.device
        return _moved(self.readings, lambda array: backend.from_host(array, dtype_name(array), device))

    def result(self, placed: Placed, method: str) -> Host:
        """Return the result of ``"predict"``, ``"probabilities"`` or ``"last"`` for what was read of all steps."""
        with placed.on_device():
            state = placed.to_device("h_0", self.state)
            last = last_states(state)[-len(self.readings) :]
            read = joined(placed.network.layers[-1], self._readings(placed), last, None, self.steps)
            return to_numpy(read if method == "last" else _read_out(placed, method, read))


def _moved(readings: list[Reading], move: Callable[[Any], Any]) -> list[Reading]:
    """Return copies of readings whose arrays are moved."""
    found = [copy(reading) for reading in readings]
    for reading in found:
        reading.move(move)
    return found


def _read_out(placed: Placed, method: str, read: Array) -> Array:
    logits = placed.logits(read)
    return index_of_largest(logits) if method == "predict" else placed.require_readout(method)[-1].activate(logits)


def on_host(states: Any) -> Any:
    """Return the states of all cells on the host."""
    return tuple(map(to_numpy, states)) if isinstance(states, tuple) else to_numpy(states)
