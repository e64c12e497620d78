"""Lists of sequences that a readout is fitted to, in batches of nearly equal lengths."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.backends.transfer import as_host
from rnn_backends.core.arrays import Array, array_namespace, is_array, is_integer
from rnn_backends.core.checks import require_state
from rnn_backends.core.messages import got, shown
from rnn_backends.errors import ArgumentError, ShapeError
from rnn_backends.model.batches import packs, windows
from rnn_backends.model.chunks import batch_steps
from rnn_backends.model.padding import like, padded
from rnn_backends.model.placed import Placed
from rnn_backends.model.ragged import Ragged, of_sequences
from rnn_backends.model.sequences import require_no_noise, required


class Given(NamedTuple):
    """Sequences of one call, with the outputs that are wanted."""

    x: Any
    y: Any
    lengths: Any
    mask: Any
    h_0: Any


def is_list_of(x: Any, takes: str | None) -> bool:
    """Return whether an input is a list of sequences, rather than nested lists of numbers, or steps."""
    if not isinstance(x, (list, tuple)) or not x:
        return False
    if any(isinstance(each, str) for each in x):
        return True
    if not all(map(is_array, x)):
        return False
    axes = {len(each.shape) for each in x}
    return 2 in axes or (takes != "features" and axes == {1} and any(map(is_integer, x)))


def batches_of(placed: Placed, reads: str, given: Given) -> Iterator[Given]:
    """Yield sequences of different lengths in batches of nearly equal ones, of which a window is held at once."""
    x, y, lengths, mask, h_0 = given
    require_no_noise(placed, "fit_readout")
    if lengths is not None or mask is not None:
        msg = "`lengths` and `mask` are of a batch in one array; a list of sequences takes neither."
        raise ArgumentError(msg)
    is_steps, batch_first = reads == "steps", placed.network.batch_first
    wanted = _Wanted(len(x), y, is_steps=is_steps)
    initial = placed.to_device("h_0", placed.as_host("h_0", h_0))
    if initial is not None:
        require_state(placed.network.layers, initial, (len(x),))
    for window, steps in windows(x, None, placed.vocabulary, partial(batch_steps, placed), "x"):
        held = required(placed, window)
        outputs = wanted.of(held)
        for chosen in packs(held.lengths, steps):
            if is_steps and not held.lengths[chosen].any():
                continue
            part = padded(outputs, chosen, batch_first) if isinstance(outputs, Ragged) else _picked(outputs, chosen, 0)
            states = _states_of(initial, held.first + chosen)
            yield Given(padded(held, chosen, batch_first), part, held.lengths[chosen], None, states)
        del window, held, outputs  # or they would be held while the next ones are read


class _Wanted:
    """The outputs that are wanted of each sequence of a list."""

    def __init__(self, count: int, y: Any, *, is_steps: bool) -> None:
        is_list = isinstance(y, (list, tuple))
        if (not is_list and (is_steps or not is_array(y))) or len(y) != count:
            found = f"a list of {len(y)}" if is_list else got(y)
            msg = f"`y` must be a list of {count} arrays, one for each sequence in `x`; got {found}."
            raise ShapeError(msg)
        self.y, self.is_steps, self.width = y if is_steps else as_host("y", y), is_steps, 0
        if not is_steps and (len(self.y.shape) != 2 or not self.y.shape[1]):
            msg = (
                f"`y` must have shape (number of sequences, output_size) = ({count}, output_size), one output for each "
                f"in `x`; got {shown(tuple(self.y.shape))}."
            )
            raise ShapeError(msg)

    def of(self, held: Ragged) -> Any:
        """Return those of some sequences: as many steps as these have, or one output for each."""
        first, stop = held.first, held.first + len(held.lengths)
        if not self.is_steps:
            return self.y[first:stop, ...]
        found = of_sequences(self.y[first:stop], first, name="y")
        if (wrong := np.flatnonzero(held.lengths != found.lengths)).size:
            place = int(wrong[0])
            msg = (
                f"`y[{first + place}]` must have as many steps as `x[{first + place}]`, {held.lengths[place]}; it has "
                f"{found.lengths[place]}."
            )
            raise ShapeError(msg)
        if found.lengths.any():
            self._require_width(found)
        return found

    def _require_width(self, found: Ragged) -> None:
        """Check that each step has an output, of as many numbers as those before."""
        features = tuple(found.values.shape[1:])
        if len(features) == 1 and features[0] and features[0] == (self.width or features[0]):
            self.width = features[0]
            return
        index, _ = found.place_of(0)
        msg = (
            f"`{found.name_of(index)}` must have shape (length, {self.width or 'output_size'}), one output for each "
            f"step of `x[{index}]`; got {shown(found.shape_of(index))}."
        )
        raise ShapeError(msg)


def _states_of(h_0: Any, chosen: Any) -> Any:
    """Return the initial states of some sequences."""
    if isinstance(h_0, tuple):
        return tuple(_picked(part, chosen, 0) for part in h_0)
    return None if h_0 is None else _picked(h_0, chosen, 1)


def _picked(array: Array, chosen: Any, axis: int) -> Array:
    return array_namespace(array).take(array, like(array, chosen), axis=axis)
