"""Nodes and models of a running reservoirpy, which is not imported."""

from rnn_backends.formats.reservoirpy.chain import from_object

__all__ = ["from_object"]
