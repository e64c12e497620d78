"""Ways out of a graph that cannot be read, by the program that wrote it."""

import re
from typing import Any

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way

_OF_KERAS = {"tf2onnx", "keras2onnx"}
_OTHERS = {"LSTM", "GRU"}
_ADVICE = re.compile(r"[;,.] (?:export|save|load|leave|pass|give|name|use|convert)\b", re.IGNORECASE)


def advised(error: FormatError, model: Any) -> FormatError:
    """Return a refusal of a graph with a way out that its producer has, unless it names one or there is none."""
    text, producer = str(error), model.producer_name
    kinds = {node.op_type for node in model.graph.node}
    if _ADVICE.search(text) or kinds & _OTHERS:
        return error
    if producer in _OF_KERAS:
        return FormatError(_joined(text, f"{producer} wrote this graph", way("onnx_keras")))
    if producer == "pytorch":
        if "RNN" in kinds:
            return FormatError(_joined(text, "torch wrote this graph", way("onnx_state_dict")))
        return FormatError(_joined(text, "torch wrote this graph", way("onnx_torch")))
    return error


def _joined(text: str, who: str, advice: str) -> str:
    return f"{text.rstrip('.')}; {who}: {advice}."
