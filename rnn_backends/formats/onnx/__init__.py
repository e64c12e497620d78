"""ONNX: networks of the operator RNN, read and written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnn_backends.core.arrays import Host
from rnn_backends.core.network import Network
from rnn_backends.formats.account import Account
from rnn_backends.formats.onnx.external import beside
from rnn_backends.formats.onnx.network import Program, read_graph, read_network
from rnn_backends.formats.onnx.proto import package as package
from rnn_backends.formats.onnx.proto import read_model
from rnn_backends.formats.onnx.tensors import Tensors
from rnn_backends.formats.onnx.write import write as write
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Source

COPIES = 8
"""How many times the size of a file its nodes may take, one after the other: few of these bytes are held at once."""


def read(source: Source, options: LoadOptions, path: str) -> Network:
    """Read a network from a file, which records everything but the activation of a readout that ends its graph."""
    source.account.copies = COPIES
    if not options.external_data:
        return read_network(read_model(source), Tensors(source.account, source), options)
    with beside(Path(path).parent, source.account) as external:
        return read_network(read_model(source), Tensors(source.account, source, external), options)


def read_program(source: Source) -> Program:
    """Return the network of a file without external data, and its inputs and outputs."""
    source.account.copies = COPIES
    return read_graph(read_model(source), Tensors(source.account, source))


def network_of(model: Any, options: LoadOptions) -> Network:
    """Return the network of a ModelProto in memory."""
    return read_network(model, Tensors(Account(model.ByteSize(), COPIES)), options)


def program_of(model: Any, known: Mapping[str, Host] | None = None) -> Program:
    """Return the network of a ModelProto in memory, and its inputs and outputs; known inputs are constants."""
    known = known or {}
    size = model.ByteSize() + sum(array.nbytes for array in known.values())
    return read_graph(model, Tensors(Account(size, COPIES)), known)
