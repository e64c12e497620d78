"""Files of ONNX: graphs that exporters have written, and those of a grammar, changed in their structure."""

import base64
import json
import lzma
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fuzz import graphs, jsons, native, steps, wire
from fuzz.cases import Case, options
from fuzz.draws import Draw, damaged
from fuzz.graph import BESIDE, FLOAT, INT64, Graph, info, text
from fuzz.torch_files import DATA
from fuzz.weights import Tensor
from fuzz.wire import BYTES, VARINT, Field, Message

GATHERED = Path(__file__).parent / "graphs.txt"
REAL = (
    "torch_embedding", "torch_last_step", "torch_lengths", "torch_normalized", "torch_softmax", "torch_state", "torch_unbatched",
    "torch_unsorted", "unrolled_cells", "unrolled_head", "unrolled_layers", "unrolled_state", "unrolled_step", "cases/dynamo_plain",
    "cases/export_bh", "cases/export_mlp", "cases/export_norm", "cases/half_layers", "cases/half_unrolled", "cases/tf2onnx_simple",
)  # fmt: skip

DESCRIBING: Mapping[str, frozenset[int]] = {
    "graph": frozenset((10, 13, 14, 16)), "node": frozenset((6, 9)), "model": frozenset((6, 14)), "info": frozenset((3, 4)),
    "tensor": frozenset((12, 16)), "attribute": frozenset((13,)),
}  # fmt: skip
"""Fields of types of values, texts and properties, which most of a file of some exporters is."""


@cache
def real(name: str) -> Message:
    """Return a model that an exporter has written, without what only describes it."""
    model = wire.decoded((DATA / f"{name}.onnx").read_bytes())
    for kind, message in wire.messages_of(model):
        message[:] = [field for field in message if field.number not in DESCRIBING.get(kind, ())]
    return model


@cache
def gathered() -> tuple[Message, ...]:
    """Return the models of gather.py."""
    whole = lzma.decompress(base64.b64decode(GATHERED.read_text(encoding="ascii")))
    found, at = [], 0
    while at < len(whole):
        (size,) = struct.unpack_from("<I", whole, at)
        found.append(wire.decoded(whole[at + 4 : at + 4 + size]))
        at += 4 + size
    return tuple(found)


@cache
def noted() -> tuple[Message, ...]:
    """Return those of gather.py that this package has written."""
    return tuple(each for each in gathered() if any(field.number == 14 for field in each))


def _input(graph: Graph, width: int) -> str:
    """Add the input, and what makes features of it; return the name of these."""
    draw = graph.draw
    kind = draw.below(6)
    count, batch = graph.steps or "t", draw.pick(steps.BATCH)
    if kind == 1:
        graph.inputs.append(info("x", [count, batch], INT64))
        return graph.node("Gather", [graph.floats(draw.pick((5, 5, 500)), width), "x"], axis=draw.pick((None, 0)))
    if kind == 2:
        graph.inputs.append(info("x", [batch, count, width], graph.code))
        return graph.node("Transpose", ["x"], perm=[1, 0, 2])
    if kind == 3:
        graph.inputs.append(info("x", [count, batch], INT64))
        values = graph.constant((2,), bytes(4) + b"\0\0\x80\x3f", FLOAT)
        return graph.node("OneHot", ["x", graph.integers(width), values], axis=-1)
    if kind == 4:
        graph.inputs.append(info("x", [count, batch, 5], graph.code))
        x = graph.node("Add", [graph.node("MatMul", ["x", graph.floats(5, width)]), graph.floats(width)])
        return graph.node("Relu", [x]) if draw.once(2) else x
    graph.inputs.append(info("x", [count, batch, width], graph.code))
    return "x"


