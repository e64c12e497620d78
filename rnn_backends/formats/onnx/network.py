"""The network of a graph: its layers in order, its readout, and what each output of the graph is of the model's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Layer, Network
from rnn_backends.core.linear import Linear
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.assembly import plain_cells
from rnn_backends.formats.description import KEY, Description, parse
from rnn_backends.formats.onnx import constants, joins, parts, recurrent, shapes
from rnn_backends.formats.onnx import readout as reading
from rnn_backends.formats.onnx.flow import Flow, Readout, Result, Source, Stage, Tokens
from rnn_backends.formats.onnx.interpreter import Interpreter
from rnn_backends.formats.onnx.proto import quoted
from rnn_backends.formats.onnx.tensors import Tensors
from rnn_backends.formats.source import Account

OPSETS = range(7, 29)
OPERATORS = {
    name: operator
    for module in (constants, joins, parts, reading, recurrent, shapes)
    for name, operator in module.OPERATORS.items()
}
"""What of ONNX the networks are made of that can be read."""
NOTE = "onnx outputs"


class Program(NamedTuple):
    """A network, and how the inputs and the outputs of a graph belong to it."""

    network: Network
    stages: tuple[Stage, ...]
    outputs: Mapping[str, Flow]

    @property
    def input(self) -> Source:
        """The input of the first layer."""
        below = self.stages[0].below
        return below.ids.content if isinstance(below, Tokens) else below  # type: ignore[return-value]


def read_graph(model: Any, tensors: Tensors, known: Mapping[str, Host] | None = None) -> Program:
    """Return the network of a ModelProto, given what is known of its inputs."""
    graph = model.graph
    interpreter = Interpreter(_opset(model), tensors, OPERATORS)
    interpreter.initialize(graph, known or {})
    for node in graph.node:
        interpreter.run(node)
    outputs: dict[str, Any] = {info.name: interpreter.values.get(info.name) for info in graph.output}
    if not interpreter.stages:
        msg = "the graph holds no RNN node; from torch, export with dynamo=False, or save the state dict."
        raise FormatError(msg)
    stages = _stacked(interpreter.stages)
    network = _network(stages, outputs)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if KEY in notes:
        network = _described(network, notes[KEY])
    else:
        told = "; ".join(f"{name}: {_told(flow, stages)}" for name, flow in outputs.items())
        network = replace(network, metadata={**notes, NOTE: told})
    return Program(network, stages, outputs)


def read_network(model: Any, tensors: Tensors, readout_activation: Any = None) -> Network:
    """Return the network of a ModelProto, with an activation for a readout that ends its graph without one."""
    network = read_graph(model, tensors).network
    if readout_activation is None:
        return network
    described = any(entry.key == KEY for entry in model.metadata_props)
    if described or network.readout is None or network.readout.activation != Activation("identity"):
        what = "no readout" if network.readout is None else "a readout whose activation it tells"
        msg = f"the graph has {what}; leave `readout_activation` out."
        raise FormatError(msg)
    return replace(network, readout=replace(network.readout, activation=readout_activation))


def _opset(model: Any) -> int:
    """Return the version of the operators, after a look at what else the file must not have."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = int(versions.get("", versions.get("ai.onnx", 0)))
    if version not in OPSETS:
        msg = f"the opset must be {OPSETS[0]} to {OPSETS[-1]}; got {version}. Convert it with onnx.version_converter."
        raise FormatError(msg)
    graph = model.graph
    for what, held in (
        ("functions", model.functions), ("training information", model.training_info),
        ("sparse initializers", graph.sparse_initializer), ("quantization annotations", graph.quantization_annotation),
    ):  # fmt: skip
        if len(held):
            msg = f"the file has {what}, which no RNN needs; save it without them."
            raise FormatError(msg)
    return version


def _stacked(stages: list[Stage]) -> tuple[Stage, ...]:
    """Return the layers from the input to the output, each over all of the one before."""
    below = {stage.below for stage in stages}
    tops = [stage for stage in stages if stage not in below]
    chain: list[Any] = [tops[0]]
    while isinstance(chain[-1].below, Stage):
        chain.append(chain[-1].below)
    if len(tops) > 1 or len(chain) != len(stages):
        msg = f"its {len(stages)} RNN layers are not one on top of the other."
        raise FormatError(msg)
    if any(stage.lengths is not chain[0].lengths for stage in chain):
        msg = "all its RNN nodes must have the same sequence_lens."
        raise FormatError(msg)
    stack = tuple(reversed(chain))
    _require_order(stack)
    return stack


def _require_order(stages: tuple[Stage, ...]) -> None:
    """Check that the given states come in the order of the cells, as a model takes them."""
    taken: dict[str, int] = {}
    for stage in stages:
        for flow in stage.h_0:
            if flow is None:
                continue
            source: Source = flow.content
            start = source.start or 0
            if start != taken.get(source.name, 0):
                msg = f"the states in {quoted(source.name)} must come layer by layer, each for one cell."
                raise FormatError(msg)
            taken[source.name] = start + len(stage.layer.cells) // len(stage.h_0)


