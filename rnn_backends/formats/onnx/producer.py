"""Ways out of a graph that cannot be read, by the program that wrote it, and what no way out makes readable."""

import re
from collections.abc import Mapping
from typing import Any

from rnn_backends.core.messages import fitted, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.account import Account
from rnn_backends.formats.advice import is_advised, way
from rnn_backends.formats.onnx.operators import OPERATORS, in_order

_OF_KERAS = {"tf2onnx", "keras2onnx"}
_NEVER = {
    "LSTM", "GRU", "LayerNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization", "RMSNormalization",
    "InstanceNormalization", "GroupNormalization", "LpNormalization", "MeanVarianceNormalization", "LRN", "Conv",
    "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "CausalConvWithState", "Attention",
    "MultiHeadAttention", "LinearAttention", "RotaryEmbedding", "LpPool", "AveragePool", "MaxPool",
}  # fmt: skip
"""Operators that no model here has, whatever writes them."""
_FINAL = ("a model joins nothing else", "it adds two arrays that depend on the input")
_ASIDE = "RNN layers are not one on top of the other"
_PRODUCTS = {"Mul", "Div", "Sub", "MatMul", "Gemm", "Pow", "Einsum"}
_SIZES = {"Shape", "Size"}
_NODE = re.compile(r"([A-Z]\w*) ('.*?'):")
_MOVES = {
    "RNN", "Cast", "CastLike", "Concat", "Constant", "ConstantOfShape", "Dropout", "Expand", "Flatten", "Gather",
    "GatherElements", "GatherND", "Identity", "If", "Loop", "NonZero", "Range", "Reshape", "ReverseSequence", "Scan",
    "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    "Where",
}  # fmt: skip
"""Operators that compute nothing of their own."""
_TESTS = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or", "IsNaN"}
_CODES = {"Gather", "OneHot"}
_KNOWN, _COUNTS, _FEATURES, _STATES = range(4)
"""Things that a value depends on: constants, ids, lengths or a mask, features, or the states of an RNN."""


def advised(error: FormatError, model: Any) -> FormatError:
    """Return a refusal of a graph with a way out that its producer has, unless it names one or there is none."""
    text, producer = str(error), model.producer_name
    kinds = {node.op_type for node in model.graph.node}
    of_nodes = "RNN" in kinds
    if is_advised(text) or any(each in text for each in (*_FINAL, *([_ASIDE] if of_nodes else []))):
        return error
    keras, torch = producer in _OF_KERAS, producer == "pytorch"
    if not keras and not torch:
        return error
    never, levels = _followed(model.graph, torch and of_nodes)
    if never is not None:
        held = f"{shown(never.op_type)[1:-1]} {shown(never.name)}"
        if text.startswith(f"{held}:"):
            return error
        what = "is no part of a model" if never.op_type in _NEVER else "takes two arrays of the input, as no model does"
        return FormatError(fitted(f"{text.rstrip('.')}; {held} {what}, whatever exports it."))
    if keras:
        return FormatError(_joined(text, f"{producer} wrote this graph", way("onnx_keras")))
    is_traced = any(node.name.startswith("/") for node in model.graph.node)
    is_moved = _is_moved(text, model.graph, levels)
    ways = [] if of_nodes or is_traced or not (is_moved or _is_known(text)) else [way("onnx_torch")]
    ways += [way("onnx_state_dict")] if is_moved else []
    return FormatError(_joined(text, "torch wrote this graph", ", or ".join(ways))) if ways else error


def _is_moved(text: str, graph: Any, levels: Mapping[str, int]) -> bool:
    """Return whether a refusal is of a node that only moves numbers or masks them, so that weights give the same."""
    match = _NODE.match(text)
    if match is None or match[1] in _MOVES:
        return True
    named = [node for node in graph.node if (node.op_type, shown(node.name)) == (match[1], match[2])]
    return match[1] in _PRODUCTS and any(levels.get(name) == _COUNTS for node in named for name in node.input)


def _is_known(text: str) -> bool:
    """Return whether a refusal is of a node whose operator a model may have, in another place."""
    match = _NODE.match(text)
    return match is not None and match[1] in OPERATORS


def _joined(text: str, who: str, advice: str) -> str:
    return fitted(f"{text.rstrip('.')}; {who}: {advice}.")


def _followed(graph: Any, of_nodes: bool) -> tuple[Any, dict[str, int]]:
    """Return the node that no model has, whatever exports it, or None; and what values depend on.

    Those are operators by their names, and products of two arrays that depend on features, as gates, attention and
    normalisations have them.  In a graph of RNN nodes there are no steps that add such arrays or join them either.
    """
    nodes = graph.node
    constants = {tensor.name for tensor in graph.initializer}
    known = dict.fromkeys(constants, _KNOWN)
    for info in graph.input:
        whole = info.type.tensor_type.elem_type in {6, 7}  # int32 and int64
        known.setdefault(info.name, _COUNTS if whole else _FEATURES)
    if (named := next((node for node in nodes if node.op_type in _NEVER), None)) is not None:
        return named, known
    # The file has paid for its nodes, which are looked at once more; to refuse it for that would hide why.
    for node in in_order(nodes, known, Account()):
        taken = [known.get(name, _KNOWN) for name in node.input]
        if _is_join(node.op_type, taken, of_nodes):
            return node, known
        known.update(dict.fromkeys(node.output, _depends(node.op_type, taken)))
    return None, known


def _is_join(kind: str, taken: list[int], of_nodes: bool) -> bool:
    """Return whether a node joins arrays that depend on features as no model does."""
    found = [level for level in taken if level >= _FEATURES]
    if len(found) < 2:
        return False
    if kind == "RNN":
        return any(level >= _FEATURES for level in taken[1:5]) or taken[5:6] == [_STATES]
    return kind in _PRODUCTS or (of_nodes and (kind == "Add" or (kind == "Concat" and min(found) < _STATES)))


def _depends(kind: str, taken: list[int]) -> int:
    """Return what a result depends on."""
    if kind in _SIZES:
        return _KNOWN
    if kind in _TESTS:
        return min(max(taken, default=_KNOWN), _COUNTS)
    if kind in _CODES and max(taken, default=_KNOWN) == _COUNTS:
        return _FEATURES
    return _STATES if kind == "RNN" else max(taken, default=_KNOWN)
