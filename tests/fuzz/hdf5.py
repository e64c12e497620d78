"""HDF5, a field at a time: superblock, object headers, trees, heaps, links and attributes.

Each field that is written is noted, so that any of them can be changed afterwards: a count, a size, an address.
"""

import struct
from collections.abc import Mapping
from typing import Any

from fuzz.draws import Draw
from fuzz.hdf5_groups import Group
from fuzz.weights import Tensor

UNDEFINED = 2**64 - 1
_FLOATS = {"f2": (2, 5, 15), "f4": (4, 8, 127), "f8": (8, 11, 1023)}


class Writer:
    """A file as it is written."""

    def __init__(self, draw: Draw) -> None:
        self.draw, self.out = draw, bytearray()
        self.fields: list[tuple[int, int]] = []
        self.addresses: list[int] = []
        self.headers: dict[tuple[str, tuple[int, ...]], int] = {}
        self.is_strange = draw.once(3)

    def odd(self, of: int) -> bool:
        """Return whether something is done that Keras does not do."""
        return self.is_strange and self.draw.once(of)

    def put(self, form: str, *values: Any) -> int:
        """Add fields; return where they begin."""
        begin = len(self.out)
        self.out += struct.pack(f"<{form}", *values)
        at = begin
        for letter in form:
            size = struct.calcsize(f"<{letter}")
            self.fields.append((at, size))
            at += size
        return begin

    def begin(self) -> int:
        """Begin a structure at a place that is even."""
        self.out += bytes(-len(self.out) % 8)
        self.addresses.append(len(self.out))
        return len(self.out)

    def whole(self, root: Group) -> bytes:
        """Return the file."""
        self.out += b"\x89HDF\r\n\x1a\n"
        self.put("BBBBBBBBHHI", 0, 0, 0, 0, 0, 8, 8, 0, 4, 16, 0)
        ends = self.put("QQQQ", 0, UNDEFINED, 0, UNDEFINED)
        start = self.put("QQIIQQ", 0, 0, 1, 0, 0, 0)
        address = self.group(root)
        struct.pack_into("<Q", self.out, start + 8, address)
        self.out += bytes(-len(self.out) % 8)
        struct.pack_into("<Q", self.out, ends + 16, len(self.out))
        self._damage()
        return bytes(self.out)

    def _damage(self) -> None:
        """Change a few fields: to a strange number, to the address of something else, or to what another has."""
        draw = self.draw
        for _ in range(draw.pick((0, 0, 0, 1, 1, 2, 4))):
            at, size = draw.pick(self.fields)
            kind = draw.below(4)
            value = draw.number() if kind == 0 else draw.pick(self.addresses)
            if kind == 2:
                other, length = draw.pick(self.fields)
                value = int.from_bytes(self.out[other : other + length], "little")
            elif kind == 3:
                value = int.from_bytes(self.out[at : at + size], "little") + draw.pick((1, -1, 8, -8))
            self.out[at : at + size] = (value % 256**size).to_bytes(size, "little")

    def group(self, held: Group) -> int:
        """Add a group with all in it; return its place."""
        places = {name: self.member(each) for name, each in held.members.items()}
        heap = self._heap(list(places))
        tree = self._tree(places, heap)
        messages = [(0x11, struct.pack("<QQ", tree, heap[0]))]
        if self.odd(30):
            messages.append(messages[0])
        messages += [self.attribute(name, value) for name, value in held.attributes.items()]
        return self.header(messages)

    def member(self, held: Any) -> int:
        """Add a group or an array; return its place."""
        return self.group(held) if isinstance(held, Group) else self.array(held)

    def _heap(self, names: list[str]) -> tuple[int, dict[str, int]]:
        """Add the names of a group; return the place of the heap, and those of the names in it."""
        text, places = bytearray(8), dict[str, int]()
        for name in names:
            places[name] = len(text)
            text += name.encode("utf-8", "surrogatepass") + b"\0"
            text += bytes(-len(text) % 8)
        begin = self.begin()
        self.out += b"HEAP"
        self.put("BBBBQQQ", 0, 0, 0, 0, len(text), UNDEFINED, begin + 32)
        self.fields += [(begin + 8, 8), (begin + 24, 8)]
        self.out += text
        return begin, places

    def _tree(self, places: Mapping[str, int], heap: tuple[int, dict[str, int]]) -> int:
        """Add the tree of the members, of one level or of two."""
        names = sorted(places)
        width = self.draw.pick((8, 1, 3)) if self.is_strange else 8
        leaves = []
        for first in range(0, len(names) or 1, width):
            some = names[first : first + width]
            leaves.append(self.begin())
            self.out += b"SNOD"
            self.put("BBH", 1, 0, len(some))
            for name in some:
                self.put("QQIIQQ", heap[1][name], places[name], 2 if self.odd(30) else 0, 0, 0, 0)
            if self.odd(20) and some:
                self.put("QQIIQQ", heap[1][some[0]], places[some[0]], 0, 0, 0, 0)
        levels = self.draw.pick((1, 2)) if self.is_strange else 1
        for level in range(levels):
            begin = self.begin()
            self.out += b"TREE"
            self.put("BBHQQ", 0, level, len(leaves), UNDEFINED, UNDEFINED)
            self.put("Q", 0)
            for leaf in leaves:
                self.put("QQ", leaf, 0)
            leaves = [begin]
        return leaves[0]

    def header(self, messages: list[tuple[int, bytes]]) -> int:
        """Add the header of an object, in one block or in two."""
        if self.odd(60):
            messages += [(0x12, bytes(60_000)), (0x12, bytes(60_000))]
        if self.odd(20):
            messages.insert(
                self.draw.below(len(messages) + 1),
                (self.draw.pick((0, 3, 7, 0xB, 0xC, 0x10, 0x12)), self.draw.octets(24)),
            )
        split = self.draw.below(len(messages)) if self.odd(6) and messages else len(messages)
        first, rest = messages[:split], messages[split:]
        place = 0
        if rest:
            place = self._block(self.begin(), rest)
            first = [*first, (0x10, struct.pack("<QQ", place, len(self.out) - place))]
        begin = self.begin()
        count = len(messages) + bool(rest)
        size = sum(8 + len(body) + -len(body) % 8 for _, body in first)
        self.put("BBHIII", 2 if self.odd(40) else 1, 0, count, 1, size, 0)
        self._block(len(self.out), first)
        return begin

    def _block(self, begin: int, messages: list[tuple[int, bytes]]) -> int:
        for kind, body in messages:
            padded = body + bytes(-len(body) % 8)
            self.put("HHBBBB", kind, len(padded), 2 if self.odd(60) else 0, 0, 0, 0)
            at = len(self.out)
            self.out += padded
            self.fields += [
                (at + place, size)
                for place, size in ((0, 1), (1, 1), (2, 2), (8, 8), (4, 4), (16, 8))
                if place + size <= len(padded)
            ]
        return begin

    def array(self, held: Tensor) -> int:
        """Add an array; return the place of its header."""
        if (held.code, held.shape) in self.headers and self.odd(10):  # a link to what has another name already
            return self.headers[held.code, held.shape]
        begin = self.begin()
        self.out += held.data
        is_bits = held.code == "bf16"
        if is_bits:
            dtype = struct.pack("<BBBBI", 0x15, 0, 0, 0, 2)
        elif held.code in _FLOATS:
            size, exponent, bias = _FLOATS[held.code]
            bits, mantissa = 8 * size, 8 * size - exponent - 1
            dtype = struct.pack("<BBBBI", 0x11, 0x21 if self.odd(30) else 0x20, bits - 1, 0, size)
            dtype += struct.pack("<HHBBBBI", 0, bits, mantissa, exponent, 0, mantissa, bias)
        else:
            dtype = struct.pack("<BBBBIHH", 0x10, 8, 0, 0, 8, 0, 64)
        start = UNDEFINED if not held.data or self.odd(60) else begin
        layout = struct.pack("<BBQQ", 3, 2 if self.odd(60) else 1, start, len(held.data))
        messages = [(0x1, self._space(held.shape)), (0x3, dtype), (0x8, layout)]
        if is_bits and not self.odd(8):
            messages.append(self.attribute("dtype", "bfloat16"))
        if self.odd(30):
            messages.append((self.draw.pick((0xB, 0x7, 0x5, 0x8)), bytes(8)))
        if self.odd(30):
            del messages[self.draw.below(len(messages))]
        self.headers[held.code, held.shape] = self.header(messages)
        return self.headers[held.code, held.shape]

    def _space(self, shape: tuple[int, ...]) -> bytes:
        version = self.draw.pick((1, 1, 1, 2, 3)) if self.is_strange else 1
        head = struct.pack("<BBBB", version, len(shape), 0, 0) + bytes(4 if version == 1 else 0)
        return head + struct.pack(f"<{len(shape)}Q", *shape)

    def attribute(self, name: str, value: Any) -> tuple[int, bytes]:
        """Return an attribute of a text, or of several, in the header or in a heap."""
        texts = [each.encode("utf-8", "surrogatepass") for each in ([value] if isinstance(value, str) else value)]
        in_heap = self.draw.once(2) if self.is_strange else isinstance(value, str)
        longest = max([1, *map(len, texts)])
        if in_heap or longest * len(texts) > 60_000:
            heap = self._global_heap(texts)
            data = b"".join(struct.pack("<IQI", len(each), heap, number + 1) for number, each in enumerate(texts))
            dtype = struct.pack("<BBBBI", 0x19, 1, 1, 0, 16) + struct.pack("<BBBBI", 0x13, 0, 1, 0, 1)
        else:
            data = b"".join(each.ljust(longest, b"\0") for each in texts)
            dtype = struct.pack("<BBBBI", 0x13, 0, 0, 0, longest)
        space = self._space(() if isinstance(value, str) else (len(texts),))
        if not texts:
            dtype = struct.pack("<BBBBIHH", 0x10, 8, 0, 0, 8, 0, 64)
        version = self.draw.pick((1, 3, 2, 4)) if self.is_strange else 1
        parts = [name.encode("utf-8", "surrogatepass") + b"\0", dtype, space]
        body = struct.pack("<BBHHH", version, 0, *map(len, parts)) + (b"\0" if version == 3 else b"")
        for part in parts:
            body += part + (bytes(-len(part) % 8) if version == 1 else b"")
        return 0xC, body + (data[: self.draw.below(len(data) + 1)] if self.odd(40) else data)

    def _global_heap(self, texts: list[bytes]) -> int:
        begin = self.begin()
        size = 16 + sum(16 + len(each) + -len(each) % 8 for each in texts) + 16
        self.out += b"GCOL"
        self.put("BBBBQ", 1, 0, 0, 0, size)
        for number, each in enumerate(texts):
            self.put("HHIQ", number + 1, 1, 0, len(each))
            self.out += each + bytes(-len(each) % 8)
        self.put("HHIQ", 0, 0, 0, 0)
        return begin
