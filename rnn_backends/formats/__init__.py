"""Files of networks: one module a format, chosen by the file's suffix."""

from os import PathLike
from pathlib import Path

from rnn_backends.activations import Activation, as_activation
from rnn_backends.errors import FormatError
from rnn_backends.formats import npz, onnx, safetensors
from rnn_backends.parameters import Network

FORMATS = {".safetensors": safetensors, ".npz": npz, ".onnx": onnx}


def read(path: str | PathLike[str], activation: str | Activation | None = None) -> Network:
    """Read a network of NumPy arrays; see `rnn_backends.load`."""
    path = Path(path)
    network: Network = FORMATS[_suffix(path)].read(path, None if activation is None else as_activation(activation))
    return network


def write(network: Network, path: str | PathLike[str]) -> None:
    """Write a network of NumPy arrays; see `RNN.save`."""
    path = Path(path)
    FORMATS[_suffix(path)].write(network, path)


def _suffix(path: Path) -> str:
    if path.suffix not in FORMATS:
        msg = f"the suffix of a model file must be one of {', '.join(FORMATS)}; got {str(path)!r}."
        raise FormatError(msg)
    return path.suffix
