"""The operator RNN: a layer in its place in the network."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Layer
from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.made import of_array
from rnn_backends.formats.onnx.flow import (
    Axis,
    Encoded,
    Fixed,
    Flow,
    Group,
    Input,
    Result,
    Stage,
    Tokens,
    Zeros,
    arranged,
    dtype_of,
    named,
    order_of,
    outlined,
    size_of,
)
from rnn_backends.formats.onnx.interpreter import FLOAT, FLOATS, INT, STRING, STRINGS, Call, Operator
from rnn_backends.formats.onnx.node import Options, layer, options
from rnn_backends.formats.onnx.scales import Affine
from rnn_backends.formats.onnx.shapes import is_filled
from rnn_backends.formats.scaling import multiplied_in


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
    made = placed(call, found, Flow(x.content, axes), (w, r, b), sequence_lens, initial_h)
    call.graph.stages[made] = None
    return _states(made, found), _last_states(made, found)


def placed(call: Call, found: Options, x: Flow, weights: tuple[Any, ...], lengths: Any, initial_h: Any) -> Stage:
    """Return a layer in its place."""
    seq, batch, _ = x.axes
    if len(seq) != 1 or len(batch) > 1:
        msg = f"the first two axes of its X must be steps and sequences; they are {named(seq)} and {named(batch)}."
        raise FormatError(msg)
    if any(order_of(seq)):
        msg = f"the steps of its X are sorted by {shown(seq[0].sorted_by)}; only sequences can be sorted."
        raise FormatError(msg)
    w, r, b = weights
    # Nodes may share their weights, of which each layer keeps a copy.
    kept = r.nbytes + (0 if b is None else b.nbytes) + w.nbytes
    call.graph.kept.copied("the weights of the layers", kept)
    call.graph.account.take("its layers", "items", 16)
    content = x.content
    if isinstance(content, Affine):
        _require_scale(content, (w, r, b))
        x = Flow(content.under, x.axes)
    held = layer(found, w, r, b)
    if isinstance(content, Affine):
        held = _scaled(call, content, held, b)
    below = _below(x, w)
    h_0 = _initial(call, initial_h, found, r.shape[-1], batch)
    directions = (Axis("directions", 2),) if len(found.reverse) == 2 else ()
    hidden = Axis("hidden_size", int(r.shape[-1]))
    return Stage(held, below, seq[0], batch, directions, hidden, _lengths(call, lengths, seq[0], batch), (h_0,))


def _require_scale(content: Affine, weights: tuple[Any, ...]) -> None:
    """Check that what scales the input of a layer has as many numbers as its weights."""
    w, r, b = weights
    hidden_size = r.shape[-1] if r.ndim else 0
    fits = w.ndim == 3 and all(each.size in {1, w.shape[2]} for each in content.scale)
    if not fits or (b is not None and b.shape != (len(w), 2 * hidden_size)):
        msg = f"what scales its X must fit to its weights; got W {w.shape} and {content.scale.factor.size} factors."
        raise FormatError(msg)


def _scaled(call: Call, content: Affine, held: Layer, b: Host | None) -> Layer:
    """Return a layer with the scale before it multiplied into its weights and its biases."""
    cells: list[Any] = [cell for cell, _ in held.cells]
    nbytes = sum(cell.weight_ih.nbytes for cell in cells)
    call.graph.account.take("the weights that a scale is folded into", "bytes", nbytes)
    size, found = cells[0].hidden_size, []
    for d, cell in enumerate(cells):
        with np.errstate(all="ignore"):
            bias = None if b is None else b[d, :size].astype(np.float64) + b[d, size:]
        weight_ih, exact = multiplied_in(of_array(cell.weight_ih), bias, [content.scale], [])
        with np.errstate(all="ignore"):
            found.append(replace(cell, weight_ih=weight_ih, bias=exact.astype(weight_ih.dtype)))
    both = iter(found)
    return Layer(held.forward and next(both), held.backward and next(both))


def _below(x: Flow, w: Host) -> Stage | Input | Tokens | Encoded:
    """Return the source of a layer's input, which must have the axes that it was made with."""
    (seq,), batch, features = x.axes
    content = x.content
    if size_of(features) in {None, w.shape[2]}:
        if isinstance(content, Input) and content.start is None and features == content.atoms[-1:]:
            # One step of a cell alone has no axis of steps.
            if (len(content.atoms), dtype_of(content)) == (1 + (seq in content.atoms) + bool(batch), w.dtype.name):
                return content
        elif (isinstance(content, Tokens) and features == (content.features,)) or (
            isinstance(content, Encoded) and features == (content.linears[-1].output,)
        ):
            return content
        elif isinstance(content, Result) and content.is_whole and content.stage is not None:
            below = content.stage
            if (seq, batch, features) == (below.seq, below.batch, below.features):
                return below
    names = outlined(x.axes)
    own = f", of {dtype_of(content)}," if isinstance(content, Input) else ""
    msg = (
        "its X must be the input, encoded or not, or all states of the layer below, as (seq_length, batch_size, "
        f"input_size) = (..., ..., {w.shape[2]}) of {w.dtype.name}; the axes of its X{own} are {names}."
    )
    raise FormatError(msg)


