"""torch.save's .pt and .pth: a zip file of one pickle and the storages that its tensors lie in.

It is read without torch, and without trust: the zip file is mapped into memory and its members, which
torch never compresses, are looked at where they lie; the pickle is read as data (see `pickled`).
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.archive import DAMAGE, Archive
from rnn_backends.formats.names import short, shown
from rnn_backends.formats.native.description import LoadOptions
from rnn_backends.formats.native.records import unpack, widened
from rnn_backends.formats.torch.pickled import Storage, Tensor, unpickle

MAX_PICKLE = 4 * 2**20
MAX_SHARED = 32 * 2**20
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_AGAIN = "save the weights again with torch.save(model.state_dict(), path)"
_MEMBER = re.compile(r"data/[0-9]{1,10}|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id")
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}


def read(path: Path, told: LoadOptions) -> Network:
    """Read a network; bfloat16 becomes float32, exactly."""
    with path.open("rb") as file:
        try:
            return _read_archive(_opened(file), told)
        except FormatError as error:
            msg = f"{path}: {error}"
            raise FormatError(msg) from error
        except DAMAGE as error:
            msg = f"{path} is no .pt file, or is damaged: {short(error)}."
            raise FormatError(msg) from error


def _opened(file: BinaryIO) -> Archive:
    """Return the members of the zip file, checked for what torch.save writes."""
    _require_zip(file)
    archive = Archive(file, "torch.save", _AGAIN, _root)
    for name in archive.members:
        if name != "data.pkl" and not _MEMBER.fullmatch(name):
            msg = f"it holds {shown(name)}, which torch.save does not write."
            raise FormatError(msg)
    return archive


def _root(names: list[str]) -> str:
    """Return the folder that holds the members."""
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        msg = f"it must hold one data.pkl; it holds {len(roots)}."
        raise FormatError(msg)
    if f"{roots[0]}constants.pkl" in names:
        msg = f"it is a TorchScript program, and nothing in a file is executed; {_AGAIN}."
        raise FormatError(msg)
    return roots[0]


def _require_zip(file: BinaryIO) -> None:
    """Check that a file begins as a zip file does."""
    begin = file.read(512)
    if begin.startswith(_LEGACY) or begin[257:262] == b"ustar":
        msg = f"it is in torch's format of before 1.6; load it with torch, and {_AGAIN}."
        raise FormatError(msg)
    if not begin.startswith(b"PK\3\4"):
        msg = "it is no zip file, as those of torch.save are, or is cut short."
        raise FormatError(msg)


def _read_archive(archive: Archive, told: LoadOptions) -> Network:
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


def _require_size(archive: Archive, storage: Storage) -> None:
    name, size = f"data/{storage.key}", storage.count * _stored(storage).itemsize
    if (found := archive.members.get(name)) and found.size != size:
        msg = f"{shown(name)} has {found.size} bytes, but its pickle announces {size}."
        raise FormatError(msg)
    if found is None:
        msg = f"it lacks the member {shown(name)}."
        raise FormatError(msg)


def _array(archive: Archive, tensor: Tensor, order: Literal["<", ">"]) -> Host:
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
