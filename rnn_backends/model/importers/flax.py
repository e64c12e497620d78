"""`from_flax`: a model of Flax's parameters."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import sealed
from rnn_backends.model.importers.host import Activated, to_host
from rnn_backends.model.rnn import RNN


def from_flax(
    source: Mapping[Any, Any] | str | PathLike[str],
    *,
    activation: Activated,
    residual: bool | None = None,
    layers: Sequence[str | tuple[str | None, str | None]] | None = None,
    batch_first: bool | None = None,
    readout_activation: Activated | tuple[Activated, ...] | None = None,
    encoder_activation: Activated | tuple[Activated, ...] | None = None,
    reads: str | None = None,
    takes: str | None = None,
    key: str | tuple[str, ...] | None = None,
    roles: Mapping[str, str] | None = None,
    vocabulary: str | Sequence[str] | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of Flax's parameters: of ``SimpleCell``, ``Dense`` or ``Linear`` before and after, and ``Embed``.

    Parameters
    ----------
    source : mapping, or path
        linen's variables or parameters, nnx's ``to_pure_dict(state(model))``, Haiku's parameters, or a
        ``.msgpack`` file of parameters or of a ``TrainState`` from ``flax.serialization.to_bytes``.  Variables
        whole, rather than the parameters alone, show a BatchNorm or a SpectralNorm, which is refused.
    activation : str, Activation or callable
        ``activation_fn`` of all cells, which the parameters do not record.  Flax's own default is ``"tanh"``.
    residual : bool, optional
        Whether the cells were made with ``residual=True``, which the parameters do not record either.  Required for
        Flax's, and an option of no other.
    layers : sequence of str or pair of str or None, optional
        The paths of the cells, such as ``"rnn/cell"``, or of what holds one, from the input to the output;
        a pair (forward, backward) or the path of a ``Bidirectional`` for a layer of both directions,
        ``(None, path)`` for one in reverse.  It may be left out where there is one cell that runs forward, or one
        ``Bidirectional`` whose cells are its own.  The direction is an option of the wrapper ``RNN``, which has no
        parameters: one made with ``reverse=True, keep_order=True`` must be given so, and ``""`` is the path of
        a cell that stands alone.  A ``merge_fn`` other than Flax's own, which joins the outputs, is not supported.
    batch_first : bool, optional
        Whether the batch is the first axis; default: True, as Flax's ``time_major=False`` has it.
    readout_activation : str, Activation or callable, or tuple of them, optional
        Activation of the readout, g2, or of a head one for each Dense.  Required where there is a readout, and given
        only there.  Names of activations mean Flax's.
    encoder_activation : str, Activation or callable, or tuple of them, optional
        Activation of a Linear before the RNN, or one for each of several.  Required for weights alone that have one.
    reads : {"steps", "last", "final", "mean", "max"}, optional
        What the readout reads, as of `RNN`; default: ``"steps"``.
    takes : {"tokens", "features"}, optional
        Whether x is token ids, as it is with an embedding; default: features, as the framework takes them.
        ``"tokens"`` without an embedding: ids stand for one-hot features.
    key : str or tuple of str, optional
        The part of a checkpoint that is the network, or the beginning of its names; a tuple for what is nested.
    roles : mapping of str to str, optional
        Roles of modules by their paths: ``"embedding"``, ``"encoder"``, ``"readout"`` or ``"ignore"``; those of one
        role in the order in which they are applied.  Required where shapes leave more than one reading.
    vocabulary : str or sequence of str, optional
        Characters, or words, that token ids stand for, as of `RNN`.
    backend : str, optional
        ``"name"`` or ``"name:device"``; default: as for `RNN` made of NumPy arrays.

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

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> of_input, of_state = {"kernel": np.ones((3, 4)), "bias": np.zeros(4)}, {"kernel": np.eye(4)}
    >>> variables = {"params": {"cell": {"i": of_input, "h": of_state}}}
    >>> rnn = rb.from_flax(variables, activation="tanh", residual=False)
    >>> output, h_n = rnn(np.ones((2, 5, 3)))
    >>> output.shape, h_n.shape
    ((2, 5, 4), (1, 2, 4))
    """
    from rnn_backends.formats import read_of
    from rnn_backends.formats.account import Account
    from rnn_backends.formats.flax.tree import from_tree
    from rnn_backends.formats.options import LoadOptions

    options = LoadOptions.given(
        "flax",
        activation=activation,
        residual=residual,
        layers=layers,
        batch_first=batch_first,
        readout_activation=readout_activation,
        encoder_activation=encoder_activation,
        reads=reads,
        takes=takes,
        vocabulary=vocabulary,
        key=key,
        roles=roles,
    )
    if isinstance(source, (str, PathLike)):
        return RNN.from_network(read_of("flax", source, options), select(backend))
    return RNN.from_network(sealed(options.spelt(from_tree(source, options, to_host, Account()))), select(backend))
