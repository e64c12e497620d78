"""A grammar of ONNX graphs: of an RNN or its steps, what stands before and after it, and any operators between."""

import struct
from collections.abc import Sequence
from typing import Any

from fuzz.draws import Draw
from fuzz.wire import BYTES, FIXED32, OPERATORS, VARINT, Field, Message

FLOAT, INT64, HALF, DOUBLE, INT32, BFLOAT16 = 1, 7, 10, 11, 6, 16


def text(number: int, value: str) -> Field:
    return Field(number, BYTES, value.encode("utf-8", "surrogatepass"))


def tensor(name: str, shape: Sequence[int], data: bytes, code: int = FLOAT) -> Message:
    dims = [Field(1, VARINT, size) for size in shape]
    return [*dims, Field(2, VARINT, code), text(8, name), Field(9, BYTES, data)]


def info(name: str, shape: Sequence[int | str], code: int = FLOAT) -> Message:
    dims = [Field(1, BYTES, [text(2, size) if isinstance(size, str) else Field(1, VARINT, size)]) for size in shape]
    return [text(1, name), Field(2, BYTES, [Field(1, BYTES, [Field(1, VARINT, code), Field(2, BYTES, dims)])])]


def attribute(name: str, value: Any) -> Message:
    """Return an attribute, of the type that its value shows."""
    if isinstance(value, float):
        return [text(1, name), Field(2, FIXED32, struct.pack("<f", value)), Field(20, VARINT, 1)]
    if isinstance(value, int):
        return [text(1, name), Field(3, VARINT, value), Field(20, VARINT, 2)]
    if isinstance(value, str):
        return [text(1, name), text(4, value), Field(20, VARINT, 3)]
    if isinstance(value, tuple):  # ("tensor", message) or ("graph", message)
        number, kind = {"tensor": (5, 4), "graph": (6, 5)}[value[0]]
        return [text(1, name), Field(number, BYTES, value[1]), Field(20, VARINT, kind)]
    if value and isinstance(value[0], float):
        return [text(1, name), *(Field(7, FIXED32, struct.pack("<f", each)) for each in value), Field(20, VARINT, 6)]
    if value and isinstance(value[0], str):
        return [text(1, name), *(text(9, each) for each in value), Field(20, VARINT, 8)]
    return [text(1, name), *(Field(8, VARINT, each) for each in value), Field(20, VARINT, 7)]


