"""`from_onnx`: a model of an ONNX graph."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from rnn_backends.backends.selection import select
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.model.importers.host import Activated
from rnn_backends.model.rnn import RNN


def from_onnx(
    model: str | PathLike[str] | Any,
    *,
    external_data: bool = False,
    readout_activation: Activated | tuple[Activated, ...] | None = None,
    reads: str | None = None,
    takes: str | None = None,
    vocabulary: str | Sequence[str] | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of an ONNX graph: ``RNN`` nodes, what exporters put between them, an encoder and a readout.

    Layers that are computed step by step, as torch's default exporter writes them, are taken for what they are, and
    are good for any number of steps.  The graph's axes are followed from its input to its outputs; whatever it holds
    that the model would not do is refused, by the name of its node.  Needs the package ``onnx``.

    Parameters
    ----------
    model : path or onnx.ModelProto
        Of opset 7 to 28.
    external_data : bool, default False
        Whether weights may lie in other files, in the model's folder and nowhere else; needs a path.
    readout_activation : str, Activation or callable, optional
        Activation of a readout that ends its graph without one, g2; default: ``"identity"``, as the graph has it.
    reads : {"steps", "last", "final", "mean", "max"}, optional
        What the readout reads, as of `RNN`, of a graph whose outputs do not show it: ``"steps"`` of one that reads the
        first step alone, one of theirs of outputs that read different things.
    takes : {"tokens"}, optional
        That token ids stand for the one-hot features of a graph that takes features.
    vocabulary : str or sequence of str, optional
        Characters, or words, that token ids stand for, as of `RNN`.
    backend : str, optional
        ``"name"`` or ``"name:device"``; default: as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        It reads what the readout of the graph reads.  Unless `RNN.save` wrote the file, its metadata record under
        ``"onnx outputs"`` which of its results each output of the graph is, e.g. ``"y: logits of the last step (batch,
        output_size)"``.

    Raises
    ------
    FormatError
        The file is damaged, the graph is no such network, or the package onnx is missing.
    FileNotFoundError, PermissionError
        The file cannot be opened.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> rb.RNN.init(3, 4).save("model.onnx")  # doctest: +SKIP
    >>> rnn = rb.from_onnx("model.onnx")  # doctest: +SKIP
    >>> rnn(np.ones((5, 2, 3), "float32"))[0].shape  # doctest: +SKIP
    (5, 2, 4)
    """
    from rnn_backends.formats import read_of
    from rnn_backends.formats.onnx import network_of
    from rnn_backends.formats.options import LoadOptions

    options = LoadOptions.given(
        "onnx",
        external_data=external_data,
        readout_activation=readout_activation,
        reads=reads,
        takes=takes,
        vocabulary=vocabulary,
    )
    if isinstance(model, (str, PathLike)):
        network = read_of("onnx", model, options)
    elif not hasattr(model, "opset_import"):
        msg = f"`model` must be a path or an onnx.ModelProto; got {type(model).__name__}."
        raise ArgumentError(msg)
    elif external_data:
        msg = "external data lie beside a file; pass its path, or load them with onnx.load first."
        raise FormatError(msg)
    else:
        network = options.spelt(network_of(model, options))
    return RNN.from_network(network, select(backend))
