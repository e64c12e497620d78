"""`ctc_greedy`: the tokens that a network trained with CTC spells, by the likeliest id of each step."""

from typing import Any

import numpy as np

from rnn_backends.backends.transfer import as_host, to_numpy
from rnn_backends.core.arrays import ArrayLike, Host, dtype_name, is_array, is_integer
from rnn_backends.core.messages import shown
from rnn_backends.core.parameters import require_flag
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.init import require_integer


def ctc_greedy(ids: ArrayLike, *, blank: int = 0, batch_first: bool = False) -> Any:
    """Return the tokens of each sequence: of ids in a row that are the same the first, and no blanks.

    A network that is trained with connectionist temporal classification (CTC) gives one more output than it has tokens,
    the blank, and says each token for as many steps as it likes.  With the ids of the largest logits, which
    `RNN.predict` returns, this is greedy or best path decoding.

    Parameters
    ----------
    ids : integer array or host data, shape (seq_len, batch) or (seq_len,)
        The id of each step, of any backend; -1 where a sequence has no step, as `RNN.predict` has it beyond `lengths`.
        They are copied to the host.
    blank : int, default 0
        The id of the blank, as in ``torch.nn.CTCLoss``.
    batch_first : bool, default False
        Whether the batch is the first axis, as of a model that was made so.

    Returns
    -------
    list of numpy.ndarray, shape (num_tokens,) each
        Those of each sequence, in the dtype of the ids; of ids (seq_len,) one array.

    Raises
    ------
    DTypeError, ShapeError
        The ids are no integers, as logits are none, or have other axes.
    ArgumentError
        An id is below -1, or the blank below 0.
    BackendMismatchError, DeviceError
        The ids belong to no loaded backend, or have no values.

    Notes
    -----
    The ids of steps that a `mask` leaves out are those of states that are held; write -1 there to read over them.

    References
    ----------
    A. Graves, S. Fernández, F. Gomez and J. Schmidhuber (2006), "Connectionist temporal classification", ICML, section
    3.2.

    Examples
    --------
    >>> import rnn_backends as rb
    >>> rb.ctc_greedy([0, 3, 3, 0, 3, 1, 1])
    array([3, 3, 1])
    >>> rnn = rb.RNN.init(13, 8, output_size=5)
    >>> x, lengths = rb.pad([[[0.5] * 13] * 20, [[1.0] * 13] * 9])
    >>> first, second = rb.ctc_greedy(rnn.predict(x, lengths=lengths))
    """
    require_flag("batch_first", batch_first)
    require_integer("blank", blank, 0)
    host = _on_host(ids)
    if host.ndim == 1:
        return _collapsed(host, blank)
    return [_collapsed(each, blank) for each in (host if batch_first else host.T)]


def _on_host(ids: ArrayLike) -> Host:
    """Return ids as a NumPy array, checked."""
    if is_array(ids) and not is_integer(ids):
        msg = (
            f"`ids` must be integers, such as RNN.predict returns; got {dtype_name(ids)}. Of logits or probabilities "
            "give the argmax over the last axis."
        )
        raise DTypeError(msg)
    held = as_host("ids", ids)
    host = held if isinstance(held, np.ndarray) else to_numpy(held)
    if host.ndim not in {1, 2}:
        msg = f"`ids` must have shape (seq_len, batch) or (seq_len,); got {shown(host.shape)}."
        raise ShapeError(msg)
    if (below := host < -1).any():
        place = tuple(np.argwhere(below)[0].tolist())
        msg = f"every id in `ids` must be at least 0, or -1 where there is no step; got {host[place]} at {list(place)}."
        raise ArgumentError(msg)
    return host


def _collapsed(ids: Host, blank: int) -> Host:
    """Return the tokens of one sequence."""
    steps = ids[ids >= 0]
    is_new = np.append(True, steps[1:] != steps[:-1])[: len(steps)]
    found: Host = steps[is_new & (steps != blank)]
    return found
