"""Files of this package written by hand, without it, and models to compare them with."""

import contextlib
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rnn_backends as rb
from rnn_backends.core.layers import named_arrays

SUFFIXES = (".safetensors", ".npz")


CODES = {"<f2": "F16", "<f4": "F32", "<f8": "F64", "<u2": "BF16", "<i8": "I64", "|u1": "U8"}


SPECIAL = np.array([-0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-45, 6e-8, 1.0])


Arrays = Mapping[str, NDArray[Any]]


Change = Callable[[dict[str, Any]], object]


def weights(dtype: str = "<f4") -> dict[str, NDArray[Any]]:
    """Arrays of a network with input_size 2, hidden_size 3 and output_size 2, no two of them alike."""
    draw = np.random.default_rng(7)
    shapes = {
        "weight_ih_l0": (3, 2),
        "weight_hh_l0": (3, 3),
        "bias_l0": (3,),
        "weight_ih_l1": (3, 3),
        "weight_hh_l1": (3, 3),
        "bias_l1": (3,),
        "readout.weight": (2, 3),
        "readout.bias": (2,),
    }
    return {name: draw.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}


def bare() -> dict[str, NDArray[Any]]:
    """The arrays of one cell."""
    return {name: array for name, array in weights().items() if name.endswith("_l0")}


def description() -> dict[str, Any]:
    """What a file of format version 1 says of `weights`."""
    tanh = {"name": "tanh", "alpha": None, "beta": None}
    leaky = {"name": "leaky_relu", "alpha": 0.25, "beta": None}
    return {
        "format_version": 1,
        "cells": {
            "l0": {"activation": tanh, "clip": None, "leak": None},
            "l1": {"activation": leaky, "clip": 3, "leak": 0.5},
        },
        "readout": {"name": "sigmoid", "alpha": None, "beta": None},
        "batch_first": True,
        "vocabulary": "ab",
        "metadata": {"licence": "CC0"},
    }


def write(path: Path, arrays: Arrays, described: dict[str, Any] | str | bytes | None = None) -> Path:
    """Write a file of either format."""
    text = json.dumps(described) if isinstance(described, dict) else described
    text = text.encode() if isinstance(text, str) else text
    if path.suffix == ".npz":
        members = {name: npy(array) for name, array in arrays.items()}
        if text is not None:
            members["__rnn_backends__"] = npy(np.frombuffer(text, np.uint8))
        return write_members(path, members)
    header: dict[str, Any] = {} if text is None else {"__metadata__": {"rnn_backends": text.decode()}}
    return write_safetensors(path, header | entries(arrays), b"".join(map(np.ndarray.tobytes, arrays.values())))


