"""ONNX: networks of the operator RNN, read and written."""

from pathlib import Path

from rnn_backends.core.layers import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.network import read_graph as read_graph
from rnn_backends.formats.onnx.network import read_network as read_network
from rnn_backends.formats.onnx.proto import read_model
from rnn_backends.formats.onnx.tensors import Tensors as Tensors
from rnn_backends.formats.onnx.write import write as write
from rnn_backends.formats.options import LoadOptions


def read(path: Path, options: LoadOptions) -> Network:
    """Read a network; its file records everything but the activation of a readout that ends its graph."""
    tensors = Tensors(path.parent if options.external_data else None)
    try:
        return read_network(read_model(path), tensors, options.readout_activation)
    except FormatError as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from error
