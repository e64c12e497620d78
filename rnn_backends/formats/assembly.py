"""Networks made of named arrays and taken apart into them; everything is checked before an array is read.

Arrays carry torch's names: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_l0`` of the first layer, with
``_reverse`` for its backward cell, then ``readout.weight`` and ``readout.bias``.  torch's own two biases,
``bias_ih_l0`` and ``bias_hh_l0``, are read too, and added in their dtype: rounded once.  A sparse matrix has three
arrays; see `rnn_backends.formats.entries`.  All else is a description, which a file of this package holds as one JSON
text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.affine import AffineCell
from rnn_backends.core.arrays import Host, is_array
from rnn_backends.core.cell import Cell
from rnn_backends.core.layers import Layer
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import got
from rnn_backends.core.network import Network
from rnn_backends.core.rate import RateCell
from rnn_backends.core.sparse import Sparse
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.description import Description, describe, described, parsed
from rnn_backends.formats.entries import named_matrix, with_matrices
from rnn_backends.formats.made import declared_of, made
from rnn_backends.formats.names import Declared, cells_in_order, layer_indices, linear_names, places
from rnn_backends.formats.options import OPTIONS, LoadOptions
from rnn_backends.formats.values import KINDS


def pack(network: Network) -> tuple[dict[str, Host], str]:
    """Return the arrays of a network by name, and the JSON text that describes the rest."""
    return arrays_by_name(network), describe(network, held_cells(network))


def arrays_by_name(network: Network) -> dict[str, Host]:
    """Return the arrays of a network, contiguous, by name."""
    found: dict[str, Any] = {}
    for place, cell in held_cells(network).items():
        found[f"weight_ih_{place}"] = cell.weight_ih
        found |= named_matrix(f"weight_hh_{place}", cell.weight_hh)
        found[f"bias_{place}"] = cell.bias
        leak = vars(cell)["leak"]
        found[f"leak_{place}"] = leak if is_array(leak) else None
    for role, linears in (("encoder", network.encoder), ("readout", network.readout)):
        for index, linear in enumerate(linears):
            name = role if len(linears) == 1 else f"{role}.{index}"
            found[f"{name}.weight"], found[f"{name}.bias"] = linear.weight, linear.bias
    if isinstance(network.h_0, tuple):
        found |= {f"h_0_{place}": part for place, part in zip(held_cells(network), network.h_0, strict=True)}
    else:
        found["h_0"] = network.h_0
    # safetensors writes the memory of an array as it lies, transposed or not.
    return {name: np.ascontiguousarray(array) for name, array in found.items() if array is not None}


def from_described(
    declared: Declared, text: str | bytes, options: LoadOptions, read: Callable[[str], Host], account: Account
) -> Network:
    """Return the network of a file of this package: arrays and a JSON text."""
    held = parsed(text, account)
    del text  # of which nothing is held beside the arrays
    arrays = with_matrices({name: made(name, declared, read) for name in declared}, account)
    declared = declared_of(arrays)
    description = described(held, places(declared), account)
    del held
    if description.takes is None and options.takes is not None:
        description, options = description._replace(takes=options.takes), replace(options, takes=None)
    options.require_left_out("the file", OPTIONS)
    for role, told in (("readout", description.readout), ("encoder", description.encoder)):
        if len(told) != (count := len(linear_names(declared, role))):
            msg = f"the file must describe each Linear of its {role}; it holds {count} and describes {len(told)}."
            raise FormatError(msg)
    return assemble(declared, description, lambda name: arrays[name].make())


def assemble(declared: Declared, description: Description, read: Callable[[str], Host]) -> Network:
    """Return the network of arrays that are declared by name, and a description of the rest.

    It is first made of arrays that take no memory, so that all is checked before any is read.
    """
    found = places(declared)
    joined, read_joined = join_biases(declared, found, read)
    try:
        stand_ins = {name: np.broadcast_to(np.ones((), dtype), shape) for name, (dtype, shape) in joined.items()}
        _build(stand_ins, found, description)
        return _build({name: read_joined(name) for name in joined}, found, description)
    except FormatError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"the arrays make no network: {error}"
        raise FormatError(msg) from error


def held_cells(network: Network) -> dict[str, AffineCell]:
    """Return the cells of a network by their places, l0, l0_reverse, l1; each must be of a class that a file holds."""
    cells: dict[str, AffineCell] = {}
    for index, layer in enumerate(network.layers):
        for cell, reverse in layer.cells:
            if not isinstance(cell, AffineCell) or type(cell) not in KINDS.values():
                msg = (
                    f"files hold cells of the classes {' and '.join(KINDS)} alone; layer {index} has one of "
                    f"{type(cell).__name__}; {way('pickled')}."
                )
                raise FormatError(msg)
            cells[f"l{index}_reverse" if reverse else f"l{index}"] = cell
    return cells


def plain_cells(network: Network, what: str) -> dict[str, Cell]:
    """Return the cells of a network by their places for what holds each `Cell` without noise, and nothing else."""
    cells: dict[str, Cell] = {}
    for place, cell in held_cells(network).items():
        if not isinstance(cell, Cell):
            msg = f"{what} has no {type(cell).__name__}, which {place} of the model is; {way('save_as')}."
            raise FormatError(msg)
        if isinstance(cell.weight_hh, Sparse):
            msg = f"{what} has no sparse matrix, which weight_hh of {place} is; {way('save_as')}."
            raise FormatError(msg)
        cells[place] = cell
    if network.noise is not None:
        msg = f"{what} has no noise, and this model has; {way('save_as')}."
        raise FormatError(msg)
    return cells


def join_biases(
    declared: Declared, found: list[str], read: Callable[[str], Host]
) -> tuple[Declared, Callable[[str], Host]]:
    """Put one bias in the place of torch's two, as declared and as read: their sum."""
    joined, pairs = dict(declared), {}
    for place in found:
        first, second = pair = f"bias_ih_{place}", f"bias_hh_{place}"
        if first in declared:
            if declared[first] != declared[second]:
                msg = f"{first} and {second} must be alike; got {got(declared[first])} and {got(declared[second])}."
                raise FormatError(msg)
            pairs[f"bias_{place}"] = pair
            joined[f"bias_{place}"] = joined.pop(first)
            del joined[second]

    def read_joined(name: str) -> Host:
        if name not in pairs:
            return read(name)
        first, second = pairs[name]
        with np.errstate(all="ignore"):  # a sum beyond the dtype is infinite, as it would be in torch
            total: Host = read(first) + read(second)
        return total

    return joined, read_joined


