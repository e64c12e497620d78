"""Operators that read all steps of a layer at once: ReduceMean and ReduceMax."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.flow import Flow, Result, outlined
from rnn_backends.formats.onnx.interpreter import INT, INTS, Call, Operator
from rnn_backends.formats.onnx.scales import Affine
from rnn_backends.formats.onnx.shapes import integers, places


def pooled(reads: str) -> Callable[..., Flow]:
    """Return the function that reads the operator of a reduction."""

    def read(call: Call, data: Any, axes: Any = None) -> Flow:
        content = data.content if isinstance(data, Flow) else None
        if reads == "mean" and isinstance(content, Affine):
            # The mean of what is scaled and shifted, as by a Linear, is the scaled and shifted mean.
            found = read(call, Flow(content.under, data.axes), axes)
            return Flow(Affine(found.content, content.scale), found.axes)
        if not isinstance(content, Result) or not _is_whole(content, reads) or content.stage is None:
            msg = "it can only reduce the states of a layer over all steps."
            raise FormatError(msg)
        given = places(integers(call, axes, "axes"), len(data.axes))
        over = [data.axes[place] for place in given]
        if over != [(content.stage.seq,)]:
            names = outlined(over) or "none"
            msg = f"it must be over the axis of steps alone; its axes are {names}."
            raise FormatError(msg)
        if content.stage.lengths is not None:
            msg = "it reduces over all steps, beyond those that sequence_lens counts; a model reads valid steps alone."
            raise FormatError(msg)
        kept: tuple[Any, ...] = ((),) if call.get("keepdims", 1) else ()
        held = replace(content, atoms=content.atoms[1:], pooled=reads)
        return Flow(held, (*data.axes[: given[0]], *kept, *data.axes[given[0] + 1 :]))

    return read


def _is_whole(content: Result, reads: str) -> bool:
    """Return whether these are the states of a layer at all steps, or for a mean what Linears give of them."""
    if reads == "mean" and all(each.activation is None for each in content.linears):
        return replace(content, linears=()).is_whole
    return content.is_whole


ATTRIBUTES = {"axes": INTS, "keepdims": INT, "noop_with_empty_axes": INT}
OPERATORS = {
    "ReduceMean": Operator(pooled("mean"), ATTRIBUTES),
    "ReduceMax": Operator(pooled("max"), ATTRIBUTES),
}
