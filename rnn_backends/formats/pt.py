"""torch.save's .pt and .pth: a zip file of one pickle and the storages that its tensors lie in.

It is read without torch, and without trust: the zip file is mapped into memory and its members, which
torch never compresses, are looked at where they lie; the pickle is read as data (see `pickled`).
"""

import mmap
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from rnn_backends.arrays import Host
from rnn_backends.errors import FormatError
from rnn_backends.formats.description import Told
from rnn_backends.formats.names import short, shown
from rnn_backends.formats.native import unpack, widened
from rnn_backends.formats.pickled import Storage, Tensor, unpickle
from rnn_backends.parameters import Network

MAX_PICKLE = 4 * 2**20
MAX_DIRECTORY = 2 * 2**20
MAX_SHARED = 32 * 2**20
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_AGAIN = "save the weights again with torch.save(model.state_dict(), path)"
_MEMBER = re.compile(r"data/[0-9]{1,10}|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id")
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}
_DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, OverflowError)


class _Member(NamedTuple):
    start: int
    size: int
    crc: int


class _Directory:
    """A file for `zipfile` to read the directory from, which it would read whole whatever its size."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        found = self.file.read(MAX_DIRECTORY + 1 if size < 0 else min(size, MAX_DIRECTORY + 1))
        if len(found) > MAX_DIRECTORY:
            msg = f"its directory has more than {MAX_DIRECTORY} bytes; {_AGAIN}."
            raise FormatError(msg)
        return found


class _Archive:
    """The members of the zip file by name, checked for what torch.save writes."""

    def __init__(self, file: BinaryIO) -> None:
        require_zip(file)
        self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size, self.checked = len(self.data), set[str]()
        with zipfile.ZipFile(_Directory(file)) as archive:
            infos = archive.infolist()
        names = [info.filename for info in infos]
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            msg = f"it must hold one data.pkl; it holds {len(roots)}."
            raise FormatError(msg)
        if f"{roots[0]}constants.pkl" in names:
            msg = f"it is a TorchScript program, and nothing in a file is executed; {_AGAIN}."
            raise FormatError(msg)
        self.members = {info.filename.removeprefix(roots[0]): self.locate(info) for info in infos}
        if len(self.members) != len(infos):
            msg = "a member stands in it twice."
            raise FormatError(msg)
        for name in self.members:
            if name != "data.pkl" and not _MEMBER.fullmatch(name):
                msg = f"it holds {shown(name)}, which torch.save does not write."
                raise FormatError(msg)

    def locate(self, info: zipfile.ZipInfo) -> _Member:
        """Return where the bytes of a member lie, by its own header, which must agree with the directory."""
        start, name = info.header_offset, info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        header = self.data[start : start + 30] if 0 <= start <= self.size else b""
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            msg = f"{shown(info.filename)} is compressed or encrypted, which torch.save does not do."
            raise FormatError(msg)
        name_size, extra_size = (int.from_bytes(header[place : place + 2], "little") for place in (26, 28))
        begin = start + 30 + name_size + extra_size
        sound = header[:4] == b"PK\3\4" and self.data[start + 30 : start + 30 + name_size] == name
        if not sound or begin + info.file_size > self.size:
            msg = f"{shown(info.filename)} does not lie in it where its directory says."
            raise FormatError(msg)
        return _Member(begin, info.file_size, info.CRC)

    def bytes(self, name: str, most: int) -> bytes:
        """Return the bytes of a small member."""
        found = self.require(name)
        if found.size > most:
            msg = f"{name} has {found.size} bytes; it must have at most {most}. Save the state dict alone."
            raise FormatError(msg)
        return self.data[found.start : found.start + found.size]

    def require(self, name: str) -> _Member:
        """Return a member, which must be there and undamaged."""
        found = self.members.get(name)
        if found is None:
            msg = f"it lacks the member {shown(name)}."
            raise FormatError(msg)
        if name not in self.checked:
            view: Any = np.frombuffer(self.data, np.uint8, found.size, found.start)
            if zlib.crc32(view) != found.crc:
                msg = f"the checksum of {shown(name)} is wrong, or torch did not compute it (set_crc32_options)."
                raise FormatError(msg)
            self.checked.add(name)
        return found


def read(path: Path, told: Told) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    with path.open("rb") as file:
        try:
            return _read_archive(_Archive(file), told)
        except FormatError as error:
            msg = f"{path}: {error}"
            raise FormatError(msg) from error
        except _DAMAGE as error:
            msg = f"{path} is no .pt file, or is damaged: {short(error)}."
            raise FormatError(msg) from error


def require_zip(file: BinaryIO) -> None:
    """Check that a file begins as a zip file does."""
    begin = file.read(512)
    if begin.startswith(_LEGACY) or begin[257:262] == b"ustar":
        msg = f"it is in torch's format of before 1.6; load it with torch, and {_AGAIN}."
        raise FormatError(msg)
    if not begin.startswith(b"PK\3\4"):
        msg = "it is no zip file, as those of torch.save are, or is cut short."
        raise FormatError(msg)


def _read_archive(archive: _Archive, told: Told) -> Network:
    if (version := archive.bytes("version", 16).strip()) != b"3":
        msg = f"its version is {version!r}; this version of the package reads 3."
        raise FormatError(msg)
    named = archive.bytes("byteorder", 16) if "byteorder" in archive.members else b"little"  # torch < 2.1 names none
    if (order := _ORDERS.get(named)) is None:
        msg = f"its byteorder must be little or big; got {named!r}."
        raise FormatError(msg)
    held, storages = unpickle(archive.bytes("data.pkl", MAX_PICKLE))
    for storage in storages.values():
        _require_size(archive, storage)
    tensors = dict(_tensors(_state_dict(held)))
    views = set(tensors.values())
    needed = sum(prod(tensor.shape) * _stored(tensor.storage).itemsize for tensor in views)
    if needed > archive.size + MAX_SHARED:
        msg = f"its tensors share storages, and would take {needed} bytes; the file has {archive.size}."
        raise FormatError(msg)
    declared = {
        name: ("f4" if tensor.storage.dtype == "bf16" else tensor.storage.dtype, tensor.shape)
        for name, tensor in tensors.items()
    }

    @cache
    def array(tensor: Tensor) -> Host:
        return _array(archive, tensor, order)

    return unpack(declared, None, told, lambda name: array(tensors[name]))


def _stored(storage: Storage) -> "np.dtype[Any]":
    return np.dtype("u2" if storage.dtype == "bf16" else storage.dtype)


def _require_size(archive: _Archive, storage: Storage) -> None:
    name, size = f"data/{storage.key}", storage.count * _stored(storage).itemsize
    if (found := archive.members.get(name)) and found.size != size:
        msg = f"{shown(name)} has {found.size} bytes, but its pickle announces {size}."
        raise FormatError(msg)
    if found is None:
        msg = f"it lacks the member {shown(name)}."
        raise FormatError(msg)


def _array(archive: _Archive, tensor: Tensor, order: Literal["<", ">"]) -> Host:
    """Return a copy of a tensor in the machine's byte order, read-only so that the model makes no other."""
    stored = _stored(tensor.storage).newbyteorder(order)
    start = archive.require(f"data/{tensor.storage.key}").start + tensor.offset * stored.itemsize
    strides = tuple(stride * stored.itemsize for stride in tensor.strides)
    view: Host = np.ndarray(tensor.shape, stored, archive.data, start, strides)
    held = view.astype(stored.newbyteorder("="), order="F")
    held = widened(held) if tensor.storage.dtype == "bf16" else held
    held.flags.writeable = False
    return held


def _state_dict(held: Any) -> Mapping[Any, Any]:
    """Return the one mapping, at whatever depth, that holds the weights of a recurrent network."""
    found = list(_state_dicts(held))
    if len(found) != 1:
        where = " and ".join(shown(place) for place, _ in found[:5])
        problem = f"holds several recurrent networks, in {where}" if found else "holds no recurrent network"
        msg = f"it {problem}; save the one state dict, with names such as weight_ih_l0, alone."
        raise FormatError(msg)
    return found[0][1]


def _state_dicts(held: Any) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the mappings that hold a recurrent network by place; what stands in two places comes once."""
    waiting, seen = [("", held)], set()
    while waiting:
        place, value = waiting.pop()
        if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
            continue
        seen.add(id(value))
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        if any("weight_ih" in str(name) and isinstance(part, Tensor) for name, part in items):
            yield place, value  # type: ignore[misc]  # only names of a dict are texts
        waiting.extend((f"{place}/{name}"[-60:], part) for name, part in items)


def _tensors(state: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            msg = f"beside the weights of a recurrent network it holds {shown(name)}, which is no tensor."
            raise FormatError(msg)
        yield name, value
