"""Networks from other frameworks' own objects."""

from os import PathLike
from typing import Any

from rnn_backends.backends.selection import select
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.model import RNN


def from_onnx(model: str | PathLike[str] | Any, *, external_data: bool = False, backend: str | None = None) -> RNN:
    """Make a model of an ONNX graph: ``RNN`` nodes, what exporters put between them, and a readout.

    The graph's axes are followed from its input to its outputs; whatever it holds that the model would not
    do is refused, by the name of its node.  Needs the package ``onnx``.

    Parameters
    ----------
    model : path or onnx.ModelProto
        Of opset 7 to 28.
    external_data : bool, default False
        Whether weights may lie in other files, in the model's folder and nowhere else; needs a path.
    backend : str, optional
        ``"name"`` or ``"name:device"``; left out, as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        Unless `RNN.save` wrote the file, its metadata tell under ``"onnx outputs"`` what each output of the
        graph is of what the model gives, e.g. ``"y: logits of the last step (batch, output_size)"``.

    Raises
    ------
    FormatError
        The file is damaged, the graph is no such network, or the package onnx is missing.
    FileNotFoundError, PermissionError
        The file cannot be opened.
    """
    from pathlib import Path

    from rnn_backends.formats.onnx import Tensors, read, read_graph

    if not isinstance(external_data, bool):
        msg = f"`external_data` must be True or False; got {external_data!r}."
        raise ArgumentError(msg)
    if isinstance(model, (str, PathLike)):
        network = read(Path(model), external_data=external_data)
    elif not hasattr(model, "opset_import"):
        msg = f"`model` must be a path or an onnx.ModelProto; got {type(model).__name__}."
        raise ArgumentError(msg)
    elif external_data:
        msg = "external data lie beside a file; pass its path, or load them with onnx.load first."
        raise FormatError(msg)
    else:
        network = read_graph(model, Tensors(None)).network
    return RNN._placed(network, select(backend))
