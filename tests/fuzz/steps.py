"""A grammar of what exporters write for a layer that has no operator: its steps one by one, and what each starts from."""

import struct
from typing import NamedTuple

from fuzz.graph import INT32, INT64, Graph, info, tensor

BATCH: tuple[int | str, ...] = (2, "batch")
"""How many sequences inputs have, in numbers or by name."""
_FAR = -(2**63)


class _Cell(NamedTuple):
    """The names of the constants of a layer: of its matrices one by one or side by side; how its steps are written."""

    w: str
    r: str
    b: str
    both: str
    form: str


def unrolled(graph: Graph, x: str, width: int) -> tuple[str, str, int]:
    """Add the steps of a layer one by one; return every step, the last, and how many features it gives."""
    draw, size, count = graph.draw, graph.draw.pick((4, 3)), steps_of(graph)
    form, backward = draw.pick(("before", "each", "beside")), draw.once(5)
    if form == "before":
        x = graph.node("Add", [graph.node("MatMul", [x, graph.floats(width, size)]), graph.floats(size)])
    if backward and draw.once(2):
        x = flipped(graph, x)
    weights = (
        graph.floats(size, width),
        graph.floats(size, size),
        graph.floats(size),
        graph.floats(size, width + size),
    )
    h = draw.pick(("", "", "given")) and state(graph, x, 1, size)
    if h and draw.below(4):
        h = graph.node("Squeeze", [h, graph.integers(0)])
    states, activation = [], draw.pick(("Tanh", "Tanh", "Relu", "Sigmoid", "Identity"))
    for own in taken(graph, x, count):
        held = _added(graph, _Cell(*weights, form), own, h)
        if draw.once(16):
            more = (
                state(graph, x, 1, size) if draw.once(3) else graph.floats(*draw.pick(((size,), (1, size), (2, size))))
            )
            held = graph.node("Add", [held, more])
        h = graph.node(activation if draw.below(24) else "Softsign", [held])
        if draw.once(24):
            h = graph.node("Mul", [h, graph.floats(size)])
        states.append(_read(graph, h, size) if draw.once(16) else h)
    zero = graph.integers(0)
    states = [graph.node("Unsqueeze", [each, zero if draw.below(24) else graph.integers(1)]) for each in states]
    return graph.node("Concat", states[::-1] if backward else states, axis=0), h, size


def _added(graph: Graph, cell: _Cell, own: str, h: str) -> str:
    """Add what a step comes to before its activation, of what it takes and of the state before it, if any."""
    draw = graph.draw
    if cell.form == "beside" and h:
        terms = graph.node("Concat", draw.pick(([own, h], [own, h], [h, own])), axis=-1)
        return graph.node("Gemm", [terms, cell.both, cell.b], transB=1)
    held = own if cell.form == "before" else graph.node("Gemm", [own, cell.w, cell.b], transB=1)
    if not h:
        return held
    if draw.once(3):
        return graph.node("Gemm", [h, cell.r, held], transB=1)
    product = graph.node("MatMul", [h, cell.r])
    return graph.node("Add", draw.pick(([held, product], [product, held])))


def steps_of(graph: Graph) -> int:
    """Return how many steps are taken: all of them, nearly always."""
    return (graph.steps or 3) if graph.draw.below(16) else 2


def flipped(graph: Graph, x: str) -> str:
    """Turn a sequence round, twice now and then."""
    draw = graph.draw
    for _ in range(draw.pick((1, 1, 1, 2))):
        axis = graph.integers(draw.pick((0, 0, 0, 1)))
        x = graph.node("Slice", [x, graph.integers(-1), graph.integers(_FAR), axis, graph.integers(-1)])
    return x


def step_by_step(graph: Graph, x: str, width: int) -> str:
    """Apply a Linear to each step, and join what it gives."""
    draw, zero = graph.draw, graph.integers(0)
    w, b = graph.floats(width, width), graph.floats(width)
    held = [graph.node("Gemm", [own, w, b]) for own in taken(graph, x, steps_of(graph))]
    if draw.once(2):
        held = [graph.node("Relu", [each]) for each in held]
    return graph.node("Concat", [graph.node("Unsqueeze", [each, zero]) for each in held], axis=0)


def _read(graph: Graph, h: str, size: int) -> str:
    """Add a Linear of one step, or an activation that follows a state."""
    if graph.draw.once(2):
        return graph.node("Relu", [h])
    return graph.node("Gemm", [h, graph.floats(size, size), graph.floats(size)])


def taken(graph: Graph, x: str, count: int) -> list[str]:
    """Take a sequence apart into its steps, in one of the ways that exporters have."""
    draw, zero, way = graph.draw, graph.integers(0), graph.draw.below(4)
    if way == 1:
        first = graph.node("Split", [x], count, axis=0)
        return [graph.node("Squeeze", [f"{first[:-1]}{k}", zero]) for k in range(count)]
    found = []
    for step in range(count):
        place = step if draw.below(16) else draw.below(4)
        if way == 2:
            part = graph.node("Slice", [x, graph.integers(place), graph.integers(place + 1), zero])
            found.append(graph.node("Squeeze", [part, zero]))
        else:
            found.append(graph.node("Gather", [x, number(graph, place)], axis=0))
        if way == 3:
            found[-1] = scaled(graph, found[-1], 3)
    return found


def scaled(graph: Graph, x: str, width: int) -> str:
    """Scale or shift features by a constant."""
    draw = graph.draw
    inputs = [x, graph.floats(*draw.pick(((width,), (1,), ())))]
    return graph.node(draw.pick(("Mul", "Sub", "Add", "Div")), inputs if draw.below(6) else inputs[::-1])


