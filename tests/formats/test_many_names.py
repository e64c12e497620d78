"""Files in which much has a name and little has bytes: what the names take is counted, in small files and in large."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pt_files
import pytest
from measured import MEASURED, require_little, taken
from native_files import bare, entries, npy, write_members, write_safetensors
from pt_files import plain, storage, tensor

import rnn_backends as rb

pytestmark = pytest.mark.sampled(3)

DATA = Path(__file__).parents[1] / "data"
TOLD: dict[str, Any] = {"activation": "tanh"}
LARGE = 60_000_000
NUMBER = npy(np.ones((1, 1), "f4"))
Made = Callable[[Path], object]


def headed(path: Path, text: bytes, size: int = 4) -> None:
    """Write a file of safetensors whose numbers are all zero, and take no room."""
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)


def other_names(path: Path, count: int, size: int = 4, name: str = "{:x}") -> None:
    """Give one array many names by notes, as files of tied weights have one."""
    notes = ",".join(f'"{name.format(k)}":"w"' for k in range(count))
    entry = f'"w":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}'
    headed(path, f'{{"__metadata__":{{{notes}}},{entry}}}'.encode(), size)


def no_numbers(path: Path, count: int, size: int) -> None:
    """Declare many arrays that are empty beside one that is large."""
    first = f'"w":{{"dtype":"U8","shape":[{size}],"data_offsets":[0,{size}]}}'
    empty = f'{{"dtype":"F32","shape":[0],"data_offsets":[{size},{size}]}}'
    rest = [f'"{k:x}":{empty}' for k in range(count)]
    headed(path, f"{{{','.join([first, *rest])}}}".encode(), size)


def members(path: Path, count: int, name: str) -> None:
    write_members(path, dict.fromkeys(map(name.format, range(count)), NUMBER))


def aliases(path: Path, count: int, name: str) -> None:
    """Give one tensor many names in a state dict, beside a storage that makes the file large."""
    items = 2_500_000
    one = tensor(storage("0", items), 0, (4, 4), (4, 1)) + b"q\1"
    keys = (name.format(k).encode() for k in range(count))
    held = b"".join(b"\x8c" + bytes([len(key)]) + key + (b"h\1" if k else one) for k, key in enumerate(keys))
    pt_files.write(path, pt_files.members({"any": np.zeros(items, "f4")}, b"}(" + held + b"u"))


NAMED: dict[str, Made] = {
    "st: other names": lambda path: other_names(path, 110_000),
    "st: other names of modules": lambda path: other_names(path, 90_000, name="m{:x}.weight"),
    "st: other names in a large file": lambda path: other_names(path, 110_000, LARGE),
    "st: arrays without numbers in a large file": lambda path: no_numbers(path, 75_000, LARGE // 2),
    "npz: cells of one number": lambda path: members(path, 30_000, "m{:x}.weight_ih"),
    "pt: other names of a weight": lambda path: aliases(path, 140_000, "w{:x}.weight"),
}


@MEASURED
@pytest.mark.parametrize("kind", NAMED)
def test_names_take_little_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind.replace(": ", ".").partition(" ")[0]
    NAMED[kind](path)
    assert require_little(taken(path, DATA / "layers.pt", TOLD, **TOLD))


@pytest.mark.parametrize("count", [1, 10, 100, 500, 1000])
def test_a_network_beside_many_names_is_read(tmp_path: Path, count: int) -> None:
    arrays, one = bare(), np.ones((1, 1), "f4")
    arrays |= {f"other.{k}": one for k in range(count)}
    told: dict[str, Any] = {**TOLD, "roles": {"other": "ignore"}}
    path = tmp_path / "m"
    write_safetensors(path, entries(arrays), b"".join(map(np.ndarray.tobytes, arrays.values())))
    assert rb.load(path, **told).hidden_size == 3
    write_members(path, {name: npy(array) for name, array in arrays.items()})
    assert rb.load(path, **told).hidden_size == 3
    state = {name: plain(str(k), array) for k, (name, array) in enumerate(pt_files.cell().items())}
    state |= {f"other.{k}": state["weight_ih_l0"] for k in range(count)}
    pt_files.write(path, pt_files.members(value=pt_files.dictionary(state)))
    assert rb.load(path, **told).hidden_size == 4