def _build(arrays: Mapping[str, Host], found: list[str], description: Description) -> Network:
    cells: dict[str, Any] = {}
    for place in found:
        weights = (arrays[f"weight_ih_{place}"], arrays[f"weight_hh_{place}"], arrays.get(f"bias_{place}"))
        options: dict[str, Any] = dict(description.cells[place])
        if (leak := arrays.get(f"leak_{place}")) is not None:
            if options.get("leak") is not None:
                msg = f"the cell {place} has two leaks, leak_{place} and one for all units."
                raise FormatError(msg)
            options["leak"] = leak
        kind = KINDS[options.pop("kind", Cell.__name__)]
        if kind is RateCell:
            _require_rates(place, options)
        try:
            cells[place] = kind(*weights, **options)
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"the cell {place} is wrong: {error}"
            raise FormatError(msg) from error
    layers = tuple(Layer(cells.get(f"l{k}"), cells.get(f"l{k}_reverse")) for k in layer_indices(found))
    states = tuple(arrays[f"h_0_{place}"] for place in cells_in_order(found) if f"h_0_{place}" in arrays)
    return Network(
        layers,
        _linears(arrays, "readout", description.readout),
        encoder=_linears(arrays, "encoder", description.encoder),
        reads=description.reads,
        takes=description.takes,
        h_0=states or arrays.get("h_0"),
        noise=description.noise,
        batch_first=description.batch_first,
        vocabulary=description.vocabulary,
        unknown=description.unknown,
        metadata=description.metadata,
    )


def _require_rates(place: str, options: dict[str, Any]) -> None:
    """Check that a RateCell is described with a leak and without a clip, of which it has none."""
    clip = options.pop("clip", None)
    if clip is not None or options["leak"] is None:
        what = "has a clip" if clip is not None else "has no leak"
        msg = f"the cell {place} is wrong: it is a RateCell and {what}."
        raise FormatError(msg)


def _linears(arrays: Mapping[str, Host], role: str, activations: Sequence[Any]) -> list[Linear]:
    """Return the Linear of a role."""
    names = linear_names(arrays, role)
    return [
        Linear(arrays[f"{name}.weight"], arrays.get(f"{name}.bias"), activation)
        for name, activation in zip(names, activations, strict=bool(names))
    ]
