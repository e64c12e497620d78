"""An .onnx file as the onnx package's messages, after a walk over its bytes that bounds what they unpack to.

Protobuf unpacks two bytes to an empty message of some hundred, and one byte of a packed list to a number of eight, so
fields are accounted before the package sees them.  The raw data of tensors, nearly all of a large file, are left in the
file, and `Tensors` reads each from there: protobuf would hold them until the last of them is read.
"""

import importlib
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.source import BLOCK, Source

MAX_FILE = 2**31 - 1
PLACE = struct.Struct("<QQ")
"""Where raw data begin in the file, and how many bytes they are; it stands in their place."""
UNPACKED = 64
"""The bytes of a number of Python's in a list, which one byte of a file may be unpacked to."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STRING, _MESSAGE, _RAW = 9, 11, 12
_UNUSED = {
    "onnx.ModelProto.doc_string",
    "onnx.GraphProto.value_info", "onnx.GraphProto.doc_string", "onnx.GraphProto.metadata_props",
    "onnx.NodeProto.doc_string", "onnx.NodeProto.metadata_props", "onnx.AttributeProto.doc_string",
    "onnx.TensorProto.doc_string", "onnx.TensorProto.metadata_props",
    "onnx.ValueInfoProto.doc_string", "onnx.ValueInfoProto.metadata_props",
}  # fmt: skip
"""Fields that no network's numbers depend on, which are most of what exporters write for each node."""
_FLOATS = {1, 2}  # double and float: a packed list of them unpacks to no more than it has
_TEXTS = {"onnx.StringStringEntryProto.value"}
"""Fields that hold a text, such as a description; all others of that kind hold a name."""
_LONGEST = 1000
"""The most characters of a name."""


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
    if not source.size:
        msg = f"it is empty; if it is just being written, {way('again')}."
        raise FormatError(msg)
    if source.size > MAX_FILE:
        msg = f"it has more than 2 GiB, which protobuf cannot hold; {way('onnx_large')}."
        raise FormatError(msg)
    onnx = package()
    from google.protobuf.message import DecodeError

    try:
        return onnx.ModelProto.FromString(bytes(_skeleton(source, onnx.ModelProto.DESCRIPTOR)))
    except DecodeError as error:
        raise ValueError(*error.args) from error


def _skeleton(source: Source, descriptor: Any) -> bytearray:
    """Return the bytes of a file without raw data."""
    walk = _Walk(source)
    walk.message(0, source.size, descriptor)
    return walk.out


class _Walk:
    """A walk over the wire format of a message that accounts for what it unpacks to, and copies it."""

    def __init__(self, source: Source) -> None:
        self.source, self.account = source, source.account
        self.out = bytearray()
        self._block, self._at = b"", 0

    def message(self, at: int, end: int, descriptor: Any, depth: int = 0) -> None:
        """Copy a message that stands in a part of the file, and those in it."""
        self.account.take("its messages in each other", "depth", depth)
        known = _known(descriptor)
        while at < end:
            tag, after = self._varint(at, end)
            begin, stop = self._extent(after, end, tag & 7)
            field = known.get(tag >> 3)
            self.account.take("its structure", "fields", 1)
            if field is not None and field.name not in _UNUSED:
                self.out += self._bytes(at, begin if tag & 7 == _BYTES else stop)
                if tag & 7 == _BYTES:
                    mark = len(self.out)
                    self._content(begin, stop, field, depth)
                    if (new := len(self.out) - mark) != stop - begin:
                        self.out[mark - (begin - after) : mark] = _number(new)
            at = stop

    def _content(self, begin: int, stop: int, field: _Field, depth: int) -> None:
        """Copy what a field of some length holds."""
        size = stop - begin
        if field.kind == _MESSAGE:
            self.message(begin, stop, field.below, depth + 1)
            return
        if field.name == "onnx.TensorProto.raw_data":
            self.out += PLACE.pack(begin, size)
            return
        if field.kind == _STRING:
            self._require_text(begin, stop, field)
        elif field.kind == _RAW:
            self.account.take("a text in it", "text", size)
        elif field.kind not in _FLOATS:
            what = "its lists of integers, which as raw_data of tensors were read in one piece,"
            self.account.take(what, "bytes", UNPACKED * size)
        for place in range(begin, stop, BLOCK):
            self.out += self._bytes(place, min(place + BLOCK, stop))

    def _require_text(self, begin: int, stop: int, field: _Field) -> None:
        """Check a text, which other bytes than those of UTF-8 are an error in, or a name, of up to four a character."""
        if field.name in _TEXTS:
            self.account.take("a text in it", "text", stop - begin)
            str(self._bytes(begin, stop), "utf-8")
            return
        end = min(stop, begin + 4 * _LONGEST)
        text = str(self._bytes(begin, end), "utf-8", "strict" if end == stop else "ignore")
        if end < stop or len(text) > _LONGEST:
            msg = f"it has a name of more than {_LONGEST} characters, which begins {shown(text)}."
            raise FormatError(msg)

    def _bytes(self, begin: int, stop: int) -> bytes:
        """Return some bytes of the file, of which a block is held."""
        if not self._at <= begin <= stop <= self._at + len(self._block):
            size = min(max(stop - begin, BLOCK), self.source.size - begin)
            self._block, self._at = self.source.read(begin, size, "the structure of the graph"), begin
        return self._block[begin - self._at : stop - self._at]

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Return a number, and where it ends."""
        if at < end and 0 <= (place := at - self._at) < len(self._block) and (byte := self._block[place]) < 0x80:
            return byte, at + 1
        value = shift = 0
        for byte in self._bytes(at, min(at + 10, end)):
            value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                return value, at
        msg = "it ends in the middle of a number, or has one of more than 64 bits"
        raise ValueError(msg)

    def _extent(self, at: int, end: int, wire: int) -> tuple[int, int]:
        """Return where a field's value starts and ends."""
        if wire == _VARINT:
            return at, self._varint(at, end)[1]
        if wire == _BYTES:
            length, at = self._varint(at, end)
        elif wire in {_FIXED64, _FIXED32}:
            length = 8 if wire == _FIXED64 else 4
        else:
            msg = f"it has a field of wire type {wire}, which ONNX has not"
            raise ValueError(msg)
        if at + length > end:
            msg = f"a field announces {length} bytes where {end - at} are left"
            raise ValueError(msg)
        return at, at + length


@cache
def _known(descriptor: Any) -> Mapping[int, _Field]:
    """Return the fields of a message by their numbers."""
    return {
        number: _Field(field.type, field.message_type, field.full_name)
        for number, field in descriptor.fields_by_number.items()
    }


def _number(value: int) -> bytes:
    """Return a number in the wire format."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
