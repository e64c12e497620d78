"""An ONNX graph as it is made: nodes, attributes, and constants in all the ways that files hold them."""

import hashlib
import struct
from collections.abc import Sequence
from math import prod
from typing import Any

from fuzz.draws import Draw
from fuzz.wire import BYTES, FIXED32, VARINT, Field, Message

BESIDE = bytes(range(64)) * 2
"""The data of the file beside each model."""
CHECKSUM = hashlib.sha1(BESIDE, usedforsecurity=False).hexdigest()
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
    """A graph as it is made: its nodes, constants and inputs, and how many steps these have, if that is known."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.nodes: list[Message] = []
        self.tensors: list[Message] = []
        self.inputs: list[Message] = []
        self.names: list[str] = []
        self.code = draw.pick((FLOAT, FLOAT, FLOAT, FLOAT, DOUBLE, HALF, BFLOAT16))
        self.steps = draw.pick((3, 3, 3, 1, None))

    def node(self, kind: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        outputs = [f"{kind}{len(self.nodes)}_{k}" for k in range(count)]
        held = [
            *(text(1, name) for name in inputs),
            *(text(2, name) for name in outputs),
            text(3, f"the_{kind}"),
            text(4, kind),
        ]
        held += [Field(5, BYTES, attribute(name, value)) for name, value in attributes.items() if value is not None]
        self.nodes.append(held)
        self.names += outputs
        return outputs[0]

    def floats(self, *shape: int) -> str:
        """Add a constant of floats, which the graph may compute of another; return its name."""
        way = self.draw.below(32)
        if way == 31:
            return self.node("Cast", [self._floats(shape, DOUBLE if self.code == HALF else HALF)], to=self.code)
        if way == 30:
            kind = self.draw.pick(("Mul", "Div", "Sub"))
            return self.node(kind, [self._floats(shape, self.code), self._floats((1,), self.code)])
        if way == 29 and shape:
            return self.node("Transpose", [self._floats(shape[::-1], self.code)])
        if way == 28:
            flat = self._floats((prod(shape),), self.code)
            return self.node("Reshape", [flat, self.integers(*shape)])
        if way == 27 and shape:
            return self.node("Split", [self._floats((2 * shape[0], *shape[1:]), self.code)], 2, axis=0)
        return self._floats(shape, self.code)

    def _floats(self, shape: Sequence[int], code: int) -> str:
        form, count = {FLOAT: "f", DOUBLE: "d", HALF: "e", BFLOAT16: "H"}[code], prod(shape)
        numbers: list[Any] = [0.25 + (k * 37 % 11) / 16 for k in range(count)]
        if code == BFLOAT16:
            numbers = [0x3E80] * count
        return self.constant(shape, struct.pack(f"<{count}{form}", *numbers), code)

    def integers(self, *values: int, code: int = INT64) -> str:
        """Add a constant of integers in a row; return its name."""
        return self.constant(
            (len(values),), struct.pack(f"<{len(values)}{'q' if code == INT64 else 'i'}", *values), code
        )

    def constant(self, shape: Sequence[int], data: bytes, code: int) -> str:
        name, draw = f"c{len(self.tensors)}_{len(self.nodes)}", self.draw
        kind = draw.below(250)
        held = tensor(name, shape, data, code)
        if kind in {1, 6, 7}:
            held = [*held[:-1], Field(14, VARINT, 1), *_beside(draw)]
        elif kind == 2:
            held = [*held[:-1], *_listed(code, data)]
        elif kind == 249:
            held.append(Field(5, VARINT, 1))
        elif kind == 4:
            self.inputs.append(info(name, shape, code))
        elif kind == 5:
            self.nodes.append(
                [text(2, name), text(4, "Constant"), Field(5, BYTES, attribute("value", ("tensor", held)))]
            )
            return name
        self.tensors.append(held)
        self.names.append(name)
        return name


def _beside(draw: Draw) -> list[Field]:
    """Return where the data of a tensor are in a file beside the model."""
    place = draw.pick(("w.bin", "w.bin", "w.bin", "w.bin", "../w.bin", "x", "w.bin/a", "", "y" * 300, "y" * 1200))
    entries = [("location", place)]
    if draw.below(6):
        return _entries(
            [
                ("location", "w.bin"),
                *([("checksum", draw.pick((CHECKSUM, CHECKSUM, "0" * 40)))] if draw.once(2) else []),
            ]
        )
    for _ in range(draw.below(3)):
        value = draw.pick(("0", "4", "64", "-1", "9" * 30, "x", CHECKSUM, CHECKSUM, "48"))
        entries.append((draw.pick(("offset", "length", "checksum", "checksum", "key")), value))
    return _entries(entries)


def _entries(held: Sequence[tuple[str, str]]) -> list[Field]:
    return [Field(13, BYTES, [text(1, key), text(2, value)]) for key, value in held]


def _listed(code: int, data: bytes) -> list[Field]:
    """Return the elements of a tensor in the field of their type."""
    if code in {FLOAT, DOUBLE}:
        return [Field(4 if code == FLOAT else 10, BYTES, data)]
    if code == INT64:
        return [Field(7, VARINT, each) for (each,) in struct.iter_unpack("<q", data)]
    return [Field(5, VARINT, each) for (each,) in struct.iter_unpack({INT32: "<i", 9: "<B"}.get(code, "<H"), data)]
