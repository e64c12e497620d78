"""`load`: a model from a file of any format."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TypeAlias

from rnn_backends.backends.selection import select
from rnn_backends.core.activations import Activation
from rnn_backends.model.rnn import RNN

Named: TypeAlias = str | Activation
"""An activation: its name, or a record."""


def load(
    path: str | PathLike[str],
    *,
    backend: str | None = None,
    activation: Named | None = None,
    batch_first: bool | None = None,
    readout_activation: Named | tuple[Named, ...] | None = None,
    encoder_activation: Named | tuple[Named, ...] | None = None,
    reads: str | None = None,
    takes: str | None = None,
    key: str | tuple[str, ...] | None = None,
    roles: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    cell: str | None = None,
    leak: float | None = None,
    batch_norm_eps: float | None = None,
    vocabulary: str | Sequence[str] | None = None,
    residual: bool | None = None,
    layers: Sequence[str | tuple[str | None, str | None]] | None = None,
    go_backwards: bool | None = None,
    masking: bool | None = None,
    external_data: bool | None = None,
) -> RNN:
    """Read a model from a file; nothing in a file is ever executed.

    The content decides the format, whatever the suffix.  Files of this package, ``.safetensors`` and ``.npz``, and
    files of whole models, ``.onnx``, and ``.keras`` and ``.h5`` of Keras 2 and 3, record all that a model is made of.
    Weights alone do not: under torch's names in ``.safetensors``, ``.npz`` or a file of `torch.save` (``.pt``,
    ``.pth``, ``.ckpt``, ``.bin``), under Flax's in a ``.msgpack`` file or under Keras's in a ``.weights.h5`` file; the
    options give what such a file does not record.

    Parameters
    ----------
    path : path
        A regular file.
    backend : str, optional
        ``"name"`` or ``"name:device"``; default: as for `RNN` made of NumPy arrays.
    activation : str or Activation, optional
        Activation of all cells, g1.  Required for weights alone.  In files of Keras and Flax, names mean theirs.
    batch_first : bool, optional
        Whether the batch is the first axis; default: as the framework has it, False for torch, True for Flax and Keras.
    readout_activation : str or Activation, or tuple of them, optional
        Activation of the readout, g2, or of a head one for each Linear.  Required for weights alone that have a
        readout; in an .onnx file, default: ``"identity"``, as its graph has it.
    encoder_activation : str or Activation, or tuple of them, optional
        Activation of a Linear before the RNN, or one for each of several.  Required for weights alone that have one.
    reads : {"steps", "last", "final", "mean", "max"}, optional
        What the readout reads, as of `RNN`; default: ``"steps"``, or what the file shows.
    takes : {"tokens", "features"}, optional
        Whether x is token ids, as it is with an embedding; default: features, as the frameworks take them.
        ``"tokens"`` without an embedding: ids stand for one-hot features.
    key : str or tuple of str, optional
        The part of a checkpoint that is the network, or the beginning of its names; a tuple for what is nested.
        Of weights alone of torch, Flax, or in ``.safetensors`` and ``.npz``; so are `roles`, and but for Flax `names`.
    roles : mapping of str to str, optional
        Roles of modules by the prefix of their names: ``"embedding"``, ``"encoder"``, ``"layers"``, ``"readout"`` or
        ``"ignore"``; those of one role in the order in which they are applied.  Required where order and shapes
        leave more than one reading.
    names : mapping of str to str, optional
        Names that arrays have here by their names in the source: ``weight_ih_l0``, ``weight_hh_l0_reverse``,
        ``bias_l0``, ``encoder.0.weight``, ``readout.bias``, ``h_0``; ``.T`` after one transposes.
    cell : {"Cell", "RateCell"}, optional
        What the cells of weights alone are, of torch or in ``.safetensors`` and ``.npz``; default: ``"Cell"``.
    leak : float, optional
        The leak of all cells of such weights, dt / tau, 0 < leak <= 1; required for a `RateCell`.
    batch_norm_eps : float, optional
        Eps of the BatchNorms in weights alone, which is required there: each is folded into the Linear or the layer
        beside it, and taken to be applied right after the module before it.
    vocabulary : str or sequence of str, optional
        Characters, or words, that token ids stand for, as of `RNN`.
    residual : bool, optional
        For ``.msgpack`` files, where it is required: see `rnn_backends.from_flax`.
    layers : sequence of str or pair of str or None, optional
        For ``.msgpack`` files with several cells: their order; see `rnn_backends.from_flax`.
    go_backwards : bool, optional
        For ``.weights.h5`` files, where it is required: see `rnn_backends.from_keras`.
    masking : bool, optional
        For ``.keras`` and ``.weights.h5`` files; True for a model that masks steps, required for weights with an
        Embedding: see `rnn_backends.from_keras`.
    external_data : bool, optional
        For ``.onnx`` files, whether weights may lie in other files, in its folder and nowhere else; default: False.

    Returns
    -------
    RNN

    Raises
    ------
    FormatError
        The file is damaged, is no regular file, or does not hold a network; an option is missing, or is given although
        the file records it.
    ArgumentError
        An option has an impossible value, or is none of this format.
    FileNotFoundError, PermissionError
        The file cannot be opened.

    See Also
    --------
    rnn_backends.from_torch, rnn_backends.from_flax, rnn_backends.from_keras, rnn_backends.from_onnx
        The networks that are read, and how.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> w_ih, w_hh = np.ones((4, 3), "float32"), np.eye(4, dtype="float32")
    >>> weights = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh}
    >>> with TemporaryDirectory() as folder:
    ...     np.savez(Path(folder, "weights.npz"), **weights)
    ...     rnn = rb.load(Path(folder, "weights.npz"), activation="tanh")
    >>> output, h_n = rnn(np.ones((5, 2, 3), "float32"))
    >>> output.shape, h_n.shape
    ((5, 2, 4), (1, 2, 4))
    """
    from rnn_backends import formats  # most programs that make a model read none, or one

    network = formats.read(
        path,
        activation=activation,
        batch_first=batch_first,
        readout_activation=readout_activation,
        encoder_activation=encoder_activation,
        reads=reads,
        takes=takes,
        key=key,
        roles=roles,
        names=names,
        cell=cell,
        leak=leak,
        batch_norm_eps=batch_norm_eps,
        vocabulary=vocabulary,
        residual=residual,
        layers=layers,
        go_backwards=go_backwards,
        masking=masking,
        external_data=external_data,
    )
    return RNN.from_network(network, select(backend))
