"""Files of networks: a folder for each framework, chosen by the file's content and imported when it is needed."""

from importlib import import_module
from os import PathLike, fspath
from typing import Any, BinaryIO

from rnn_backends.core.messages import got, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.content import SUFFIXES, format_of
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Source, opened, suffix_of

WRITTEN = (".safetensors", ".npz", ".onnx")


def read(path: str | PathLike[str], **given: Any) -> Network:
    """Read a network of NumPy arrays, with the options that are given; see `rnn_backends.load`."""
    path = _path(path)
    with opened(path) as source:
        name = format_of(source, path)
        return _read(name, source, LoadOptions.given(name.partition(".")[0], **given), path)


def read_of(framework: str, path: str | PathLike[str], options: LoadOptions) -> Network:
    """Read a network of NumPy arrays from a file of one framework."""
    path = _path(path)
    with opened(path) as source:
        name = format_of(source, path)
        if name.partition(".")[0] != framework:
            msg = f"it is a file of {name.partition('.')[0]}, not of {framework}; {way('load')}."
            raise FormatError(msg)
        return _read(name, source, options, path)


def read_from(source: Source, path: str) -> Network:
    """Read a network of NumPy arrays from an open file, which records all of it; `path` is its name."""
    name = format_of(source, path)
    return _read(name, source, LoadOptions.given(name.partition(".")[0]), path)


def _read(name: str, source: Source, options: LoadOptions, path: str) -> Network:
    network: Network = import_module(f"rnn_backends.formats.{name}").read(source, options, path)
    return options.spelt(network)


def write(network: Network, path: str | PathLike[str]) -> None:
    """Write a network of NumPy arrays; see `RNN.save`."""
    from rnn_backends.formats.files import replaced  # most programs write no file, and its imports take their time

    path = _path(path)
    require_written(path)
    with replaced(path) as file:
        write_to(file, network, path)


def require_written(path: str) -> None:
    """Check that the suffix of a path is one of a format that is written."""
    suffix = suffix_of(path)
    if suffix not in WRITTEN:
        hint = f"; {way('torch_save')}" if SUFFIXES.get(suffix) == "torch.pt" else ""
        wanted = ", ".join(WRITTEN)
        msg = f"the suffix of a file to write a model to must be one of {wanted}; got {shown(path)}{hint}."
        raise FormatError(msg)


def write_to(file: BinaryIO, network: Network, path: str) -> None:
    """Write a network of NumPy arrays to an open file, in the format that the suffix of `path` stands for."""
    import_module(f"rnn_backends.formats.{SUFFIXES[suffix_of(path)]}").write(network, file)


def _path(path: str | PathLike[str]) -> str:
    name = fspath(path) if isinstance(path, (str, PathLike)) else None
    if not isinstance(name, str):
        msg = f"`path` must be a str or a pathlib.Path; got {got(path)}."
        raise ArgumentError(msg)
    return name