def entries(arrays: Arrays) -> dict[str, Any]:
    """What a safetensors header says of these arrays."""
    found, start = {}, 0
    for name, array in arrays.items():
        end = start + array.nbytes
        code = CODES[array.dtype.newbyteorder("<").str]
        found[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    return found


def write_safetensors(path: Path, header: dict[str, Any] | bytes, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def npy(array: NDArray[Any], header: str | None = None, version: tuple[int, int] = (1, 0)) -> bytes:
    """Return what a .npy file of an array holds, or of its bytes with another header."""
    order = array.flags.f_contiguous and not array.flags.c_contiguous
    if header is None:
        header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': {order}, 'shape': {array.shape}, }}"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode() + array.tobytes(order="A")


def write_members(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(f"{name}.npy", member)
    return path


def refuse(path: Path, match: str, **options: Any) -> None:
    """Check that a file is refused in one sentence that names it and says why."""
    with pytest.raises(rb.FormatError, match=match) as caught:
        rb.load(path, **options)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def parameters(rnn: rb.RNN) -> dict[str, NDArray[Any]]:
    held = {"layers": rnn.layers, "readout": rnn.readout}
    return {name: array for part, record in held.items() for name, array in named_arrays(record, part)}


def options(rnn: rb.RNN) -> list[Any]:
    cells = [cell for layer in rnn.layers for cell, _ in layer.cells]
    return [
        [(cell.activation, cell.clip, cell.leak) for cell in cells if isinstance(cell, rb.Cell)],
        [[reverse for _, reverse in layer.cells] for layer in rnn.layers],
        rnn.readout and rnn.readout.activation,
        (rnn.batch_first, rnn.vocabulary, rnn.metadata, rnn.dtype),
    ]


def assert_same(found: rb.RNN, wanted: rb.RNN) -> None:
    """Check that two networks are alike, to the bit."""
    arrays, wanted_arrays = parameters(found), parameters(wanted)
    assert arrays.keys() == wanted_arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == wanted_arrays[name].dtype
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, wanted_arrays[name])
        assert array.tobytes() == wanted_arrays[name].tobytes(), name
    assert options(found) == options(wanted)


def draw_cell(draw: np.random.Generator, features: int, dtype: str, **held: Any) -> rb.Cell:
    bias = None if held.pop("bias", True) is False else draw.normal(size=3).astype(dtype)
    cell = draw.normal(size=(3, features)).astype(dtype), draw.normal(size=(3, 3)).astype(dtype)
    return rb.Cell(*cell, bias, **held)


def make(kind: str, dtype: str = "float32") -> rb.RNN:
    draw = np.random.default_rng(11)
    cell = draw_cell(draw, 2, dtype)
    if kind == "layers":
        return rb.RNN([cell, draw_cell(draw, 3, dtype), draw_cell(draw, 3, dtype)])
    if kind == "both directions":
        backward = draw_cell(draw, 2, dtype, bias=False, activation="relu")
        second = rb.Layer(draw_cell(draw, 6, dtype), draw_cell(draw, 6, dtype))
        return rb.RNN([rb.Layer(cell, backward), second])
    if kind == "reverse only":
        return rb.RNN([rb.Layer(backward=cell), draw_cell(draw, 3, dtype)])
    if kind == "no bias":
        weight = draw.normal(size=(4, 3)).astype(dtype)
        return rb.RNN([draw_cell(draw, 2, dtype, bias=False)], rb.Linear(weight, activation="log_softmax"))
    if kind == "options":
        characters = '\n\0"\\é\u202e\ud800😀{'
        size = len(characters)
        held = draw_cell(draw, size, dtype, clip=0.1 + 0.2, leak=1e-300, activation=rb.Activation("elu", 1 / 3))
        readout = rb.Linear(draw.normal(size=(size, 3)).astype(dtype), draw.normal(size=size).astype(dtype))
        notes = {"": "", "licence\n": "\0 ‽ \U0001f600"}
        return rb.RNN([held], readout, batch_first=True, vocabulary=characters, metadata=notes)
    special = np.resize(SPECIAL.astype(dtype), (3, 3))
    return rb.RNN([rb.Cell(special[:, :2], special, special[0])])


class Doubled(rb.Cell):
    def step(self, projected: Any, h: Any) -> Any:
        return 2 * super().step(projected, h)


class Scaled(rb.Linear):
    def __call__(self, hidden: Any) -> Any:
        return 2 * super().__call__(hidden)


class Louder(rb.Activation):
    def __call__(self, z: Any) -> Any:
        return 2 * super().__call__(z)


class Echo:
    def project(self, x: Any) -> Any:
        return x

    def step(self, projected: Any, h: Any) -> Any:
        return projected + h


def zeros(*shape: int, dtype: str = "<f4") -> NDArray[Any]:
    return np.zeros(shape, dtype)


def put(*keys: str, value: Any) -> Change:
    def change(held: dict[str, Any]) -> None:
        for key in keys[:-1]:
            held = held[key]
        held[keys[-1]] = value

    return change


def drop(*keys: str) -> Change:
    def change(held: dict[str, Any]) -> None:
        for key in keys[:-1]:
            held = held[key]
        del held[keys[-1]]

    return change


def activation(name: Any, alpha: Any = None, beta: Any = None) -> Change:
    return put("cells", "l1", "activation", value={"name": name, "alpha": alpha, "beta": beta})


def small(path: Path) -> bytes:
    """Write the smallest model of both a cell and a readout, and return the bytes of the file."""
    write(path, bare() | {"readout.weight": zeros(2, 3)}, description() | {"cells": {"l0": {}}})
    held = description()
    del held["cells"]["l1"]
    return write(path, bare() | {"readout.weight": zeros(2, 3)}, held).read_bytes()


@contextlib.contextmanager
def little_memory(limit: int = 2**20) -> Iterator[None]:
    import rnn_backends.formats.weights  # noqa: F401  # it is imported when it is needed, and takes memory then

    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def entry(**changes: Any) -> Change:
    """Change what a safetensors header says of weight_hh_l0, whose 36 bytes are the last; None takes away."""

    def change(header: dict[str, Any]) -> None:
        held = header["weight_hh_l0"] | changes
        header["weight_hh_l0"] = {name: value for name, value in held.items() if value is not None}

    return change


def unbiased() -> dict[str, NDArray[Any]]:
    return {name: bare()[name] for name in ("weight_ih_l0", "weight_hh_l0")}