def model(draw: Draw) -> Message:
    """Return a model of the grammar."""
    graph, width = Graph(draw), 3
    x = _input(graph, width)
    graph.names.append("x")
    for _ in range(draw.pick((0, 0, 0, 0, 0, 0, 1, 2))):
        graphs.noise(graph)
    before, last, lengths, back = "", "", "", ""
    if draw.once(40):
        x = graphs.branches(graph, x, width)
    if draw.once(8):
        x = steps.scaled(graph, x, width)
    if draw.once(16):
        x = steps.step_by_step(graph, x, width)
    if draw.once(8):
        x, lengths, back = steps.in_order(graph, x)
    is_unrolled = draw.once(3)
    for _ in range(draw.pick((1, 1, 2, 3))):
        before = last
        if is_unrolled:
            x, last, width = steps.unrolled(graph, x, width)
        else:
            x, last, width = graphs.recurrent(graph, x, width, lengths)
    if back and draw.below(4):
        x = graph.node("Gather", [x, back], axis=1)
    x, rank = graphs.read(graph, x, before, last)
    x = graphs.head(graph, x, width, rank)
    for _ in range(draw.pick((0, 0, 0, 0, 0, 0, 0, 0, 1, 2))):
        x = graph.node("Cast", [x], to=draw.pick((10, 1, 11, 16, 7)))
    for _ in range(draw.pick((0, 0, 0, 0, 0, 1, 3))):
        graphs.noise(graph)
    return _whole(draw, graph, x)


def _whole(draw: Draw, graph: Graph, x: str) -> Message:
    """Return the model of a graph."""
    outputs = [x, draw.pick(graph.names)] if draw.once(12) else [x]
    held = [Field(1, BYTES, each) for each in graph.nodes] + [text(2, "g")]
    held += [Field(5, BYTES, each) for each in graph.tensors] + [Field(11, BYTES, each) for each in graph.inputs]
    held += [Field(12, BYTES, info(name, ["t", "b", "o"], graph.code)) for name in outputs]
    opset = draw.pick((*(14, 17, 13, 22) * 12, 11, 7, 9, 6, 99))
    found = [
        Field(1, VARINT, 8),
        text(2, "fuzz"),
        Field(7, BYTES, held),
        Field(8, BYTES, [text(1, ""), Field(2, VARINT, opset)]),
    ]
    if draw.once(8):
        names = draw.pick((("weight_hh_l0",), ("weight_hh_l0", "weight_hh_l1"), ("weight_hh_l0", "readout.weight")))
        arrays = {name: Tensor("f4", (1,), b"") for name in names}
        note = jsons.written(draw, native.description(draw, arrays))
        found.append(Field(14, BYTES, [text(1, "rnn_backends"), Field(2, BYTES, note)]))
    if draw.once(60):
        function = [text(1, "F"), text(4, "a"), text(5, "b"), *(Field(7, BYTES, each) for each in graph.nodes[:2])]
        found.append(Field(25, BYTES, function))
    return found


def _noted(draw: Draw, whole: Message) -> Message:
    """Return a model of this package's whose description has changes."""
    whole = wire.copied(whole)
    for field in whole:
        if field.number == 14:
            entry = {each.number: each.value for each in field.value}
            if entry.get(1) == b"rnn_backends":
                said = json.loads(entry[2])
                if draw.once(6):  # the second is more than any float has
                    next(iter(said["cells"].values()))["clip"] = draw.pick((1, 10**400, "1"))
                note = jsons.written(draw, jsons.changed(draw, said))
                field.value[:] = [text(1, "rnn_backends"), Field(2, BYTES, note)]
    return whole


def generate(draw: Draw) -> Case:
    kind = draw.below(5)
    held = real(draw.pick(REAL)) if kind == 0 else model(draw) if kind in {1, 3} else draw.pick(gathered())
    if kind == 4:
        held = _noted(draw, draw.pick(noted()))
    whole = wire.encoded(wire.changed(draw, held))
    if draw.once(24):
        whole = damaged(draw, whole)
    given: dict[str, Any] = options(draw, "onnx", [], {})
    if draw.once(10) != (b"location" in whole):
        given["external_data"] = True
    return Case(".onnx", whole, given, {"w.bin": BESIDE})
