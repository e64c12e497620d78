"""A grammar of ONNX graphs: of an RNN or its steps, what stands before and after it, and any operators between."""

from typing import Any

from fuzz import steps
from fuzz.graph import INT32, INT64, Graph, info, text
from fuzz.wire import BYTES, OPERATORS, Field

_DIRECTIONS = (*("forward",) * 12, *("bidirectional",) * 6, *("reverse",) * 5, "sideways")
_ACTIVATIONS = (
    *("Tanh", "Relu", "Sigmoid") * 8, "Affine", "LeakyRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Odd",
)  # fmt: skip
_TAKERS = {
    "activation_alpha": ("Affine", "LeakyRelu", "ScaledTanh", "HardSigmoid", "Elu"),
    "activation_beta": ("Affine", "ScaledTanh", "HardSigmoid"),
}


def merged(graph: Graph, y: str, both: bool) -> str:
    """Join the directions of what an RNN gives, (T, D, B, H) to (T, B, D H), in one of the ways that exporters have."""
    way = graph.draw.below(3)
    if not both and way < 2:
        axes = graph.integers(1)
        return graph.node("Squeeze", [y, axes]) if way == 0 else graph.node("Squeeze", [y], axes=[1])
    moved = graph.node("Transpose", [y], perm=[0, 2, 1, 3])
    return graph.node("Reshape", [moved, graph.integers(0, 0, -1)])


def recurrent(graph: Graph, x: str, width: int, lengths: str = "") -> tuple[str, str, int]:
    """Add a node of an RNN; return its outputs, every step and the last, and how many features it gives."""
    draw = graph.draw
    size, direction = draw.pick((4, 3)), draw.pick(_DIRECTIONS)
    count = 2 if direction == "bidirectional" else 1
    inputs = [x, graph.floats(count, size, width), graph.floats(count, size, size)]
    inputs += [graph.floats(count, 2 * size)] if draw.below(5) else [""]
    if lengths or draw.once(2):
        inputs.append(lengths or (_lengths(graph) if draw.once(3) else ""))
        if draw.once(2):
            inputs.append(steps.state(graph, x, count, size))
    activation = draw.pick(_ACTIVATIONS)
    given = {
        "direction": direction,
        "hidden_size": size,
        "activations": [activation] * count if draw.below(4) else None,
    }
    given |= {"clip": 1.0} if draw.once(12) else {}
    for name, takers in _TAKERS.items():
        if (activation in takers and given["activations"] is not None and draw.below(12)) or draw.once(40):
            given[name] = [0.5] * (count if draw.below(12) else 1)
    given |= {"layout": draw.pick((1, 0, 2))} if draw.once(20) else {}
    y = graph.node("RNN", inputs, 2, **given)
    return merged(graph, y, count == 2), f"{y[:-1]}1", size * count


def _lengths(graph: Graph) -> str:
    """Add the lengths of sequences: an input, a constant or none."""
    draw = graph.draw
    way = draw.below(4)
    if way == 0:
        graph.inputs.append(info(f"lengths{len(graph.nodes)}", ["batch"], draw.pick((INT32, INT64))))
        return f"lengths{len(graph.nodes)}"
    return "" if way == 1 else graph.integers(*([draw.pick((3, 2))] * 2), code=INT32)


def read(graph: Graph, x: str, before: str, last: str) -> tuple[str, int]:
    """Add what the readout takes, of every step and of last states; return it, and how many axes it has."""
    draw = graph.draw
    if draw.once(8):
        x = steps.scaled(graph, x, 1)
    way = draw.below(6)
    if way == 1:
        return graph.node("Squeeze", [last, graph.integers(0)]), 2
    if way == 2:
        return graph.node("Gather", [x, steps.number(graph, draw.pick((-1, -1, 0)))], axis=0), 2
    if way == 3:
        return graph.node("ReduceMean", [x], axes=[0], keepdims=0), 2
    if way == 4:
        return graph.node("ReduceMax", [x, graph.integers(0)], keepdims=0), 2
    if way == 5:
        return graph.node("Concat", [(draw.pick((before, last)) or last), last], axis=draw.pick((0, 1, -1))), 3
    return x, 3


