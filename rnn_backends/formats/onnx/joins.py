"""The operator Concat: of constants, of last states, and of the two directions of a layer."""

from typing import Any

import numpy as np

from rnn_backends.core.layers import Layer
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.flow import Axis, Flow, Result, Stage, Zeros
from rnn_backends.formats.onnx.interpreter import INT, Call, Operator
from rnn_backends.formats.onnx.shapes import computed, places


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
            return _joined_cells(call, parts, place)
        if len(parts) == 2 and all(_one_direction(part, place) for part in parts):
            return _joined_directions(call, parts, place)
    msg = (
        "it must join constants, last states of cells, or the states of a forward and a backward layer of one input; "
        "a model joins nothing else."
    )
    raise FormatError(msg)


def _joined_cells(call: Call, parts: tuple[Flow, ...], place: int) -> Flow:
    """Join last states, whose cells follow each other."""
    call.graph.account.take("the last states that it joins", "items", sum(len(part.content.cells) for part in parts))
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
    """Return the states of one layer, made of two that run over one input in the two directions."""
    first, second = (part.content.stage for part in parts)
    rests = [part.axes[:place] + part.axes[place + 1 :] for part in parts]
    forward, backward = first.layer.forward, second.layer.backward
    shared = [(stage.below, stage.seq, stage.batch, stage.lengths, stage.hidden.size) for stage in (first, second)]
    if forward is None or backward is None or shared[0] != shared[1] or rests[0] != rests[1]:
        what = "the states of a forward layer and then those of a backward layer"
        msg = f"it must join {what}, of one input and one size."
        raise FormatError(msg)
    hidden, directions = Axis("hidden_size", first.hidden.size), (Axis("directions", 2),)
    merged = Stage(
        Layer(forward, backward), first.below, first.seq, first.batch, directions, hidden, first.lengths,
        (*first.h_0, *second.h_0),
    )  # fmt: skip
    for stage in (first, second):
        call.graph.stages.pop(stage, None)
    call.graph.stages[merged] = None
    axes = (*parts[0].axes[:place], merged.features, *parts[0].axes[place + 1 :])
    return Flow(Result((merged.seq, *merged.batch, *merged.features), merged), axes)


OPERATORS = {"Concat": Operator(concat, {"axis": INT})}
