"""Attributes of HDF5 that lie, of whole models and of weights: refused by FormatError, in little time and memory."""

import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pytest

import rnn_backends as rb

h5py = pytest.importorskip("h5py")

MEMORY = 64 * 2**20
CONFIG = json.dumps(kf.sequential(kf.simple_rnn(name="rnn")))
NAMES = ["rnn/kernel", "rnn/recurrent_kernel", "rnn/bias"]


def made(change: Callable[[Any], object] | None = None, config: Any = CONFIG, version: Any = "3.0.0") -> bytes:
    """Return a file of a whole model, changed by a function of it."""

    def fill(file: Any) -> None:
        file.attrs["model_config"] = config
        file.attrs["keras_version"] = version
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = ["rnn"]
        for name, array in zip(NAMES, kf.CELL.values(), strict=True):
            group[f"rnn/{name}"] = array
        group["rnn"].attrs["weight_names"] = NAMES
        if change is not None:
            change(file)

    return kf.hdf5({}, fill)


SOUND = made()


def attribute(name: str, raw: bytes = SOUND) -> int:
    """Return the place of the message of an attribute: its version."""
    return raw.index(name.encode() + b"\0") - 8


def data_of(name: str, raw: bytes = SOUND) -> int:
    """Return the place of the data of an attribute."""
    at = attribute(name, raw)
    sizes = struct.unpack_from("<HHH", raw, at + 2)
    return at + 8 + sum(-(-int(size) // 8) * 8 for size in sizes)


def patched(at: int, value: bytes, raw: bytes = SOUND) -> bytes:
    return raw[:at] + value + raw[at + len(value) :]


def space_of(name: str) -> int:
    at = attribute(name)
    sizes = struct.unpack_from("<HHH", SOUND, at + 2)
    return at + 8 + sum(-(-int(size) // 8) * 8 for size in sizes[:2])


def repeated() -> bytes:
    """Return a file whose list of layers names one long text, time and again."""
    raw = made(lambda file: file["model_weights"].attrs.__setitem__("layer_names", [str(k) for k in range(4000)]),
               config=CONFIG[:-1] + ', "notes": "' + "x" * 60_000 + '"}')  # fmt: skip
    long_one = raw[data_of("model_config", raw) :][:16]
    return patched(data_of("layer_names", raw), long_one * 4000, raw)


HEAP = struct.unpack_from("<IQI", SOUND, data_of("model_config"))[1]
SEQUENCE = np.empty(1, "O")
SEQUENCE[0] = np.arange(2, dtype="i4")
LIES: dict[str, tuple[bytes, str]] = {
    "a heap past the end": (patched(data_of("model_config") + 4, struct.pack("<Q", 2**50)), "it points to bytes 1125899906842624 to"),
    "no heap": (patched(HEAP, b"LOCG"), "the attribute 'model_config' of '' is damaged: it has no text in the file's heap"),
    "a heap of another version": (patched(HEAP + 4, b"\2"), "has no text in the file's heap"),
    "no object of that number": (patched(data_of("model_config") + 12, struct.pack("<I", 900)), "has no text in the file's heap"),
    "a text longer than its object": (patched(data_of("model_config"), struct.pack("<I", 2**20)), "has no text in the file's heap"),
    "a text longer than the file": (patched(data_of("model_config"), struct.pack("<I", 2**32 - 1)), "has no text in the file's heap"),
    "an object larger than its heap": (patched(HEAP + 24, struct.pack("<Q", 2**40)), "has no text in the file's heap"),
    "a heap larger than the file": (patched(HEAP + 8, struct.pack("<Q", 2**62), patched(HEAP + 24, struct.pack("<Q", 2**61))),
        "it points to bytes|would take"),
    "an attribute of another version": (patched(attribute("model_config"), b"\7"), "an attribute in it is of version 7, which h5py does not"),
    "a name that is cut short": (patched(attribute("model_config") + 2, struct.pack("<H", 60_000)), "must|shorter|lacks|weights alone"),
    "no text": (made(config=3), "the attribute 'model_config' of '' must be a text, or texts in a row"),
    "numbers": (made(lambda file: file["model_weights"].attrs.__setitem__("layer_names", [1, 2])), "'layer_names' of 'model_weights' must be a t"),
    "several numbers": (made(config=np.ones(3)), "must be a text, or texts in a row"),
    "numbers in two axes": (made(version=np.ones((2, 2))), "'keras_version' of '' must be a text, or texts"),
    "sequences of numbers": (
        made(lambda file: file.attrs.create("keras_version", SEQUENCE, dtype=h5py.vlen_dtype("i4"))),
        "'keras_version' of '' must be a text, or texts",
    ),
    "texts in two axes": (made(version=np.asarray([["3.0.0"]], "S5")), "'keras_version' of '' must be a text, or texts in a row"),
    "two texts": (made(version=["3.0.0", "2.0.0"]), "the attribute 'keras_version' of '' must be one text; it is of several"),
    "no texts": (made(version=np.asarray([], "S1")), "the attribute 'keras_version' of '' must be one text; it is of 0"),
    "more texts than there are": (patched(space_of("layer_names") + 8, struct.pack("<Q", 2**61)), "is cut short: it has .* for 2305843009213693952"),
    "one text, time and again": (repeated(), "has a name of 60[0-9]+ bytes; those of groups and arrays have at most 1000"),
    "a shape of another version": (patched(space_of("layer_names"), b"\5"), "must be a text, or texts in a row"),
    "an empty text": (made(config=""), "model_config is not valid JSON"),
    "no JSON": (made(config="{"), "model_config is not valid JSON"),
    "a deep JSON text": (made(config='{"a":' * 500_000), r"model_config would take \d+ levels"),
    "a long JSON text": (made(config="x" * (2**23 + 1)), "'model_config' of '' would take 8388609 bytes of text, more than the 8388608"),
    "a name that is a path": (made(lambda file: file["model_weights/rnn"].attrs.__setitem__("weight_names", ["../../kernel"] * 3)), "it lacks|must have"),
    "a layer that is a path": (made(lambda file: file["model_weights"].attrs.__setitem__("layer_names", ["../rnn"])), "it lacks|must"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LIES)
def test_attributes_that_lie_are_refused(tmp_path: Path, kind: str) -> None:
    raw, match = LIES[kind]
    path = tmp_path / "m.h5"
    path.write_bytes(raw)
    tracemalloc.start()
    begin = time.process_time()
    try:
        with pytest.raises((rb.FormatError, rb.ArgumentError), match=match) as caught:
            rb.load(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < 20
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_the_file_that_they_are_made_of_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(SOUND)
    assert rb.load(path).hidden_size == 4


def test_every_byte_of_the_attributes_may_be_damaged(tmp_path: Path) -> None:
    """Which is refused, or changes nothing, or another text."""
    path, refused = tmp_path / "m.h5", 0
    begin = attribute("model_config")
    for at in [*range(begin, begin + 80), *range(HEAP, HEAP + 40)]:
        path.write_bytes(patched(at, bytes([SOUND[at] ^ 0x55])))
        try:
            rb.load(path, activation="tanh", go_backwards=False)
        except (rb.FormatError, rb.ArgumentError):
            refused += 1
    assert refused > 60
