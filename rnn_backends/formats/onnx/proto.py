"""An .onnx file as the onnx package's messages, after a look at its bytes that bounds what they unpack to.

Protobuf reads two bytes as an empty message of a hundred bytes, and one byte of a packed list as a number of
eight: a small file could fill the memory.  So its fields are counted before the package sees them.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rnn_backends.errors import FormatError

MAX_FIELDS = 50_000
MAX_PACKED = 2**20
MAX_DEPTH = 12
MAX_QUOTED = 200
MAX_FILE = 2**31 - 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STRING, _MESSAGE, _RAW = 9, 11, 12
_FLOATS = {1, 2}  # double and float: a packed list of them unpacks to no more than it has


def package() -> Any:
    """Return the onnx package."""
    try:
        return importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        msg = (
            "ONNX models need the package 'onnx', which is not installed. Install it: pip install 'rnn-backends[onnx]'."
        )
        raise FormatError(msg) from error


def quoted(text: str) -> str:
    """Return a text of a file as a message shows it, cut where it is long."""
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def read_model(path: Path) -> Any:
    """Return the ModelProto of a file."""
    if path.stat().st_size > MAX_FILE:
        msg = "it has more than 2 GiB, which protobuf cannot hold; keep its weights in an external data file."
        raise FormatError(msg)
    return parse_model(path.read_bytes())


def parse_model(data: bytes) -> Any:
    """Return the ModelProto of a file's bytes."""
    onnx = package()
    from google.protobuf.message import DecodeError

    try:
        Scan().message(memoryview(data), onnx.ModelProto.DESCRIPTOR)
        return onnx.ModelProto.FromString(data)
    except (DecodeError, FormatError) as error:
        msg = f"it is no ONNX file, or is damaged: {error}"
        raise FormatError(msg) from error


class Scan:
    """A walk over the wire format of a message that counts what it would unpack to."""

    def __init__(self) -> None:
        self.fields = self.packed = 0

    def message(self, data: memoryview, descriptor: Any, depth: int = 0) -> None:
        """Walk a message and those in it."""
        if depth > MAX_DEPTH:
            msg = f"messages are nested more than {MAX_DEPTH} deep."
            raise FormatError(msg)
        known, at = _known(descriptor), 0
        while at < len(data):
            tag, at = _varint(data, at)
            start, end = _extent(data, at, tag & 7)
            self._count(fields=1)
            kind, below = known.get(tag >> 3, (None, None))
            if tag & 7 == _BYTES:
                self._inside(data[start:end], kind, below, depth)
            at = end

    def _inside(self, held: memoryview, kind: int | None, below: Any, depth: int) -> None:
        if kind == _MESSAGE:
            self.message(held, below, depth + 1)
        elif kind == _STRING:
            try:
                str(held, "utf-8")
            except UnicodeDecodeError as error:
                msg = f"a text in it is not UTF-8: {error}."
                raise FormatError(msg) from error
        elif kind not in {None, _RAW, *_FLOATS}:
            self._count(packed=len(held))

    def _count(self, fields: int = 0, packed: int = 0) -> None:
        self.fields, self.packed = self.fields + fields, self.packed + packed
        if self.fields > MAX_FIELDS or self.packed > MAX_PACKED:
            limits = f"{MAX_FIELDS} fields or {MAX_PACKED} bytes of packed integers"
            msg = f"it has more than {limits}; keep tensors as raw_data."
            raise FormatError(msg)


@cache
def _known(descriptor: Any) -> Mapping[int, tuple[int, Any]]:
    """Return, by a field's number, its type and the message that it holds."""
    return {number: (field.type, field.message_type) for number, field in descriptor.fields_by_number.items()}


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    msg = "it ends in the middle of a number, or has one of more than 64 bits."
    raise FormatError(msg)


def _extent(data: memoryview, at: int, wire: int) -> tuple[int, int]:
    """Return where a field's value starts and ends."""
    if wire == _VARINT:
        return at, _varint(data, at)[1]
    if wire == _BYTES:
        length, at = _varint(data, at)
    elif wire in {_FIXED64, _FIXED32}:
        length = 8 if wire == _FIXED64 else 4
    else:
        msg = f"it has a field of wire type {wire}, which ONNX has not."
        raise FormatError(msg)
    if at + length > len(data):
        msg = f"a field announces {length} bytes where {len(data) - at} are left."
        raise FormatError(msg)
    return at, at + length
