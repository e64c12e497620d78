"""Every intermediate of the equations, by name, for inspection."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rnn_backends.core.affine import AffineCell
from rnn_backends.core.arrays import Array, array_namespace, cast, device, is_integer, where_valid, widen
from rnn_backends.core.cell import Cell
from rnn_backends.core.forward import propagate, started
from rnn_backends.core.layers import Layer, RecurrentCell, has_output, outputs_of
from rnn_backends.core.masking import steps_taken, valid_steps, zeroed
from rnn_backends.core.network import Network, hidden_sizes
from rnn_backends.core.parameters import map_arrays
from rnn_backends.core.reading import read_whole
from rnn_backends.core.recurrence import Recurrence, last_states, project


def trace(
    network: Network,
    x: Array,
    h_0: Any,
    lengths: Array | None,
    mask: Array | None,
    recurrence: Recurrence,
    noise: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Return the intermediates of checked, time-major arguments by name; see `RNN.trace`."""
    if x.ndim < 3 - is_integer(x):  # no batch axis
        h_0 = None if h_0 is None else tuple(part[None, :] for part in last_states(h_0))
        mask = None if mask is None else mask[:, None]
        steps = trace(network, x[:, None, ...], h_0, None, mask, recurrence, noise)
        return {name: step[:, 0, :] if step.ndim == 3 else step[0, :] for name, step in steps.items()}
    steps, h_0 = {}, started(network, x, h_0)
    given: Any = [None] * len(hidden_sizes(network.layers)) if h_0 is None else last_states(h_0)
    added = iter([None] * len(given) if noise is None else noise)
    if network.encoder:
        x = zeroed(x, lengths, mask)
    for index, linear in enumerate(network.encoder):
        x = steps[f"encoder_{index}"] = linear.activate(linear(x))
    valid = steps_taken(lengths, None, x.shape[0])
    for index, layer in enumerate(network.layers):
        (h, given), below = (given[: len(layer.cells)], given[len(layer.cells) :]), x
        numbers: Any = list(islice(added, len(layer.cells)))
        parts = None if noise is None else numbers
        start = None if h_0 is None else tuple(h)
        held, h_n = propagate((_of_states(layer),), x, start, lengths, recurrence, mask, parts)
        last, begin, outputs = last_states(h_n), 0, []
        for (cell, reverse), before, end, number in zip(layer.cells, h, last, numbers, strict=True):
            states, begin = held[..., begin : begin + end.shape[-1]], begin + end.shape[-1]
            found: dict[str, Array] = {}
            if isinstance(cell, AffineCell):
                found = products(cell, below, states, before, number, lengths, mask, reverse)
            found["hidden_state"] = states
            if has_output(cell):
                found["output"] = where_valid(outputs_of(cell, states), None if valid is None else valid[..., None])
            outputs.append(found.get("output", states))
            suffix = f"_l{index}_reverse" if reverse else f"_l{index}"
            steps.update({f"{name}{suffix}": step for name, step in found.items()})
        x = outputs[0] if len(outputs) == 1 else array_namespace(held).concat(outputs, axis=-1)
    if network.readout:
        if network.reads != "steps":
            x = read_whole(layer, network.reads, x, last, lengths, mask)
        for index, linear in enumerate(network.readout[:-1]):
            x = steps[f"readout_{index}"] = linear.activate(linear(x))
        steps["logits"] = network.readout[-1](x)
        steps["probabilities"] = network.readout[-1].activate(steps["logits"])
    return steps


@dataclass(frozen=True, eq=False, repr=False)
class _StatesOf:
    """A cell that gives its states, where another gives what it makes of them."""

    cell: RecurrentCell

    @property
    def hidden_size(self) -> int | None:
        return getattr(self.cell, "hidden_size", None)

    def project(self, x: Array) -> Array:
        return self.cell.project(x)

    def step(self, projected: Array, h: Array) -> Array:
        return self.cell.step(projected, h)


def _of_states(layer: Layer) -> Layer:
    """Return a layer that gives the states of its cells."""
    if not any(has_output(cell) for cell, _ in layer.cells):
        return layer
    cells = {"backward" if reverse else "forward": _StatesOf(cell) for cell, reverse in layer.cells}
    return Layer(**cells)


def products(
    cell: AffineCell,
    x: Array,
    states: Array,
    h_0: Array | None,
    noise: Array | None,
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
        "recurrent_product": wide.recurrent_product(outputs_of(wide, widen(previous))),
    }
    terms["sum"] = project(wide, x) + terms["recurrent_product"]
    if noise is not None:
        terms = terms | {"noise": noise, "sum": terms["sum"] + noise}
    if mask is not None:
        valid = mask[..., None] if valid is None else valid & mask[..., None]
    if valid is not None:
        terms = {name: where_valid(term, valid) for name, term in terms.items()}
    return {name: cast(term, states.dtype) for name, term in terms.items()}
