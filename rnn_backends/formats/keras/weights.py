"""The arrays of layers, by the paths that they have in a .keras file, wherever they come from."""

from typing import Protocol

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.made import Made


class Weights(Protocol):
    """The arrays of the layers, by their paths in the file."""

    def count(self, path: str) -> int:
        """Return the number of arrays that a layer has of its own."""

    def declared(self, path: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype and the shape of an array."""

    def made(self, path: str) -> Made:
        """Return an array, which is read when it is asked for."""


def own(weights: Weights, path: str, count: int) -> list[str]:
    """Return the paths of the arrays of a layer, of which there must be so many."""
    found = weights.count(path)
    if found != count:
        hint = f"; {way('keras_build')}" if not found else ""
        msg = f"{shown(path)} must have {count} arrays, by its options; it has {found}{hint}."
        raise FormatError(msg)
    return [f"{path}/vars/{number}" for number in range(count)]
