"""`from_keras`: a model of a layer or a model of Keras 3, or of a file of one."""

from os import PathLike
from typing import Any

from rnn_backends.backends.selection import select
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
        one class and are taken for a plain chain, in the order of their names: the weights record no more.
    activation : str, Activation or callable, optional
        Activation of all cells, g1.  Required for a ``.weights.h5`` file; left out where the source records it.
    go_backwards : bool, optional
        Whether the SimpleRNNs were made so.  Required for a ``.weights.h5`` file, and for nothing else.
    masking : bool, optional
        Whether the model may mask steps, by ``Masking`` or ``Embedding(mask_zero=True)``; default: it may not.  Here a
        mask is an argument of each call, and the metadata record which one to pass, under ``"keras mask"``.  Required
        for a ``.weights.h5`` file with an Embedding, which does not record whether it was made with mask_zero.
    batch_first : bool, optional
        Whether the batch is the first axis; default: True, as Keras has it.
    readout_activation : str, Activation or callable, optional
        Activation of the readout, g2; default: as the model applies it.  Required for the Dense of a ``.weights.h5``
        file; may be given for a Dense after which the model applies nothing.
    encoder_activation : str, Activation or callable, or tuple of them, optional
        Activation of a Linear before the RNN, or one for each of several.  Required for weights alone that have one.
    reads : {"steps", "last", "final", "mean", "max"}, optional
        What the readout reads, as of `RNN`; default: ``"steps"``.
    takes : {"tokens", "features"}, optional
        Whether x is token ids, as it is with an embedding; default: features, as the framework takes them.
        ``"tokens"`` without an embedding: ids stand for one-hot features.
    backend : str, optional
        ``"name"`` or ``"name:device"``; default: as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        Its metadata record under ``"keras output"`` which of its results the model's output is, e.g.
        ``"probabilities of the last step (batch, output_size)"`` where it was made with return_sequences=False.
        bfloat16 becomes float32, and mixed precision is computed in the dtype of the weights.  An embedding is
        folded into W_ax, as by `from_torch`.

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
    >>> layers = [keras.Input((5, 3)), keras.layers.SimpleRNN(4, return_sequences=True)]  # doctest: +SKIP
    >>> rnn = rb.from_keras(keras.Sequential(layers))  # doctest: +SKIP
    >>> rnn(np.ones((2, 5, 3), "float32"))[0].shape  # doctest: +SKIP
    (2, 5, 4)
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
        encoder_activation=encoder_activation,
        reads=reads,
        takes=takes,
    )
    if isinstance(source, (str, PathLike)):
        from pathlib import Path  # takes its time to import

        return RNN.from_network(read(Path(source), options), select(backend))
    return RNN.from_network(from_object(source, options, to_host), select(backend))
