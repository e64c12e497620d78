"""A graph as a network: its layers in order, its readout, and its outputs as those of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.core.arrays import Host
from rnn_backends.core.linear import Linear
from rnn_backends.core.messages import fitted, shown
from rnn_backends.core.network import Network
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import way
from rnn_backends.formats.description import KEY
from rnn_backends.formats.folding import folded
from rnn_backends.formats.onnx import rolled
from rnn_backends.formats.onnx.described import described
from rnn_backends.formats.onnx.flow import Encoded, Flow, Input, Product, Result, Stage, input_of, takes_tokens
from rnn_backends.formats.onnx.interpreter import Call, Interpreter
from rnn_backends.formats.onnx.joins import two_directions
from rnn_backends.formats.onnx.operators import OPERATORS, in_order
from rnn_backends.formats.onnx.producer import advised
from rnn_backends.formats.onnx.results import note, one_readout, require_reading, require_results, what_is_read
from rnn_backends.formats.onnx.scales import effective
from rnn_backends.formats.onnx.tensors import Tensors
from rnn_backends.formats.options import LoadOptions
from rnn_backends.formats.stated import stated

OPSETS = range(7, 29)
NOTE = "onnx outputs"


class Program(NamedTuple):
    """A network, and the inputs and outputs of the graph that it was read from."""

    network: Network
    stages: tuple[Stage, ...]
    outputs: Mapping[str, Flow]

    @property
    def input(self) -> Input:
        """The input of the first layer."""
        return input_of(self.stages[0].below)

    @property
    def cells(self) -> list[Any]:
        """The cells of the graph, layer by layer, whose order is that of the network's."""
        return [cell for stage in self.stages for cell, _ in stage.layer.cells]


def read_graph(model: Any, tensors: Tensors, known: Mapping[str, Host] | None = None) -> Program:
    """Return the network of a ModelProto, some of whose inputs may be known."""
    graph = model.graph
    interpreter = Interpreter(_opset(model), tensors, OPERATORS)
    interpreter.initialize(graph, known or {})
    try:
        return _program(model, interpreter)
    except FormatError as error:
        raise advised(error, model) from error


def _program(model: Any, interpreter: Interpreter) -> Program:
    """Return the network of a graph, by its nodes."""
    graph = model.graph
    interpreter.expect(graph)
    for node in in_order(graph.node, interpreter.values, interpreter.account):
        interpreter.run(node)
    outputs = {info.name: _output(interpreter, info.name) for info in graph.output}
    if not interpreter.stages:
        msg = "the graph holds no RNN node, and no steps of an RNN one by one."
        raise FormatError(msg)
    stages = _stacked(list(interpreter.stages))
    own = {cell: number for number, cell in enumerate(cell for stage in stages for cell, _ in stage.layer.cells)}
    notes = {entry.key: entry.value for entry in model.metadata_props}
    results = require_results(stages, own, outputs, interpreter.account)
    network = _network(stages, results, KEY in notes, interpreter.account)
    if KEY in notes:
        network = described(network, notes[KEY], interpreter.account)
    else:
        found = "; ".join(f"{name}: {note(flow, stages[0], own)}" for name, flow in outputs.items())
        network = replace(network, metadata={**notes, NOTE: found})
    return Program(network, stages, outputs)


def _output(interpreter: Interpreter, name: str) -> Any:
    """Return an output of the graph."""
    try:
        return rolled.result_of(Call(interpreter, None, {}), interpreter.values.get(name))
    except FormatError as error:
        msg = fitted(f"the output {shown(name)}: {error}")
        raise FormatError(msg) from error


def read_network(model: Any, tensors: Tensors, options: LoadOptions) -> Network:
    """Return the network of a ModelProto, with an activation for a readout that ends its graph without one."""
    program = read_graph(model, tensors)
    network, results = program.network, [flow.content for flow in program.outputs.values()]
    if (reads := require_reading(results, program.stages[-1], options.reads)) is not None:
        network = replace(network, reads=reads)
    if options.takes is not None:
        network = _taking(network, options.takes)
    if options.readout_activation is None:
        return network
    recorded: list[Any] = [linear.activation for linear in network.readout]
    noted = any(entry.key == KEY for entry in model.metadata_props)
    if recorded and not noted and recorded[-1] == Activation("identity"):
        recorded[-1] = None
    found = stated("readout", recorded, options)
    return replace(network, readout=tuple(map(_with, network.readout, found)))


def _with(linear: Linear, activation: Any) -> Linear:
    return replace(linear, activation=activation)


def _taking(network: Network, takes: str) -> Network:
    """Return a network of features that is to take token ids for one-hot ones."""
    if network.takes != "features" or takes == "features":
        msg = f"the graph takes {network.takes or 'either'}; {way('leave_out', option='takes')}."
        raise FormatError(msg)
    return replace(network, takes=takes)


