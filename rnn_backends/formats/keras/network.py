"""A plan of layers as a network: the direction of each cell, and what is multiplied into its weights."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.description import Description
from rnn_backends.formats.folding import assembled
from rnn_backends.formats.keras.activations import LINEAR
from rnn_backends.formats.keras.affine import Affine
from rnn_backends.formats.keras.notes import notes
from rnn_backends.formats.keras.plan import LinearPart, Plan
from rnn_backends.formats.keras.recurrent import CellPart
from rnn_backends.formats.keras.weights import Weights, own
from rnn_backends.formats.made import Made
from rnn_backends.formats.names import layer_indices, require_no_gates
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.scaling import Scaling, scaled
from rnn_backends.formats.stated import stated


class Placed(NamedTuple):
    """A cell in its place, and what scales its input."""

    cell: CellPart
    before: tuple[Affine, ...]


def network(found: Plan, weights: Weights, options: LoadOptions, account: Account) -> Network:
    """Return the network of NumPy arrays."""
    cells = _places(found)
    options = options if found.embedding is None else options.taking_tokens(found.embedding)
    _require_reading(found, options)
    made = _arrays(found, cells, weights, account)
    description = Description(
        {
            place: {"activation": placed.cell.activated.function, "clip": placed.cell.activated.clip}
            for place, placed in cells.items()
        },
        _activations("readout", found.readout, options),
        encoder=_activations("encoder", found.encoder, options),
        batch_first=options.batch_first is not False, vocabulary=None, metadata=notes(found),
        reads=options.reads or found.reads or "steps", takes=options.takes or "features",
    )  # fmt: skip
    return assembled(made, description, account)


def _require_reading(found: Plan, options: LoadOptions) -> None:
    """Check that what the model gives is what the network does, or what the caller knows to be otherwise."""
    top = found.layers[-1]
    if found.is_turned and not options.go_backwards:
        what = f"{top.name} goes backwards and gives its steps last one first, where here they are in the input's order"
        msg = f"{what}; {way('keras_backwards')}."
        raise FormatError(msg)
    if found.mask and top.sequences is False and top.zeros and not top.both:
        msg = f"{top.name} has zero_output_for_mask=True, and gives 0 where the last step is masked, not the state."
        raise FormatError(msg)


def _activations(role: str, linears: Sequence[LinearPart], options: LoadOptions) -> list[Any]:
    """Return the activations of a role; that of a Dense at the end may be given where the model applies none."""
    for linear in linears:
        if linear.activated is not None and linear.activated.clip is not None:
            msg = "the activation of a Dense cannot clip, as hard_tanh does."
            raise FormatError(msg)
    recorded = [None if linear.activated is None else linear.activated.function for linear in linears]
    given = getattr(options, f"{role}_activation")
    if role == "readout" and given is not None and not isinstance(given, tuple) and linears:
        recorded[-1] = None if recorded[-1] == LINEAR.function else recorded[-1]
    return stated(role, recorded, options)


def _places(found: Plan) -> dict[str, Placed]:
    """Return the cells by place, l0, l0_reverse, l1, in their direction, which a layer that goes backwards turns."""
    cells: dict[str, Placed] = {}
    index, reverse = 0, False
    for number, layer in enumerate(found.layers):
        if found.mask and number and not found.layers[number - 1].forward:
            msg = (
                f"{found.layers[number - 1].name} goes backwards and a layer takes its steps in reverse, but Keras "
                "gives that layer the mask as it is, so that it leaves out other steps; here both are turned."
            )
            raise FormatError(msg)
        scales = found.scaled.get(number, ())
        if layer.both:
            cells[f"l{index}"] = Placed(layer.forward[0], scales)
            cells[f"l{index}_reverse"], index = Placed(layer.backward[0], scales), index + 1
            continue
        reverse ^= bool(layer.backward)
        for cell in layer.forward or layer.backward:
            cells[f"l{index}{'_reverse' if reverse else ''}"], index = Placed(cell, scales), index + 1
            scales = ()
    return cells


def _arrays(found: Plan, cells: Mapping[str, Placed], weights: Weights, account: Account) -> dict[str, Made]:
    """Return the arrays of the network, by name."""
    arrays: dict[str, Made] = {}
    for place, (cell, before) in cells.items():
        kernel, recurrent, *bias = _stored(weights, cell.path, 2 + cell.biased)
        require_no_gates(f"{cell.path}/vars/1", recurrent.shape[::-1])
        names = (f"weight_ih_{place}", f"bias_{place}")
        arrays |= _multiplied(names, (kernel, *bias), (before, ()), weights, account)
        arrays[f"weight_hh_{place}"] = recurrent.turned()
    for role, linears in (("encoder", found.encoder), ("readout", found.readout)):
        for index, linear in enumerate(linears):
            name = role if len(linears) == 1 else f"{role}.{index}"
            held = [_identity(arrays)] if linear.is_identity else _stored(weights, linear.path, 1 + linear.biased)
            names = (f"{name}.weight", f"{name}.bias")
            arrays |= _multiplied(names, held, (linear.before, linear.after), weights, account)
    return arrays


def _stored(weights: Weights, path: str, count: int) -> list[Made]:
    """Return the arrays of a layer, of which there must be so many."""
    return [weights.made(each) for each in own(weights, path, count)]


def _identity(arrays: Mapping[str, Made]) -> Made:
    """Return the kernel of a Linear that gives the states of the last layer as they are."""
    held = [name.removeprefix("weight_hh_") for name in arrays if name.startswith("weight_hh_")]
    top = [f"weight_hh_{place}" for place in held if layer_indices([place]) == layer_indices(held)[-1:]]
    dtype, width = arrays[top[0]].dtype, sum(arrays[name].shape[-1] for name in top)
    return Made(dtype, (width, width), lambda: np.eye(width, dtype=dtype))


def _multiplied(
    names: tuple[str, str],
    held: Sequence[Made],
    beside: tuple[Sequence[Affine], Sequence[Affine]],
    weights: Weights,
    account: Account,
) -> dict[str, Made]:
    """Return a weight and its bias, by their names, with what scales the input and the result multiplied into them.

    Of a layer there are the kernel, (from, to), and its bias, if there is one.
    """
    kernel, *biases = held
    made = [kernel.turned(), *biases]
    if any(beside):

        def scalings() -> list[list[Scaling]]:
            sides = zip(beside, kernel.shape, strict=True)
            return [[affine.read(weights, width) for affine in affines] for affines, width in sides]

        made = [*scaled(made[0], next(iter(biases), None), scalings, names[0], account)]
    return dict(zip(names, made, strict=False))
