"""A chain of layers as a network: the direction of each cell, the embedding that is folded, and the model's output."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from rnn_backends.core.arrays import Host
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.assembly import assemble
from rnn_backends.formats.description import Description
from rnn_backends.formats.keras.activations import LINEAR, Activated, from_config, from_layer
from rnn_backends.formats.keras.layers import RECURRENT, Part, is_activation
from rnn_backends.formats.keras.recurrent import CellPart, Recurrent, recurrent
from rnn_backends.formats.names import Declared, require_no_gates, shown, shown_value
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account
from rnn_backends.formats.transposed import ArraySource, declared_of, made, require_foldable

OUTPUT, MASK = "keras output", "keras mask"
"""The notes in the metadata: the model's output among those of the network, and the steps that the model masks."""
NOT_ZERO = "x != 0"
"""The mask of an Embedding."""
_ORDER = "Masking or Embedding, SimpleRNN or Bidirectional, Dense, and an activation"


class Weights(Protocol):
    """The arrays of the layers, by their paths in the file."""

    def count(self, path: str) -> int:
        """Return the number of arrays that a layer has of its own."""

    def declared(self, path: str) -> tuple[str, tuple[int, ...]]:
        """Return the dtype and the shape of an array."""

    def read(self, path: str) -> Host:
        """Return an array."""


class Plan(NamedTuple):
    """The layers of a network in their places.

    Parameters
    ----------
    layers : list of Recurrent
    embedding, dense : str, optional
        The paths of their weights.
    biased : bool
        Whether the Dense has a bias.
    activation : Activated
        The activation after the Dense.
    mask : str
        The mask of the steps, for a note; empty without one.
    """

    layers: list[Recurrent]
    embedding: str | None = None
    dense: str | None = None
    biased: bool = False
    activation: Activated = LINEAR
    mask: str = ""


def plan(parts: list[Part]) -> Plan:
    """Return the layers of a chain in their places, which must be those of a network of this package."""
    order = [_rank(part) for part in parts]
    once = order.count(0) < 2 and order.count(2) < 2
    if order != sorted(order) or not once or 1 not in order or 4 in order or (3 in order and 2 not in order):
        got = ", ".join(f"{part.name} ({part.kind})" for part in parts[:8])
        msg = f"the layers must be {_ORDER}, in this order, at least one of them recurrent; got {got or 'none'}."
        raise FormatError(msg)
    found = Plan([recurrent(part) for part in parts if part.kind in RECURRENT])
    for part in parts:
        if part.kind == "Masking":
            found = found._replace(mask=f"(x != {shown_value(part.config.get('mask_value'))}).any(axis=-1)")
        elif part.kind == "Embedding":
            mask = NOT_ZERO if part.flag("mask_zero") else ""
            found = found._replace(embedding=part.path, mask=mask)
        elif part.kind in {"Dense", "TimeDistributed"}:
            found = _with_dense(found, part)
        elif is_activation(part):
            found = _with_activation(found, part)
    return found


def network(found: Plan, weights: Weights, options: LoadOptions, account: Account) -> Network:
    """Return the network of NumPy arrays."""
    cells, note = _places(found)
    options = options if found.embedding is None else options.taking_tokens(found.embedding)
    if found.dense is None and options.readout_activation is not None:
        msg = "there is no Dense, whose activation it would be; leave `readout_activation` out."
        raise FormatError(msg)
    if found.dense is not None and found.activation.clip is not None:
        msg = "the activation of a readout cannot clip, as relu6, hard_tanh and ReLU(max_value=...) do."
        raise FormatError(msg)
    sources, held = _sources(found, cells, weights)
    require_foldable(sources, held, account)
    notes = {name: text for name, text in ((OUTPUT, note), (MASK, _masked(found))) if text}
    description = Description(
        {place: {"activation": cell.activated.function, "clip": cell.activated.clip} for place, cell in cells.items()},
        [] if found.dense is None else [options.readout_activation or found.activation.function],
        batch_first=options.batch_first is not False, vocabulary=None, metadata=notes,
        reads=options.reads or "steps", takes=options.takes or "features",
    )  # fmt: skip
    return assemble(declared_of(sources, held), description, lambda name: made(sources[name], weights.read))


def _rank(part: Part) -> int:
    ranks = {"Masking": 0, "Embedding": 0, **dict.fromkeys(RECURRENT, 1), "Dense": 2, "TimeDistributed": 2}
    return 3 if is_activation(part) else ranks.get(part.kind, 4)


def _with_dense(found: Plan, part: Part) -> Plan:
    dense = part.inner("layer", "layer") if part.kind == "TimeDistributed" else part
    if dense.kind != "Dense":
        msg = f"{part.name} must hold a Dense; it holds {dense.name}, a {dense.kind}."
        raise FormatError(msg)
    activation = from_config(dense.name, dense.config.get("activation"))
    return found._replace(dense=dense.path, biased=dense.flag("use_bias"), activation=activation)


def _with_activation(found: Plan, part: Part) -> Plan:
    activation = from_layer(part.name, part.kind, part.config)
    if LINEAR not in {found.activation, activation}:
        msg = f"{part.name}, a {part.kind}, follows another activation; a readout has one."
        raise FormatError(msg)
    if part.kind == "Softmax" and found.mask:
        msg = f"{part.name}, a Softmax, takes the mask of the steps for one of its inputs; use activation='softmax'."
        raise FormatError(msg)
    return found if activation == LINEAR else found._replace(activation=activation)


