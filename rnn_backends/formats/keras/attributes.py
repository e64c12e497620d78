"""Attributes of an HDF5 file that are texts, as Keras writes them: of one text, or of several in a row.

A text stands in the header of its object, or, where its length varies, in a heap of the file that the header points to;
there even a configuration of many megabytes has its place.
"""

import struct
from collections.abc import Iterator
from math import prod

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.hdf5 import File, fields

ATTRIBUTE = 0xC
_STRING, _VARIABLE = 3, 9
_IS_TEXT = 1
_SCALAR_OR_ROW = 2
_PARTS = 1000
"""The most attributes that a list of names is spread over, as Keras does where it is longer than a header may be."""


def text(file: File, path: str, name: str) -> bytes | None:
    """Return an attribute of one text, None if there is none."""
    found = texts(file, path, name)
    if found is not None and len(found) != 1:
        msg = f"the attribute {shown(name)} of {shown(path)} must be one text; it is of {len(found)}."
        raise FormatError(msg)
    return None if found is None else found[0]


def names(file: File, path: str, name: str) -> list[str] | None:
    """Return a list of names, in one attribute or in several, name0, name1 and so on; None if there is none."""
    found = texts(file, path, name)
    if found is None and (first := texts(file, path, f"{name}0")) is not None:
        found = first
        for part in range(1, _PARTS):
            if (more := texts(file, path, f"{name}{part}")) is None:
                break
            found += more
    return None if found is None else [each.decode("utf-8", "backslashreplace") for each in found]


def texts(file: File, path: str, name: str) -> list[bytes] | None:
    """Return the texts of an attribute, None if there is none of this name."""
    if path not in file.attributes:
        file.attributes[path] = _by_name(file, path)
    found = file.attributes[path].get(name.encode())
    return None if found is None else list(_values(file, f"the attribute {shown(name)} of {shown(path)}", *found))


def _by_name(file: File, path: str) -> dict[bytes, tuple[bytes, bytes, bytes]]:
    """Return the attributes of an object, looked through once however many of them are asked for."""
    found: dict[bytes, tuple[bytes, bytes, bytes]] = {}
    for message in file.header(path):
        if message.kind == ATTRIBUTE:
            file.count()
            name, *rest = parts(message.body)
            found.setdefault(name, (rest[0], rest[1], rest[2]))
    return found


def parts(body: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the name, the description of the dtype, that of the shape, and the data of an attribute."""
    version, _, *sizes = fields("<BBHHH", body)
    if version not in {1, 2, 3}:
        msg = f"an attribute in it is of version {version}, which h5py does not write for Keras; {way('hdf5_plain')}."
        raise FormatError(msg)
    at, found = 8 + (version == 3), []
    for size in sizes:
        found.append(body[at : at + size])
        at += -(-size // 8) * 8 if version == 1 else size
    return found[0].rstrip(b"\0"), found[1], found[2], body[at:]


def _values(file: File, what: str, dtype: bytes, space: bytes, data: bytes) -> Iterator[bytes]:
    version, rank, _ = fields("<BBB", space)
    start = {1: 8, 2: 4}.get(version)
    kind, bits, size = fields("<BBxxI", dtype)
    if start is not None and rank == 1 and fields("<Q", space, start) == (0,):
        return  # an empty list has the dtype of numbers
    is_text = kind & 0xF == _STRING or (kind & 0xF == _VARIABLE and bits & 0xF == _IS_TEXT and size == 16)
    if start is None or rank >= _SCALAR_OR_ROW or not is_text:
        msg = f"{what} must be a text, or texts in a row."
        raise FormatError(msg)
    count = prod(fields(f"<{rank}Q", space, start))
    if count * size > len(data):
        msg = f"{what} is cut short: it has {len(data)} bytes for {count} texts."
        raise FormatError(msg)
    for place in range(count):
        item = data[size * place : size * (place + 1)]
        file.count()
        yield item.rstrip(b"\0") if kind & 0xF == _STRING else _from_heap(file, what, item)


def _from_heap(file: File, what: str, item: bytes) -> bytes:
    """Return a text of a global heap, by its length, the place of the heap and its number there."""
    length, heap, number = fields("<IQI", item)
    if length == 0:
        return b""
    if heap not in file.heaps:
        file.heaps[heap] = dict(_objects(file, what, heap))
    at, size = file.heaps[heap].get(number, (0, 0))
    if length > size:
        msg = f"{what} is damaged: it has no text in the file's heap."
        raise FormatError(msg)
    file.source.account.take(what, "text", length)
    return file.source.read(at, length, what)


def _objects(file: File, what: str, heap: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the number, the place and the size of each object of a global heap."""
    magic, version, size = struct.unpack("<4sB3xQ", file.source.read(heap, 16, what))
    at, end = heap + 16, heap + size
    while magic == b"GCOL" and version == 1 and at + 16 <= end:
        number, _, held = struct.unpack("<HH4xQ", file.source.read(at, 16, what))
        file.count()
        if number == 0 or held > end - at - 16:  # what is left is free, or damaged
            break
        yield number, (at + 16, held)
        at += 16 + -(-held // 8) * 8
