"""Hostile .safetensors files."""

import json
from pathlib import Path

import numpy as np
import pytest
from native_files import (
    Change,
    bare,
    entries,
    entry,
    little_memory,
    put,
    refuse,
    small,
    unbiased,
    write_safetensors,
    zeros,
)

import rnn_backends as rb

DECLARED = "'weight_hh_l0' is declared F32 of shape .*, but its data_offsets are .* in 60 bytes"


WRONG_HEADERS: dict[str, tuple[Change, str]] = {
    "an entry as list": (put("weight_hh_l0", value=["F32", [3, 3], [24, 60]]), "'weight_hh_l0' in the header must be"),
    "an entry null": (put("weight_hh_l0", value=None), "'weight_hh_l0' in the header must be a JSON object"),
    "no dtype": (entry(dtype=None), r"'weight_hh_l0' lacks 'dtype'"),
    "no shape": (entry(shape=None), r"'weight_hh_l0' lacks 'shape'"),
    "no offsets": (entry(data_offsets=None), r"'weight_hh_l0' lacks 'data_offsets'"),
    "an unknown field": (entry(strides=[1, 3]), r"'weight_hh_l0' has unknown keys 'strides'"),
    "a dtype as object": (entry(dtype={"F32": 0}), "'weight_hh_l0' has dtype {'F32': 0}; it must be one of"),
    "dtype F8": (entry(dtype="F8_E4M3", shape=[36]), "'weight_hh_l0' has dtype 'F8_E4M3'; it must be one of F16, BF16"),
    "dtype I64": (entry(dtype="I64", shape=[1, 4], data_offsets=[24, 56]), "4 bytes follow the last of its arrays"),
    "dtype I32": (entry(dtype="I32"), "`weight_hh` must be one of float16, .*; got int32"),
    "dtype unknown": (entry(dtype="F31"), "'weight_hh_l0' has dtype 'F31'; it must be one of"),
    "shape as text": (entry(shape="33"), "the shape of 'weight_hh_l0' must be a list of sizes"),
    "shape of fractions": (entry(shape=[3.0, 3.0]), "the shape of 'weight_hh_l0' must be a list of sizes"),
    "shape negative": (entry(shape=[-3, -3]), "the shape of 'weight_hh_l0' must be a list of sizes"),
    "shape too small": (entry(shape=[3, 2]), DECLARED),
    "shape enormous": (entry(shape=[2**20, 2**20]), DECLARED),
    "shape overflows to 36 bytes": (entry(shape=[2**62 + 3, 4]), DECLARED),
    "shape enormous and empty": (
        entry(shape=[0, 2**63], data_offsets=[24, 24]),
        r"the shape of 'weight_hh_l0' must be a list of sizes below 2\*\*63",
    ),
    "offsets beyond the file": (entry(shape=[3, 30], data_offsets=[24, 384]), DECLARED),
    "offsets negative": (entry(data_offsets=[-12, 24]), "the data_offsets of 'weight_hh_l0' must be a list of sizes"),
    "offsets overlap": (
        entry(data_offsets=[12, 48]),
        "begins at byte 12 of the data, where the array before it ends at 24",
    ),
    "offsets backwards": (entry(data_offsets=[60, 24]), DECLARED),
    "offsets of three": (entry(data_offsets=[24, 60, 60]), DECLARED),
    "a hole": (entry(shape=[3, 2], data_offsets=[36, 60]), "begins at byte 36 of the data, where the array before"),
    "metadata as list": (put("__metadata__", value=[]), "'__metadata__' in the header must be a JSON object"),
    "metadata not text": (
        put("__metadata__", value={"rnn_backends": {}}),
        "__metadata__ in the header must hold text by name",
    ),
}


@pytest.mark.parametrize("kind", WRONG_HEADERS)
def test_wrong_safetensors_headers_are_refused(tmp_path: Path, kind: str) -> None:
    change, match = WRONG_HEADERS[kind]
    header, data = entries(unbiased()), b"".join(map(np.ndarray.tobytes, unbiased().values()))
    path = write_safetensors(tmp_path / "m.safetensors", header, data)
    rb.load(path, activation="tanh")
    change(header)
    with little_memory():
        refuse(write_safetensors(path, header, data), match, activation="tanh")


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b"[]", "header must be a JSON object; got list"),
        (b"null", "header must be a JSON object; got NoneType"),
        (b"", "header is not valid JSON"),
        (b"{", "header is not valid JSON"),
        (b"\xff\xfe{}", "header is not valid JSON"),
        (b"\x80\x04]\x94.", "header is not valid JSON"),
        (b'{"a":' * 50_000, "header would take 129 levels"),
        (b'{"a": {"dtype": 1, "dtype": 1}}', "header is not valid JSON: a key stands in it twice"),
        (b"{}{}", "header is not valid JSON"),
        ("{}".encode("utf-16"), "header is not valid JSON"),
    ],
    ids=lambda header: repr(header)[:20],
)
def test_safetensors_headers_that_are_no_json_object_are_refused(tmp_path: Path, header: bytes, match: str) -> None:
    refuse(write_safetensors(tmp_path / "m.safetensors", header, b""), match, activation="tanh")


def test_a_duplicate_key_is_refused_where_the_safetensors_package_takes_it(tmp_path: Path) -> None:
    text, data = json.dumps(entries(bare())), b"".join(map(np.ndarray.tobytes, bare().values()))
    twice = f"{text[:-1]}, {text[1:]}".encode()
    path = write_safetensors(tmp_path / "m.safetensors", twice, data)
    refuse(path, "header is not valid JSON: a key stands in it twice", activation="tanh")


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 100_000_001, 10_000])
def test_a_safetensors_header_longer_than_the_file_is_refused(tmp_path: Path, length: int) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", b"{}", b"", length)
    with little_memory():
        refuse(path, f"is cut short: it has 10 bytes and announces a header of {length}")


def test_a_safetensors_header_of_more_than_100_megabytes_is_not_read(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "m.safetensors", b"{}", b"", 100_000_001)
    with path.open("r+b") as file:
        file.truncate(2**30)  # sparse
    with little_memory():
        refuse(path, "the header would take 100000001 bytes of text")


@pytest.mark.parametrize("count", [1, 8, 4096])
def test_bytes_after_the_arrays_of_safetensors_are_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(small(path) + bytes(count))
    refuse(path, f"{count} bytes follow the last of its arrays")


def test_arrays_of_safetensors_that_do_not_fit_are_not_read(tmp_path: Path) -> None:
    held = entries({"weight_ih_l0": zeros(3, 2)})
    size = 24 + 4 * 20_000**2
    held["weight_hh_l0"] = {"dtype": "F32", "shape": [20_000, 20_000], "data_offsets": [24, size]}
    path = write_safetensors(tmp_path / "m.safetensors", held, b"")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)  # sparse: 1.6 GB that take no room
    with little_memory():
        refuse(path, r"`weight_hh` must .*\(3, 3\); got \(20000, 20000\)", activation="tanh")
