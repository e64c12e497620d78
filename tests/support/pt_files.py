"""Files of torch.save, put together by hand: an opcode at a time, a zip member at a time."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

STORAGES = {"f2": "Half", "f4": "Float", "f8": "Double", "i8": "Long", "bf16": "BFloat16"}
ORDERED_DICT = b"ccollections\nOrderedDict\n"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
PARAMETER = b"ctorch._utils\n_rebuild_parameter\n"


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def integers(*values: int) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(key: str, count: int, kind: str = "f4") -> bytes:
    return (
        b"("
        + text("storage")
        + f"ctorch\n{STORAGES[kind]}Storage\n".encode()
        + text(key)
        + text("cpu")
        + integer(count)
        + b"tQ"
    )


def tensor(held: bytes, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], rest: bytes = b"\x89}") -> bytes:
    return TENSOR + b"(" + held + integer(offset) + integers(*shape) + integers(*strides) + rest + b"tR"


def plain(key: str, array: NDArray[Any]) -> bytes:
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return tensor(storage(key, array.size, array.dtype.str[1:]), 0, array.shape, strides)


def dictionary(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def whole(name: str, arrays: bytes, children: bytes) -> bytes:
    """Return a module that was saved whole, of the class of a name."""
    state = dictionary({"_parameters": arrays, "_buffers": b"}", "_modules": children})
    return "c{}\n{}\n".format(*name.split()).encode() + b")\x81" + state + b"b"


def shared(children: int, arrays: int, depth: int = 1) -> bytes:
    """Return a module of many arrays, which many of the children of another are, and so on."""
    found = whole("__main__ Net", dictionary({f"p{k}": b"K\1" for k in range(arrays)}), b"}")
    for level in range(depth):
        put, get = bytes([ord("q"), level]), bytes([ord("h"), level])
        held = {f"c{k}": get if k else found + put for k in range(children)}
        found = whole("__main__ Net", b"}", dictionary(held))
    return found


def pickled(value: bytes) -> bytes:
    return b"\x80\2" + value + b"."


def cell() -> dict[str, NDArray[Any]]:
    """Return the weights of one cell, no two of them alike."""
    draw = np.random.default_rng(3)
    shapes = {"weight_ih_l0": (4, 3), "weight_hh_l0": (4, 4), "bias_ih_l0": (4,), "bias_hh_l0": (4,)}
    return {name: draw.normal(size=shape).astype("<f4") for name, shape in shapes.items()}


def members(
    arrays: Arrays | None = None, value: bytes | None = None, order: str = "little", **more: bytes
) -> dict[str, bytes]:
    """Return the members of a file that holds a state dict, or what the opcodes of a value say."""
    arrays = cell() if arrays is None else arrays
    if value is None:
        value = dictionary({name: plain(str(key), array) for key, (name, array) in enumerate(arrays.items())})
    swapped = {
        key: array.astype(array.dtype.str.replace("<", "<>"[order == "big"]))
        for key, array in enumerate(arrays.values())
    }
    return {
        "data.pkl": pickled(value),
        "byteorder": order.encode(),
        **{f"data/{key}": array.tobytes() for key, array in swapped.items()},
        "version": b"3\n",
    } | {name.replace("__", "/"): member for name, member in more.items()}


def write(path: Path, held: Mapping[str, bytes] | None = None, root: str = "archive/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in (members() if held is None else held).items():
            archive.writestr(f"{root}{name}", member)
    return path
