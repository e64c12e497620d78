"""What a model takes as many sequences of different lengths, and what it refuses."""

import numpy as np

from rnn_backends.core.arrays import dtype_name, is_integer
from rnn_backends.core.checks import refuse
from rnn_backends.core.messages import shown
from rnn_backends.core.network import hidden_sizes
from rnn_backends.errors import ArgumentError, DTypeError, ShapeError
from rnn_backends.model.placed import Placed
from rnn_backends.model.ragged import Ragged


def require_no_noise(placed: Placed, method: str) -> None:
    """Check that what a model draws does not depend on how sequences are batched."""
    if placed.network.noise is not None:
        msg = (
            f"{method} batches sequences by their lengths, and what the noise of this model draws depends on the place "
            "in a batch; make batches of your own, or take a model without noise."
        )
        raise ArgumentError(msg)


def required(placed: Placed, window: Ragged) -> Ragged:
    """Return sequences that the model takes; an error names the first that it does not."""
    network, size, values = placed.network, placed.input_size, window.values
    if tuple(values.shape) == (0,):  # of no numbers, whose dtype says nothing
        if size is None and None in hidden_sizes(network.layers):
            msg = (
                f"`{window.name}` must hold one with a step, or an empty one with its features, np.empty((0, "
                "input_size)), as the cells of this model state no sizes."
            )
            raise ArgumentError(msg)
        none = np.empty((0, size or 1), np.float32) if network.takes == "features" else np.empty(0, np.int32)
        return window.with_values(none)
    placed.spec(window.name, values[:0, ...])  # which must be the model's, or the host's
    index, _ = window.place_of(0)
    name, shape = window.name_of(index), shown(window.shape_of(index))
    is_ids = is_integer(values) and network.takes != "features"
    if network.takes == "tokens" and not is_ids:
        msg = f"`{name}` must hold token ids, integers, which this model takes; got {dtype_name(values)}."
        raise DTypeError(msg)
    if is_ids and len(values.shape) == 2:
        msg = (
            f"token ids in `{name}` must have shape (length,); got {shape}. Convert integers that are features to "
            "floating point."
        )
        raise ShapeError(msg)
    if not is_ids and (len(values.shape) == 1 or size not in {None, values.shape[1]}):
        wanted = "(length, input_size)" + ("" if size is None else f" = (length, {size})")
        msg = f"`{name}` must have shape {wanted}; got {shape}."
        raise ShapeError(msg)
    if is_ids and isinstance(values, np.ndarray) and size is not None and values.size:
        _require_ids(window, size)
    return window


def _require_ids(window: Ragged, size: int) -> None:
    """Check token ids on the host, and name the sequence of the first that is out of range."""
    values = window.values
    if values.min() >= 0 and values.max() < size:
        return
    index, step = window.place_of(int(np.argmax((values < 0) | (values >= size))))
    start, stop = window.offsets[index - window.first : index - window.first + 2]
    refuse(window.name_of(index), values[start:stop], size, "token id", (step,))
