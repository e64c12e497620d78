"""The operator Concat: of constants, of last states, and of the two directions of a layer."""

from typing import Any

import numpy as np

from rnn_backends.core.layers import Layer
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx import rolled, unrolled
from rnn_backends.formats.onnx.flow import Axis, Flow, Group, Result, Stage, Zeros
from rnn_backends.formats.onnx.interpreter import INT, Call, Operator
from rnn_backends.formats.onnx.shapes import computed, dtype_of_all, places


def concat(call: Call, *parts: Any) -> Any:
    """Join constants, last states of cells, or the states of two layers that run in the two directions."""
    axis = call.get("axis")
    if axis is None or not parts:
        msg = "it must have `axis` and at least one input."
        raise FormatError(msg)
    if all(isinstance(part, Zeros) for part in parts):
        return Zeros()
    if all(isinstance(part, np.ndarray) for part in parts):
        return computed(call, sum(part.size for part in parts), dtype_of_all(parts), np.concatenate, parts, axis)
    if any(isinstance(part, Flow) for part in parts):
        if (found := _of_steps(call, parts, axis)) is not None:
            return found
        parts = tuple(rolled.result_of(call, part) for part in parts)
    results = [part for part in parts if isinstance(part, Flow) and isinstance(part.content, Result)]
    if len(results) == len(parts):
        (place,) = places([axis], len(parts[0].axes))
        if all(part.content.cells and not part.content.linears for part in parts):
            return _joined_cells(call, parts, place)
        if len(parts) == 2 and all(_one_direction(part, place) for part in parts):
            return _joined_directions(call, parts, place)
    msg = (
        "it must join constants, last states of cells, or the states of a forward and a backward layer of one input; "
        "a model joins nothing else."
    )
    raise FormatError(msg)


def _of_steps(call: Call, parts: tuple[Any, ...], axis: int) -> Flow | None:
    """Return all steps of a sequence, or one step beside a state; None of other arrays."""
    flows = [part for part in parts if isinstance(part, Flow)]
    (place,) = places([axis], len(flows[0].axes))
    found = rolled.stacked(call, parts, place)
    if found is None and place == len(flows[0].axes) - 1:
        return unrolled.beside(call, parts)
    return found


def _joined_cells(call: Call, parts: tuple[Flow, ...], place: int) -> Flow:
    """Join last states, whose cells follow each other: on an axis of cells, or side by side."""
    call.graph.account.take("the last states that it joins", "items", sum(len(part.content.cells) for part in parts))
    cells = tuple(cell for part in parts for cell in part.content.cells)
    sizes = {cell.hidden_size for cell in cells}
    beside = all(_group(part, place) == part.content.features for part in parts)
    on_cells = len(sizes) == 1 and all(_group(part, place) == part.content.several for part in parts)
    if not beside and not on_cells:
        msg = "last states must be joined on the axis of cells, or side by side on that of their features."
        raise FormatError(msg)
    rest = _marked(parts[0], place)
    if any(_marked(part, place) != rest for part in {id(part): part for part in parts}.values()):
        msg = "last states must be joined with their other axes alike."
        raise FormatError(msg)
    first = parts[0]
    batch = tuple(axis for axis in first.content.atoms if axis not in first.content.features)
    several = (Axis("cells", len(cells)),) if len(cells) > 1 and len(sizes) == 1 else ()
    hidden = (
        first.content.atoms[-1] if len(sizes) == 1 else Axis("hidden_size", sum(cell.hidden_size for cell in cells))
    )
    new = (*several, hidden) if beside else several
    content = Result((*several, *batch, hidden), cells=cells, several=several)
    return Flow(content, (*first.axes[:place], new, *first.axes[place + 1 :]))


def _group(part: Flow, place: int) -> Group | None:
    return part.axes[place] if place < len(part.axes) else None


def _marked(part: Flow, place: int) -> list[tuple[Any, ...]]:
    """Return the axes but one, with that of the hidden units, which each node has of its own, as a name."""
    hidden = part.content.atoms[-1]
    rest = part.axes[:place] + part.axes[place + 1 :]
    return [tuple("hidden" if axis is hidden else axis for axis in group) for group in rest]


def _one_direction(part: Flow, place: int) -> bool:
    content, stage = part.content, part.content.stage
    whole = content.is_whole and len(stage.layer.cells) == 1
    return whole and place < len(part.axes) and part.axes[place] == (stage.hidden,)


def _joined_directions(call: Call, parts: tuple[Flow, ...], place: int) -> Flow:
    """Return the states of one layer, made of two that run over one input in the two directions."""
    first, second = (part.content.stage for part in parts)
    rests = [part.axes[:place] + part.axes[place + 1 :] for part in parts]
    merged = two_directions(first, second)
    if merged is None or rests[0] != rests[1]:
        what = "the states of a forward layer and then those of a backward layer"
        msg = f"it must join {what}, of one input."
        raise FormatError(msg)
    for stage in (first, second):
        call.graph.stages.pop(stage, None)
    call.graph.stages[merged] = None
    axes = (*parts[0].axes[:place], merged.features, *parts[0].axes[place + 1 :])
    return Flow(Result((merged.seq, *merged.batch, *merged.features), merged), axes)


def two_directions(first: Stage, second: Stage) -> Stage | None:
    """Return the layer that a forward and a backward one over one input are; None where they are no such two."""
    forward, backward = first.layer.forward, second.layer.backward
    shared = [(stage.below, stage.seq, stage.batch, stage.lengths) for stage in (first, second)]
    if forward is None or backward is None or shared[0] != shared[1]:
        return None
    if len(first.layer.cells) + len(second.layer.cells) != 2:
        return None
    widths = [stage.hidden.size or 0 for stage in (first, second)]
    even = widths[0] == widths[1]
    hidden = Axis("hidden_size", widths[0] if even else sum(widths))
    return Stage(
        Layer(forward, backward), first.below, first.seq, first.batch, (Axis("directions", 2),) if even else (), hidden,
        first.lengths, (*first.h_0, *second.h_0),
    )  # fmt: skip


OPERATORS = {"Concat": Operator(concat, {"axis": INT})}
