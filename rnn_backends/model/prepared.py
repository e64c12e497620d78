"""`Call`: what a call of a network on NumPy needs, decided once for all inputs of a dtype and shape.

A step of a small network takes a few microseconds; checks and conversions at each call would take several times that.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnn_backends.core.arrays import Host, quiet
from rnn_backends.core.forward import started
from rnn_backends.core.layers import Layer, first_array
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network, hidden_sizes, is_uneven
from rnn_backends.core.recurrence import Recurrence, Run, last_states, scan_layer

Change: TypeAlias = Callable[[Any], Host]


class Call(NamedTuple):
    """A network, ready to run over inputs of a dtype and shape; a single sequence is run as a batch of one."""

    run: Run
    """Returns the output and the states of all cells, in memory of their own."""
    take: Change
    """Returns an input as `run` takes it."""
    give: Change
    """Returns an output with the axes of the input."""
    has_batch: bool
    steps: tuple[int, int]
    """The number of steps and that of sequences."""
    num_ids: int | None
    """The number of token ids, where the input holds such."""
    held: int
    """The bytes of the initial states that are kept."""
    nbytes: int
    """Those of the logits, or of input and states, whichever are more."""

    def __call__(self, x: Any) -> tuple[Host, Any]:
        """Return the output and the last states for an input that is right."""
        output, h_n = self.run(self.take(x), None)
        return self.give(output), h_n if self.has_batch else without_batch(h_n)

    def is_right(self, x: Any) -> bool:
        """Return whether an input of this dtype and shape holds ids in range, where it holds ids."""
        if self.num_ids is None:
            return True
        if x.size == 1:
            return bool(0 <= x.item() < self.num_ids)
        return bool(x.min() >= 0 and x.max() < self.num_ids)


def can_prepare(network: Network) -> bool:
    """Return whether the sizes of all states are known, and NumPy computes in the dtype that they are held in."""
    first: Any = first_array(network.layers)
    return type(first) is np.ndarray and first.dtype.char in "fd" and None not in hidden_sizes(network.layers)


def prepare(
    network: Network, recurrence: Recurrence, x: Host, dtype: Any, num_ids: int | None, widths: tuple[int, int]
) -> Call:
    """Make the call for inputs like one that is right, which the network takes in a dtype.

    Parameters
    ----------
    network : Network
        One that `can_prepare` accepts.
    recurrence : Recurrence
        One with an attribute ``prepared`` is asked for a run of all layers, which spares the rest.
    x : numpy.ndarray
    dtype : numpy.dtype
    num_ids : int, optional
        The number of token ids, where the input holds such.
    widths : tuple of int
        The number of features that is made of a step below the readout, and that of all outputs of the readout.
    """
    has_batch = x.ndim == 3 - (dtype.kind == "i")
    take, give = _layout(has_batch, network.batch_first)
    shape = take(x).shape
    run, held = _run(network, recurrence, np.broadcast_to(np.zeros((), dtype), shape))
    take = take if x.dtype == dtype else _converted(take, dtype)
    inner, outputs = widths
    nbytes = prod(shape[:2]) * max(prod(shape[2:]) + inner, outputs) * _dtype(network).itemsize
    return Call(run, take, give, has_batch, shape[:2], num_ids, held, nbytes)


def without_batch(states: Any) -> Any:
    """Return the states of all cells of a batch of one without its axis."""
    return tuple(part[0] for part in states) if isinstance(states, tuple) else states[:, 0]


def linear_products(linears: Sequence[Linear]) -> Change:
    """Return a function that gives what `logits_of` does, for states or token ids in range on NumPy."""
    *inner, (_, weight, bias) = ((linear, linear.weight.T, linear.bias) for linear in linears)

    def logits(x: Host) -> Host:
        for linear, *parameters in inner:
            x = linear.activate(_product(x, *parameters))
        return _product(x, weight, bias)

    return logits


def _product(x: Host, weight: Host, bias: Host | None) -> Host:
    """Return x W^T + b, of ids the rows of W^T."""
    if x.dtype.kind == "i":
        product = weight.take(x, axis=0)
    elif x.ndim == 2:
        product = x.dot(weight)
    else:
        product = x.reshape(-1, len(weight)).dot(weight).reshape(*x.shape[:-1], weight.shape[1])
    return product if bias is None else np.add(product, bias, product)


def _layout(has_batch: bool, batch_first: bool) -> tuple[Change, Change]:
    """Return functions that bring an input to (seq_len, batch, ...), and an output back."""
    if not has_batch:
        return (lambda x: x[:, None]), (lambda output: output[:, 0])
    if batch_first:
        return _swapped, _swapped
    return _same, _same


def _swapped(array: Host) -> Host:
    return array.swapaxes(0, 1)


def _same(array: Host) -> Host:
    return array


def _converted(take: Change, dtype: Any) -> Change:
    def convert(x: Host) -> Host:
        with quiet():
            return take(x.astype(dtype))

    return convert


def _run(network: Network, recurrence: Recurrence, like: Host) -> tuple[Run, int]:
    """Return a function that runs a network over inputs like one, and the bytes of the states that it keeps."""
    start, held = started(network, like, None), 0
    shape, dtype = like.shape, like.dtype
    if network.encoder:
        shape, dtype = (*shape[:2], network.encoder[-1].output_size), _dtype(network)
    prepared = getattr(recurrence, "prepared", None)
    run: Run | None = None if prepared is None else prepared(network.layers, shape, dtype)
    if run is None:
        if start is None:
            start = [_zeros((shape[1], size), _dtype(network)) for size in hidden_sizes(network.layers)]
            held = sum(state.nbytes for state in start)
        run = _layer_by_layer(network, recurrence, list(start))
    elif start is not None:
        start = tuple(map(np.ascontiguousarray, start)) if isinstance(start, tuple) else np.ascontiguousarray(start)
        held = sum(state.nbytes for state in last_states(start))
        run = _from_start(run, start)
    return (_of_encoded(run, network.encoder) if network.encoder else run), held


def _dtype(network: Network) -> Any:
    first: Any = first_array(network.layers)
    return first.dtype


def _zeros(shape: tuple[Any, ...], dtype: Any) -> Host:
    zeros = np.zeros(shape, dtype)
    zeros.flags.writeable = False
    return zeros


def _from_start(run: Run, start: Any) -> Run:
    return lambda x, h_0: run(x, start if h_0 is None else h_0)


def _of_encoded(run: Run, encoder: tuple[Linear, ...]) -> Run:
    products, last = linear_products(encoder), encoder[-1]

    def run_encoded(x: Host, h_0: Any) -> tuple[Host, Any]:
        with quiet():
            encoded = last.activate(products(x))
        return run(encoded, h_0)

    return run_encoded


def _layer_by_layer(network: Network, recurrence: Recurrence, start: list[Host]) -> Run:
    """Return a run by the recurrence of a layer, and by the default one where it declines."""
    if len(start) == 1:
        return _one_cell(network.layers[0], recurrence, start)
    ends = list(accumulate(len(layer.cells) for layer in network.layers))
    parts = [(layer, slice(end - len(layer.cells), end)) for layer, end in zip(network.layers, ends, strict=True)]
    is_tuple = is_uneven(network.layers)

    def run(x: Host, h_0: Any) -> tuple[Host, Any]:
        given, last = start if h_0 is None else last_states(h_0), list[Host]()
        for layer, cells in parts:
            x, states = recurrence(layer, x, given[cells], None) or scan_layer(layer, x, given[cells], None)
            last.extend(states)
        return x, tuple(state.copy() for state in last) if is_tuple else np.array(last)

    return run


def _one_cell(layer: Layer, recurrence: Recurrence, start: list[Host]) -> Run:
    """Return a run of a single cell, at half the cost."""

    def run(x: Host, h_0: Any) -> tuple[Host, Any]:
        h = start if h_0 is None else [h_0[0]]
        states, (last,) = recurrence(layer, x, h, None) or scan_layer(layer, x, h, None)
        return states, last.copy()[None]

    return run
