"""Files of networks: a folder for each framework, chosen by the file's suffix and imported when it is needed."""

import os
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.options import LoadOptions

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
"""The modules that read files, by suffix; the first part of a name is that of a framework."""
WRITTEN = (".safetensors", ".npz", ".onnx")


def read(path: str | PathLike[str], **given: Any) -> Network:
    """Read a network of NumPy arrays, with the options that are given; see `rnn_backends.load`."""
    path = _path(path)
    if path.suffix not in FORMATS and os.path.isdir(path):  # noqa: PTH112  # is_dir raises for a name that is too long
        msg = f"{str(path)!r} is a directory; name a file in it."
        raise FormatError(msg)
    module = _module(path, tuple(FORMATS))
    options = LoadOptions.given(FORMATS[path.suffix].partition(".")[0], **given)
    network: Network = module.read(path, options)
    return network


def write(network: Network, path: str | PathLike[str]) -> None:
    """Write a network of NumPy arrays; see `RNN.save`."""
    path = _path(path)
    _module(path, WRITTEN).write(network, path)


def _path(path: str | PathLike[str]) -> Path:
    if not isinstance(path, (str, PathLike)):
        msg = f"`path` must be a str or a pathlib.Path; got {type(path).__name__}."
        raise ArgumentError(msg)
    return Path(path)


def _module(path: Path, suffixes: tuple[str, ...]) -> Any:
    if path.suffix in suffixes:
        return import_module(f"rnn_backends.formats.{FORMATS[path.suffix]}")
    what = "a model file" if suffixes is not WRITTEN else "a file to write a model to"
    hint = " For torch write rnn.to_torch() with torch.save." if path.suffix in {".pt", ".pth"} else ""
    msg = f"the suffix of {what} must be one of {', '.join(suffixes)}; got {str(path)!r}.{hint}"
    raise FormatError(msg)
