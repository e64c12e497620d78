"""The recurrence of the cupy backend: the choice of a kernel for a layer.

Nothing here waits for the device or copies from it, but for the check of a kernel before its first use; all is launched
on the current stream.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import cupy

from rnn_backends.backends.cuda_kernels.choices import VARIABLE
from rnn_backends.backends.cuda_kernels.plan import REGIMES
from rnn_backends.backends.cuda_kernels.sources import ELEMENTWISE
from rnn_backends.backends.cuda_kernels.trust import trusted
from rnn_backends.backends.cuda_kernels.walk import Walk
from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import HALF, Array, dtype_name, is_array
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer, RecurrentCell
from rnn_backends.core.masking import nan_if_impossible
from rnn_backends.core.messages import shown
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import ArgumentError, DeviceMemoryError

_prepared: WeakKeyDictionary[Layer, dict[tuple[Any, ...], tuple[Walk, ...]]] = WeakKeyDictionary()


def recurrence(
    layer: Layer, x: Array, h_0: Sequence[Array], lengths: Array | None
) -> tuple[Array, Sequence[Array]] | None:
    """Walk a layer through time in a kernel of its own; see `rnn_backends.core.recurrence.Recurrence`.

    Raises
    ------
    ArgumentError
        The environment variable RNN_CUPY_KERNEL names no kernel, or one that cannot take this problem.
    DeviceMemoryError
        The device has no room for the states.
    BackendUnavailableError
        A kernel cannot be checked now; see `rnn_backends.backends.cuda_kernels.trust.trusted`.
    """
    (regimes, may_use), (seq_len, batch) = chosen_regimes(), x.shape[:2]
    if not regimes:
        return None
    with h_0[0].device:
        try:
            walks = prepared(layer, x, h_0[0])
            if not walks:
                return None
            if 0 in {seq_len, batch}:
                states = cupy.empty((seq_len, batch, sum(h.shape[-1] for h in h_0)), h_0[0].dtype)
                return states, [h if lengths is None else nan_if_impossible(h, lengths, seq_len) for h in h_0]
            if len(walks) == 1:
                return walks[0](x, h_0, lengths, regimes, may_use)
            found = [walk(x, [h], lengths, regimes, may_use) for walk, h in zip(walks, h_0, strict=True)]
            parts = [part for part in found if part is not None]
            if len(parts) < len(found):
                return None
            return cupy.concatenate([states for states, _ in parts], axis=-1), [last[0] for _, last in parts]
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise DeviceMemoryError(no_room(h_0, seq_len, error)) from error


def prepared(layer: Layer, x: Array, h_0: Array) -> tuple[Walk, ...]:
    """Return a walk of all cells of a layer, or one of each where they are not alike; none if no kernel takes one."""
    known = _prepared.setdefault(layer, {})
    key = (x.ndim, x.dtype, h_0.dtype)
    walks = known.get(key)
    if walks is None:
        walks = made(layer, x, h_0)
        if all(walk.is_lasting for walk in walks):  # no copy of a weight is kept, which its owner may change
            known[key] = walks
    return walks


def made(layer: Layer, x: Array, h_0: Array) -> tuple[Walk, ...]:
    """Make what `prepared` returns."""
    cells = [cell for cell, _ in layer.cells if is_covered(cell, x, h_0)]
    if len(cells) < len(layer.cells):
        return ()
    if are_alike(cells):
        return (Walk(cells, x, h_0, layer.forward is None),)
    return (Walk(cells[:1], x, h_0, False), Walk(cells[1:], x, h_0, True))


def no_room(h_0: Sequence[Array], seq_len: int, error: MemoryError) -> str:
    """Return the message of a device that has no room for the states."""
    (batch, size), count = h_0[0].shape, len(h_0)
    return (
        f"the device has no room for the states of {seq_len} steps of {batch} sequences with hidden_size {size} in "
        f"{count} direction{'s' * (count > 1)}, which are {seq_len * batch * size * count} numbers: {error} Run fewer "
        "sequences at once, or fewer steps, as RNN.stream does."
    )


def chosen_regimes() -> tuple[tuple[str, ...], Callable[..., bool]]:
    """Return the regimes that the environment variable leaves, none where it is "off", and whether one may be used."""
    value = os.environ.get(VARIABLE)
    if not value:
        return REGIMES, trusted
    choices = {"off": (), **{regime: (regime,) for regime in REGIMES}}
    if value not in choices:
        msg = f"the environment variable {VARIABLE} must be one of {', '.join(choices)}; got {shown(value)}. Unset it."
        raise ArgumentError(msg)
    return choices[value], lambda *_: True


def is_covered(cell: RecurrentCell, x: Array, h_0: Array) -> TypeGuard[Cell]:
    """Return whether there are kernels for a cell and its arguments."""
    if type(cell) is not Cell or isinstance(cell.weight_hh, Sparse):
        return False
    if not isinstance(cell.activation, Activation) or is_array(cell.leak):
        return False
    weights, states = dtype_name(cell.weight_hh), dtype_name(h_0)
    return (
        cell.activation.name in ELEMENTWISE
        and (weights == states or (weights == "float32" and states in HALF))
        and weights in {"float32", "float64"}
        and (x.ndim == 3 or dtype_name(x) in {"int32", "int64"})
    )


def are_alike(cells: Sequence[Cell]) -> bool:
    """Return whether one kernel walks all cells at once."""
    return len({(cell.activation, cell.clip, cell.leak, cell.hidden_size) for cell in cells}) == 1