def _opset(model: Any) -> int:
    """Return the version of the operators, and check that the file has nothing that is not read."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if not versions:
        msg = (
            "it states no opset, the version of its operators, as every ONNX model does after its graph: it is cut "
            f"short, or no ONNX file; if it is just being written, {way('again')}."
        )
        raise FormatError(msg)
    version = int(versions.get("", versions.get("ai.onnx", 0)))
    if version not in OPSETS:
        msg = f"the opset must be {OPSETS[0]} to {OPSETS[-1]}; got {version}; {way('onnx_version')}."
        raise FormatError(msg)
    graph = model.graph
    for what, held, out in (
        ("functions", model.functions, way("onnx_inline")),
        ("training information", model.training_info, way("onnx_without")),
        ("sparse initializers", graph.sparse_initializer, way("onnx_dense")),
        ("quantization annotations", graph.quantization_annotation, way("onnx_without")),
    ):
        if len(held):
            msg = f"the file has {what}, which no RNN needs; {out}."
            raise FormatError(msg)
    return version


def _stacked(stages: list[Stage]) -> tuple[Stage, ...]:
    """Return the layers from the input to the output, each of which takes all states of the one before."""
    below = {stage.below for stage in stages}
    tops = [stage for stage in stages if stage not in below]
    if len(tops) == 2:  # two directions of which the last states alone are read
        merged = two_directions(*sorted(tops, key=lambda stage: stage.layer.forward is None))
        stages = stages if merged is None else [*(stage for stage in stages if stage not in tops), merged]
        tops = tops if merged is None else [merged]
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
            if not isinstance(flow, Flow):
                continue
            source: Input = flow.content
            start = source.start or 0
            if start != taken.get(source.name, 0):
                msg = f"the states in {shown(source.name)} must come layer by layer, each for one cell."
                raise FormatError(msg)
            taken[source.name] = start + len(stage.layer.cells) // len(stage.h_0)


def _network(stages: tuple[Stage, ...], results: Sequence[Result], is_own: bool, account: Account) -> Network:
    """Return the network of the layers; a foreign one with its embedding folded in, where that makes it no larger."""
    bottom, top = stages[0], stages[-1]
    layers = tuple(stage.layer for stage in stages)
    try:
        encoder = _linears(bottom.below.linears if isinstance(bottom.below, Encoded) else ())
        h_0 = _own_states(stages)
        if not is_own:
            h_0 = h_0 if h_0 is not None and any(state.any() for state in h_0) else None
        found = Network(
            layers,
            _linears(one_readout(results)),
            encoder=encoder,
            reads=what_is_read(results, top),
            takes="tokens" if takes_tokens(bottom.below) else "features",
            h_0=h_0,
            batch_first=_batch_first(bottom),
        )
        return found if is_own else folded(found, account)
    except FormatError:
        raise
    except RNNBackendError as error:
        msg = fitted(f"its parts make no network: {error}")
        raise FormatError(msg) from error


def _linears(products: Sequence[Product]) -> tuple[Linear, ...]:
    return tuple(_linear(each) for each in products)


def _linear(product: Product) -> Linear:
    weight, bias = effective(product)
    with np.errstate(all="ignore"):
        rounded = None if bias is None else bias.astype(weight.dtype, copy=False)
    return Linear(weight, rounded, product.activation or "identity")


def _own_states(stages: Sequence[Stage]) -> tuple[Host, ...] | None:
    """Return the constant initial states of all cells, zeros where a layer has none; None where no layer has any."""
    given = [states for stage in stages for states in stage.h_0 if states is not None]
    fixed = [states for states in given if isinstance(states, np.ndarray)]
    if not fixed:
        return None
    if len(fixed) < len(given):
        msg = "some of its initial states are constants and some are inputs; a model has the one or takes the other."
        raise FormatError(msg)
    found: list[Host] = []
    for stage in stages:
        cells: list[Any] = [cell for cell, _ in stage.layer.cells]
        count = len(cells) // len(stage.h_0)
        for k, states in enumerate(stage.h_0):
            own = cells[k * count : (k + 1) * count]
            zeros = [np.zeros(cell.hidden_size, cell.weight_ih.dtype) for cell in own]
            found += zeros if states is None else list(states)  # type: ignore[arg-type]
    return tuple(found)


def _batch_first(bottom: Stage) -> bool:
    """Return whether the first axis of the input is the batch."""
    atoms = input_of(bottom.below).atoms
    return bool(bottom.batch) and bottom.seq in atoms and atoms.index(bottom.batch[0]) == 0
