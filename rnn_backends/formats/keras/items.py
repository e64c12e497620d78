"""Layers as weights alone show them."""

from typing import NamedTuple


class Item(NamedTuple):
    """A layer: its kind (embedding, dense, simple_rnn, rnn or bidirectional), its path, and those of its cells."""

    kind: str
    path: str
    cells: tuple[str, ...] = ()