def _network(stages: tuple[Stage, ...], outputs: Mapping[str, Flow]) -> Network:
    top = stages[-1]
    own = [cell for stage in stages for cell, _ in stage.layer.cells]
    readouts = []
    for name, flow in outputs.items():
        content = flow.content if isinstance(flow, Flow) else None
        if not isinstance(content, Result):
            msg = f"the output {quoted(name)} is nothing that an RNN or its readout computes."
            raise FormatError(msg)
        of_top = content.stage is top or (
            content.stage is None and content.cells == tuple(own[-1:]) and not top.directions
        )
        inner = content.readout is None and all(cell in own for cell in content.cells)
        if not of_top and (content.stage is not None or not inner):
            what = "comes from another layer than the last, or reads out last states of several cells"
            msg = f"the output {quoted(name)} {what}."
            raise FormatError(msg)
        readouts += [content.readout] if content.readout is not None else []
    readout = _one_readout(readouts)
    try:
        linear = None
        if readout is not None:
            linear = Linear(readout.weight, readout.bias, readout.activation or "identity")
        return Network(tuple(stage.layer for stage in stages), linear, _batch_first(stages[0]))
    except RNNBackendError as error:
        msg = f"its parts make no network: {error}"
        raise FormatError(msg) from error


def _one_readout(readouts: list[Readout]) -> Readout | None:
    """Return the readout of all outputs, with its activation if one of them has it."""
    if not readouts:
        return None
    whole = next((held for held in readouts if held.activation is not None), readouts[0])
    for held in readouts:
        same = held.output is whole.output and held.bias is whole.bias
        if not same or held.activation not in {None, whole.activation}:
            msg = "its outputs have different readouts."
            raise FormatError(msg)
    return whole


def _batch_first(bottom: Stage) -> bool:
    below = bottom.below
    source = below.ids.content if isinstance(below, Tokens) else below
    assert isinstance(source, Source)
    return bool(bottom.batch) and source.atoms.index(bottom.batch[0]) == 0


def _told(flow: Flow, stages: tuple[Stage, ...]) -> str:
    """Say what an output is, of what a model gives, and which axes it has."""
    content: Result = flow.content
    readout = content.readout
    what = "output" if content.stage is not None else "h_n"
    if readout is not None:
        what = "logits" if readout.activation is None else "probabilities"
        what += "" if content.stage is not None else " of the last state"
    elif content.cells:
        own = [cell for stage in stages for cell, _ in stage.layer.cells]
        chosen = [own.index(cell) for cell in content.cells]
        what += "" if chosen == list(range(len(own))) else f"[{', '.join(map(str, chosen))}]"
    what += {None: "", 0: " of the first step", -1: " of the last step"}[content.step]
    names = {stages[0].seq: "seq_len", **(dict.fromkeys(stages[0].batch, "batch"))}
    return (
        f"{what} ({', '.join(' * '.join(names.get(axis, axis.name) for axis in group) or '1' for group in flow.axes)})"
    )


def _described(network: Network, text: str) -> Network:
    """Return a network with what its writer noted of it: numbers in full precision, vocabulary, notes."""
    cells = plain_cells(network)
    noted = parse(text, list(cells), Account(len(text)))
    for place, cell in cells.items():
        held = noted.cells[place]
        same = _same(held["activation"], cell.activation) and held["leak"] is None
        if not same or _single(held["clip"]) != cell.clip:
            msg = f"the description of {place} says {held}, and the graph something else: {cell}."
            raise FormatError(msg)
    _require_noted(network, noted)
    layers_ = tuple(
        Layer(*(
            cells[f"l{k}{side}"] and replace(cells[f"l{k}{side}"], **noted.cells[f"l{k}{side}"])
            if f"l{k}{side}" in cells else None
            for side in ("", "_reverse")
        ))
        for k in range(len(network.layers))
    )  # fmt: skip
    readout = network.readout and replace(network.readout, activation=noted.readout)  # type: ignore[arg-type]
    return Network(layers_, readout, noted.batch_first, noted.vocabulary, noted.metadata)


def _require_noted(network: Network, noted: Description) -> None:
    readout = network.readout
    same = (noted.readout is None) == (readout is None)
    if readout is not None and noted.readout is not None:
        same = _same(noted.readout, readout.activation)
    if not same or noted.batch_first != network.batch_first:
        msg = "the description of the readout or of batch_first says something else than the graph."
        raise FormatError(msg)


def _same(noted: Any, held: Any) -> bool:
    """Tell whether a description and a graph, whose numbers are float32, name the same activation."""
    if noted == Activation("identity"):
        return held in {noted, Activation("affine")}
    return bool(Activation(noted.name, _single(noted.alpha), _single(noted.beta)) == held)


def _single(number: float | None) -> float | None:
    with np.errstate(over="ignore"):
        return None if number is None else float(np.float32(number))
