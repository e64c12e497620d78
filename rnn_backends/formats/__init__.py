"""Files of networks: one module a format, chosen by the file's suffix and imported when it is needed."""

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from rnn_backends.core.layers import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.native.description import LoadOptions

FORMATS = {
    ".safetensors": "native.safetensors",
    ".npz": "native.npz",
    ".onnx": "onnx",
    ".pt": "torch.pt",
    ".pth": "torch.pt",
    ".msgpack": "flax.msgpack",
    ".keras": "keras",
    ".h5": "keras",
}
OPTIONS = {
    "residual": ({".msgpack"}, "Flax's .msgpack files"),
    "go_backwards": ({".h5"}, "Keras's .weights.h5 files"),
    "masking": ({".keras", ".h5"}, "Keras's .keras and .weights.h5 files"),
}
"""What some formats alone do not tell, by its name: their suffixes, and what they are called."""
WRITTEN = (".safetensors", ".npz", ".onnx")


def read(path: str | PathLike[str], told: LoadOptions, **options: Any) -> Network:
    """Read a network of NumPy arrays, of whose format the options may be; see `rnn_backends.load`."""
    path = Path(path)
    module = _module(path, tuple(FORMATS))
    for name, value in options.items():
        suffixes, what = OPTIONS[name]
        if value is not None and path.suffix not in suffixes:
            msg = f"`{name}` is told of {what} only; leave it out for {str(path)!r}."
            raise ArgumentError(msg)
    own = {name: value for name, value in options.items() if path.suffix in OPTIONS[name][0]}
    network: Network = module.read(path, told, **own)
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
