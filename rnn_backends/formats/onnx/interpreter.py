"""A graph, read from its inputs to its outputs: constants are computed, all else is followed axis by axis."""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.messages import fitted, listed, short, shown
from rnn_backends.errors import FormatError, RNNBackendError
from rnn_backends.formats.onnx.flow import Axis, Flow, Input, Stage
from rnn_backends.formats.onnx.rounding import require_outermost
from rnn_backends.formats.onnx.shared import Shared
from rnn_backends.formats.onnx.tensors import BFLOAT16, ELEMENTS, TYPES, Tensors

FLOAT, INT, STRING, TENSOR, FLOATS, INTS, STRINGS = "f", "i", "s", "t", "floats", "ints", "strings"
_KINDS = {1: FLOAT, 2: INT, 3: STRING, 4: TENSOR, 6: FLOATS, 7: INTS, 8: STRINGS}
_OF_NUMPY = (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError)
"""Errors of an operator whose inputs are not what it computes with."""
_NAMES = {5: "a graph", 10: "graphs", 9: "tensors", 11: "a sparse tensor", 13: "a type"}


class Operator(NamedTuple):
    """A type of node: a function that reads its call and inputs, and the kinds of the attributes it knows."""

    read: Callable[..., Any]
    attributes: Mapping[str, str]


class Call:
    """A node: its attributes, the version of the operators, and the network so far."""

    def __init__(self, graph: "Interpreter", node: Any, attributes: Mapping[str, Any]) -> None:
        self.graph, self.node, self.attributes = graph, node, attributes

    @property
    def opset(self) -> int:
        """The version of the operators."""
        return self.graph.opset

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)


@cache
def _counts(read: Callable[..., Any]) -> tuple[int, int | None]:
    """Return how many inputs an operator needs, and how many it takes at most, None for any number."""
    parameters = list(inspect.signature(read).parameters.values())[1:]
    variadic = bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL
    needed = sum(parameter.default is parameter.empty for parameter in parameters) - variadic
    return needed, None if variadic else len(parameters)


