"""The operators that compute: RNN, one-hot vectors before it, and the readout after it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnn_backends.activations import Activation
from rnn_backends.arrays import Host
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.onnx.flow import Axis, Flow, Group, Readout, Result, Source, Stage, Tokens, Zeros, size_of
from rnn_backends.formats.onnx.interpreter import FLOAT, FLOATS, INT, STRING, STRINGS, Call, Operator
from rnn_backends.formats.onnx.node import DEFAULTS, Options, layer, options
from rnn_backends.formats.onnx.shapes import computed, places, require_ids
from rnn_backends.parameters import Layer

_ROWS = 256


def rnn(
    call: Call, x: Any, w: Any, r: Any, b: Any = None, sequence_lens: Any = None, initial_h: Any = None
) -> tuple[Flow, Flow]:
    """Add a layer to the network; return its states and its last states."""
    found = options(call.attributes)
    if found.layout and call.opset < 14:
        msg = f"`layout` came with opset 14; the model has {call.opset}."
        raise FormatError(msg)
    for name, value in (("W", w), ("R", r), ("B", b)):
        if value is not None and (not isinstance(value, np.ndarray) or value.dtype.kind != "f"):
            msg = f"its {name} must be a constant of floating point."
            raise FormatError(msg)
    if not isinstance(x, Flow) or len(x.axes) != 3:
        msg = "its X must depend on an input of the graph, and have 3 axes."
        raise FormatError(msg)
    axes = (x.axes[1], x.axes[0], x.axes[2]) if found.layout else x.axes
    made = _stage(call, found, Flow(x.content, axes), (w, r, b), sequence_lens, initial_h)
    call.graph.stages.append(made)
    return _states(made, found), _last_states(made, found)


def _stage(call: Call, found: Options, x: Flow, weights: tuple[Any, ...], lengths: Any, initial_h: Any) -> Stage:
    seq, batch, features = x.axes
    if len(seq) != 1 or len(batch) > 1:
        msg = f"the first two axes of its X must be steps and sequences; they are {_named(seq)} and {_named(batch)}."
        raise FormatError(msg)
    w, r, b = weights
    if isinstance(x.content, Tokens) and x.content.table is not None:
        w = _through_table(call, w, x.content.table)
    held = layer(found, w, r, b)
    below = _below(x, w)
    h_0 = _initial(initial_h, found, r.shape[-1])
    directions = (Axis("directions", 2),) if len(found.reverse) == 2 else ()
    hidden = Axis("hidden_size", int(r.shape[-1]))
    return Stage(held, below, seq[0], batch, directions, hidden, _lengths(lengths, seq[0]), (h_0,))


def _below(x: Flow, w: Host) -> Stage | Source | Tokens:
    """Return what gives a layer its input, which must come with the axes that it was made with."""
    (seq,), batch, features = x.axes
    content = x.content
    if isinstance(content, Source) and content.start is None and features == content.atoms[-1:]:
        dtype = "float32" if content.dtype == "bfloat16" else content.dtype  # as its weights are read
        if (len(content.atoms), dtype) == (2 + bool(batch), w.dtype.name) and features[0].size in {None, w.shape[2]}:
            return content
    elif isinstance(content, Tokens) and features == (content.features,):
        if content.features.size == (w.shape[2] if content.table is None else content.table.shape[1]):
            return content
    elif isinstance(content, Result) and content.stage is not None and content.step is None and content.readout is None:
        below = content.stage
        if (seq, batch, features) == (below.seq, below.batch, below.features) and size_of(features) == w.shape[2]:
            return below
    names = " by ".join(f"({_named(group)})" for group in x.axes)
    msg = (
        f"its X must be the input in its dtype, or all states of the layer below, as (seq_length, batch_size, input_size) "
        f"= (..., ..., {w.shape[2]}) of {w.dtype}; the axes of what comes are {names}."
    )
    raise FormatError(msg)


def _named(group: Group) -> str:
    return " ".join(axis.name if axis.size is None else f"{axis.name}={axis.size}" for axis in group) or "1"


def _through_table(call: Call, w: Host, table: Host) -> Host:
    """Return W E^T, the weights of token ids in the place of those of their rows, each sum rounded once."""
    if w.ndim != 3 or w.shape[2] != table.shape[1] or w.dtype != table.dtype:
        msg = f"the rows of its embedding, {table.shape} of {table.dtype}, must fit its W, {w.shape} of {w.dtype}."
        raise FormatError(msg)
    call.graph.afford(w.shape[0] * w.shape[1] * table.shape[0] * w.itemsize)
    folded = np.empty((*w.shape[:2], len(table)), w.dtype)
    with np.errstate(all="ignore"):
        for start in range(0, len(table), _ROWS):
            rows = table[start : start + _ROWS].astype(np.float64)
            folded[..., start : start + _ROWS] = w.astype(np.float64) @ rows.T
    folded.flags.writeable = False
    return folded


def _initial(given: Any, found: Options, hidden_size: int) -> Flow | None:
    if given is None or isinstance(given, Zeros) or (isinstance(given, np.ndarray) and not given.any()):
        return None
    if not isinstance(given, Flow) or not isinstance(given.content, Source) or len(given.axes) != 3:
        msg = "its initial_h must be zeros or an input of the graph; a model holds no states to start from."
        raise FormatError(msg)
    axes = (given.axes[1], given.axes[0], given.axes[2]) if found.layout else given.axes
    cells, batch, hidden = axes
    fits = size_of(cells) in {None, len(found.reverse)} and size_of(hidden) in {None, hidden_size}
    if not fits or len(hidden) != 1 or len(cells) > 1 or len(batch) > 1:
        names = " by ".join(f"({_named(group)})" for group in given.axes)
        msg = f"its initial_h must have the axes directions, batch and hidden; those of what comes are {names}."
        raise FormatError(msg)
    return Flow(given.content, axes)


def _lengths(given: Any, seq: Axis) -> Source | None:
    if given is None:
        return None
    if isinstance(given, np.ndarray) and given.dtype.kind == "i" and seq.size and (given == seq.size).all():
        return None
    if isinstance(given, Flow) and isinstance(given.content, Source) and given.content.dtype in {"int32", "int64"}:
        if len(given.axes) == 1 and given.axes[0] == given.content.atoms:
            return given.content
    msg = "its sequence_lens must be an input (batch_size,) of integers; a model holds no lengths."
    raise FormatError(msg)


def _states(stage: Stage, found: Options) -> Flow:
    content = Result((stage.seq, *stage.batch, *stage.features), stage)
    if found.layout:
        return Flow(content, (stage.batch, (stage.seq,), stage.directions, (stage.hidden,)))
    return Flow(content, ((stage.seq,), stage.directions, stage.batch, (stage.hidden,)))


def _last_states(stage: Stage, found: Options) -> Flow:
    cells = tuple(cell for cell, _ in stage.layer.cells)
    of_cells = (Axis("cells", 2),) if len(cells) == 2 else ()
    content = Result((*of_cells, *stage.batch, stage.hidden), cells=cells)  # type: ignore[arg-type]  # they are Cells
    axes = (of_cells, stage.batch, (stage.hidden,))
    return Flow(content, (axes[1], axes[0], axes[2]) if found.layout else axes)


def concat(call: Call, *parts: Any) -> Any:
    """Join constants, last states of cells, or the states of two layers that run in the two directions."""
    axis = call.get("axis")
    if axis is None or not parts:
        msg = "it must have `axis` and at least one input."
        raise FormatError(msg)
    if all(isinstance(part, Zeros) for part in parts):
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return computed(call, sum(part.nbytes for part in parts), np.concatenate, parts, axis)
    results = [part for part in parts if isinstance(part, Flow) and isinstance(part.content, Result)]
    if len(results) == len(parts):
        (place,) = places([axis], len(parts[0].axes))
        if all(part.content.cells and part.content.readout is None for part in parts):
            return _joined_cells(parts, place)
        if len(parts) == 2 and all(_one_direction(part, place) for part in parts):
            return _joined_directions(call, parts, place)
    msg = (
        "it joins what the model does not: constants, last states of cells and the states of a forward and a "
        "backward layer of one input can be joined."
    )
    raise FormatError(msg)


def _joined_cells(parts: tuple[Flow, ...], place: int) -> Flow:
    """Join last states: their cells come one after another."""
    rests, cells = [], []
    for part in parts:
        content = part.content
        own = content.atoms[:1] if len(content.cells) > 1 else ()
        hidden = content.atoms[-1]
        if place >= len(part.axes) or part.axes[place] != own:
            msg = "last states must be joined on the axis of cells."
            raise FormatError(msg)
        rest = part.axes[:place] + part.axes[place + 1 :]
        rests.append([tuple("hidden" if axis is hidden else axis for axis in group) for group in rest])
        cells += content.cells
    if any(rest != rests[0] for rest in rests):
        msg = "last states must be joined with their other axes alike."
        raise FormatError(msg)
    first, of_cells = parts[0], (Axis("cells", len(cells)),)
    atoms = first.content.atoms[1:] if len(first.content.cells) > 1 else first.content.atoms
    axes = (*first.axes[:place], of_cells if len(cells) > 1 else (), *first.axes[place + 1 :])
    return Flow(Result((*(of_cells if len(cells) > 1 else ()), *atoms), cells=tuple(cells)), axes)


def _one_direction(part: Flow, place: int) -> bool:
    stage, content = part.content.stage, part.content
    whole = content.step is None and content.readout is None and stage is not None and not stage.directions
    return whole and place < len(part.axes) and part.axes[place] == (stage.hidden,)


def _joined_directions(call: Call, parts: tuple[Flow, ...], place: int) -> Flow:
    """Make one layer of two that run over one input in the two directions."""
    first, second = (part.content.stage for part in parts)
    rests = [part.axes[:place] + part.axes[place + 1 :] for part in parts]
    forward, backward = first.layer.forward, second.layer.backward
    shared = (first.below, first.seq, first.batch, first.lengths) == (second.below, second.seq, second.batch, second.lengths)
    if forward is None or backward is None or not shared or rests[0] != rests[1] or first.hidden.size != second.hidden.size:
        msg = "it must join the states of a forward layer and then those of a backward layer, of one input and one size."
        raise FormatError(msg)
    hidden, directions = Axis("hidden_size", first.hidden.size), (Axis("directions", 2),)
    merged = Stage(
        Layer(forward, backward), first.below, first.seq, first.batch, directions, hidden, first.lengths,
        (*first.h_0, *second.h_0),
    )  # fmt: skip
    stages = call.graph.stages
    stages[:] = [stage for stage in stages if stage is not first and stage is not second] + [merged]
    axes = (*parts[0].axes[:place], merged.features, *parts[0].axes[place + 1 :])
    return Flow(Result((merged.seq, *merged.batch, *merged.features), merged), axes)


def one_hot(call: Call, indices: Any, depth: Any, values: Any) -> Flow:
    """One-hot vectors of token ids."""
    require_ids(indices)
    (place,) = places([call.get("axis", -1)], len(indices.axes) + 1)
    ordinary = isinstance(values, np.ndarray) and values.shape == (2,) and values.tolist() == [0, 1]
    if not isinstance(depth, np.ndarray) or depth.size != 1 or not ordinary or place != len(indices.axes):
        msg = "it must put ones among zeros (values [0, 1]) on a last axis of constant depth."
        raise FormatError(msg)
    features = Axis("features", int(depth.reshape(())))
    return Flow(Tokens(indices, features), (*indices.axes, (features,)))


def matmul(call: Call, a: Any, b: Any) -> Flow:
    """Read out states."""
    return _read_out(a, b)


def gemm(call: Call, a: Any, b: Any, c: Any = None) -> Flow:
    """Read out states."""
    if (call.get("alpha", 1.0), call.get("beta", 1.0), call.get("transA", 0)) != (1.0, 1.0, 0) or (
        isinstance(a, Flow) and len(a.axes) != 2
    ):
        msg = "it must have alpha and beta 1, transA 0 and a first input of 2 axes."
        raise FormatError(msg)
    found = _read_out(a, b.T if isinstance(b, np.ndarray) and call.get("transB", 0) else b)
    return found if c is None else _with_bias(found, c)


def _read_out(a: Any, b: Any) -> Flow:
    content = a.content if isinstance(a, Flow) else None
    if not isinstance(content, Result) or content.readout is not None or not isinstance(b, np.ndarray) or b.ndim != 2:
        msg = "it must multiply states of the last layer by a constant matrix; there can be one readout, and nothing else."
        raise FormatError(msg)
    features = content.stage.features if content.stage is not None else content.atoms[-1:]
    if len(content.cells) > 1 or not a.axes or a.axes[-1] != features or size_of(features) != b.shape[0]:
        names = " by ".join(f"({_named(group)})" for group in a.axes)
        msg = f"its matrix, {b.shape}, must take the states of one step; the axes of what comes are {names}."
        raise FormatError(msg)
    output = Axis("output_size", b.shape[1])
    atoms = (*content.atoms[: len(content.atoms) - len(features)], output)
    held = Result(atoms, content.stage, content.cells, content.step, Readout(b.T, output))
    return Flow(held, (*a.axes[:-1], (output,)))


def add(call: Call, a: Any, b: Any) -> Flow:
    """Add the bias of the readout."""
    flow, bias = (a, b) if isinstance(a, Flow) else (b, a)
    return _with_bias(flow, bias)


def _with_bias(flow: Any, bias: Any) -> Flow:
    content = flow.content if isinstance(flow, Flow) else None
    readout = content.readout if isinstance(content, Result) else None
    if readout is None or readout.bias is not None or readout.activation is not None or flow.axes[-1:] != ((readout.output,),):
        msg = "a constant can be added once only, as the bias of the readout."
        raise FormatError(msg)
    outputs = readout.weight.shape[0]
    fits = isinstance(bias, np.ndarray) and bias.size == outputs and bias.ndim <= len(flow.axes)
    if not fits or (bias.ndim and bias.shape[-1] != outputs):
        msg = f"the bias of the readout must be a constant of shape ({outputs},)."
        raise FormatError(msg)
    return _read(flow, Readout(readout.weight, readout.output, bias.reshape(outputs)))


def _read(flow: Flow, readout: Readout) -> Flow:
    content = flow.content
    return Flow(Result(content.atoms, content.stage, content.cells, content.step, readout), flow.axes)


def activation(name: str) -> Callable[[Call, Any], Flow]:
    """Return what reads the operator that applies an activation of the table."""

    def read(call: Call, data: Any) -> Flow:
        content = data.content if isinstance(data, Flow) else None
        readout = content.readout if isinstance(content, Result) else None
        if readout is None or readout.activation is not None:
            msg = "it can only be the activation of the readout, its last operation."
            raise FormatError(msg)
        if name in {"softmax", "log_softmax"}:
            _require_last(call, data, readout)
        defaults = DEFAULTS.get(name, {})
        try:
            g2 = Activation(name, **{key: call.get(key, value) for key, value in defaults.items()})
        except RNNBackendError as error:
            msg = f"it is wrong: {error}"
            raise FormatError(msg) from error
        return _read(data, Readout(readout.weight, readout.output, readout.bias, g2))

    return read


def _require_last(call: Call, data: Flow, readout: Readout) -> None:
    """Check that a softmax is over the outputs: before opset 13 it is over all axes from `axis` on."""
    rank = len(data.axes)
    (place,) = places([call.get("axis", -1 if call.opset >= 13 else 1)], rank)
    if place != rank - 1 or data.axes[-1] != (readout.output,):
        msg = f"it must be over the outputs, the last of {rank} axes; it is over axis {place}{'' if call.opset >= 13 else ' and on'}."
        raise FormatError(msg)


_RNN = {
    "activations": STRINGS, "activation_alpha": FLOATS, "activation_beta": FLOATS, "clip": FLOAT,
    "direction": STRING, "hidden_size": INT, "layout": INT,
}  # fmt: skip
OPERATORS = {
    "RNN": Operator(rnn, _RNN),
    "Concat": Operator(concat, {"axis": INT}),
    "OneHot": Operator(one_hot, {"axis": INT}),
    "MatMul": Operator(matmul, {}),
    "Gemm": Operator(gemm, {"alpha": FLOAT, "beta": FLOAT, "transA": INT, "transB": INT}),
    "Add": Operator(add, {}),
    "Softmax": Operator(activation("softmax"), {"axis": INT}),
    "LogSoftmax": Operator(activation("log_softmax"), {"axis": INT}),
    "Sigmoid": Operator(activation("sigmoid"), {}),
    "Tanh": Operator(activation("tanh"), {}),
    "Relu": Operator(activation("relu"), {}),
    "LeakyRelu": Operator(activation("leaky_relu"), {"alpha": FLOAT}),
    "Elu": Operator(activation("elu"), {"alpha": FLOAT}),
    "HardSigmoid": Operator(activation("hard_sigmoid"), {"alpha": FLOAT, "beta": FLOAT}),
    "ThresholdedRelu": Operator(activation("thresholded_relu"), {"alpha": FLOAT}),
    "Softsign": Operator(activation("softsign"), {}),
    "Softplus": Operator(activation("softplus"), {}),
}
"""What of ONNX the networks are made of that can be read."""