def number(graph: Graph, value: int) -> str:
    """Add a constant of one integer without an axis."""
    return graph.constant((), struct.pack("<q", value), INT64)


def sizes(graph: Graph, x: str, count: int, size: int) -> str:
    """Add the shape of a state, of which the number of sequences is that of an input."""
    draw = graph.draw
    shape = graph.node("Shape", [x])
    batch = graph.node("Slice", [shape, graph.integers(1), graph.integers(2), graph.integers(0)])
    if draw.once(4):
        batch = graph.node("Unsqueeze", [graph.node("Gather", [shape, number(graph, 1)], axis=0), graph.integers(0)])
    if draw.once(8):
        held = draw.pick((batch, batch, shape, graph.integers(2, 1)))
        product = graph.node("ReduceProd", [held], keepdims=0, axes=draw.pick((None, [0])))
        batch = graph.node("Unsqueeze", [product, graph.integers(0)])
    if draw.once(16):
        batch = graph.node("Tile", [batch, graph.integers(draw.pick((1, 1000)))])
    if draw.once(8):
        batch = graph.node("Where", [graph.node("Equal", [batch, graph.integers(-1)]), graph.integers(1), batch])
    return graph.node("Concat", [graph.integers(count), batch, graph.integers(size)], axis=0)


def state(graph: Graph, x: str, count: int, size: int) -> str:
    """Add a state to start from, (count, batch, size): zeros, an input, or a constant, as it is or repeated."""
    draw, way = graph.draw, graph.draw.below(7)
    if way == 1:
        return graph.floats(count, draw.pick((2, 1)), size)
    if way in {2, 3}:
        name = draw.pick(("h", "h_0", "state", "s"))
        rows = count + 1 if way == 3 else count
        graph.inputs.append(info(name, [rows, draw.pick(BATCH), size], graph.code))
        graph.names.append(name)
        if way == 2:
            return name
        return graph.node("Slice", [name, graph.integers(draw.below(2)), graph.integers(count), graph.integers(0)])
    wanted = sizes(graph, x, count, size)
    if way in {4, 5}:
        held = graph.floats(*draw.pick(((count, 1, size), (count, 1, size), (1, 1, size), (size,))))
        if way == 5:
            middle = graph.node("Slice", [wanted, graph.integers(1), graph.integers(2), graph.integers(0)])
            wanted = graph.node("Concat", [graph.integers(1), middle, graph.integers(1)], axis=0)
        held = graph.node("Expand" if way == 4 else "Tile", [held, wanted])
        return _back(graph, held) if draw.once(3) else held
    zeros = graph.node("ConstantOfShape", [wanted])
    return _of_zeros(graph, zeros) if draw.once(3) else zeros


def _back(graph: Graph, held: str) -> str:
    """Remove the first axis and put another in its place."""
    way = graph.draw.below(3)
    if way == 0:
        return graph.node("Unsqueeze", [graph.node("Squeeze", [held, graph.integers(0)]), graph.integers(0)])
    if way == 1:
        return graph.node("Unsqueeze", [graph.node("Gather", [held, number(graph, 0)], axis=0), graph.integers(0)])
    return graph.node("Slice", [held, graph.integers(0), graph.integers(1), graph.integers(graph.draw.below(3))])


def _of_zeros(graph: Graph, zeros: str) -> str:
    """Rearrange zeros, as a graph does that makes the states of all layers at once."""
    draw, way = graph.draw, graph.draw.below(8)
    if way == 0:
        return graph.node("Transpose", [zeros], perm=draw.pick(([0, 1, 2], [1, 0, 2], None)))
    if way == 1:
        return graph.node("Split", [zeros], draw.pick((1, 2)), axis=draw.pick((0, 2)))
    if way == 3:
        return graph.node(
            "Gather", [zeros, number(graph, 0) if draw.once(2) else graph.integers(0)], axis=draw.below(3)
        )
    if way == 4:
        return graph.node("Reshape", [zeros, graph.integers(1, -1, 4)])
    if way == 5:
        return graph.node(draw.pick(("Expand", "Tile")), [zeros, graph.integers(1, 1, 1)])
    if way == 6:
        return _back(graph, zeros)
    if way == 2:
        return graph.node("ConstantOfShape", [graph.node("Shape", [zeros])])
    return graph.node("Concat", [zeros, zeros], axis=draw.below(3))


def in_order(graph: Graph, x: str) -> tuple[str, str, str]:
    """Sort sequences by their lengths, as for packed ones; return them, their lengths and the order back."""
    draw = graph.draw
    graph.inputs.append(info("n", [draw.pick(BATCH)], draw.pick((INT64, INT32))))
    known = graph.integers(2)
    first = graph.node("TopK", ["n", known if draw.once(4) else graph.node("Shape", ["n"])], 2, axis=0)
    order = f"{first[:-1]}1"
    long = graph.node("Cast", [first], to=6)
    shape = graph.node("Shape", [order])
    zeros = graph.node("ConstantOfShape", [shape], value=("tensor", tensor("", (1,), bytes(8), INT64)))
    count = graph.node("ReduceProd", [shape], keepdims=0)
    numbers = (
        graph.node("Range", [number(graph, 0), count, number(graph, 1)]) if draw.below(6) else graph.integers(0, 1)
    )
    back = graph.node("ScatterElements", [zeros, order, numbers], axis=0)
    return graph.node("Gather", [x, order], axis=draw.pick((1, 1, 1, 1, 0))), long, back
