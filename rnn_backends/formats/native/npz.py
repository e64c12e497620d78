"""NumPy's .npz: a zip file of arrays, read without pickle and without trust in the sizes it declares."""

import re
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from rnn_backends.core.arrays import Host
from rnn_backends.core.layers import Network
from rnn_backends.errors import FormatError
from rnn_backends.formats.files import replaced
from rnn_backends.formats.names import short
from rnn_backends.formats.native.description import LoadOptions
from rnn_backends.formats.native.records import KEY, pack, unpack

MAX_RATIO = 200
MAX_HEADER = 10_000
DESCRIPTION = f"__{KEY}__"
FLOATS = ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8")
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4}
# NumPy's own reader evaluates any Python literal here, and fails on odd ones with errors of many types.
_DTYPE, _ORDER = rb"'descr': *'([^']*)'", rb"'fortran_order': *(True|False)"
_SHAPE = rb"'shape': *\(((?:[0-9]+, *)*[0-9]*)\)"
_HEADER = re.compile(rb"\{(?:(?:%b|%b|%b),? *){3}\}\s*" % (_DTYPE, _ORDER, _SHAPE))
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


class Declared(NamedTuple):
    """What the header of a member says of its array."""

    dtype: str
    shape: tuple[int, ...]
    fortran_order: bool


def read(path: Path, told: LoadOptions) -> Network:
    """Read a network."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, path.stat().st_size, told)
        except FormatError as error:
            msg = f"{path}: {error}"
            raise FormatError(msg) from error
        except _DAMAGE as error:
            msg = f"{path} is no .npz file, or is damaged: {short(error)}."
            raise FormatError(msg) from error


def write(network: Network, path: Path) -> None:
    """Write a network."""
    arrays, description = pack(network)
    text = np.frombuffer(description.encode(), np.uint8)
    with replaced(path) as file, zipfile.ZipFile(file, "w") as archive:
        # numpy.savez can be told to pickle nothing from NumPy 2.1 on only.
        for name, array in {**arrays, DESCRIPTION: text}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)


def _read_archive(archive: zipfile.ZipFile, size: int, told: LoadOptions) -> Network:
    members = _members(archive, size)
    declared = {}
    for name, info in members.items():
        with archive.open(info) as file:
            declared[name] = _header(file, info)
    text = None
    if declared.pop(DESCRIPTION, None) is not None:
        text = _array(archive, members[DESCRIPTION]).tobytes()
    shapes = {name: (found.dtype[1:], found.shape) for name, found in declared.items()}
    return unpack(shapes, text, told, lambda name: _array(archive, members[name]))


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return what stands in the file by name, checked for what no .npz has and what would fill the memory."""
    infos = archive.infolist()
    members = {info.filename.removesuffix(".npy"): info for info in infos}
    if len(members) != len(infos):
        msg = "an array stands in the file twice."
        raise FormatError(msg)
    for name, info in members.items():
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} or info.header_offset < 0:
            msg = f"{name!r} does not stand in it as in a .npz file; save it anew with numpy.savez."
            raise FormatError(msg)
    unpacked = sum(info.file_size for info in infos)
    if unpacked > MAX_RATIO * size + 2**20:
        msg = f"its {size} bytes unpack to {unpacked}, like a zip bomb; save it anew with numpy.savez."
        raise FormatError(msg)
    return members


def _header(file: IO[bytes], info: zipfile.ZipInfo) -> Declared:
    """Return what the header of an array says, checked against the size of the member."""
    magic, version = file.read(6), file.read(2)
    if magic != npy.MAGIC_PREFIX or version not in _LENGTH_BYTES:
        msg = f"{info.filename!r} must be in version 1.0 or 2.0 of the .npy format; got {magic + version!r}."
        raise FormatError(msg)
    count = _LENGTH_BYTES[version]
    length = int.from_bytes(file.read(count), "little")
    found = _parse_header(file.read(length) if length <= MAX_HEADER else b"", info.filename)
    allowed = ("|u1",) if info.filename.removesuffix(".npy") == DESCRIPTION else FLOATS
    if found.dtype not in allowed:
        msg = f"{info.filename!r} has dtype {found.dtype!r}; it must be one of {', '.join(allowed)}."
        raise FormatError(msg)
    held = info.file_size - 8 - count - length
    if prod(found.shape) * np.dtype(found.dtype).itemsize != held:
        msg = f"{info.filename!r} declares {found.dtype} of shape {found.shape}, but holds {held} bytes."
        raise FormatError(msg)
    return found


def _parse_header(header: bytes, filename: str) -> Declared:
    match = _HEADER.fullmatch(header)
    if match is None or None in match.groups():
        msg = f"the header of {filename!r} is not that of an array of numbers: {header[:200]!r}."
        raise FormatError(msg)
    dtype, fortran_order, shape = match.groups()
    return Declared(dtype.decode("latin1"), tuple(map(int, re.findall(rb"[0-9]+", shape))), fortran_order == b"True")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Host:
    with archive.open(info) as file:
        found = _header(file, info)
        dtype = np.dtype(found.dtype)
        # Read to a size: the sizes in a zip file may lie, and what a read to the end unpacks is not bounded.
        flat = np.frombuffer(file.read(prod(found.shape) * dtype.itemsize), dtype)
    array = flat.reshape(found.shape, order="F" if found.fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)
