"""NumPy's .npz: a zip file of arrays, read without pickle and without trust in the sizes it declares."""

import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy

from rnn_backends.errors import FormatError
from rnn_backends.files import replaced
from rnn_backends.formats.native import KEY, Host, pack, unpack
from rnn_backends.parameters import Network

MAX_RATIO = 200
DESCRIPTION = f"__{KEY}__"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


def read(path: Path, activation: Any) -> Network:
    """Read a network."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(archive, activation)
        except FormatError as error:
            msg = f"{path}: {error}"
            raise FormatError(msg) from error
        except _DAMAGE as error:
            msg = f"{path} is no .npz file, or is damaged: {error}."
            raise FormatError(msg) from error


def write(network: Network, path: Path) -> None:
    """Write a network."""
    arrays, description = pack(network)
    text = np.frombuffer(description.encode(), np.uint8)
    with replaced(path) as file:
        np.savez(file, allow_pickle=False, **cast(Any, arrays | {DESCRIPTION: text}))


def _read_archive(archive: zipfile.ZipFile, activation: Any) -> Network:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if len(members) != len(archive.infolist()):
        msg = "an array stands in the file twice."
        raise FormatError(msg)
    for name, info in members.items():
        if info.file_size > MAX_RATIO * info.compress_size + 4096:
            msg = f"{name} is said to unpack to {info.file_size} bytes from {info.compress_size}, like a zip bomb."
            raise FormatError(msg)
    declared = {name: _declaration(archive, info) for name, info in members.items()}
    text = None
    if DESCRIPTION in declared:
        if declared[DESCRIPTION][0] != np.uint8:
            msg = f"{DESCRIPTION} must hold the bytes of a JSON text, dtype uint8."
            raise FormatError(msg)
        text = _array(archive, members[DESCRIPTION]).tobytes()
        del declared[DESCRIPTION]
    for name, (dtype, _, _) in declared.items():
        if dtype.kind != "f" or dtype.itemsize > 8:
            msg = f"{name} has dtype {dtype}; parameters must be float16, float32 or float64."
            raise FormatError(msg)
    shapes = {name: (dtype.newbyteorder("=").str, shape) for name, (dtype, shape, _) in declared.items()}
    return unpack(shapes, text, activation, lambda name: _array(archive, members[name]))


def _header(file: BinaryIO, info: zipfile.ZipInfo) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return dtype, shape and whether Fortran-ordered, checked against the size of the member."""
    version = npy.read_magic(file)
    if version not in _HEADERS:
        msg = f"{info.filename} has version {version} of the .npy format; 1.0 and 2.0 can be read."
        raise FormatError(msg)
    shape, fortran_order, dtype = _HEADERS[version](file)
    if dtype.hasobject or prod(shape) * dtype.itemsize != info.file_size - file.tell():
        msg = f"{info.filename} declares shape {shape} of dtype {dtype}, which is not what its {info.file_size} bytes hold."
        raise FormatError(msg)
    return dtype, shape, fortran_order


def _declaration(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    with archive.open(info) as file:
        return _header(cast(BinaryIO, file), info)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Host:
    with archive.open(info) as file:
        dtype, shape, fortran_order = _header(cast(BinaryIO, file), info)
        flat = np.frombuffer(file.read(), dtype)
    array = flat.reshape(shape, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)
