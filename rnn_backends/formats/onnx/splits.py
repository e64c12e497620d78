"""The operator Split: parts of an axis that follow each other."""

from typing import Any

import numpy as np

from rnn_backends.core.messages import got
from rnn_backends.errors import FormatError
from rnn_backends.formats.onnx.constants import fewer
from rnn_backends.formats.onnx.flow import Flow, Zeros, size_of
from rnn_backends.formats.onnx.interpreter import INT, INTS, Call, Operator
from rnn_backends.formats.onnx.parts import part
from rnn_backends.formats.onnx.shapes import integers, places


def split(call: Call, data: Any, sizes: Any = None) -> tuple[Any, ...]:
    """Take an axis apart into parts that follow each other."""
    (place,) = places([call.get("axis", 0)], data.ndim if isinstance(data, np.ndarray) else len(data.axes or ()))
    whole = data.shape[place] if isinstance(data, np.ndarray) else size_of(data.axes[place])
    count = len(call.node.output)
    if sizes is not None or "split" in call.attributes:
        lengths = integers(call, sizes, "split")
    else:
        each = -(-(whole or 0) // count)
        whole = whole if whole is None or "num_outputs" in call.attributes or whole % count == 0 else None
        lengths = [min(each, max((whole or 0) - k * each, 0)) for k in range(count)]
    if whole is None or sum(lengths) != whole or min(lengths) < 1 or len(lengths) != count:
        what = f"{len(lengths)} parts of {got(whole)}"
        msg = f"it must have as many outputs as parts, of an axis of known size; got {what}."
        raise FormatError(msg)
    # A part of what depends on the input is a record with axes of its own.
    call.graph.account.take("the parts that it takes", "items", count * (4 if isinstance(data, Flow) else 1))
    ends = np.cumsum(lengths).tolist()
    found: list[Any] = []
    for end, length in zip(ends, lengths, strict=True):
        if isinstance(data, np.ndarray):
            found.append(data[(slice(None),) * place + (slice(end - length, end),)])
        elif isinstance(data, Zeros):
            found.append(fewer(data, place, slice(end - length, end)))
        else:
            found.append(part(call, data, place, end - length, None if end == whole else end))
    return tuple(found)


OPERATORS = {"Split": Operator(split, {"axis": INT, "split": INTS, "num_outputs": INT})}
