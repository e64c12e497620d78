"""ONNX: networks of the operator RNN, read and written; and ONNX's backend interface.

`prepare`, `run_model`, `run_node`, `supports_device` and `is_compatible` are those of
`onnx.backend.base.Backend`, so that ``onnx.backend.test.BackendTest(rnn_backends.formats.onnx, __name__)``
tests this package.
"""

from pathlib import Path

from rnn_backends.errors import FormatError
from rnn_backends.formats.description import Told
from rnn_backends.formats.onnx.backend import is_compatible as is_compatible
from rnn_backends.formats.onnx.backend import prepare as prepare
from rnn_backends.formats.onnx.backend import run_model as run_model
from rnn_backends.formats.onnx.backend import run_node as run_node
from rnn_backends.formats.onnx.backend import supports_device as supports_device
from rnn_backends.formats.onnx.network import read_graph as read_graph
from rnn_backends.formats.onnx.network import read_network as read_network
from rnn_backends.formats.onnx.proto import read_model
from rnn_backends.formats.onnx.tensors import Tensors as Tensors
from rnn_backends.formats.onnx.write import write as write
from rnn_backends.parameters import Network

NOTHING = Told()


def read(path: Path, told: Told = NOTHING, external_data: bool = False) -> Network:
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
