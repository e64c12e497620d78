"""`from_reservoirpy`: a model of a Reservoir or a model of reservoirpy."""

from typing import Any

from rnn_backends.backends.selection import select
from rnn_backends.backends.transfer import sealed
from rnn_backends.model.rnn import RNN


def from_reservoirpy(source: Any, *, backend: str | None = None) -> RNN:
    """Make a model of a Reservoir, a model or an ESN of reservoirpy 0.4, with its numbers.

    A model is one or several ``Reservoir`` one on the other, and a ``Ridge`` after them; ``Input`` and ``Output`` at
    the ends are left out, and any other node is refused by its name, as is what branches, such as
    ``input_to_readout=True``.

    Parameters
    ----------
    source : Reservoir, Model or ESN
        It has been run or fitted, and so has weights.
    backend : str, optional
        ``"name"`` or ``"name:device"``; default: as for `RNN` made of NumPy arrays.

    Returns
    -------
    RNN
        In float64, batch first, as reservoirpy has series; of features, with the identity as activation of the readout.
        Sparse matrices stay so.  It starts from zeros, whatever state the nodes are in.  With feedback, the outputs of
        the step before are the last features of its input, as a note in its `metadata` says: zeros at first, then what
        `RNN.roll_out` feeds back.

    Raises
    ------
    FormatError
        There is something that is not understood, or a node has no weights yet.

    Examples
    --------
    >>> from reservoirpy.nodes import Reservoir, Ridge  # doctest: +SKIP
    >>> import rnn_backends as rb
    >>> model = Reservoir(500, sr=0.9) >> Ridge(1e-6)  # doctest: +SKIP
    >>> model.fit(x, y, warmup=100)  # doctest: +SKIP
    >>> rnn = rb.from_reservoirpy(model)  # doctest: +SKIP
    >>> abs(rnn.logits(x) - model.run(x))[100:].max()  # doctest: +SKIP
    """
    from rnn_backends.formats.reservoirpy import from_object

    return RNN.from_network(sealed(from_object(source)), select(backend))
