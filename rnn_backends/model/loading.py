"""`load`: a model from a file of any format."""

from os import PathLike

from rnn_backends.backends.selection import select
from rnn_backends.core.activations import Activation
from rnn_backends.model.rnn import RNN


def load(
    path: str | PathLike[str],
    *,
    backend: str | None = None,
    activation: str | Activation | None = None,
    batch_first: bool | None = None,
    readout_activation: str | Activation | None = None,
    residual: bool | None = None,
    go_backwards: bool | None = None,
    masking: bool | None = None,
) -> RNN:
    """Read a model from a file; nothing in a file is ever executed.

    Files of this package, ``.safetensors`` and ``.npz``, and ``.onnx`` and ``.keras`` files tell all that there is
    to know.  Weights alone, under torch's names in ``.safetensors``, ``.npz`` or a ``.pt`` or ``.pth`` file of
    `torch.save`, under Flax's in a ``.msgpack`` file or under Keras's in a ``.weights.h5`` file, do not, and what
    they do not tell is to be told here.

    Parameters
    ----------
    path : path
    backend : str, optional
        ``"name"`` or ``"name:device"``; left out, as for `RNN` made of NumPy arrays.
    activation : str or Activation, optional
        g1 of all cells; there is no default.
    batch_first : bool, optional
        Left out, as the framework has it: False for torch, True for Flax and Keras.
    readout_activation : str or Activation, optional
        g2, of a file that has a readout without telling it; there is no default but in .onnx files, where it is
        ``"identity"``, as their graph has it.
    residual : bool, optional
        For ``.msgpack`` only, and to be given there: see `rnn_backends.from_flax`.
    go_backwards : bool, optional
        For ``.weights.h5`` only, and to be given there: see `rnn_backends.from_keras`.
    masking : bool, optional
        For ``.keras`` and ``.weights.h5`` only; True for a model that masks steps by itself, and to be given for
        weights with an Embedding: see `rnn_backends.from_keras`.

    Returns
    -------
    RNN

    Raises
    ------
    FormatError
        The file is damaged, does not hold a network, leaves open what must be told, or tells what is told.
    ArgumentError
        An option has an impossible value.
    FileNotFoundError, PermissionError
        The file cannot be opened.

    See Also
    --------
    rnn_backends.from_torch, rnn_backends.from_flax, rnn_backends.from_keras, rnn_backends.from_onnx
        What is read, and how.
    """
    from rnn_backends import formats  # most programs that make a model read none, or one

    network = formats.read(
        path,
        activation=activation,
        batch_first=batch_first,
        readout_activation=readout_activation,
        residual=residual,
        go_backwards=go_backwards,
        masking=masking,
    )
    return RNN._placed(network, select(backend))
