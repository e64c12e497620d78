"""Vanilla (Elman) recurrent networks, forward, on the arrays you already have."""

import rnn_backends.startup  # noqa: F401  # before what takes its time to import

# isort: split

from rnn_backends.backends import (
    Backend,
    Registration,
    get_backend,
    list_backends,
    register_backend,
    to_numpy,
    use_backend,
)
from rnn_backends.core.activations import Activation
from rnn_backends.core.cell import Cell
from rnn_backends.core.forward import forward
from rnn_backends.core.layers import Layer, RecurrentCell
from rnn_backends.core.linear import Linear
from rnn_backends.core.losses import cross_entropy, cross_entropy_grad
from rnn_backends.core.noise import Noise
from rnn_backends.core.rate import RateCell
from rnn_backends.core.recurrence import Recurrence, each_direction
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import (
    ArgumentError,
    BackendLoadError,
    BackendMismatchError,
    BackendNotInstalledError,
    BackendUnavailableError,
    DeviceError,
    DeviceMemoryError,
    DTypeError,
    DuplicateBackendError,
    FileMemoryError,
    FormatError,
    InvalidBackendError,
    KernelWarning,
    RNNBackendError,
    ShapeError,
    UnknownBackendError,
    VocabularyError,
    WrongResultError,
)
from rnn_backends.model.batches import batches
from rnn_backends.model.ctc import ctc_greedy
from rnn_backends.model.dale import dale_signs
from rnn_backends.model.importers import from_flax, from_keras, from_onnx, from_reservoirpy, from_torch
from rnn_backends.model.loading import load
from rnn_backends.model.padding import pad
from rnn_backends.model.reservoir import reservoir
from rnn_backends.model.rnn import RNN
from rnn_backends.model.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "RNN",
    "Activation",
    "ArgumentError",
    "Backend",
    "BackendLoadError",
    "BackendMismatchError",
    "BackendNotInstalledError",
    "BackendUnavailableError",
    "Cell",
    "DTypeError",
    "DeviceError",
    "DeviceMemoryError",
    "DuplicateBackendError",
    "FileMemoryError",
    "FormatError",
    "InvalidBackendError",
    "KernelWarning",
    "Layer",
    "Linear",
    "Noise",
    "RNNBackendError",
    "RateCell",
    "Recurrence",
    "RecurrentCell",
    "Registration",
    "ShapeError",
    "Sparse",
    "Stream",
    "UnknownBackendError",
    "VocabularyError",
    "WrongResultError",
    "__version__",
    "batches",
    "cross_entropy",
    "cross_entropy_grad",
    "ctc_greedy",
    "dale_signs",
    "each_direction",
    "forward",
    "from_flax",
    "from_keras",
    "from_onnx",
    "from_reservoirpy",
    "from_torch",
    "get_backend",
    "list_backends",
    "load",
    "pad",
    "register_backend",
    "reservoir",
    "to_numpy",
    "use_backend",
]
