"""Flax's parameters of SimpleCell, of linen and of nnx, and Haiku's of VanillaRNN: trees of arrays.

A cell is ``{"i": {"kernel", "bias"}, "h": {"kernel"}}`` in linen, ``dense_i`` and ``dense_h`` in nnx, and
``vanilla_rnn/linear`` and ``vanilla_rnn/linear_1`` in Haiku; kernels are (from, to), so W_ax and W_aa are their
transposes.  The tree does not record what feeds what, nor in which order its modules were made.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import shown
from rnn_backends.core.network import Network
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.arrays import ToHost, declare, unmasked
from rnn_backends.formats.flax.activations import looked_up
from rnn_backends.formats.flax.cells import cells_of, is_haiku, places_of
from rnn_backends.formats.flax.flattened import flattened, require_numbers
from rnn_backends.formats.flax.modules import TABLES, modules_of, require_no_statistics
from rnn_backends.formats.flax.variables import variables_of
from rnn_backends.formats.made import Made, closed, declared_of, made
from rnn_backends.formats.names import is_within, layer_indices, require_no_gates
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.readings import Widths
from rnn_backends.formats.roles import given_roles, reading_of
from rnn_backends.formats.weights import linears_of, network_of, require_kinds

_CELL = {"i/kernel": "weight_ih", "h/kernel": "weight_hh", "i/bias": "bias"}


def from_tree(params: Mapping[Any, Any], options: LoadOptions, to_host: ToHost, account: Account) -> Network:
    """Return the network of NumPy arrays that a tree of parameters holds; see `rnn_backends.from_flax`."""
    options = looked_up(options)
    if options.batch_first is None:
        options = replace(options, batch_first=True)  # as flax's time_major=False
    variables, roles = variables_of(params, options.key), options.roles or {}
    whole, statistics = flattened(variables, account), variables.statistics_by_path(account)
    ignored = [key for key, role in roles.items() if role == "ignore"]
    tree = {path: array for path, array in whole.items() if not _is_below(path, ignored)}
    require_no_statistics([path for path in statistics if not _is_below(path, ignored)])
    require_numbers(tree)
    declared = declare(tree)
    held = {
        path: array
        if isinstance(array, Made)
        else made(path, declared, lambda name: to_host(unmasked(name, tree[name])))
        for path, array in tree.items()
    }
    cells = cells_of(held)
    arrays = _recurrent(
        cells, places_of(cells, options.layers, {path: array.shape for path, array in held.items()}), held, options
    )
    modules = modules_of(held, cells)
    given = given_roles(modules, roles, [*whole, *statistics], "/")
    require_kinds(modules, given)
    if others := roles.keys() - given.keys() - set(ignored):
        msg = f"`roles` names {shown(min(others))}, which has no role of its own; cells are ordered by `layers`."
        raise FormatError(msg)
    fixed = {module.prefix: "embedding" for module in modules if module.kind == "table"} | given
    turned = {path: array if path.rpartition("/")[2] in TABLES else _turned(array) for path, array in held.items()}
    reading = reading_of(modules, [], fixed, _widths(arrays), declared_of(turned), options, ordered=False)
    return network_of(arrays | linears_of(reading, turned), reading, options, account)


def _recurrent(
    cells: Mapping[str, Mapping[str, str]], places: Mapping[str, str], held: Mapping[str, Made], options: LoadOptions
) -> dict[str, Made]:
    """Return the arrays of the cells by the names of the network."""
    found: dict[str, Made] = {}
    for place, cell in places.items():
        parts = cells[cell]
        own = is_haiku(parts)
        if options.residual is None and not own:
            msg = f"parameters of a SimpleCell do not record whether it is residual; {way('residual')}."
            raise ArgumentError(msg)
        if options.residual and own:
            msg = f"{shown(cell)} is Haiku's, which has no residual cells; {way('leave_out', option='residual')}."
            raise ArgumentError(msg)
        require_no_gates(parts["h/kernel"], held[parts["h/kernel"]].shape[::-1])
        arrays = {name: _turned(held[parts[part]]) for part, name in _CELL.items() if part in parts}
        if "h/bias" in parts:
            arrays["bias_hh" if "bias" in arrays else "bias"] = held[parts["h/bias"]]
        if "bias_hh" in arrays:
            arrays["bias_ih"] = arrays.pop("bias")
        if options.residual:
            arrays["weight_hh"] = _residual(arrays["weight_hh"])
        found |= {f"{name}_{place}": array for name, array in arrays.items()}
    return found


def _is_below(path: str, keys: list[str]) -> bool:
    return any(is_within(path, key, "/") for key in keys)


def _turned(array: Made) -> Made:
    """Return a kernel, (from, to), as a weight; a bias as it is."""
    return array.turned() if len(array.shape) == 2 else array


def _residual(weight_hh: Made) -> Made:
    """Return W + 1, which makes a cell that is not residual.

    act(W_i x + b + W_h h + h) is act(W_i x + b + (W_h + 1) h): a Cell, which every backend runs and every file holds.
    The sum is rounded once, by no more than a product of the same step is.
    """

    def added() -> Host:
        found = weight_hh.own()
        np.fill_diagonal(found, found.diagonal().astype(np.float64) + 1.0)
        return closed(found)

    return Made(weight_hh.dtype, weight_hh.shape, added)


def _widths(arrays: Mapping[str, Made]) -> Widths:
    """Return the features that the first layer takes, and those that the last one gives."""
    hidden = {name.removeprefix("weight_hh_"): array for name, array in arrays.items() if name.startswith("weight_hh_")}
    last = max(layer_indices(hidden))
    first = next(array for name, array in arrays.items() if name in {"weight_ih_l0", "weight_ih_l0_reverse"})
    # What is no matrix is refused where the cells are made; it may have no axis at all.
    width = sum(sum(array.shape[:1]) for place, array in hidden.items() if layer_indices([place]) == [last])
    return Widths(sum(first.shape[-1:]), width)
