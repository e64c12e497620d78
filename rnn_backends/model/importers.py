"""Models of the frameworks' objects: `from_torch`, `from_flax`, `from_keras`, `from_onnx`.

No framework is imported.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import to_numpy
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host, dtype_name
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.model.rnn import RNN

Activated: TypeAlias = str | Activation | Callable[[Any], Any]


def _host(array: Any) -> Host:
    """Return an array of any library as one of NumPy; bfloat16 becomes float32, exactly."""
    found = to_numpy(array)
    return found.astype(np.float32) if dtype_name(found) == "bfloat16" else found


def from_torch(
    source: Any,
    *,
    activation: Activated | None = None,
    batch_first: bool | None = None,
    readout_activation: Activated | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of a torch module or of its state dict.

    A module is one of ``nn.RNN`` and ``nn.RNNCell``, or holds one of them and nothing else that computes but
    one ``nn.Linear`` after it, ``nn.Softmax``, ``nn.LogSoftmax`` or ``nn.Sigmoid`` (over the last axis) after
    that, and one ``nn.Embedding`` before it; anything else is refused by name.  What its ``forward`` does
    with them cannot be seen.  Dropout does nothing where nothing is trained, and is left out.

    Parameters
    ----------
    source : torch.nn.Module, or mapping of str to array
        A state dict holds torch's names with any prefix, and at most the weights of one ``nn.RNN`` or
        ``nn.RNNCell`` and of one ``nn.Linear``, its readout; in tensors or in arrays of any backend.
    activation : str, Activation or callable, optional
        g1 of all cells.  It must be told of a state dict, and must not be of a module, which tells it.
    batch_first : bool, optional
        Left out, what the module tells, else False, torch's default.
    readout_activation : str, Activation or callable, optional
        g2.  Left out, what the module tells.  An ``nn.Linear`` alone does not, nor does a state dict: then it
        must be told, ``"softmax"`` where the loss was a cross-entropy.  The logits are those of the ``nn.Linear``.
    backend : str, optional
        ``"name"`` or ``"name:device"``; left out, as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        Of copies of the weights.  The two biases are added in their dtype, so the sum is rounded once.
        bfloat16 becomes float32.  An embedding E is folded into W_ax of the first layer, which becomes
        W_ax E^T, computed in float64 and rounded once, and takes token ids.

    Raises
    ------
    FormatError
        There is something that is not understood, something is missing, or an option is told twice.
    ArgumentError
        An option has an impossible value.
    """
    from rnn_backends.formats.options import LoadOptions
    from rnn_backends.formats.torch.state_dict import from_object

    options = LoadOptions.given(
        "torch", activation=activation, batch_first=batch_first, readout_activation=readout_activation
    )
    return RNN._placed(from_object(source, options, _host), select(backend))


