"""torch's modules and state dicts, in and out, without importing torch: modules are asked what they are."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network, is_uneven
from rnn_backends.errors import FormatError
from rnn_backends.formats.arrays import ToHost, declare, embedded
from rnn_backends.formats.assembly import arrays_by_name, plain_cells
from rnn_backends.formats.names import Declared, listed, shown
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account
from rnn_backends.formats.weights import from_weights

RECURRENT = ("RNN", "RNNCell")
GATED = ("LSTM", "LSTMCell", "GRU", "GRUCell")
INERT = ("Dropout", "AlphaDropout", "Identity")
READOUTS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
MODES = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}


class _Leaf(NamedTuple):
    """A module without children: its path, the name of its class in torch, and itself."""

    path: str
    kind: str
    module: Any


def from_object(source: Any, options: LoadOptions, to_host: ToHost) -> Network:
    """Return the network of NumPy arrays that a module or a state dict is."""
    embedding = None
    if not isinstance(source, Mapping):
        source, options, embedding = _from_module(source, options)
    declared = declare(source)

    def read(name: str) -> Host:
        return to_host(source[name])

    if embedding is None:
        return from_weights(declared, options, read, Account())
    table = f"{embedding}.weight".removeprefix(".")
    return _with_embedding(declared, table, options.taking_tokens(embedding), read)


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


def _with_embedding(declared: Declared, table: str, options: LoadOptions, read: Callable[[str], Host]) -> Network:
    """Return the network with the embedding folded into the first layer, which then takes token ids."""
    if table not in declared:
        msg = f"the state dict lacks {shown(table)}; a hook or a parametrization stands in its place."
        raise FormatError(msg)
    rest = {name: what for name, what in declared.items() if name != table}
    first = {name for name in rest if name.rpartition(".")[2].startswith(("weight_ih_l0", "weight_ih"))}
    dtype, (vocabulary_size, size) = declared[table]
    for name in first:
        if rest[name][1][1:] != (size,) or rest[name][0] != dtype:
            found = f"it is {rest[name][0]} of shape {rest[name][1]}"
            msg = f"{shown(name)} must take the {size} features of {shown(table)}, {dtype}; {found}."
            raise FormatError(msg)
        rest[name] = (rest[name][0], (rest[name][1][0], vocabulary_size))

    return from_weights(
        rest, options, lambda name: embedded(read(name), read(table)) if name in first else read(name), Account()
    )


def _from_module(module: Any, options: LoadOptions) -> tuple[Mapping[str, Any], LoadOptions, str | None]:
    """Return the state dict of a module, the options with the facts it records, and the path of its embedding."""
    if not callable(getattr(module, "named_modules", None)) or not callable(getattr(module, "state_dict", None)):
        msg = (
            f"expected a torch module or a state dict, a mapping of arrays by name; got {type(module).__name__}. "
            "A file is read by rnn_backends.load."
        )
        raise FormatError(msg)
    leaves = _leaves(module)
    recurrent = _only(leaves, RECURRENT)
    if recurrent is None:
        msg = f"there must be one nn.RNN or nn.RNNCell; {type(module).__name__} holds none."
        raise FormatError(msg)
    linear, softmax, embedding = (_only(leaves, kinds) for kinds in (("Linear",), tuple(READOUTS), ("Embedding",)))
    order = [leaf for leaf in (embedding, recurrent, linear, softmax) if leaf is not None]
    if order != [leaf for leaf in leaves if leaf in order] or (softmax and not linear):
        found = ", ".join(f"{leaf.path} ({leaf.kind})" for leaf in leaves)
        msg = f"the modules must be in the order Embedding, RNN, Linear, Softmax, as they are applied; got {found}."
        raise FormatError(msg)
    if embedding is not None and embedding.module.max_norm is not None:
        msg = f"the embedding {shown(embedding.path)} has max_norm, which changes its rows as they are used."
        raise FormatError(msg)
    facts = {**_facts(recurrent), "readout_activation": _readout_activation(softmax)}
    return module.state_dict(), options.completed("the module", facts), embedding and embedding.path


def _leaves(module: Any) -> list[_Leaf]:
    """Return the modules that compute, each of a class that is understood, in the order of their registration."""
    leaves = []
    for path, child in module.named_modules():
        if next(iter(child.children()), None) is not None:
            continue
        owner = type(child)
        # A subclass may compute something else, so only torch's own classes are known by their names.
        kind = owner.__name__ if owner.__module__.partition(".")[0] == "torch" else ""
        where = f"{shown(path)} is a {owner.__module__}.{owner.__qualname__}"
        if kind in GATED:
            msg = f"{where}, which has gates; this package runs vanilla RNNs, nn.RNN and nn.RNNCell."
            raise FormatError(msg)
        if kind in RECURRENT or kind in READOUTS or kind in {"Linear", "Embedding"}:
            leaves.append(_Leaf(path, kind, child))
        elif kind not in INERT:
            msg = (
                f"{where}, which is not understood; understood are {', '.join(RECURRENT)}, Embedding, Linear, "
                f"{', '.join(READOUTS)}, Dropout. Pass the state dict of the recurrent part."
            )
            raise FormatError(msg)
    return leaves


def _only(leaves: list[_Leaf], kinds: tuple[str, ...]) -> _Leaf | None:
    found = [leaf for leaf in leaves if leaf.kind in kinds]
    if len(found) > 1:
        msg = (
            f"there may be one {' or '.join(kinds)}; got {listed(leaf.path for leaf in found)}, and a module "
            "does not record what is fed to what. Pass the parts one by one."
        )
        raise FormatError(msg)
    return found[0] if found else None


def _facts(leaf: _Leaf) -> dict[str, Any]:
    """Return the facts that a recurrent module records and its weights do not."""
    if leaf.kind == "RNNCell":
        return {"activation": Activation(leaf.module.nonlinearity)}
    return {"activation": Activation(MODES[leaf.module.mode]), "batch_first": bool(leaf.module.batch_first)}


def _readout_activation(leaf: _Leaf | None) -> Callable[..., Any] | None:
    if leaf is None:
        return None
    if leaf.kind != "Sigmoid" and leaf.module.dim != -1:
        msg = f"{shown(leaf.path)} must be over the last axis, dim=-1; it is over dim={leaf.module.dim}."
        raise FormatError(msg)
    return Activation(READOUTS[leaf.kind])


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
        msg = f"a state dict of nn.RNN and nn.Linear cannot say {found}; save the model as .safetensors or .npz."
        raise FormatError(msg)
    sides = {(layer.forward is not None, layer.backward is not None) for layer in network.layers}
    if sides not in ({(True, False)}, {(True, True)}):
        msg = "torch's nn.RNN runs all layers forward, or all in both directions; this network does not."
        raise FormatError(msg)
    cells = plain_cells(network).values()
    for option in ("clip", "leak"):
        if any(getattr(cell, option) is not None for cell in cells):
            msg = f"torch's nn.RNN has no {option}; this network uses it."
            raise FormatError(msg)
    activations = {cell.activation for cell in cells}
    if activations not in ({Activation("tanh")}, {Activation("relu")}):
        found = ", ".join(sorted(str(getattr(each, "name", each)) for each in activations))
        msg = f"torch's nn.RNN has tanh or relu, one for all its cells; this network has {found}."
        raise FormatError(msg)
