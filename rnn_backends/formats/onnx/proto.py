"""An .onnx file as the onnx package's messages, after a walk over its bytes that bounds what they unpack to.

Protobuf unpacks two bytes to an empty message of a hundred bytes, and one byte of a packed list to a number of eight,
so fields are accounted before the package sees them.  The raw data of tensors, nearly all of a large file, are left
in the file, and `Tensors` reads each from there: protobuf would hold them until the last of them is read.
"""

import importlib
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.source import Account, Source

MAX_FILE = 2**31 - 1
PLACE = struct.Struct("<QQ")
"""Where raw data begin in the file, and how many bytes they are; it stands in their place."""
UNPACKED = 64
"""The bytes of a number of Python's in a list, which one byte of a file may be unpacked to."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STRING, _MESSAGE, _RAW = 9, 11, 12
_UNUSED = {
    "onnx.GraphProto.value_info", "onnx.GraphProto.doc_string", "onnx.GraphProto.metadata_props",
    "onnx.NodeProto.doc_string", "onnx.NodeProto.metadata_props",
    "onnx.TensorProto.doc_string", "onnx.TensorProto.metadata_props",
    "onnx.ValueInfoProto.doc_string", "onnx.ValueInfoProto.metadata_props",
}  # fmt: skip
"""Fields that no network's numbers depend on, which are most of what exporters write for each node."""
_FLOATS = {1, 2}  # double and float: a packed list of them unpacks to no more than it has


class _Field(NamedTuple):
    """A field of a message: its type, the message in it, and its name."""

    kind: int
    below: Any
    name: str


def package() -> Any:
    """Return the onnx package."""
    try:
        return importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        msg = f"ONNX models need the package 'onnx', which is not installed; {way('install', extra='onnx')}."
        raise FormatError(msg) from error


def read_model(source: Source) -> Any:
    """Return the ModelProto of a file, in which `PLACE` stands for the raw data of each tensor.

    A file that is damaged raises ValueError, which `opened` names the file in.
    """
    if source.size > MAX_FILE:
        msg = f"it has more than 2 GiB, which protobuf cannot hold; {way('onnx_large')}."
        raise FormatError(msg)
    onnx = package()
    from google.protobuf.message import DecodeError

    try:
        return onnx.ModelProto.FromString(_skeleton(source, onnx.ModelProto.DESCRIPTOR))
    except DecodeError as error:
        raise ValueError(*error.args) from error


def _skeleton(source: Source, descriptor: Any) -> bytes:
    """Return the bytes of a file without raw data."""
    data = source.numbers(0, source.size, "u1", "the model").data
    return b"".join(_Walk(source.account).message(data, 0, descriptor))


class _Walk:
    """A walk over the wire format of a message that accounts for what it unpacks to."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def message(self, data: memoryview, start: int, descriptor: Any, depth: int = 0) -> list[Any]:
        """Return the pieces of a message that begins at a place in the file, and of those in it."""
        self.account.take("its messages in each other", "depth", depth)
        known, at = _known(descriptor), 0
        pieces: list[Any] = []
        while at < len(data):
            self.account.take("its structure", "fields", 1)
            tag, after = _varint(data, at)
            begin, end = _extent(data, after, tag & 7)
            field = known.get(tag >> 3)
            if tag & 7 == _BYTES and (field is None or field.name not in _UNUSED):
                inner = self._inside(data[begin:end], start + begin, field, depth)
                pieces += [data[at:after], _number(sum(map(len, inner))), *inner]
            elif tag & 7 != _BYTES:
                pieces.append(data[at:end])
            at = end
        return pieces

    def _inside(self, held: memoryview, start: int, field: _Field | None, depth: int) -> list[Any]:
        """Return the pieces of a field of some length."""
        if field is None:
            return [held]
        if field.kind == _MESSAGE:
            return self.message(held, start, field.below, depth + 1)
        if field.kind == _STRING:
            self.account.take("a text in it", "bytes", 4 * len(held))
            str(held, "utf-8")  # raises for other bytes, as protobuf does
        elif field.name == "onnx.TensorProto.raw_data":
            return [PLACE.pack(start, len(held))]
        elif field.kind not in {_RAW, *_FLOATS}:
            what = "its lists of integers, which as raw_data of tensors were read in one piece,"
            self.account.take(what, "bytes", UNPACKED * len(held))
        return [held]


@cache
def _known(descriptor: Any) -> Mapping[int, _Field]:
    """Return the fields of a message by their numbers."""
    return {
        number: _Field(field.type, field.message_type, field.full_name)
        for number, field in descriptor.fields_by_number.items()
    }


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    msg = "it ends in the middle of a number, or has one of more than 64 bits"
    raise ValueError(msg)


def _number(value: int) -> bytes:
    """Return a number in the wire format."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _extent(data: memoryview, at: int, wire: int) -> tuple[int, int]:
    """Return where a field's value starts and ends."""
    if wire == _VARINT:
        return at, _varint(data, at)[1]
    if wire == _BYTES:
        length, at = _varint(data, at)
    elif wire in {_FIXED64, _FIXED32}:
        length = 8 if wire == _FIXED64 else 4
    else:
        msg = f"it has a field of wire type {wire}, which ONNX has not"
        raise ValueError(msg)
    if at + length > len(data):
        msg = f"a field announces {length} bytes where {len(data) - at} are left"
        raise ValueError(msg)
    return at, at + length
