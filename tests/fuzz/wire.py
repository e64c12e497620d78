"""Messages of protobuf, by their wire format, as trees that can be changed anywhere; ONNX's package is not needed."""

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from fuzz.draws import Draw, edited

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """A field: its number, its wire type, and a number, bytes or the fields of a message."""

    number: int
    wire: int
    value: Any


Message = list[Field]
SCHEMA: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "entry", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "info", 12: "info", 13: "info"},
    "node": {5: "attribute"}, "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {13: "entry"}, "info": {2: "type"}, "type": {1: "tensor_type"}, "tensor_type": {2: "shape"}, "shape": {1: "dim"},
    "function": {7: "node", 9: "opset"}, "opset": {}, "entry": {}, "dim": {},
}  # fmt: skip
TEXTS: Mapping[str, frozenset[int]] = {
    "node": frozenset((1, 2, 3, 4, 7)), "attribute": frozenset((1, 4, 9, 21)), "tensor": frozenset((8,)), "info": frozenset((1,)),
    "entry": frozenset((1, 2)), "graph": frozenset((2,)), "opset": frozenset((1,)), "function": frozenset((1, 4, 5, 6, 10)),
}  # fmt: skip
"""The fields that are texts: names above all."""


def varint(value: int) -> bytes:
    value %= 2**64
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def encoded(message: Message) -> bytes:
    """Return the bytes of a message."""
    found = bytearray()
    for number, wire, value in message:
        found += varint(number << 3 | wire)
        if wire == VARINT:
            found += varint(value)
        elif wire == BYTES:
            data = value if isinstance(value, bytes) else encoded(value)
            found += varint(len(data)) + data
        else:
            found += value
    return bytes(found)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def decoded(data: bytes, kind: str = "model") -> Message:
    """Return the fields of a message that is sound."""
    found, at = [], 0
    below = SCHEMA.get(kind, {})
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == VARINT:
            value, at = _varint(data, at)
        elif wire == BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
            if number in below:
                value = decoded(value, below[number])
        else:
            size = 8 if wire == FIXED64 else 4
            value, at = data[at : at + size], at + size
        found.append(Field(number, wire, value))
    return found


def copied(message: Message) -> Message:
    """Return a message whose lists are its own."""
    return [Field(number, wire, copied(value) if isinstance(value, list) else value) for number, wire, value in message]


def messages_of(message: Message, kind: str = "model") -> list[tuple[str, Message]]:
    """Return a message and all in it, each with its kind."""
    found = [(kind, message)]
    for held_kind, held in found:  # which grows
        below = SCHEMA[held_kind]
        found.extend((below.get(field.number, "entry"), field.value) for field in held if isinstance(field.value, list))
    return found


OPERATORS = (
    "RNN", "Add", "BatchNormalization", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Dropout", "Elu", "Equal", "Expand",
    "Flatten", "Gather", "Gemm", "HardSigmoid", "Identity", "If", "LeakyRelu", "LogSoftmax", "Loop", "LSTM", "MatMul", "Mul", "OneHot",
    "Range", "ReduceMax", "ReduceMean", "ReduceProd", "Relu", "Reshape", "Scan", "ScatterElements", "Shape", "Sigmoid", "Slice",
    "Softmax", "Softplus", "Softsign", "Split", "Squeeze", "Sub", "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Unsqueeze",
    "Where", "Clip", "GlobalAveragePool", "ReduceSum", "Not", "Celu",
)  # fmt: skip
ATTRIBUTES = (
    "axis", "axes", "perm", "keepdims", "alpha", "beta", "transA", "transB", "to", "value", "direction", "hidden_size", "activations",
    "activation_alpha", "clip", "layout", "split", "num_outputs", "epsilon", "value_ints", "value_float", "start", "end", "largest",
    "sorted", "then_branch", "body", "allowzero", "reduction", "noop_with_empty_axes",
)  # fmt: skip


def changed(draw: Draw, model: Message) -> Message:
    """Return a model with a few changes in its structure; the model itself stays."""
    count = draw.pick((0, 0, 1, 1, 2, 3, 6))
    if count == 0:
        return model
    model = copied(model)
    for _ in range(count):
        held = messages_of(model)
        kinds = sorted({kind for kind, _ in held})
        # A node is as likely as a dimension of a tensor, of which there are many.
        wanted = draw.pick(("node", "node", "attribute", "tensor", *kinds))
        kind, message = draw.pick([each for each in held if each[0] == wanted] or held)
        _change(draw, kind, message, held)
    return model


def _change(draw: Draw, kind: str, message: Message, held: list[tuple[str, Message]]) -> None:
    """Change a message in place."""
    if not message:
        return
    if draw.once(5):
        donors = draw.pick([each for own, each in held if own == kind])
        edited(draw, message, copied(donors) or message)
        return
    at = draw.below(len(message))
    number, wire, value = message[at]
    if wire == VARINT:
        value = draw.pick((value + 1, value - 1, draw.number(), draw.below(8)))
    elif wire == FIXED32:
        value = draw.pick((struct.pack("<f", draw.below(5) - 2), b"\0\0\xc0\x7f", b"\0\0\x80\x7f"))
    elif wire == BYTES and isinstance(value, bytes) and number in TEXTS.get(kind, ()):
        if kind == "node" and number == 4:
            value = draw.pick(OPERATORS).encode()
        elif kind == "attribute" and number == 1:
            value = draw.pick(ATTRIBUTES).encode()
        elif kind == "node" and number in {1, 2}:
            names = [each.value for own, other in held if own == "node" for each in other if each.number in {1, 2}]
            value = draw.pick([*names, b""])
        else:
            value = draw.pick((draw.text().encode("utf-8", "surrogatepass"), b"\xff", (value * 50)[:2000], b""))
    elif wire == BYTES and isinstance(value, bytes):
        value = draw.pick(
            (
                value[:-4],
                value[:-1],
                value + bytes(4),
                b"",
                bytes(len(value)),
                b"\0\0\xc0\x7f" * (len(value) // 4),
                draw.octets(16),
            )
        )
    message[at] = Field(number, wire, value)
