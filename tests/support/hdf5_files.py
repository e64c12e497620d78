"""HDF5 files put together by hand, object by object: what h5py would not write."""

import struct
from collections.abc import Mapping, Sequence

FLOAT32 = b"\x11\x20\x1f\0" + struct.pack("<IHHBBBBI", 4, 0, 32, 23, 8, 0, 23, 127)
UNDEFINED = 2**64 - 1


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


class Written:
    """A file of superblock 0: headers of version 1, and groups of one node."""

    def __init__(self) -> None:
        self.raw = bytearray(96)

    def put(self, data: bytes) -> int:
        """Add bytes, and return their place."""
        self.raw += bytes(-len(self.raw) % 8)
        at = len(self.raw)
        self.raw += data
        return at

    def header(self, messages: Sequence[tuple[int, bytes]]) -> int:
        """Add the header of an object, of its parts by kind."""
        body = b"".join(struct.pack("<HHBxxx", kind, len(held), 0) + held for kind, held in messages)
        return self.put(struct.pack("<BBHII", 1, 0, len(messages), 1, len(body)) + bytes(4) + body)

    def named(self, blob: bytes, places: Mapping[int, int], attributes: Sequence[bytes] = ()) -> int:
        """Add a group of a heap of names, whose members are given by the places of their names in it."""
        heap = self.put(b"HEAP\0\0\0\0" + struct.pack("<QQQ", len(blob), UNDEFINED, self.put(blob)))
        links = b"".join(struct.pack("<QQI20x", name, member, 0) for name, member in places.items())
        node = self.put(b"SNOD\1\0" + struct.pack("<H", len(places)) + links)
        return self.header([(0x11, struct.pack("<QQ", node, heap)), *((0xC, each) for each in attributes)])

    def group(self, members: Mapping[str, int], attributes: Sequence[bytes] = ()) -> int:
        """Add a group."""
        blob, places = bytes(8), {}
        for name, member in members.items():
            places[len(blob)] = member
            blob += _padded(name.encode() + b"\0")
        return self.named(blob, places, attributes)

    def array(self, *shape: int, at: int | None = None) -> int:
        """Add an array of zeros, or one whose numbers lie at a place."""
        size = 4
        for length in shape:
            size *= length
        at = self.put(bytes(size)) if at is None else at
        space = struct.pack("<BBB5x", 1, len(shape), 0) + b"".join(struct.pack("<Q", length) for length in shape)
        return self.header([(1, space), (3, FLOAT32), (8, struct.pack("<BBQQ", 3, 1, at, size))])

    def heap(self, *texts: bytes) -> int:
        """Add a heap of texts, numbered from 1."""
        body = b"".join(struct.pack("<HH4xQ", k, 1, len(each)) + _padded(each) for k, each in enumerate(texts, 1))
        return self.put(b"GCOL\1\0\0\0" + struct.pack("<Q", 16 + len(body)) + body)

    def cell(self) -> int:
        """Add the group of a SimpleRNN of 4 units and 3 features."""
        arrays = {str(k): self.array(*shape) for k, shape in enumerate([(3, 4), (4, 4), (4,)])}
        return self.group({"cell": self.group({"vars": self.group(arrays)})})

    def done(self, root: int) -> bytes:
        """Return the file."""
        head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
        head += struct.pack("<QQQQ", 0, UNDEFINED, len(self.raw), UNDEFINED) + struct.pack("<QQ", 0, root)
        self.raw[: len(head)] = head
        return bytes(self.raw)


def _attribute(name: str, dtype: bytes, count: int, data: bytes) -> bytes:
    own, space = name.encode() + b"\0", struct.pack("<BBB5xQ", 1, 1, 0, count)
    sizes = struct.pack("<BBHHH", 1, 0, len(own), len(dtype), len(space))
    return sizes + _padded(own) + _padded(dtype) + _padded(space) + data


def references(name: str, items: Sequence[tuple[int, int, int]]) -> bytes:
    """Return an attribute of texts in heaps: of each its length, the place of its heap and its number there."""
    dtype = b"\x19\1\0\0" + struct.pack("<I", 16) + b"\x13\0\0\0\1\0\0\0"
    return _attribute(name, dtype, len(items), b"".join(struct.pack("<IQI", *item) for item in items))


def texts(name: str, items: Sequence[bytes], size: int) -> bytes:
    """Return an attribute of texts of one size."""
    dtype = b"\x13\0\0\0" + struct.pack("<I", size)
    return _attribute(name, dtype, len(items), b"".join(item.ljust(size, b"\0") for item in items))
