"""Small .msgpack files that unpack to much, or refer to much by long paths: they take little memory and time."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fuzz
import numpy as np
import pytest
from measured import MEASURED, require_little, taken

import rnn_backends as rb

pytestmark = [pytest.mark.usefixtures("msgpack"), pytest.mark.sampled(3)]
GIVEN: dict[str, Any] = {"activation": "tanh", "residual": False}
WITH_READOUT = GIVEN | {"readout_activation": "identity"}
LETTER = "\U0001f600"


def name(text: str) -> bytes:
    octets = text.encode()
    return (bytes([0xA0 + len(octets)]) if len(octets) < 32 else b"\xda" + struct.pack(">H", len(octets))) + octets


def mapped(held: Mapping[str, bytes]) -> bytes:
    return b"\xdf" + struct.pack(">I", len(held)) + b"".join(name(key) + value for key, value in held.items())


def array(*shape: int) -> bytes:
    return fuzz.array_of_msgpack(np.full(shape, 0.5, "f4"))


def listed(*items: bytes) -> bytes:
    return b"\xdd" + struct.pack(">I", len(items)) + b"".join(items)


def many(count: int, value: bytes, form: str = "{:x}") -> dict[str, bytes]:
    return {form.format(k): value for k in range(count)}


def inside(value: bytes, *path: str) -> bytes:
    for part in reversed(path):
        value = mapped({part: value})
    return value


ONE = array(1, 1)
CELL = mapped({"i": mapped({"kernel": array(3, 4), "bias": array(4)}), "h": mapped({"kernel": array(4, 4)})})
SMALL = mapped({"i": mapped({"kernel": ONE}), "h": mapped({"kernel": ONE})})
PARAMS = {"params": mapped({"cell": CELL})}


def beside(held: Mapping[str, bytes]) -> bytes:
    return mapped({"params": mapped({"cell": CELL, **held})})


TREES: dict[str, bytes] = {
    "texts below a long path": beside({LETTER + "a" * 450: mapped(many(33_000, b"\xd9\0"))}),
    "arrays below a long path": beside({LETTER + "a" * 450: mapped(many(16_000, ONE))}),
    "kernels below a long path": beside({LETTER + "a" * 400: mapped(many(7000, mapped({"kernel": ONE})))}),
    "tables below a long path": beside({"a" * 480: mapped(many(2500, mapped({"embedding": ONE})))}),
    "statistics below a long path": mapped({
        **PARAMS, "batch_stats": mapped({"cell": mapped({LETTER + "a" * 450: mapped(many(16_000, ONE))})})}),
    "another collection below a long path": mapped({
        **PARAMS, "more": mapped({"cell": mapped({LETTER + "a" * 450: mapped(many(16_000, ONE))})})}),
    "two collections alike": mapped({
        key: inside(mapped(many(8000, ONE)), LETTER * 100, "b" * 100) for key in ("params", "ema")}),
    "averages that are alike": mapped({
        key: mapped({"cell": CELL, LETTER + "a" * 450: mapped(many(7000, ONE))}) for key in ("params", "ema")}),
    "paths of many names": inside(mapped({"cell": CELL, "x": mapped(many(16_000, ONE))}), "params", *["a"] * 100),
    "slashes": beside({"/" * 480: mapped(many(9000, mapped({"kernel": ONE})))}),
    "cells": mapped({"params": mapped(many(6500, SMALL))}),
    "arrays of no module": beside(many(20_000, ONE)),
    "kernels": beside(many(4000, mapped({"kernel": ONE}))),
    "empty maps": beside(many(45_000, b"\x80")),
    "long names": beside(many(900, b"\x80", LETTER + "a" * 900 + "{}")),
}  # fmt: skip


def refused(folder: Path, data: bytes, **options: Any) -> str:
    path, sound = folder / "m.msgpack", folder / "sound.msgpack"
    path.write_bytes(data)
    sound.write_bytes(fuzz.flax_file())
    return require_little(taken(path, sound, WITH_READOUT, **(GIVEN | options)))


@pytest.mark.sampled(3)
@MEASURED
@pytest.mark.parametrize("kind", TREES)
def test_small_trees_take_little_memory_and_time(tmp_path: Path, kind: str) -> None:
    assert len(TREES[kind]) < 2**20
    refused(tmp_path, TREES[kind])


@MEASURED
@pytest.mark.parametrize("kind", ["params", "batch_stats"])
def test_arrays_are_counted_by_more_than_their_numbers(tmp_path: Path, kind: str) -> None:
    arrays = mapped(many(36_000, ONE))
    data = mapped({"params": mapped({"cell": CELL}), kind: mapped({"cell": CELL, "more": arrays})})
    assert "an array in it would take" in refused(tmp_path, data)


@MEASURED
@pytest.mark.parametrize(
    "kind", ["arrays below a long path", "kernels below a long path", "statistics below a long path"]
)
def test_paths_are_counted(tmp_path: Path, kind: str) -> None:
    assert "the paths in its tree would take" in refused(tmp_path, TREES[kind])


@MEASURED
def test_collections_beside_many_modules_take_no_time_of_their_square(tmp_path: Path) -> None:
    data = mapped({"params": mapped(many(12_000, b"\x80") | {"cell": CELL}), **many(12_000, b"\x80")})
    assert refused(tmp_path, data) == ""


LISTS: dict[str, bytes] = {
    "empty ones": listed(*[b"\x90"] * 900_000),
    "lists of empty ones": listed(*[b"\xdc" + struct.pack(">H", 1000) + b"\x90" * 1000] * 900),
    "in each other": b"\x91" * 900_000 + b"\xc0",
    "of maps": listed(*[b"\x81\xa1a\x90"] * 200_000),
    "of numbers": listed(*[b"\1"] * 900_000),
    "of a count that lies": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 900_000,
    "of texts": listed(*[b"\xa3abc"] * 200_000),
}


@pytest.mark.sampled(3)
@MEASURED
@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("within", [False, True])
def test_lists_are_passed_over_within_the_count(tmp_path: Path, kind: str, within: bool) -> None:
    data = beside({"x": LISTS[kind]}) if within else mapped({**PARAMS, "x": LISTS[kind]})
    assert "its tree would take 1 items after" in refused(tmp_path, data)


@pytest.mark.parametrize(
    "held",
    [listed(), listed(b"\1", b"\xcb" + bytes(8)), listed(name("a"), b"\xc3"), listed(mapped({"a": listed(b"\xc0")}), ONE),
     b"\xdc\0\2\xd9\1a\xc4\1b", listed(b"\x81\xa1a\xd4\1\0", b"\xcf" + bytes(8))],
)  # fmt: skip
def test_lists_beside_parameters_are_no_matter(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(mapped({"history": held, **PARAMS}))
    assert rb.load(path, **GIVEN).num_parameters == 32


def test_a_list_among_parameters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(beside({"x": listed(CELL, CELL)}))
    with pytest.raises(rb.FormatError, match="'x' must be an array, or a mapping of them; got list"):
        rb.load(path, **GIVEN)


@pytest.mark.parametrize("count", [7000, 12_000])
def test_a_tree_of_many_arrays_is_sound(tmp_path: Path, count: int) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(beside({"other": mapped(many(count, mapped({"kernel": ONE})))}))
    assert path.stat().st_size < 2**20
    assert rb.load(path, roles={"other": "ignore"}, **GIVEN).num_parameters == 32


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\xa1i\xa3ab",
        b"\x81\xa1i\xcb\0\0",
        b"\x81\xa1i\xd9\5ab",
        b"\x81\xa1i\xc7\5\2ab",
        b"\x81\xa1",
        b"\x81\xa1i\x92\1",
    ],
)
def test_items_that_are_cut_short_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.msgpack"
    path.write_bytes(data)
    with pytest.raises(rb.FormatError, match="it is cut short"):
        rb.load(path, **GIVEN)
