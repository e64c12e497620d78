"""ONNX: networks of the operator RNN, read and written."""

from pathlib import Path

from rnn_backends.core.layers import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.native.description import LoadOptions
from rnn_backends.formats.onnx.network import read_graph as read_graph
from rnn_backends.formats.onnx.network import read_network as read_network
from rnn_backends.formats.onnx.proto import read_model
from rnn_backends.formats.onnx.tensors import Tensors as Tensors
from rnn_backends.formats.onnx.write import write as write

NOTHING = LoadOptions()


def read(path: Path, told: LoadOptions = NOTHING, external_data: bool = False) -> Network:
    """Read a network, of which its file tells everything but the activation of a readout that ends its graph."""
    for name, value in (("activation", told.activation), ("batch_first", told.batch_first)):
        if value is not None:
            msg = f"{path} tells all there is to know; leave `{name}` out."
            raise FormatError(msg)
    try:
        return read_network(read_model(path), Tensors(path.parent if external_data else None), told.readout_activation)
    except FormatError as error:
        msg = f"{path}: {error}"
        raise FormatError(msg) from error
