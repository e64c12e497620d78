"""Attributes of an HDF5 file that are texts, as Keras writes them: of one text, or of several in a row.

A text stands in the header of its object, or, where its length varies, in a heap of the file that the header points to;
there even a configuration of many megabytes has its place.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from math import prod
from sys import getsizeof

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.keras.hdf5 import File, fields, name_of

ATTRIBUTE = 0xC
_STRING, _VARIABLE = 3, 9
_IS_TEXT = 1
_SCALAR_OR_ROW = 2
MAX_NAME = 1000
"""The most bytes of a name in a list; those of groups, which they are, have 255."""
_COPIES = 3
"""How many times a name in a list is held: itself, and in paths."""
_PARTS = 1000
"""The most attributes that a list of names is spread over, as Keras does where it is longer than a header may be."""


def text(file: File, path: str, name: str) -> bytes | None:
    """Return an attribute of one text, None if there is none."""
    texts_in = texts(file, path, name)
    if texts_in is None:
        return None
    found = list(islice(texts_in, 2))
    if len(found) != 1:
        msg = f"the attribute {shown(name)} of {shown(path)} must be one text; it is of {len(found) and 'several'}."
        raise FormatError(msg)
    return found[0]


def names(file: File, path: str, name: str) -> list[str] | None:
    """Return a list of names, in one attribute or in several, name0, name1 and so on; None if there is none."""
    found = _names(file, path, name)
    if found is None and (first := _names(file, path, f"{name}0")) is not None:
        found = first
        for part in range(1, _PARTS):
            if (more := _names(file, path, f"{name}{part}")) is None:
                break
            found += more
    return found


def _names(file: File, path: str, name: str) -> list[str] | None:
    """Return the names in one attribute, each of which is accounted, as many may be one text of a heap."""
    texts_in = texts(file, path, name, MAX_NAME)
    if texts_in is None:
        return None
    found = []
    for text_in in texts_in:
        found.append(name_of(text_in, f"a name in the attribute {shown(name)} of {shown(path)}"))
        file.source.account.take("the names in it", "bytes", _COPIES * getsizeof(found[-1]))
    return found


def texts(file: File, path: str, name: str, most: int | None = None) -> Iterator[bytes] | None:
    """Return the texts of an attribute, of at most so many bytes each, None if there is none of this name."""
    address = file.address(path)
    if address not in file.attributes:
        file.attributes[address] = _by_name(file, path)
    found = file.attributes[address].get(name.encode())
    return None if found is None else _values(file, f"the attribute {shown(name)} of {shown(path)}", most, *found)


def _by_name(file: File, path: str) -> dict[bytes, tuple[memoryview, memoryview, memoryview]]:
    """Return the attributes of an object, looked through once however many of them are asked for."""
    found: dict[bytes, tuple[memoryview, memoryview, memoryview]] = {}
    for message in file.header(path):
        if message.kind == ATTRIBUTE:
            file.count()
            name, *rest = parts(memoryview(message.body))
            found.setdefault(bytes(name).rstrip(b"\0"), (rest[0], rest[1], rest[2]))
    return found


def parts(body: memoryview) -> tuple[memoryview, memoryview, memoryview, memoryview]:
    """Return the name, the description of the dtype, that of the shape, and the data of an attribute."""
    version, _, *sizes = fields("<BBHHH", body)
    if version not in {1, 2, 3}:
        msg = f"an attribute in it is of version {version}, which h5py does not write for Keras; {way('hdf5_plain')}."
        raise FormatError(msg)
    at, found = 8 + (version == 3), []
    for size in sizes:
        found.append(body[at : at + size])
        at += -(-size // 8) * 8 if version == 1 else size
    return found[0], found[1], found[2], body[at:]


def _values(
    file: File, what: str, most: int | None, dtype: memoryview, space: memoryview, data: memoryview
) -> Iterator[bytes]:
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
        if kind & 0xF == _STRING:
            held = bytes(item).rstrip(b"\0")
            _require_short(what, len(held), most)
            yield held
        else:
            yield _from_heap(file, what, item, most)


def _require_short(what: str, length: int, most: int | None) -> None:
    if most is not None and length > most:
        msg = f"{what} has a name of {length} bytes; those of groups and arrays have at most {most}."
        raise FormatError(msg)


def _from_heap(file: File, what: str, item: memoryview, most: int | None) -> bytes:
    """Return a text of a global heap, by its length, the place of the heap and its number there."""
    length, heap, number = fields("<IQI", item)
    if length == 0:
        return b""
    _require_short(what, length, most)
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