class Graph:
    """A graph as it is made: its nodes, constants, inputs, and the value that is followed, with its axes."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.nodes: list[Message] = []
        self.tensors: list[Message] = []
        self.inputs: list[Message] = []
        self.names: list[str] = []
        self.code = draw.pick((FLOAT, FLOAT, FLOAT, FLOAT, DOUBLE, HALF, BFLOAT16))

    def node(self, kind: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        outputs = [f"{kind}{len(self.nodes)}_{k}" for k in range(count)]
        held = [*(text(1, name) for name in inputs), *(text(2, name) for name in outputs), text(3, f"the_{kind}"), text(4, kind)]
        held += [Field(5, BYTES, attribute(name, value)) for name, value in attributes.items() if value is not None]
        self.nodes.append(held)
        self.names += outputs
        return outputs[0]

    def floats(self, *shape: int) -> str:
        """Add a constant of floats; return its name."""
        count = 1
        for size in shape:
            count *= size
        form, size = {FLOAT: ("f", 4), DOUBLE: ("d", 8), HALF: ("e", 2), BFLOAT16: ("H", 2)}[self.code]
        numbers: list[Any] = [0.25 + (k * 37 % 11) / 16 for k in range(count)]
        if self.code == BFLOAT16:
            numbers = [0x3E80] * count
        return self.constant(shape, struct.pack(f"<{count}{form}", *numbers), self.code)

    def integers(self, *values: int, code: int = INT64) -> str:
        """Add a constant of integers in a row; return its name."""
        return self.constant((len(values),), struct.pack(f"<{len(values)}{'q' if code == INT64 else 'i'}", *values), code)

    def constant(self, shape: Sequence[int], data: bytes, code: int) -> str:
        name, draw = f"c{len(self.tensors)}_{len(self.nodes)}", self.draw
        kind = draw.below(40)
        held = tensor(name, shape, data, code)
        if kind == 1:
            held = [*held[:-1], Field(14, VARINT, 1), Field(13, BYTES, [text(1, "location"), text(2, draw.pick(("w.bin", "w.bin", "../w.bin", "x", "w.bin/a", "")))])]
            if draw.once(2):
                held.append(Field(13, BYTES, [text(1, draw.pick(("offset", "length", "checksum", "key"))), text(2, draw.pick(("0", "4", "64", "-1", "9" * 30, "x")))]))
        elif kind == 2:
            held = [*held[:-1], *_listed(code, data)]
        elif kind == 3:
            held.append(Field(5, VARINT, 1))
        elif kind == 4:
            self.inputs.append(info(name, shape, code))
        elif kind == 5:
            self.nodes.append([text(2, name), text(4, "Constant"), Field(5, BYTES, attribute("value", ("tensor", held)))])
            return name
        self.tensors.append(held)
        self.names.append(name)
        return name


def _listed(code: int, data: bytes) -> list[Field]:
    """Return the elements of a tensor in the field of their type."""
    if code in {FLOAT, DOUBLE}:
        return [Field(4 if code == FLOAT else 10, BYTES, data)]
    if code == INT64:
        return [Field(7, VARINT, each) for (each,) in struct.iter_unpack("<q", data)]
    return [Field(5, VARINT, each) for (each,) in struct.iter_unpack({INT32: "<i", 9: "<B"}.get(code, "<H"), data)]


def merged(graph: Graph, y: str, both: bool) -> str:
    """Join the directions of what an RNN gives, (T, D, B, H) to (T, B, D H), in one of the ways that exporters have."""
    way = graph.draw.below(3)
    if not both and way < 2:
        axes = graph.integers(1)
        return graph.node("Squeeze", [y, axes]) if way == 0 else graph.node("Squeeze", [y], axes=[1])
    moved = graph.node("Transpose", [y], perm=[0, 2, 1, 3])
    return graph.node("Reshape", [moved, graph.integers(0, 0, -1)])


def recurrent(graph: Graph, x: str, width: int) -> tuple[str, str, int]:
    """Add a node of an RNN; return its outputs, every step and the last, and how many features it gives."""
    draw = graph.draw
    size, direction = draw.pick((4, 3)), draw.pick(("forward", "forward", "bidirectional", "reverse", "sideways"))
    count = 2 if direction == "bidirectional" else 1
    inputs = [x, graph.floats(count, size, width), graph.floats(count, size, size)]
    inputs += [graph.floats(count, 2 * size)] if draw.below(5) else [""]
    if draw.once(5):
        lengths = draw.pick(("lengths", "", graph.integers(*([3] * 2), code=INT32)))
        if lengths == "lengths":
            graph.inputs.append(info("lengths", ["batch"], INT32))
        inputs.append(lengths)
        if draw.once(2):
            inputs.append(graph.floats(count, draw.pick((2, 1)), size))
    activation = draw.pick(("Tanh", "Relu", "Affine", "LeakyRelu", "Sigmoid", "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Odd"))
    given = {"direction": direction, "hidden_size": size, "activations": [activation] * count if draw.below(4) else None}
    given |= {"clip": 1.0} if draw.once(12) else {}
    given |= {"activation_alpha": [0.5] * draw.pick((1, 2))} if draw.once(6) else {}
    given |= {"activation_beta": [0.25] * draw.pick((1, 2))} if draw.once(6) else {}
    given |= {"layout": draw.pick((1, 0, 2))} if draw.once(12) else {}
    y = graph.node("RNN", inputs, 2, **given)
    return merged(graph, y, count == 2), f"{y[:-1]}1", size * count


def unrolled(graph: Graph, x: str, width: int) -> tuple[str, str, int]:
    """Add the steps of a layer one by one; return every step, the last, and how many features it gives."""
    draw, size = graph.draw, 4
    steps = draw.pick((3, 2, 1))
    w, r, b = graph.floats(width, size), graph.floats(size, size), graph.floats(size)
    product = graph.node("Add", [graph.node("MatMul", [x, w]), b])
    h, states, zero = "", [], graph.integers(0)
    for step in range(steps):
        if draw.once(3):
            own = graph.node("Squeeze", [graph.node("Slice", [product, graph.integers(step), graph.integers(step + 1), zero]), zero])
        else:
            own = graph.node("Gather", [product, graph.constant((), struct.pack("<q", step), INT64)], axis=0)
        if h:
            own = graph.node("Add", [own, graph.node("MatMul", [h, r])])
        h = graph.node(draw.pick(("Tanh", "Tanh", "Relu", "Sigmoid")), [own])
        states.append(graph.node("Unsqueeze", [h, zero]))
    return graph.node("Concat", states, axis=0), h, size


def head(graph: Graph, x: str, width: int, rank: int) -> str:
    """Add a readout."""
    draw = graph.draw
    for _ in range(draw.pick((1, 0, 2, 3))):
        size, kind = draw.pick((2, 3)), draw.below(6)
        if kind == 1 and rank == 2:
            x = graph.node("Gemm", [x, graph.floats(size, width), graph.floats(size)], transB=1, alpha=draw.pick((None, 0.5)))
        elif kind == 2:
            x, size = graph.node("BatchNormalization", [x, *(graph.floats(width) for _ in range(4))]), width
        elif kind == 3:
            x, size = graph.node(draw.pick(("Mul", "Add", "Sub", "Div")), [x, graph.floats(draw.pick((width, 1)))]), width
        else:
            x = graph.node("MatMul", [x, graph.floats(width, size)])
            x = graph.node("Add", draw.pick(([x, graph.floats(size)], [graph.floats(size), x]))) if draw.below(4) else x
        width = size
        if draw.once(2):
            name = draw.pick(("Softmax", "LogSoftmax", "Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "HardSigmoid", "Softplus", "ThresholdedRelu"))
            x = graph.node(name, [x], axis=draw.pick((-1, -1, 1, 2)) if name.endswith("oftmax") else None)
    return x


def noise(graph: Graph) -> None:
    """Add an operator of any kind to any values."""
    draw = graph.draw
    inputs = [draw.pick(graph.names) for _ in range(draw.pick((1, 2, 2, 3, 0, 5)))]
    given = [
        {}, {}, {"axis": draw.pick((0, 1, -1))}, {"axes": [draw.pick((0, 1, -1))]}, {"perm": draw.pick(([1, 0, 2], [0, 1], [2, 1, 0, 3]))},
        {"keepdims": draw.below(2), "axis": 0}, {"to": draw.pick((1, 6, 7, 10, 11, 16, 9))}, {"value_ints": [1, 2]}, {"value_float": 0.5},
    ]  # fmt: skip
    if draw.once(3):
        values = draw.pick(((0,), (1,), (0, 0, -1), (2, 2), (-1,), (1, 1, 4), (3,), (2**62,), (0, 1, 2)))
        inputs = [*inputs[:1], graph.integers(*values)]
    graph.node(draw.pick(OPERATORS), inputs, draw.pick((1, 1, 1, 2, 3)), **draw.pick(given))


def branches(graph: Graph, x: str, width: int) -> str:
    """Add a node that holds graphs: If, Loop or Scan."""
    inner = Graph(graph.draw)
    y, _, _ = recurrent(inner, x, width)
    body = [Field(1, BYTES, each) for each in inner.nodes] + [text(2, "inner")] + [Field(5, BYTES, each) for each in inner.tensors]
    body.append(Field(12, BYTES, info(y, ["t", "b", 4], graph.code)))
    condition = graph.constant((), b"\1", 9)
    kind = graph.draw.pick(("If", "Loop", "Scan"))
    if kind == "If":
        return graph.node("If", [condition], then_branch=("graph", body), else_branch=("graph", body))
    return graph.node(kind, [graph.integers(3), condition, x], 2, body=("graph", body), num_scan_inputs=1 if kind == "Scan" else None)
