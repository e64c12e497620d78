"""Models of the frameworks' objects, which are not imported: `from_torch`, `from_keras`, `from_reservoirpy`, ..."""

from rnn_backends.model.importers.flax import from_flax
from rnn_backends.model.importers.keras import from_keras
from rnn_backends.model.importers.onnx import from_onnx
from rnn_backends.model.importers.reservoirpy import from_reservoirpy
from rnn_backends.model.importers.torch import from_torch

__all__ = ["from_flax", "from_keras", "from_onnx", "from_reservoirpy", "from_torch"]
