"""`from_keras`: a model of a layer or a model of Keras 2 or 3, or of a file of one."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import sealed
from rnn_backends.model.importers.host import Activated, to_host
from rnn_backends.model.rnn import RNN


def from_keras(
    source: Any,
    *,
    activation: Activated | None = None,
    go_backwards: bool | None = None,
    masking: bool | None = None,
    batch_first: bool | None = None,
    readout_activation: Activated | tuple[Activated, ...] | None = None,
    encoder_activation: Activated | tuple[Activated, ...] | None = None,
    reads: str | None = None,
    takes: str | None = None,
    vocabulary: str | Sequence[str] | None = None,
    backend: str | None = None,
) -> RNN:
    """Make a model of a layer or a model of Keras 2 or 3, or of a file of one.

    A model is a chain of an ``Embedding`` or ``Dense`` layers, then ``SimpleRNN``, ``RNN`` of ``SimpleRNNCell`` or
    ``Bidirectional`` (concat), then ``Dense`` layers, plain or in ``TimeDistributed``, with their activations;
    Sequential, functional or one in the other.  What reads each sequence as a whole, return_sequences=False or a
    pooling over the steps, becomes `reads`; BatchNormalization, Normalization and Rescaling are multiplied into the
    weights beside them.  What does nothing but in training, as ``Dropout``, is left out, and anything else is refused
    by name.  Activations are Keras's own, with the numbers of its version.

    Parameters
    ----------
    source : layer, model or path
        Of Keras 2 or 3, ``tf.keras`` among them, with weights; or a file: ``.keras``, ``.h5`` of a whole model, or
        weights alone, ``.weights.h5`` and Keras 2's ``.h5``, which are taken for a plain chain of layers in the order
        that their names and shapes show.
    activation : str, Activation or callable, optional
        Activation of all cells, g1; a name is Keras's.  Required for weights alone; left out where the source
        records it.
    go_backwards : bool, optional
        Whether the SimpleRNNs were made so.  Required for weights alone; else True, and only where a model gives its
        steps last one first, which are here in the order of the input.
    masking : bool, optional
        Whether the model may mask steps, by ``Masking`` or ``Embedding(mask_zero=True)``; default: it may not.  Here a
        mask is an argument of each call, and the metadata record which one to pass, under ``"keras mask"``.  Required
        for weights alone with an Embedding, which do not record whether it was made with mask_zero.
    batch_first : bool, optional
        Whether the batch is the first axis; default: True, as Keras has it.
    readout_activation, encoder_activation : str, Activation or callable, or a tuple of them, optional
        Activation of the last Dense after and before the recurrent layers, or one for each; default: as the model
        applies it.  Required for the Dense of weights alone; that of the readout may be given for a Dense after which
        the model applies nothing.
    reads : {"steps", "last", "final", "mean", "max"}, optional
        What the readout reads, as of `RNN`; default: ``"steps"``.  For weights alone; a model records it.
    takes : {"tokens", "features"}, optional
        Whether x is token ids, as it is with an embedding; default: features, as the framework takes them.
        ``"tokens"`` without an embedding: ids stand for one-hot features.
    vocabulary : str or sequence of str, optional
        Characters, or words, that token ids stand for, as of `RNN`.
    backend : str, optional
        ``"name"`` or ``"name:device"``; default: as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        bfloat16 becomes float32, and mixed precision is computed in the dtype of the weights.  An embedding, or a Dense
        before the first layer without activation, is folded into W_ax where that makes no more numbers.

    Raises
    ------
    FormatError
        There is something that is not understood or cannot be done, something is missing, or an option is given that
        the source records.
    ArgumentError
        An option has an impossible value.

    Examples
    --------
    >>> import keras, numpy as np  # doctest: +SKIP
    >>> import rnn_backends as rb
    >>> layer = keras.layers.SimpleRNN(4, return_sequences=True)  # doctest: +SKIP
    >>> model = keras.Sequential([keras.Input((5, 3)), layer])  # doctest: +SKIP
    >>> rnn = rb.from_keras(model)  # doctest: +SKIP
    >>> rnn(np.ones((2, 5, 3), "float32"))[0].shape  # doctest: +SKIP
    (2, 5, 4)
    """
    from rnn_backends.formats import read_of
    from rnn_backends.formats.keras import from_object
    from rnn_backends.formats.options import LoadOptions

    options = LoadOptions.given(
        "keras",
        activation=activation,
        go_backwards=go_backwards,
        masking=masking,
        batch_first=batch_first,
        readout_activation=readout_activation,
        encoder_activation=encoder_activation,
        reads=reads,
        takes=takes,
        vocabulary=vocabulary,
    )
    if isinstance(source, (str, PathLike)):
        return RNN.from_network(read_of("keras", source, options), select(backend))
    return RNN.from_network(sealed(options.spelt(from_object(source, options, to_host))), select(backend))