def _initial(call: Call, given: Any, found: Options, hidden_size: int, batch: Group) -> Flow | Host | None:
    """Return the initial states: an input, or a constant (num_directions, hidden_size); None where they are zero."""
    if given is None or isinstance(given, Zeros) or (isinstance(given, np.ndarray) and is_filled(call, given, 0)):
        return None
    wanted = "zeros, an input of the graph, or a constant that is the same for every sequence"
    if isinstance(given, np.ndarray):
        held = given.swapaxes(0, 1) if found.layout and given.ndim == 3 else given
        call.graph.account.take("looking through its initial states", "bytes", given.nbytes)
        if held.shape != (len(found.reverse), size_of(batch), hidden_size) or not (held == held[:, :1]).all():
            msg = f"its initial_h must be {wanted}; its shape is {shown(given.shape)}, of {named(batch)} sequences."
            raise FormatError(msg)
        return held[:, 0]
    if not isinstance(given, Flow) or not isinstance(given.content, (Input, Fixed)) or len(given.axes) != 3:
        msg = f"its initial_h must be {wanted}."
        raise FormatError(msg)
    axes = (given.axes[1], given.axes[0], given.axes[2]) if found.layout else given.axes
    cells, sequences, hidden = axes
    fits = size_of(cells) in {None, len(found.reverse)} and size_of(hidden) in {None, hidden_size}
    if isinstance(given.content, Fixed):
        fits = fits and sequences == batch and {*cells, *hidden} <= {*given.content.atoms}
    if not fits or len(hidden) != 1 or len(cells) > 1 or len(sequences) > 1:
        names = outlined(given.axes)
        msg = f"its initial_h must have the axes directions, batch and hidden; its axes are {names}."
        raise FormatError(msg)
    if any(order_of((*cells, *hidden))) or order_of(sequences) != order_of(batch):
        raise FormatError(_orders("initial_h", sequences, batch))
    if isinstance(given.content, Fixed):
        return arranged(given.content.value, given.content.atoms, (cells, hidden))
    return Flow(given.content, axes)


def _lengths(call: Call, given: Any, seq: Axis, batch: Group) -> Input | None:
    """Return the input of the lengths, in the order of the sequences; None where all steps are valid."""
    if not isinstance(given, Flow) and any(order_of(batch)):
        raise FormatError(_orders("sequence_lens", (), batch))
    if given is None:
        return None
    if isinstance(given, np.ndarray) and given.dtype.kind == "i" and seq.size and is_filled(call, given, seq.size):
        return None
    source = given.content if isinstance(given, Flow) else None
    if (
        isinstance(source, Input)
        and source.dtype in {"int32", "int64"}
        and given.axes == (source.atoms,)
        and source.start is None
    ):
        # Of a batch of one the axis may have been removed.
        if order_of(source.atoms) != (order_of(batch) or (None,)):
            raise FormatError(_orders("sequence_lens", source.atoms, batch))
        return source
    msg = "its sequence_lens must be an input (batch_size,) of integers; lengths are not read from a file."
    raise FormatError(msg)


def _orders(name: str, given: Group, batch: Group) -> str:
    """Return the message that an input of a layer has the sequences in another order than X has."""
    own, wanted = (
        f"sorted by {shown(next(filter(None, order_of(group))))}" if any(order_of(group)) else "not sorted"
        for group in (given, batch)
    )
    return f"its {name} must have the sequences in the order of its X: {name} is {own}, X is {wanted}."


def _states(stage: Stage, found: Options) -> Flow:
    """Return the states of a layer at all steps."""
    content = Result((stage.seq, *stage.batch, *stage.features), stage)
    if found.layout:
        return Flow(content, (stage.batch, (stage.seq,), stage.directions, (stage.hidden,)))
    return Flow(content, ((stage.seq,), stage.directions, stage.batch, (stage.hidden,)))


def _last_states(stage: Stage, found: Options) -> Flow:
    """Return the last states of the cells of a layer."""
    cells = tuple(cell for cell, _ in stage.layer.cells)
    of_cells = (Axis("cells", 2),) if len(cells) == 2 else ()
    content = Result((*of_cells, *stage.batch, stage.hidden), cells=cells, several=of_cells)  # type: ignore[arg-type]  # they are Cells
    axes = (of_cells, stage.batch, (stage.hidden,))
    return Flow(content, (axes[1], axes[0], axes[2]) if found.layout else axes)


ATTRIBUTES = {
    "activations": STRINGS, "activation_alpha": FLOATS, "activation_beta": FLOATS, "clip": FLOAT,
    "direction": STRING, "hidden_size": INT, "layout": INT,
}  # fmt: skip
OPERATORS = {"RNN": Operator(rnn, ATTRIBUTES)}