def head(graph: Graph, x: str, width: int, rank: int) -> str:
    """Add a readout."""
    draw = graph.draw
    for _ in range(draw.pick((1, 0, 2, 3))):
        size, kind = draw.pick((2, 3)), draw.below(6)
        if kind == 1 and rank == 2:
            x = graph.node(
                "Gemm", [x, graph.floats(size, width), graph.floats(size)], transB=1, alpha=draw.pick((None, 0.5))
            )
        elif kind == 2:
            x, size = graph.node("BatchNormalization", [x, *(graph.floats(width) for _ in range(4))]), width
        elif kind == 3:
            x, size = (
                graph.node(draw.pick(("Mul", "Add", "Sub", "Div")), [x, graph.floats(draw.pick((width, 1)))]),
                width,
            )
        else:
            x = graph.node("MatMul", [x, graph.floats(width, size)])
            x = graph.node("Add", draw.pick(([x, graph.floats(size)], [graph.floats(size), x]))) if draw.below(4) else x
        width = size
        if draw.once(2):
            name = draw.pick(
                (
                    "Softmax",
                    "LogSoftmax",
                    "Relu",
                    "Tanh",
                    "Sigmoid",
                    "LeakyRelu",
                    "Elu",
                    "HardSigmoid",
                    "Softplus",
                    "ThresholdedRelu",
                )
            )
            x = graph.node(name, [x], axis=draw.pick((-1, -1, 1, 2)) if name.endswith("oftmax") else None)
    return x


def noise(graph: Graph) -> None:
    """Add an operator of any kind to any values."""
    draw = graph.draw
    names = graph.names if draw.once(2) else graph.names[-4:]
    inputs = [draw.pick(names) for _ in range(draw.pick((1, 2, 2, 3, 0, 5)))]
    given: list[dict[str, Any]] = [
        {}, {}, {"axis": draw.pick((0, 1, -1))}, {"axes": [draw.pick((0, 1, -1))]}, {"perm": draw.pick(([1, 0, 2], [0, 1], [2, 1, 0, 3]))},
        {"keepdims": draw.below(2), "axis": 0}, {"to": draw.pick((1, 6, 7, 10, 11, 16, 9))}, {"value_ints": [1, 2]}, {"value_float": 0.5},
    ]  # fmt: skip
    if draw.once(3):
        values = draw.pick(
            ((0,), (1,), (0, 0, -1), (2, 2), (-1,), (1, 1, 4), (3,), (2**62,), (0, 1, 2), (-2,), (40, 40), (4000, 4000))
        )
        inputs = [*inputs[:1], graph.integers(*values)]
    graph.node(draw.pick(OPERATORS), inputs, draw.pick((1, 1, 1, 2, 3)), **draw.pick(given))


def branches(graph: Graph, x: str, width: int) -> str:
    """Add a node that holds graphs: If, Loop or Scan."""
    inner = Graph(graph.draw)
    y, _, _ = recurrent(inner, x, width)
    body = (
        [Field(1, BYTES, each) for each in inner.nodes]
        + [text(2, "inner")]
        + [Field(5, BYTES, each) for each in inner.tensors]
    )
    body.append(Field(12, BYTES, info(y, ["t", "b", 4], graph.code)))
    condition = graph.constant((), b"\1", 9)
    kind = graph.draw.pick(("If", "Loop", "Scan"))
    if kind == "If":
        return graph.node("If", [condition], then_branch=("graph", body), else_branch=("graph", body))
    return graph.node(
        kind, [graph.integers(3), condition, x], 2, body=("graph", body), num_scan_inputs=1 if kind == "Scan" else None
    )
