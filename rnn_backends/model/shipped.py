"""`Shipped`: a model on its way to other processes, which have backends and devices of their own."""

from typing import Any

from rnn_backends.backends.selection import Placement, parse, preferred
from rnn_backends.model.rnn import RNN


class Shipped:
    """A model that is placed where it arrives: its weights travel on the host, and no device is named.

    A process that has RNN_BACKEND or `use_backend` places it there; any other on the model's own backend, and on the
    device that this has there by default.  It is placed once in a process, however many threads use it.

    Parameters
    ----------
    rnn : RNN
    """

    def __init__(self, rnn: RNN) -> None:
        placed = rnn.placed
        self._kind, self._network, self._dtype = type(rnn), placed.on_host(), rnn.dtype
        self._backend = rnn.backend.name
        self._here: dict[Placement, RNN] = {placed.placement: rnn}
        self._own: Placement | None = placed.placement

    @property
    def content(self) -> tuple[Any, ...]:
        """What makes one such model another: of equal ones it is equal."""
        return self._kind, self._network, self._dtype, self._backend

    @property
    def rnn(self) -> RNN:
        """The model in this process."""
        place = preferred() or self._own or parse(self._backend, "a model of another process")
        if place not in self._here:
            self._here = {**self._here, place: self._kind.from_network(self._network, place, self._dtype)}
        return self._here[place]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_here": {}, "_own": None}