class Interpreter:
    """The state of reading a graph."""

    def __init__(self, opset: int, tensors: Tensors, operators: Mapping[str, Operator]) -> None:
        self.opset, self.tensors, self.operators = opset, tensors, operators
        self.values: dict[str, Any] = {}
        self.stages: dict[Stage, None] = {}
        self.account, self.kept = tensors.account, tensors.kept
        self.uses: Counter[str] = Counter()
        self.shared = Shared(tensors.account)

    def define(self, name: str, value: Any) -> None:
        """Give a name its value, once."""
        if not name or name in self.values:
            msg = f"the name {shown(name)} is given to two values of the graph, or to none."
            raise FormatError(msg)
        self.values[name] = value

    def initialize(self, graph: Any, known: Mapping[str, Host]) -> None:
        """Define the initializers and the inputs of a graph; known inputs are constants."""
        for tensor in graph.initializer:
            self.define(tensor.name, self.tensors.read(tensor))
        for info in graph.input:
            if info.name in known:
                self.define(info.name, known[info.name])
            elif info.name not in self.values:  # an initializer of that name is its default
                self.define(info.name, self._input(info))

    def _input(self, info: Any) -> Flow:
        """Return the flow of an input of the graph."""
        held, name = info.type.tensor_type, shown(info.name)
        if not info.type.HasField("tensor_type") or held.elem_type not in ELEMENTS or not held.HasField("shape"):
            msg = f"the input {name} must be a tensor with a number of axes, of one of the types {TYPES}."
            raise FormatError(msg)
        self.account.take(f"the shape of {name}", "axes", len(held.shape.dim))
        atoms = tuple(
            Axis(f"{name[1:-1]}[{place}]", dim.dim_value if dim.dim_value > 0 else None)
            for place, dim in enumerate(held.shape.dim)
        )
        dtype = "bfloat16" if held.elem_type == BFLOAT16 else np.dtype(ELEMENTS[held.elem_type]).name
        return Flow(Input(info.name, atoms, dtype), tuple((axis,) for axis in atoms))

    def expect(self, graph: Any) -> None:
        """Count how often each value is taken, so that constants are let go of where nothing takes them any more."""
        for node in graph.node:
            self.uses.update(node.input)
        self.uses.update(info.name for info in graph.output)

    def run(self, node: Any) -> None:
        """Read a node and define its outputs."""
        try:
            outputs = self._outputs(node)
        except (RNNBackendError, *_OF_NUMPY) as error:
            what = str(error) if isinstance(error, RNNBackendError) else f"it cannot be computed: {short(error)}."
            msg = fitted(f"{shown(node.op_type)[1:-1]} {shown(node.name)}: {what}")
            raise FormatError(msg) from error
        for name, value in zip(node.output, outputs, strict=False):
            if isinstance(value, Flow):
                self.account.take(f"the shape of {shown(name)}", "axes", len(value.axes))
            if name:
                self.define(name, value)
        self._release(node, outputs)

    def _release(self, node: Any, outputs: tuple[Any, ...]) -> None:
        """Let go of what no other node takes: flows, and constants of which others have been made."""
        made = all(isinstance(each, np.ndarray) for each in outputs)
        for name in node.input:
            self.uses[name] -= 1
            if self.uses[name]:
                continue
            value: Any = self.values.get(name)
            is_free = made and isinstance(value, np.ndarray) and not any(np.may_share_memory(value, o) for o in outputs)
            if is_free and node.op_type == "Cast":
                self.kept.widened += outputs[0].nbytes - value.nbytes
            if is_free or isinstance(value, Flow):
                self.values[name] = None  # it stays defined

    def _outputs(self, node: Any) -> tuple[Any, ...]:
        if node.domain not in {"", "ai.onnx"} or node.op_type not in self.operators:
            domain = f" of the domain {shown(node.domain)}" if node.domain else ""
            msg = (
                f"this operator{domain} is none that an RNN, its encoder and its readout are made of; docs/onnx.md "
                "names those that are."
            )
            raise FormatError(msg)
        operator = self.operators[node.op_type]
        call = Call(self, node, self._attributes(node, operator.attributes))
        inputs = self._inputs(node, operator)
        require_outermost(node.op_type, inputs)
        found = operator.read(call, *inputs)
        outputs = found if type(found) is tuple else (found,)
        if len(node.output) > len(outputs):
            msg = f"it has {len(node.output)} outputs; at most {len(outputs)} are known."
            raise FormatError(msg)
        return outputs

    def _inputs(self, node: Any, operator: Operator) -> list[Any]:
        needed, most = _counts(operator.read)
        names = list(node.input)
        count = len(names)
        wanted = names if most is None else names[:needed]
        if not needed <= count <= (count if most is None else most) or "" in wanted:
            known = f"it needs {needed}, and at most {most} are known" if most is not None else "it needs each of them"
            msg = f"it has {count} inputs, or leaves one empty; {known}."
            raise FormatError(msg)
        if undefined := [name for name in names if name and name not in self.values]:
            msg = f"its input {shown(undefined[0])} is not defined before it."
            raise FormatError(msg)
        return [self.values[name] if name else None for name in names]

    def _attributes(self, node: Any, known: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            name, kind = attribute.name, _KINDS.get(attribute.type)
            if name not in known or name in found or attribute.ref_attr_name:
                msg = f"its attribute {shown(name)} is unknown or given twice; known are {listed(sorted(known))}."
                raise FormatError(msg)
            if kind != known[name]:
                held = _NAMES.get(attribute.type) or (shown(kind) if kind else "an unknown kind")
                msg = f"its attribute {shown(name)} must be of the kind {shown(known[name])}; got {held}."
                raise FormatError(msg)
            found[name] = self._attribute(attribute, kind)
        return found

    def _attribute(self, attribute: Any, kind: str) -> Any:
        value = getattr(attribute, kind)
        if kind == TENSOR:
            return self.tensors.read(value)
        if kind in {FLOATS, INTS, STRINGS}:
            self.account.take(f"its attribute {shown(attribute.name)}", "items", len(value))
        if kind in {STRING, STRINGS}:
            texts = [text.decode("utf-8", "backslashreplace") for text in ([value] if kind == STRING else value)]
            return texts[0] if kind == STRING else texts
        return value if kind in {FLOAT, INT} else list(value)
