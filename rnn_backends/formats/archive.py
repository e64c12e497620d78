"""Zip files: their members where they lie, checked against their directory, and unpacked within bounds."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from rnn_backends.core.messages import listed, shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.names import require_name
from rnn_backends.formats.source import BLOCK, Source

ENTRY = 16
"""Bytes of memory that a byte of a directory takes, once it is parsed."""


class Member(NamedTuple):
    """A member: its name, its bytes and where it begins and ends in the file, its size once unpacked, its checksum."""

    name: str
    stored: Source
    begin: int
    end: int
    size: int
    crc: int
    deflated: bool


class Archive:
    """The members of a zip file.

    Parameters
    ----------
    source : Source
    writer : str
        The program that writes such files, for messages.
    deflated : bool, default False
        Whether its members may be compressed; ``torch.save`` and Keras compress none.
    folder : callable, optional
        Returns, of the names of all members, the beginning of the names of those that are wanted.
    """

    def __init__(
        self,
        source: Source,
        writer: str,
        *,
        deflated: bool = False,
        folder: Callable[[list[str]], str] | None = None,
    ) -> None:
        self.source, self.writer, self.deflated, self.checked = source, writer, deflated, set[str]()
        try:
            with zipfile.ZipFile(_Directory(source)) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(*error.args) from error  # which `opened` names the file in
        root = "" if folder is None else folder([info.filename for info in infos])
        self.members = {info.filename.removeprefix(root): self._locate(info) for info in infos}
        if len(self.members) != len(infos):
            msg = "a member stands in it twice."
            raise FormatError(msg)
        ordered = sorted(self.members.values(), key=lambda member: (member.begin, member.end))
        for one, other in pairwise(ordered):
            if one.end > other.begin:
                msg = f"{listed([one.name, other.name])} share bytes of it, which {self.writer} does not write."
                raise FormatError(msg)

    def part(self, name: str) -> Source:
        """Return a member that is not compressed, where it lies; it must be there and undamaged."""
        found = self._require(name)
        if name not in self.checked:
            crc = 0
            for block in found.stored.blocks():
                crc = zlib.crc32(block, crc)
            self._require_checksum(found, crc)
            self.checked.add(name)
        return found.stored

    def read(self, name: str) -> bytes:
        """Return the bytes of a member that is not compressed."""
        found = self.part(name)
        return found.read(0, found.size, shown(name))

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member, compressed or not, in blocks; what is wrong in it is refused at its end."""
        found, at, crc = self._require(name), 0, 0
        for block in _inflated(found.stored, shown(name)) if found.deflated else found.stored.blocks():
            at, crc = at + len(block), zlib.crc32(block, crc)
            if at > found.size:
                msg = f"{shown(name)} unpacks to more than the {found.size} bytes that are announced."
                raise FormatError(msg)
            yield block
        if at != found.size:
            msg = f"{shown(name)} unpacks to {at} bytes, and not to the {found.size} that are announced."
            raise FormatError(msg)
        self._require_checksum(found, crc)

    def head(self, name: str, size: int) -> bytes:
        """Return at most so many bytes of the beginning of a member."""
        found = self._require(name)
        if not found.deflated:
            return found.stored.look(0, min(size, found.size))
        packed = found.stored.look(0, min(2 * size + 1000, found.stored.size))
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size)

    def _require(self, name: str) -> Member:
        found = self.members.get(name)
        if found is None:
            msg = f"it lacks the member {shown(name)}."
            raise FormatError(msg)
        return found

    def _require_checksum(self, found: Member, crc: int) -> None:
        if crc != found.crc:
            msg = f"the checksum of {shown(found.name)} is wrong, or {self.writer} did not compute it."
            raise FormatError(msg)

    def _locate(self, info: zipfile.ZipInfo) -> Member:
        """Return where the bytes of a member lie, by its own header, which must agree with the directory."""
        require_name(info.filename)
        deflated = self.deflated and info.compress_type == zipfile.ZIP_DEFLATED
        plain = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not (deflated or plain) or info.flag_bits & 0x61:  # encrypted, patched or encrypted otherwise
            msg = f"{shown(info.filename)} is packed or encrypted in a way that {self.writer} does not use."
            raise FormatError(msg)
        start, name = info.header_offset, info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        inside = 0 <= start <= self.source.size - 30 - len(name)
        header = self.source.look(start, 30 + len(name)) if inside else b""
        name_size, extra_size = (int.from_bytes(header[place : place + 2], "little") for place in (26, 28))
        begin = start + 30 + name_size + extra_size
        sound = header[:4] == b"PK\3\4" and name_size == len(name) and header[30:] == name
        if not sound or begin + info.compress_size > self.source.size:
            msg = f"{shown(info.filename)} does not lie in it where its directory says."
            raise FormatError(msg)
        stored, end = self.source.part(begin, info.compress_size), begin + info.compress_size
        return Member(info.filename, stored, start, end, info.file_size, info.CRC, deflated)


def _inflated(packed: Source, what: str) -> Iterator[bytes]:
    stream, blocks = zlib.decompressobj(-zlib.MAX_WBITS), packed.blocks()
    while not stream.eof:
        data = stream.unconsumed_tail or next(blocks, b"")
        piece = stream.decompress(data, BLOCK)
        yield piece
        if not data and not piece:
            msg = f"{what} ends before its compressed data do."
            raise FormatError(msg)


class _Directory:
    """A source as a file for `zipfile`, which reads a directory whole, whatever its size."""

    def __init__(self, source: Source) -> None:
        self.source, self.at = source, 0

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.source.size)[whence]
        if not 0 <= self.at <= self.source.size:
            raise zipfile.BadZipFile(_OUTSIDE) if whence == 0 else OSError(_OUTSIDE)
        return self.at

    def read(self, size: int = -1) -> bytes:
        left = self.source.size - self.at
        size = left if size < 0 else min(size, left)
        self.source.account.take("its directory", "objects", ENTRY * size)
        found = self.source.look(self.at, size)
        self.at += size
        return found


_OUTSIDE = "its directory points outside of it"
