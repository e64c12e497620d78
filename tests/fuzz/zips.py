"""Zip files, a field at a time: what a writer would never write is one choice away."""

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from fuzz.draws import Draw

MOST = 2**32 - 1
_EMPTY = b"\0\0\0\xff\xff"
"""A block of DEFLATE without data."""


class _Entry(NamedTuple):
    """What the directory says of a member."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    start: int
    extra: bytes = b""


def written(draw: Draw, members: Sequence[tuple[str, bytes]], deflated: bool = False) -> bytes:
    """Return a zip file of members in their order; most of the choices leave it sound."""
    out, entries = bytearray(), []
    strange = draw.once(3)
    for name, data in members:
        entry = _local(draw if strange else Draw(b""), out, name, data, deflated)
        entries.append(entry)
    if strange:
        _confuse(draw, entries)
    return bytes(out) + _directory(draw if strange else Draw(b""), entries, len(out))


def _local(draw: Draw, out: bytearray, name: str, data: bytes, deflated: bool) -> _Entry:
    """Add a member with its header; return what the directory is to say of it."""
    start, encoded = len(out), name.encode("utf-8", "surrogatepass")
    flags = 0 if name.isascii() else 0x800
    kind = draw.below(24)
    packs = deflated != draw.once(24)
    stored = data
    if packs and data:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        other = {10: data + b"more", 11: data[:-3]}.get(kind, data)  # than is announced
        stored = packer.compress(other)
        if kind == 12:  # the end comes after empty blocks, more than are read at a time
            stored += packer.flush(zlib.Z_FULL_FLUSH) + _EMPTY * 53_000
        stored += packer.flush()
    crc, size, method = zlib.crc32(data), len(data), 8 if packs and data else 0
    extra = b""
    if kind == 1:
        crc ^= 1
    elif kind == 2:
        size = max(0, size + draw.pick((-1, 1, 100, 2**20, MOST)))
    elif kind == 3:
        flags |= draw.pick((1, 0x20, 0x40, 8, 0x2000))
    elif kind == 4:
        method = draw.pick((1, 8, 9, 12, 14, 93, 99))
    elif kind == 5:
        extra = struct.pack("<HH", draw.pick((1, 0x9999)), draw.pick((0, 4, 16, 999))) + bytes(draw.below(20))
    elif kind == 6:
        encoded = draw.pick((b"", b"a/" * 40, b"\xff\xfe", b"../x", encoded + b"\0", encoded * 20))
    elif kind == 7:
        stored = stored[: draw.below(len(stored) + 1)]
    elif kind == 8:
        stored += bytes(draw.below(64))
    packed = len(stored)
    sizes = (min(packed, MOST), min(size, MOST))
    out += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, flags, method, 0, 0, crc, *sizes, len(encoded), len(extra))
    out += encoded + extra + stored
    wide = b""
    if kind == 9 or size > MOST:
        wide = struct.pack("<HHQQ", 1, 16, size, packed)
    return _Entry(encoded, flags, method, crc, packed, size, start, wide)


def _confuse(draw: Draw, entries: list[_Entry]) -> None:
    """Change what the directory says."""
    if not entries:
        return
    at, kind = draw.below(len(entries)), draw.below(12)
    entry = entries[at]
    if kind == 1:
        entries.append(entry)
    elif kind == 2:
        entries[at] = entries[draw.below(len(entries))]._replace(name=entry.name)  # two members in one place
    elif kind == 3:
        entries[at] = entry._replace(start=draw.number() % 2**32)
    elif kind == 4:
        entries[at] = entry._replace(name=draw.octets(8))
    elif kind == 5:
        entries[at] = entry._replace(packed=draw.number() % 2**32, size=draw.number() % 2**32)
    elif kind == 6:
        entries *= draw.pick((2, 20, 500))
    elif kind == 7:
        wide = [draw.number() % 2**64 for _ in range(draw.below(4))]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, draw.pick((8 * len(wide), 7, 99)), *wide)
        entries[at] = entry._replace(extra=extra, packed=MOST, size=MOST)
    elif kind == 8:
        entries[at] = entry._replace(flags=entry.flags ^ draw.pick((1, 0x800, 0x40)))
    elif kind == 9:
        entries.reverse()


def _directory(draw: Draw, entries: Sequence[_Entry], start: int) -> bytes:
    """Return the directory, and what stands after it."""
    found = bytearray()
    for name, flags, method, crc, packed, size, at, extra in entries:
        sizes = (MOST, MOST) if len(extra) == 20 else (min(packed, MOST), min(size, MOST))
        head = struct.pack("<4sHHHHHHIII", b"PK\1\2", 20, 20, flags, method, 0, 0, crc, *sizes)
        found += head + struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, min(at, MOST)) + name + extra
    kind, count, size = draw.below(12), len(entries), len(found)
    if kind == 1:
        count = draw.number() % 2**16
    elif kind == 2:
        size = draw.number() % 2**32
    elif kind == 3:
        start = draw.number() % 2**32
    elif kind == 4:
        found += draw.octets(30)
    if kind == 5:
        wide = [draw.pick((count, draw.number() % 2**64)), count, draw.pick((size, draw.number() % 2**64)), start]
        end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, *wide)
        end += struct.pack("<4sIQI", b"PK\6\7", 0, draw.pick((start + size, draw.number() % 2**64)), 1)
        found += end
        count, size, start = 2**16 - 1, MOST, MOST
    comment = draw.octets(20) if kind == 6 else b""
    end = struct.pack(
        "<4sHHHHIIH",
        b"PK\5\6",
        draw.pick((0, 0, 0, 1)),
        0,
        min(count, 65535),
        min(count, 65535),
        size,
        start,
        len(comment),
    )
    return bytes(found) + end + comment
