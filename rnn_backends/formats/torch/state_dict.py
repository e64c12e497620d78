"""torch's state dicts, in and out, without importing torch; modules by `module`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host, is_array
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network, is_uneven
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.arrays import ToHost, declare, unmasked
from rnn_backends.formats.assembly import arrays_by_name, plain_cells
from rnn_backends.formats.made import made
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.torch.beside import parts_of
from rnn_backends.formats.torch.checkpoint import state_dict as selected
from rnn_backends.formats.torch.module import from_module, is_module, live
from rnn_backends.formats.weights import from_weights


def from_object(source: Any, options: LoadOptions, to_host: ToHost) -> Network:
    """Return the network of NumPy arrays that a module or a state dict is."""
    if is_module(source):
        return from_module(source, options, live(to_host))
    if not isinstance(source, Mapping):
        msg = (
            f"expected a torch module or a state dict, a mapping of arrays by name; got {_described(source)}; "
            f"a file: {way('load')}."
        )
        raise FormatError(msg)
    account = Account()
    state, options = selected(source, options, account, _is_tensor)
    if is_module(state):
        return from_module(state, options, live(to_host))
    parts = parts_of(state, options, _is_tensor)
    held = {
        name: value
        for name, value in state.items()
        if name in parts.tensors or name in parts.weights or (_is_tensor(value) and not isinstance(name, str))
    }
    declared = declare(held)
    arrays = {name: made(name, declared, lambda name: to_host(unmasked(name, held[name]))) for name in declared}
    return from_weights(arrays, parts.options, account)


def _described(source: object) -> str:
    return f"the class {source.__name__}" if isinstance(source, type) else type(source).__name__


def _is_tensor(value: Any) -> bool:
    """Return whether a value is an array: no number of NumPy's, such as the loss of an epoch, and no array of texts."""
    if not is_array(value) or isinstance(value, np.generic):
        return False
    return not isinstance(value, np.ndarray) or value.dtype.kind in "fiubc"


def state_dict(network: Network) -> dict[str, Host]:
    """Return the arrays of a network under torch's names; see `RNN.to_torch`."""
    _require_expressible(network)
    arrays = arrays_by_name(network)
    prefix = "rnn." if network.readout else ""
    biased = any(name.startswith("bias") for name in arrays)
    found = {}
    for name, array in arrays.items():
        kind, _, place = name.rpartition("_l")
        if name.startswith("readout."):
            found[name] = array.copy()
        elif kind != "bias":
            found[f"{prefix}{name}"] = array.copy()
        if kind == "weight_hh" and biased:
            bias = arrays.get(f"bias_l{place}", np.zeros(array.shape[0], array.dtype))
            found[f"{prefix}bias_ih_l{place}"] = bias.copy()
            found[f"{prefix}bias_hh_l{place}"] = np.zeros_like(bias)
    return found


def _require_expressible(network: Network) -> None:
    """Check that an nn.RNN can compute what the network does."""
    if any(type(linear) is not Linear for linear in network.readout):
        msg = f"torch's state dict holds a Linear readout only, not a {type(network.readout[-1]).__name__}."
        raise FormatError(msg)
    if network.encoder or network.h_0 is not None or is_uneven(network.layers) or len(network.readout) > 1:
        parts = {
            "an encoder": network.encoder, "initial states of its own": network.h_0 is not None,
            "cells of several sizes": is_uneven(network.layers), "a head of several Linear": len(network.readout) > 1,
        }  # fmt: skip
        found = ", ".join(name for name, there in parts.items() if there)
        msg = f"a state dict of nn.RNN and nn.Linear cannot say {found}; {way('save_as')}."
        raise FormatError(msg)
    sides = {(layer.forward is not None, layer.backward is not None) for layer in network.layers}
    if sides not in ({(True, False)}, {(True, True)}):
        msg = "torch's nn.RNN runs all layers forward, or all in both directions; this network does not."
        raise FormatError(msg)
    cells = plain_cells(network, "torch's nn.RNN").values()
    for option in ("clip", "leak"):
        if any(getattr(cell, option) is not None for cell in cells):
            msg = f"torch's nn.RNN has no {option}; this network uses it."
            raise FormatError(msg)
    activations = {cell.activation for cell in cells}
    if activations not in ({Activation("tanh")}, {Activation("relu")}):
        found = ", ".join(sorted(str(getattr(each, "name", each)) for each in activations))
        msg = f"torch's nn.RNN has tanh or relu, one for all its cells; this network has {found}."
        raise FormatError(msg)
