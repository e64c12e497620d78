"""A graph as a network: its layers in order, its readout, and its outputs as those of a model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.linear import Linear
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.description import KEY
from rnn_backends.formats.names import shown
from rnn_backends.formats.onnx import constants, joins, parts, recurrent, shapes
from rnn_backends.formats.onnx import readout as reading
from rnn_backends.formats.onnx.described import described
from rnn_backends.formats.onnx.flow import Flow, Input, Readout, Result, Stage, Tokens
from rnn_backends.formats.onnx.interpreter import Interpreter
from rnn_backends.formats.onnx.tensors import Tensors
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.source import Account

OPSETS = range(7, 29)
OPERATORS = {
    name: operator
    for module in (constants, joins, parts, reading, recurrent, shapes)
    for name, operator in module.OPERATORS.items()
}
"""The operators that are read, by their names."""
NOTE = "onnx outputs"


class Program(NamedTuple):
    """A network, and the inputs and outputs of the graph that it was read from."""

    network: Network
    stages: tuple[Stage, ...]
    outputs: Mapping[str, Flow]

    @property
    def input(self) -> Input:
        """The input of the first layer."""
        below = self.stages[0].below
        return below.ids.content if isinstance(below, Tokens) else below  # type: ignore[return-value]


def read_graph(model: Any, tensors: Tensors, known: Mapping[str, Host] | None = None) -> Program:
    """Return the network of a ModelProto, some of whose inputs may be known."""
    graph = model.graph
    interpreter = Interpreter(_opset(model), tensors, OPERATORS)
    interpreter.initialize(graph, known or {})
    for node in graph.node:
        interpreter.run(node)
    outputs: dict[str, Any] = {info.name: interpreter.values.get(info.name) for info in graph.output}
    if not interpreter.stages:
        msg = "the graph holds no RNN node; from torch, export with dynamo=False, or save the state dict."
        raise FormatError(msg)
    stages = _stacked(list(interpreter.stages))
    own = {cell: number for number, cell in enumerate(cell for stage in stages for cell, _ in stage.layer.cells)}
    network = _network(stages, own, outputs, interpreter.account)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if KEY in notes:
        network = described(network, notes[KEY], interpreter.account)
    else:
        found = "; ".join(f"{name}: {_note(flow, stages[0], own)}" for name, flow in outputs.items())
        network = replace(network, metadata={**notes, NOTE: found})
    return Program(network, stages, outputs)


def read_network(model: Any, tensors: Tensors, options: LoadOptions) -> Network:
    """Return the network of a ModelProto, with an activation for a readout that ends its graph without one."""
    network, readout_activation = read_graph(model, tensors).network, options.readout_activation
    if options.takes is not None:
        network = _taking(network, options.takes)
    if readout_activation is None:
        return network
    noted = any(entry.key == KEY for entry in model.metadata_props)
    if noted or not network.readout or network.readout[-1].activation != Activation("identity"):
        what = "no readout" if not network.readout else "a readout with an activation of its own"
        msg = f"the graph has {what}; leave `readout_activation` out."
        raise FormatError(msg)
    *head, last = network.readout
    return replace(network, readout=(*head, replace(last, activation=readout_activation)))


def _taking(network: Network, takes: str) -> Network:
    """Return a network of features that is to take token ids for one-hot ones."""
    if network.takes != "features" or takes == "features":
        msg = f"the graph takes {network.takes or 'either'}; leave `takes` out."
        raise FormatError(msg)
    return replace(network, takes=takes)


def _opset(model: Any) -> int:
    """Return the version of the operators, and check that the file has nothing that is not read."""
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
    """Return the layers from the input to the output, each of which takes all states of the one before."""
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
    """Check that the initial states come in the order of the cells, as a model takes them."""
    taken: dict[str, int] = {}
    for stage in stages:
        for flow in stage.h_0:
            if flow is None:
                continue
            source: Input = flow.content
            start = source.start or 0
            if start != taken.get(source.name, 0):
                msg = f"the states in {shown(source.name)} must come layer by layer, each for one cell."
                raise FormatError(msg)
            taken[source.name] = start + len(stage.layer.cells) // len(stage.h_0)


def _network(
    stages: tuple[Stage, ...], own: Mapping[Any, int], outputs: Mapping[str, Flow], account: Account
) -> Network:
    """Return the network of the layers, which must compute all outputs; its cells are given with their numbers."""
    top = stages[-1]
    readouts = []
    for name, flow in outputs.items():
        content = flow.content if isinstance(flow, Flow) else None
        if not isinstance(content, Result):
            msg = f"the output {shown(name)} is not computed by an RNN or its readout."
            raise FormatError(msg)
        account.take("the cells of its outputs", "items", len(content.cells))
        last = content.stage is None and content.cells == (top.layer.cells[-1][0],)
        of_top = content.stage is top or (last and not top.directions)
        inner = content.readout is None and all(cell in own for cell in content.cells)
        if not of_top and (content.stage is not None or not inner):
            what = "comes from another layer than the last, or reads out last states of several cells"
            msg = f"the output {shown(name)} {what}."
            raise FormatError(msg)
        readouts += [content.readout] if content.readout is not None else []
    readout = _one_readout(readouts)
    try:
        linear = None
        if readout is not None:
            linear = Linear(readout.weight, readout.bias, readout.activation or "identity")
        takes = "tokens" if isinstance(stages[0].below, Tokens) else "features"
        layers = tuple(stage.layer for stage in stages)
        return Network(layers, linear, takes=takes, batch_first=_batch_first(stages[0]))
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
    """Return whether the first axis of the input is the batch."""
    below = bottom.below
    source = below.ids.content if isinstance(below, Tokens) else below
    assert isinstance(source, Input)
    return bool(bottom.batch) and source.atoms.index(bottom.batch[0]) == 0


def _note(flow: Flow, bottom: Stage, own: Mapping[Any, int]) -> str:
    """Return the name that an output of the graph has in a model, and its axes."""
    content: Result = flow.content
    readout = content.readout
    what = "output" if content.stage is not None else "h_n"
    if readout is not None:
        what = "logits" if readout.activation is None else "probabilities"
        what += "" if content.stage is not None else " of the last state"
    elif content.cells:
        chosen = [own[cell] for cell in content.cells]
        what += "" if chosen == list(range(len(own))) else f"[{', '.join(map(str, chosen))}]"
    what += {None: "", 0: " of the first step", -1: " of the last step"}[content.step]
    names = {bottom.seq: "seq_len", **(dict.fromkeys(bottom.batch, "batch"))}
    return (
        f"{what} ({', '.join(' * '.join(names.get(axis, axis.name) for axis in group) or '1' for group in flow.axes)})"
    )
