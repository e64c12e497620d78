"""Zip files whose members are not compressed, as torch.save and Keras write them, looked at where they lie."""

import mmap
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rnn_backends.errors import FormatError
from rnn_backends.formats.names import shown

MAX_DIRECTORY = 2 * 2**20
DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OverflowError)
"""What `zipfile` raises for what is no zip file, or is damaged."""


class Member(NamedTuple):
    """Where a member lies in the file."""

    start: int
    size: int
    crc: int


class Archive:
    """The members of a zip file, which is mapped into memory.

    Parameters
    ----------
    file : binary file
    writer : str
        What writes such files, for messages.
    again : str
        What to do with a file that it did not write so, for messages.
    folder : callable, optional
        Returns, of the names of all members, what the names of those that are wanted begin with.
    """

    def __init__(
        self, file: BinaryIO, writer: str, again: str, folder: Callable[[list[str]], str] | None = None
    ) -> None:
        self.writer, self.again, self.checked = writer, again, set[str]()
        self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self.data)
        with zipfile.ZipFile(_Directory(file, again)) as archive:
            infos = archive.infolist()
        root = "" if folder is None else folder([info.filename for info in infos])
        self.members = {info.filename.removeprefix(root): self._locate(info) for info in infos}
        if len(self.members) != len(infos):
            msg = "a member stands in it twice."
            raise FormatError(msg)

    def bytes(self, name: str, most: int) -> bytes:
        """Return the bytes of a small member."""
        found = self.require(name)
        if found.size > most:
            msg = f"{name} has {found.size} bytes; it must have at most {most}; {self.again}."
            raise FormatError(msg)
        return self.data[found.start : found.start + found.size]

    def require(self, name: str) -> Member:
        """Return a member, which must be there and undamaged."""
        found = self.members.get(name)
        if found is None:
            msg = f"it lacks the member {shown(name)}."
            raise FormatError(msg)
        if name not in self.checked:
            view: Any = np.frombuffer(self.data, np.uint8, found.size, found.start)
            if zlib.crc32(view) != found.crc:
                msg = f"the checksum of {shown(name)} is wrong, or {self.writer} did not compute it."
                raise FormatError(msg)
            self.checked.add(name)
        return found

    def _locate(self, info: zipfile.ZipInfo) -> Member:
        """Return where the bytes of a member lie, by its own header, which must agree with the directory."""
        start, name = info.header_offset, info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        header = self.data[start : start + 30] if 0 <= start <= self.size else b""
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            msg = f"{shown(info.filename)} is compressed or encrypted, which {self.writer} does not do."
            raise FormatError(msg)
        name_size, extra_size = (int.from_bytes(header[place : place + 2], "little") for place in (26, 28))
        begin = start + 30 + name_size + extra_size
        sound = header[:4] == b"PK\3\4" and self.data[start + 30 : start + 30 + name_size] == name
        if not sound or begin + info.file_size > self.size:
            msg = f"{shown(info.filename)} does not lie in it where its directory says."
            raise FormatError(msg)
        return Member(begin, info.file_size, info.CRC)


class _Directory:
    """A file for `zipfile` to read the directory from, which it would read whole whatever its size."""

    def __init__(self, file: BinaryIO, again: str) -> None:
        self.file, self.seek, self.tell, self.again = file, file.seek, file.tell, again

    def read(self, size: int = -1) -> bytes:
        found = self.file.read(MAX_DIRECTORY + 1 if size < 0 else min(size, MAX_DIRECTORY + 1))
        if len(found) > MAX_DIRECTORY:
            msg = f"its directory has more than {MAX_DIRECTORY} bytes; {self.again}."
            raise FormatError(msg)
        return found