def from_flax(
    source: Mapping[Any, Any] | str | PathLike[str],
    *,
    activation: Activated,
    residual: bool,
    layers: Sequence[str | tuple[str | None, str | None]] | None = None,
    batch_first: bool | None = None,
    readout_activation: Activated | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of Flax's parameters: `SimpleCell`, at most one `Dense` or `Linear` and one `Embed`.

    Parameters
    ----------
    source : mapping, or path
        linen's variables or parameters, nnx's ``to_pure_dict(state(model, Param))``, or a ``.msgpack`` file
        of either from ``flax.serialization.to_bytes``.
    activation : str, Activation or callable
        ``activation_fn`` of all cells; the parameters do not tell it.  Flax's own default is ``"tanh"``.
    residual : bool
        Whether the cells were made with ``residual=True``, which the parameters do not tell either.
    layers : sequence of str or pair of str or None, optional
        The paths of the cells, such as ``"rnn/cell"``, or of what holds one, from the input to the output;
        a pair (forward, backward) or the path of a ``Bidirectional`` for a layer of both directions,
        ``(None, path)`` for one that runs in reverse (with ``keep_order=True``).  It may be left out where
        there is one cell, or one ``Bidirectional`` whose cells are its own.
    batch_first : bool, optional
        Left out, True, as Flax's ``time_major=False`` has it.
    readout_activation : str, Activation or callable, optional
        g2, which must be told where there is a readout, and only there.
    backend : str, optional
        ``"name"`` or ``"name:device"``; left out, as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        A residual cell becomes one whose W_aa is W_h + 1, the identity added in float64 and rounded once: it
        can be saved, and runs on every backend.  An embedding is folded into W_ax, as by `from_torch`.

    Raises
    ------
    FormatError
        There is something that is not understood, or something is missing.
    ArgumentError
        An option has an impossible value.
    """
    from rnn_backends.formats.flax.msgpack import read
    from rnn_backends.formats.flax.tree import from_tree
    from rnn_backends.formats.options import LoadOptions
    from rnn_backends.formats.source import Account

    options = LoadOptions.given(
        "flax",
        activation=activation,
        residual=residual,
        layers=layers,
        batch_first=batch_first,
        readout_activation=readout_activation,
    )
    if isinstance(source, (str, PathLike)):
        return RNN._placed(read(Path(source), options), select(backend))
    return RNN._placed(from_tree(source, options, _host, Account()), select(backend))


def from_keras(
    source: Any,
    *,
    activation: Activated | None = None,
    go_backwards: bool | None = None,
    masking: bool | None = None,
    batch_first: bool | None = None,
    readout_activation: Activated | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of a layer or a model of Keras 3, or of a file of one.

    A model is a chain of ``SimpleRNN``, ``RNN`` of ``SimpleRNNCell`` or ``Bidirectional`` (concat), at most one
    ``Embedding`` before them, and at most one ``Dense``, plain or in ``TimeDistributed``, and its activation after
    them; Sequential, functional or one in the other.  What does nothing but in training, as ``Dropout``, is left
    out, and anything else is refused by name.  Activations are Keras's own, with its numbers.

    Parameters
    ----------
    source : layer, model or path
        Of Keras 3, with weights; or a ``.keras`` file; or a ``.weights.h5`` file, whose recurrent layers must be of
        one class and are taken for a plain chain, in the order of their names: more the weights do not tell.
    activation : str, Activation or callable, optional
        g1 of all cells.  It must be told of a ``.weights.h5`` file, and must not be of what tells it.
    go_backwards : bool, optional
        Whether the SimpleRNNs were made so; to be told of a ``.weights.h5`` file too, and of nothing else.
    masking : bool, optional
        Whether the model may mask steps by itself, by ``Masking`` or ``Embedding(mask_zero=True)``; left out, it may
        not.  Here a mask is an argument of each call, which then is yours to pass; the metadata tell which, under
        ``"keras mask"``.  Of a ``.weights.h5`` file with an Embedding it must be told: it was made with mask_zero,
        or was not.
    batch_first : bool, optional
        Left out, True, as Keras has it.
    readout_activation : str, Activation or callable, optional
        g2.  It must be told of the Dense of a ``.weights.h5`` file, and may be of one after which the model applies
        nothing; else it is what the model applies.
    backend : str, optional
        ``"name"`` or ``"name:device"``; left out, as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        Its metadata tell under ``"keras output"`` what the model's output is of what it gives, e.g.
        ``"probabilities of the last step (batch, output_size)"`` where it was made with return_sequences=False.
        bfloat16 becomes float32, and mixed precision is computed in the dtype of the weights.  An embedding is
        folded into W_ax, as by `from_torch`.

    Raises
    ------
    FormatError
        There is something that is not understood or cannot be done, something is missing, or an option is told twice.
    ArgumentError
        An option has an impossible value.
    """
    from rnn_backends.formats.keras import from_object, read
    from rnn_backends.formats.options import LoadOptions

    options = LoadOptions.given(
        "keras",
        activation=activation,
        go_backwards=go_backwards,
        masking=masking,
        batch_first=batch_first,
        readout_activation=readout_activation,
    )
    if isinstance(source, (str, PathLike)):
        return RNN._placed(read(Path(source), options), select(backend))
    return RNN._placed(from_object(source, options, _host), select(backend))


def from_onnx(
    model: str | PathLike[str] | Any,
    *,
    external_data: bool = False,
    readout_activation: Activated | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of an ONNX graph: ``RNN`` nodes, what exporters put between them, and a readout.

    The graph's axes are followed from its input to its outputs; whatever it holds that the model would not
    do is refused, by the name of its node.  Needs the package ``onnx``.

    Parameters
    ----------
    model : path or onnx.ModelProto
        Of opset 7 to 28.
    external_data : bool, default False
        Whether weights may lie in other files, in the model's folder and nowhere else; needs a path.
    readout_activation : str, Activation or callable, optional
        g2 of a readout that ends its graph without one; left out, that is ``"identity"``, as the graph has it.
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
    from rnn_backends.formats.onnx import Tensors, read, read_network
    from rnn_backends.formats.options import LoadOptions

    options = LoadOptions.given("onnx", external_data=external_data, readout_activation=readout_activation)
    if isinstance(model, (str, PathLike)):
        network = read(Path(model), options)
    elif not hasattr(model, "opset_import"):
        msg = f"`model` must be a path or an onnx.ModelProto; got {type(model).__name__}."
        raise ArgumentError(msg)
    elif external_data:
        msg = "external data lie beside a file; pass its path, or load them with onnx.load first."
        raise FormatError(msg)
    else:
        network = read_network(model, Tensors(None), options.readout_activation)
    return RNN._placed(network, select(backend))
