"""The recurrence of the cupy backend: what is walked by a kernel, and by which.

Nothing here waits for the device or copies from it; all is launched on the current stream.
"""

import os
from collections.abc import Sequence
from typing import TypeGuard

import cupy

from rnn_backends.activations import Activation
from rnn_backends.arrays import HALF, Array, dtype_name
from rnn_backends.backends.kernels.plan import REGIMES, TRUSTED, Plan, make_plan
from rnn_backends.backends.kernels.sources import ELEMENTWISE
from rnn_backends.backends.kernels.walk import Walk, properties
from rnn_backends.errors import ArgumentError, DeviceMemoryError
from rnn_backends.forward import Cell
from rnn_backends.parameters import Layer
from rnn_backends.protocols import RecurrentCell
from rnn_backends.steps import poisoned

VARIABLE = "RNN_CUPY_KERNEL"


def recurrence(
    layer: Layer, x: Array, h_0: Sequence[Array], lengths: Array | None
) -> tuple[Array, Sequence[Array]] | None:
    """Walk a layer through time in a kernel of its own; see `rnn_backends.protocols.Recurrence`.

    Raises
    ------
    ArgumentError
        The environment variable RNN_CUPY_KERNEL names no kernel, or one that cannot take this problem.
    DeviceMemoryError
        The device has no room for the states.
    """
    regimes, (seq_len, batch) = chosen_regimes(), x.shape[:2]
    cells = [cell for cell, _ in layer.cells if is_covered(cell, x, h_0[0])]
    if not regimes or len(cells) < len(layer.cells):
        return None
    with h_0[0].device:
        try:
            starts = [h if lengths is None else poisoned(h, lengths, seq_len) for h in h_0]
            if 0 in {seq_len, batch}:
                return cupy.empty((seq_len, batch, sum(h.shape[-1] for h in h_0)), h_0[0].dtype), starts
            _, is_backward = layer.cells[0]
            if are_alike(cells):
                return walked(cells, x, starts, lengths, is_backward, regimes)
            parts = [
                walked([cell], x, [start], lengths, reverse, regimes)
                for cell, start, reverse in zip(cells, starts, (False, True), strict=True)
            ]
            return cupy.concatenate([states for states, _ in parts], axis=-1), [last for _, (last,) in parts]
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise DeviceMemoryError(no_room(h_0, seq_len, error)) from error


def no_room(h_0: Sequence[Array], seq_len: int, error: MemoryError) -> str:
    """Say what the device has no room for."""
    (batch, size), count = h_0[0].shape, len(h_0)
    return (
        f"the device has no room for the states of {seq_len} steps of {batch} sequences with hidden_size {size} in "
        f"{count} direction{'s' * (count > 1)}, which are {seq_len * batch * size * count} numbers: {error} Run fewer "
        "sequences at once, or fewer steps, as RNN.stream does."
    )


def walked(
    cells: Sequence[Cell],
    x: Array,
    h_0: Sequence[Array],
    lengths: Array | None,
    reverse: bool,
    regimes: tuple[str, ...],
) -> tuple[Array, list[Array]]:
    """Return the states of cells that walk at once, and the last of each."""
    walk = Walk(cells, x, h_0, lengths, reverse)
    found = walk.run(planned(walk, regimes))
    if found is None:
        found = walk.run(planned(walk, tuple(regime for regime in regimes if regime != "grid")))
    return found  # type: ignore[return-value]  # only a grid may not fit


def planned(walk: Walk, regimes: tuple[str, ...]) -> Plan:
    """Return the plan for the current device."""
    problem = walk.problem
    plan = make_plan(problem, properties(cupy.cuda.Device().id), regimes)
    if plan is None:
        msg = (
            f"the kernel {os.environ[VARIABLE]!r}, which {VARIABLE} names, does not take hidden_size "
            f"{problem.hidden_size} with {problem.batch} sequences on this device. Unset the variable."
        )
        raise ArgumentError(msg)
    return plan


def chosen_regimes() -> tuple[str, ...]:
    """Return the regimes that the environment variable leaves, none of which is used where it is "off"."""
    value = os.environ.get(VARIABLE)
    if not value:
        return TRUSTED
    choices = {"off": (), "any": REGIMES, **{regime: (regime,) for regime in REGIMES}}
    if value not in choices:
        msg = f"the environment variable {VARIABLE} must be one of {', '.join(choices)}; got {value!r}. Unset it."
        raise ArgumentError(msg)
    return choices[value]


def is_covered(cell: RecurrentCell, x: Array, h_0: Array) -> TypeGuard[Cell]:
    """Tell whether there are kernels for a cell and its arguments."""
    if type(cell) is not Cell or not isinstance(cell.activation, Activation):
        return False
    weights, states = dtype_name(cell.weight_hh), dtype_name(h_0)
    return (
        cell.activation.name in ELEMENTWISE
        and (weights == states or (weights == "float32" and states in HALF))
        and weights in {"float32", "float64"}
        and (x.ndim == 3 or dtype_name(x) in {"int32", "int64"})
    )


def are_alike(cells: Sequence[Cell]) -> bool:
    """Tell whether one kernel walks all cells at once."""
    return len({(cell.activation, cell.clip, cell.leak, cell.hidden_size) for cell in cells}) == 1
