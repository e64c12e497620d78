"""Every intermediate of the equations, by name, for inspection."""

from typing import Any

from rnn_backends.core.arrays import Array, array_namespace, cast, device, is_integer, where_valid, widen
from rnn_backends.core.cell import Cell
from rnn_backends.core.forward import propagate
from rnn_backends.core.layers import Layer
from rnn_backends.core.masking import valid_steps
from rnn_backends.core.parameters import map_arrays
from rnn_backends.core.recurrence import Recurrence, project


def trace(
    layers: tuple[Layer, ...],
    x: Array,
    h_0: Array | None,
    lengths: Array | None,
    mask: Array | None,
    recurrence: Recurrence,
) -> tuple[Array, dict[str, Array]]:
    """Return the output of checked, time-major arguments and the intermediates; see `RNN.trace`."""
    if x.ndim < 3 - is_integer(x):  # no batch axis
        h_0 = None if h_0 is None else h_0[:, None, ...]
        mask = None if mask is None else mask[:, None]
        output, steps = trace(layers, x[:, None, ...], h_0, None, mask, recurrence)
        return output[:, 0, :], {name: step[:, 0, :] for name, step in steps.items()}
    steps, done = {}, 0
    for index, layer in enumerate(layers):
        cells = len(layer.cells)
        h = None if h_0 is None else h_0[done : done + cells, ...]
        output, h_n = propagate((layer,), x, h, lengths, recurrence, mask)
        hidden_size = h_n.shape[-1]
        for place, (cell, reverse) in enumerate(layer.cells):
            states = output[..., place * hidden_size : (place + 1) * hidden_size]
            before = None if h is None else h[place, ...]
            found = products(cell, x, states, before, lengths, mask, reverse) if isinstance(cell, Cell) else {}
            found["hidden_state"] = states
            suffix = f"_l{index}_reverse" if reverse else f"_l{index}"
            steps.update({f"{name}{suffix}": step for name, step in found.items()})
        x, done = output, done + cells
    return x, steps


def products(
    cell: Cell,
    x: Array,
    states: Array,
    h_0: Array | None,
    lengths: Array | None,
    mask: Array | None,
    reverse: bool,
) -> dict[str, Array]:
    """Return the terms of the equation at every step, from the input and the states of a cell."""
    xp = array_namespace(states)
    valid = None if lengths is None else valid_steps(lengths, states.shape[0])
    start = (
        xp.zeros((1, *states.shape[1:]), dtype=states.dtype, device=device(states)) if h_0 is None else h_0[None, ...]
    )
    held = states if valid is None else xp.where(valid, states, xp.broadcast_to(start, states.shape))
    previous = held
    if states.shape[0] > 0:
        previous = xp.concat([held[1:, ...], start] if reverse else [start, held[:-1, ...]])
    wide: Any = map_arrays(widen, cell)
    unbiased = Cell(wide.weight_ih, wide.weight_hh)
    terms = {
        "input_product": project(unbiased, x),
        "recurrent_product": wide.recurrent_product(widen(previous)),
    }
    terms["sum"] = project(wide, x) + terms["recurrent_product"]
    if mask is not None:
        valid = mask[..., None] if valid is None else valid & mask[..., None]
    if valid is not None:
        terms = {name: where_valid(term, valid) for name, term in terms.items()}
    return {name: cast(term, states.dtype) for name, term in terms.items()}
