"""HDF5 as h5py writes it for Keras: its groups, and the headers of what is in them.

It is read here and not by libhdf5, which h5py is made of.  That follows a group's tree wherever the file points:
5 KB of nodes that point at one another keep it busy for years, in C, where nothing can stop it; and it opens
other files, loads filters and takes memory at the file's request.  Here every structure is read once.

The layout is that of superblock 0, h5py's default: object headers of version 1, and groups that are trees of names.
"""

import struct
from collections.abc import Iterator, Mapping
from sys import getsizeof
from typing import Any, NamedTuple

from rnn_backends.core.messages import shown
from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way
from rnn_backends.formats.source import Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_HEADER = 2**16
UNDEFINED = 2**64 - 1
_CONTINUATION, _TREE = 0x10, 0x11
_SHARED = 0x2
_SOFT_LINK = 2
_ENTRY = 150
"""Bytes of memory of a member of a group, beside its name."""
_LEVELS = 64
"""The most groups in each other; models in models, as deep as they are read, have fewer."""


class Message(NamedTuple):
    """A part of an object's header."""

    kind: int
    body: bytes


class File:
    """The objects of an HDF5 file, by their paths; each is read once, however many paths lead to it.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.groups: dict[int, Mapping[str, int]] = {}
        self.headers: dict[int, list[Message]] = {}
        self.attributes: dict[int, Mapping[bytes, tuple[memoryview, memoryview, memoryview]]] = {}
        self.heaps: dict[int, Mapping[int, tuple[int, int]]] = {}
        if source.read(0, min(8, source.size)) != SIGNATURE:
            msg = "it is no HDF5 file, or is cut short."
            raise FormatError(msg)
        version, *_, offset_size, length_size = self._unpack("<7B", 8)
        base, _, end, driver = self._unpack("<4Q", 24) if version == 0 else (0, 0, 0, 0)
        if version != 0 or (offset_size, length_size) != (8, 8) or base != 0 or driver != UNDEFINED:
            msg = f"it is an HDF5 file that Keras does not write (superblock {version}); {way('hdf5_plain')}."
            raise FormatError(msg)
        if end > source.size:
            msg = f"it is cut short: it has {source.size} of {end} bytes."
            raise FormatError(msg)
        self.root: int = self._unpack("<Q", 64)[0]

    def group(self, path: str) -> Mapping[str, int]:
        """Return the places of the members of a group, by name; of ``""``, of those of the file."""
        address = self.address(path)
        if address not in self.groups:
            self.groups[address] = self._links(path)
        return self.groups[address]

    def address(self, path: str) -> int:
        """Return the place of the header of a member, which must exist."""
        if not path:
            return self.root
        if path.count("/") > _LEVELS:
            msg = f"{shown(path)} is deeper than {_LEVELS} groups in each other, which Keras does not write."
            raise FormatError(msg)
        parent, _, name = path.rpartition("/")
        found = self.group(parent).get(name)
        if found is None:
            msg = f"it lacks {shown(path)}."
            raise FormatError(msg)
        return found

    def header(self, path: str) -> list[Message]:
        """Return the parts of the header of a member."""
        address = self.address(path)
        if address not in self.headers:
            self.headers[address] = self.messages(address)
        return self.headers[address]

    def messages(self, address: int) -> list[Message]:
        """Return the parts of an object's header."""
        version, _, count, _, size = self._unpack("<BBHII", address)
        if version != 1:
            what = f"the object at byte {address} is of version {version}, which h5py does not write for Keras"
            msg = f"{what}; {way('hdf5_plain')}."
            raise FormatError(msg)
        blocks, found, seen, taken = [(address + 16, size)], [], 0, 0
        for begin, length in blocks:
            at = begin
            while seen < count and at + 8 <= begin + length:
                kind, held, flags = self._unpack("<HHB", at)
                taken += held
                if taken > MAX_HEADER:  # blocks may overlap
                    msg = f"the header of the object at byte {address} has more than {MAX_HEADER} bytes."
                    raise FormatError(msg)
                body = self.source.read(at + 8, held)
                if kind == _CONTINUATION:
                    blocks.append(fields("<QQ", body))
                elif flags & _SHARED:
                    what = f"the object at byte {address} shares a part with another, which Keras's do not"
                    msg = f"{what}; {way('hdf5_plain')}."
                    raise FormatError(msg)
                else:
                    found.append(Message(kind, body))
                at, seen = at + 8 + held, seen + 1
                self.count()
        return found

    def _links(self, path: str) -> Mapping[str, int]:
        """Return the places of the members of a group, by name."""
        tables = [message.body for message in self.header(path) if message.kind == _TREE]
        if len(tables) != 1:
            msg = f"{shown(path)} is no group that Keras writes: no group at all, or one with links to other files."
            raise FormatError(msg)
        tree, heap = fields("<QQ", tables[0])
        magic, version, names_size, _, names = self._unpack("<4sB3xQQQ", heap)
        if magic != b"HEAP" or version != 0:
            msg = f"the names of the members of {shown(path)} are damaged."
            raise FormatError(msg)
        found: dict[str, int] = {}
        for name_at, member, kind in self._entries(path, tree):
            name = self._name(names, names_size, name_at)
            if kind == _SOFT_LINK or name in found:
                what = "a link to another place" if kind == _SOFT_LINK else "in it twice"
                msg = f"{shown(f'{path}/{name}')} is {what}, which Keras does not write."
                raise FormatError(msg)
            self.source.account.take("the names in it", "bytes", _ENTRY + getsizeof(name))
            found[name] = member
        return found

    def _entries(self, path: str, tree: int) -> Iterator[tuple[int, int, int]]:
        """Yield the places of the name and of the header of each member of a group, and the kind of its link."""
        waiting, seen = [tree], set()
        while waiting:
            at = waiting.pop()
            magic = self.source.read(at, 4)
            if at in seen or magic not in {b"TREE", b"SNOD"}:
                msg = f"the tree of the members of {shown(path)} is damaged."
                raise FormatError(msg)
            seen.add(at)
            if magic == b"TREE":
                _, _, used = self._unpack("<BBH", at + 4)
                for place in range(used):
                    waiting += self._unpack("<Q", at + 32 + 16 * place)
                    self.count()
            else:
                (used,) = self._unpack("<H", at + 6)
                for place in range(used):
                    yield self._unpack("<QQI", at + 8 + 40 * place)
                    self.count()
            self.count()

    def _name(self, names: int, size: int, at: int) -> str:
        """Return a name of a group's heap."""
        text, end, _ = self.source.read(names + at, min(256, max(0, size - at))).partition(b"\0")
        if not end:
            msg = "a name in it has more than 255 bytes, or is cut short."
            raise FormatError(msg)
        return name_of(text, "a name in it")

    def _unpack(self, form: str, at: int) -> tuple[Any, ...]:
        return struct.unpack(form, self.source.read(at, struct.calcsize(form)))

    def count(self) -> None:
        """Account one more structure."""
        self.source.account.take("the structures in it", "nodes", 1)


def name_of(text: bytes, what: str) -> str:
    """Return a name, which must be in UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        msg = f"{what} is not in UTF-8: {shown(text)}."
        raise FormatError(msg) from error


def fields(form: str, body: bytes | memoryview, at: int = 0) -> tuple[Any, ...]:
    """Return what stands in a part of a header."""
    if at + struct.calcsize(form) > len(body):
        msg = "a part of it is shorter than it must be."
        raise FormatError(msg)
    return struct.unpack_from(form, body, at)
