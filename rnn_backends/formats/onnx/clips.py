"""The operator Clip from 0 to a ceiling: a clipped ReLU, or the rest of one after a Relu."""

from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.activations import Activation
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.flow import Flow
from rnn_backends.formats.onnx.interpreter import FLOAT, Call, Operator
from rnn_backends.formats.onnx.linears import activated, changed
from rnn_backends.formats.onnx.steps import Moment

_RELU = Activation("relu")


def clip(call: Call, data: Any, low: Any = None, high: Any = None) -> Flow:
    """Read a clipped ReLU; the bounds are attributes before opset 11."""
    floor, ceiling = _bound(call, "min", low), _bound(call, "max", high)
    under = _without_relu(call, data)
    is_from_0 = floor == 0 or (under is not None and (floor is None or floor <= 0))
    if not is_from_0 or (ceiling is not None and not 0 < ceiling < np.inf):
        found = ", ".join("none" if bound is None else f"{bound:g}" for bound in (floor, ceiling))
        msg = f"its bounds must be 0 and a positive number, those of a clipped ReLU; got {found}."
        raise FormatError(msg)
    g2 = _RELU if ceiling is None else Activation("clipped_relu", ceiling)
    return activated(call, data if under is None else under, g2)


def _bound(call: Call, name: str, given: Any) -> float | None:
    """Return a bound, None where there is none: exporters write the largest number of the type for it."""
    array = np.float32(call.get(name)) if given is None and call.get(name) is not None else given
    if array is None:
        return None
    if not isinstance(array, (np.ndarray, np.float32)) or array.size != 1 or array.dtype.kind != "f":
        msg = f"its `{name}` must be a constant, one floating-point number."
        raise FormatError(msg)
    bound = float(array.item())
    return None if abs(bound) == np.finfo(array.dtype).max else bound


def _without_relu(call: Call, data: Any) -> Flow | None:
    """Return what a Relu was applied to, where that was the last of a Linear; None of anything else."""
    content = data.content if isinstance(data, Flow) else None
    if isinstance(content, Moment) and content.link is not None and content.link.activation == _RELU:
        return Flow(replace(content, link=call.graph.shared.changed(content.link)), data.axes)
    linears = getattr(content, "linears", ())
    if linears and linears[-1].activation == _RELU:
        return changed(call, data, replace(linears[-1], activation=None))
    return None


OPERATORS = {"Clip": Operator(clip, {"min": FLOAT, "max": FLOAT})}
