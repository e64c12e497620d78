"""Results that a graph rounds to a narrower dtype than it computes in, which a model does at its outputs alone."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.onnx.flow import Flow, Input, Result

_KEEPING = {"Cast", "Gather", "Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
"""The operators that keep the dtype of a result, and compute nothing of it."""


def is_rounded(content: Any) -> bool:
    """Return whether what a flow holds has been rounded to less than it is computed in."""
    if isinstance(content, Input):
        return content.computed is not None and not np.can_cast(content.dtype, content.computed)
    if not isinstance(content, Result) or content.dtype is None:
        return False
    return not np.can_cast(_computed_in(content), content.dtype)


def _computed_in(content: Result) -> Any:
    """Return the dtype that a result is computed in."""
    if content.linears:
        return content.linears[-1].weight.dtype
    cells: Any = content.cells if content.stage is None else tuple(cell for cell, _ in content.stage.layer.cells)
    return cells[0].weight_ih.dtype


def require_outermost(operator: str, inputs: Iterable[Any]) -> None:
    """Check that no operator computes with results that have been rounded."""
    for each in inputs if operator not in _KEEPING else ():
        if isinstance(each, Flow) and isinstance(each.content, Result) and is_rounded(each.content):
            raise FormatError(_rounded_within(each.content.dtype))


def _rounded_within(name: str | None) -> str:
    return f"it takes what is rounded to {name}; a model rounds its inputs and its outputs alone; {way('onnx_dtype')}."


def converted(data: Flow, name: str) -> Flow:
    """Return the input as the graph computes with it, or a result as the graph gives it."""
    content = data.content
    held = content.computed if isinstance(content, Input) else content.dtype
    if is_rounded(content) and name != held:
        raise FormatError(_rounded_within(held))
    if isinstance(content, Result):
        return Flow(replace(content, dtype=name), data.axes)
    if name in {content.dtype, content.computed}:
        return data
    if "float" not in content.dtype or content.dtype == "bfloat16" or content.computed is not None:
        msg = f"it converts the input {shown(content.name)} from {content.dtype} to {name}, which no model does."
        raise FormatError(msg)
    return Flow(replace(content, computed=name), data.axes)
