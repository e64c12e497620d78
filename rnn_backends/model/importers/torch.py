"""`from_torch`: a model of a torch module or of its state dict."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import sealed
from rnn_backends.model.importers.host import Activated, to_host
from rnn_backends.model.rnn import RNN


def from_torch(
    source: Any,
    *,
    activation: Activated | None = None,
    batch_first: bool | None = None,
    readout_activation: Activated | tuple[Activated, ...] | None = None,
    encoder_activation: Activated | tuple[Activated, ...] | None = None,
    reads: str | None = None,
    takes: str | None = None,
    key: str | tuple[str, ...] | None = None,
    roles: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    cell: str | None = None,
    leak: float | None = None,
    batch_norm_eps: float | None = None,
    vocabulary: str | Sequence[str] | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of a torch module or of its state dict.

    A module is, or holds, one or more ``nn.RNN`` and ``nn.RNNCell``, one on the other; before them an ``nn.Embedding``
    or ``nn.Linear``, an encoder; after them ``nn.Linear``, a readout; with activations and ``nn.BatchNorm1d`` between.
    In an ``nn.Sequential`` the order is that of computation; elsewhere attributes are taken in their order
    where their sizes leave one reading, and what is called in ``forward`` alone cannot be seen.  Losses, metrics and
    dropout are left out; anything else is refused by name.

    Parameters
    ----------
    source : torch.nn.Module, or mapping of str to array
        A state dict, alone or in a checkpoint, holds torch's names with any prefix, a text-book's notation, or those
        that `names` maps; in tensors or in arrays of any backend.  A module takes no `key`, `names`, `cell`, `leak`,
        `batch_norm_eps`.
    activation : str, Activation or callable, optional
        Activation of all cells, g1.  Required for a state dict; left out for a module, which records it.
    batch_first : bool, optional
        Whether the batch is the first axis; default: as the module records it, else False, torch's default.
    readout_activation : str, Activation or callable, or tuple of them, optional
        Activation of the readout, g2, or one for each Linear of a head; overrules what a module seems to say.
        Required for an ``nn.Linear`` that no softmax or sigmoid follows, for each of several that are attributes, and
        for a state dict with a readout: ``"softmax"`` where the loss was a cross-entropy.  The logits are those of
        the last ``nn.Linear``.
    encoder_activation : str, Activation or callable, or tuple of them, optional
        Activation of a Linear before the RNN, or one for each of several.  Required for weights alone that have one,
        and for a Linear that is an attribute.
    reads : {"steps", "last", "final", "mean", "max"}, optional
        What the readout reads, as of `RNN`; default: ``"steps"``.  Required where a class of one's own selects it in
        an ``nn.Sequential``.
    takes : {"tokens", "features"}, optional
        Whether x is token ids, as it is with an embedding; default: features, as the framework takes them.
        ``"tokens"`` without an embedding: ids stand for one-hot features.
    key : str or tuple of str, optional
        The part of a checkpoint that is the network, or the beginning of its names; a tuple for what is nested.
    roles : mapping of str to str, optional
        Roles of modules by their path, or by the prefix of their names: ``"embedding"``, ``"encoder"``, ``"layers"``,
        ``"readout"`` or ``"ignore"``; those of one role in the order in which they are given.  Required where order
        and shapes leave more than one reading.
    names : mapping of str to str, optional
        Names that arrays have here by their names in the source: ``weight_ih_l0``, ``weight_hh_l0_reverse``,
        ``bias_l0``, ``encoder.0.weight``, ``readout.bias``, ``h_0``; ``.T`` after one transposes.
    cell : {"Cell", "RateCell"}, optional
        What the cells of weights alone are; default: ``"Cell"``.
    leak : float, optional
        The leak of all cells of weights alone, dt / tau, 0 < leak <= 1; required for a `RateCell`.
    batch_norm_eps : float, optional
        Eps of the BatchNorms in weights alone, which is required there: each is folded into the Linear or the layer
        beside it, and taken to be applied right after the module before it.
    vocabulary : str or sequence of str, optional
        Characters, or words, that token ids stand for, as of `RNN`.
    backend : str, optional
        ``"name"`` or ``"name:device"``; default: as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        Of copies of the weights.  The two biases are added in their dtype, so the sum is rounded once.
        bfloat16 becomes float32.  Weights under weight_norm, spectral_norm, a parametrization or a mask are those that
        they give after ``eval()``; the module stays as it is.  An embedding E goes into W_ax of the first
        layer, as W_ax E^T, computed in float64 and rounded once, where that makes no more numbers.

    Raises
    ------
    FormatError
        There is something that is not understood, something is missing, or an option is given that the module records.
    ArgumentError
        An option has an impossible value.

    Examples
    --------
    >>> import numpy as np
    >>> import rnn_backends as rb
    >>> w_ih, w_hh = np.ones((4, 3), "float32"), np.eye(4, dtype="float32")
    >>> state = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh}
    >>> rnn = rb.from_torch(state, activation="tanh")
    >>> output, h_n = rnn(np.ones((5, 2, 3), "float32"))
    >>> output.shape, h_n.shape
    ((5, 2, 4), (1, 2, 4))
    """
    from rnn_backends.formats.options import LoadOptions
    from rnn_backends.formats.torch.state_dict import from_object

    options = LoadOptions.given(
        "torch",
        activation=activation,
        batch_first=batch_first,
        readout_activation=readout_activation,
        encoder_activation=encoder_activation,
        reads=reads,
        takes=takes,
        vocabulary=vocabulary,
        key=key,
        roles=roles,
        names=names,
        cell=cell,
        leak=leak,
        batch_norm_eps=batch_norm_eps,
    )
    return RNN.from_network(sealed(options.spelt(from_object(source, options, to_host))), select(backend))
