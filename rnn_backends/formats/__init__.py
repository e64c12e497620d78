"""Files of networks: one module a format, chosen by the file's suffix and imported when it is needed."""

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from rnn_backends.activations import Activation, as_activation
from rnn_backends.errors import FormatError
from rnn_backends.parameters import Network

FORMATS = {".safetensors": "safetensors", ".npz": "npz", ".onnx": "onnx"}


def read(path: str | PathLike[str], activation: str | Activation | None = None) -> Network:
    """Read a network of NumPy arrays; see `rnn_backends.load`."""
    path = Path(path)
    network: Network = _module(path).read(path, None if activation is None else as_activation(activation))
    return network


def write(network: Network, path: str | PathLike[str]) -> None:
    """Write a network of NumPy arrays; see `RNN.save`."""
    path = Path(path)
    _module(path).write(network, path)


def _module(path: Path) -> Any:
    if path.suffix not in FORMATS:
        msg = f"the suffix of a model file must be one of {', '.join(FORMATS)}; got {str(path)!r}."
        raise FormatError(msg)
    return import_module(f"rnn_backends.formats.{FORMATS[path.suffix]}")
