"""Files of networks: one module a format, chosen by the file's suffix and imported when it is needed."""

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.description import Told
from rnn_backends.parameters import Network

FORMATS = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".onnx": "onnx",
    ".pt": "pt",
    ".pth": "pt",
    ".msgpack": "msgpack",
}
WRITTEN = (".safetensors", ".npz", ".onnx")


def read(path: str | PathLike[str], told: Told, residual: Any = None) -> Network:
    """Read a network of NumPy arrays; see `rnn_backends.load`."""
    path = Path(path)
    module = _module(path, tuple(FORMATS))
    options = {"residual": residual} if path.suffix == ".msgpack" else {}
    if residual is not None and not options:
        msg = f"`residual` is told of Flax's .msgpack files only; leave it out for {str(path)!r}."
        raise ArgumentError(msg)
    network: Network = module.read(path, told, **options)
    return network


def write(network: Network, path: str | PathLike[str]) -> None:
    """Write a network of NumPy arrays; see `RNN.save`."""
    path = Path(path)
    _module(path, WRITTEN).write(network, path)


def _module(path: Path, suffixes: tuple[str, ...]) -> Any:
    if path.suffix in suffixes:
        return import_module(f"rnn_backends.formats.{FORMATS[path.suffix]}")
    what = "a model file" if suffixes is not WRITTEN else "a file to write a model to"
    hint = " For torch write rnn.to_torch() with torch.save." if path.suffix in {".pt", ".pth"} else ""
    msg = f"the suffix of {what} must be one of {', '.join(suffixes)}; got {str(path)!r}.{hint}"
    raise FormatError(msg)