def _places(found: Plan) -> tuple[dict[str, CellPart], str]:
    """Return the cells by place, l0, l0_reverse, l1, and what the model's output is.

    A SimpleRNN that goes backwards gives its steps in the order that it takes them, so what comes after it
    sees time reversed, and restores its order if it goes backwards too.  Keras does not reverse the mask with them.
    """
    cells: dict[str, CellPart] = {}
    index, reverse = 0, False
    for layer in found.layers:
        if layer.forward and layer.backward:
            if reverse:
                msg = f"{layer.name} takes steps in reverse, whose two directions are joined the other way round."
                raise FormatError(msg)
            cells[f"l{index}"], cells[f"l{index}_reverse"], index = layer.forward[0], layer.backward[0], index + 1
            continue
        reverse ^= bool(layer.backward)
        for cell in layer.forward or layer.backward:
            cells[f"l{index}{'_reverse' if reverse else ''}"], index = cell, index + 1
    for layer in found.layers[:-1]:
        if layer.sequences is False:
            msg = f"{layer.name} must have return_sequences=True, as a layer takes its steps."
            raise FormatError(msg)
        if found.mask and not layer.forward:
            msg = (
                f"{layer.name} goes backwards and a layer takes its steps in reverse, but Keras gives that layer the "
                "mask as it is, so that it leaves out other steps; here both are turned. Take the mask out."
            )
            raise FormatError(msg)
    return cells, _note(found, reverse, len(cells))


def _note(found: Plan, reverse: bool, count: int) -> str:
    """Return the name of the model's output among those of the network, and its axes; empty where none is recorded."""
    top = found.layers[-1]
    if top.sequences is None:
        return ""
    both = bool(top.forward and top.backward)
    if top.sequences and reverse:
        msg = (
            f"{top.name} goes backwards and returns all steps, the last one first, where this package gives them in "
            "the order of the input. Make it with return_sequences=False; Keras's steps are then these, turned round."
        )
        raise FormatError(msg)
    if both and not top.sequences and found.dense is not None:
        msg = (
            f"{top.name} returns the last states of its two directions, of different steps, and a Dense reads both; a "
            "readout here reads one step. Leave the Dense out, and apply it to h_n[-2] and h_n[-1]."
        )
        raise FormatError(msg)
    what = "output" if found.dense is None else "logits" if found.activation == LINEAR else "probabilities"
    width = ("2 * " * both + "hidden_size") if found.dense is None else "output_size"
    if top.sequences:
        return f"{what} (batch, seq_len, {width})"
    if both:
        return f"h_n[{count - 2}] and h_n[{count - 1}], joined (batch, {width})"
    return f"{what} of the {'first' if reverse else 'last'} step (batch, {width})"


def _masked(found: Plan) -> str:
    """Return the mask of the steps, and the model's output there; empty if it masks none."""
    if not found.mask:
        return ""
    top, of = found.layers[-1], "" if found.dense is None else "the readout of "
    if top.sequences is None:
        return (
            f"{found.mask}; a masked step holds the state; in Keras it gives {of}0 in a Bidirectional, or with "
            "zero_output_for_mask=True"
        )
    if not top.zeros:
        return f"{found.mask}; a masked step holds the state"
    theirs = f"{of}0, or {of}the state on some backends" if top.unrolled else f"{of}0"
    return f"{found.mask}; masked steps differ: Keras gives {theirs}; here they give {of}the state, which is held"


def _sources(found: Plan, cells: Mapping[str, CellPart], weights: Weights) -> tuple[dict[str, ArraySource], Declared]:
    """Return the sources of the arrays of the network, by name, and the dtypes and shapes of these, by path."""
    table = None if found.embedding is None else _own(weights, found.embedding, 1)[0]
    sources: dict[str, ArraySource] = {}
    for place, cell in cells.items():
        paths = _own(weights, cell.path, 2 + cell.biased)
        require_no_gates(paths[1], weights.declared(paths[1])[1][::-1])
        first = place.removesuffix("_reverse") == "l0"
        sources[f"weight_ih_{place}"] = ArraySource(paths[0], table if first else None)
        for name, path in zip(("weight_hh", "bias"), paths[1:], strict=False):
            sources[f"{name}_{place}"] = ArraySource(path)
    if found.dense is not None:
        paths = _own(weights, found.dense, 1 + found.biased)
        sources |= {f"readout.{name}": ArraySource(path) for name, path in zip(("weight", "bias"), paths, strict=False)}
    held = {path for source in sources.values() for path in (source.path, source.table) if path is not None}
    declared = {path: weights.declared(path) for path in sorted(held)}
    _require_one_size(found, declared)
    return sources, declared


def _require_one_size(found: Plan, declared: Declared) -> None:
    sizes = {
        layer.name: declared[f"{cell.path}/vars/1"][1][-1:]
        for layer in found.layers
        for cell in layer.forward + layer.backward
    }
    if len({*sizes.values()}) > 1:
        got = ", ".join(f"{name} has {size[0] if size else 'none'}" for name, size in [*sizes.items()][:8])
        msg = (
            f"all layers of a network have the same number of units; {got}. Split the model where it changes, e.g. "
            "from_keras(model.layers[0]) and from_keras(keras.Sequential(model.layers[1:])), and give the output of "
            "the first to the second."
        )
        raise FormatError(msg)


def _own(weights: Weights, path: str, count: int) -> list[str]:
    """Return the paths of the arrays of a layer, of which there must be so many."""
    found = weights.count(path)
    if found != count:
        hint = " Build the model first: call it once." if not found else ""
        msg = f"{shown(path)} must have {count} arrays, by its options; it has {found}.{hint}"
        raise FormatError(msg)
    return [f"{path}/vars/{number}" for number in range(count)]
