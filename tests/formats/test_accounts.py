"""What a file of this package may take: twice the same bytes, texts, names and vocabularies, and sound big files."""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_files import description, little_memory, npy, weights, write, write_members, write_safetensors

import rnn_backends as rb
from rnn_backends.core.messages import MOST
from rnn_backends.formats.advice import LONGEST, way
from rnn_backends.formats.description import VERSION
from rnn_backends.formats.json_text import _memory
from rnn_backends.formats.names import LONGEST as NAME

MIB = 2**20
SUFFIXES = [".safetensors", ".npz"]


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(rb.RNNBackendError, match=match) as caught:
        rb.load(path, **options)
    assert len(str(caught.value)) <= MOST
    assert str(caught.value).isprintable()
    assert path.name in str(caught.value)


# The same bytes again


@pytest.mark.parametrize("times", [2, 8, 100])
def test_aliases_of_an_array_are_one_array(tmp_path: Path, times: int) -> None:
    side = 1000
    path, table = tmp_path / "m.safetensors", np.ones((side, side), "f4")
    names = [f"weight_{kind}_l{layer}" for layer in range(times) for kind in ("ih", "hh")]
    entry = {"dtype": "F32", "shape": [side, side], "data_offsets": [0, table.nbytes]}
    write_safetensors(path, {names[0]: entry, "__metadata__": dict.fromkeys(names[1:], names[0])}, table.tobytes())
    with little_memory(table.nbytes + 2 * MIB):
        rnn = rb.load(path, activation="tanh")
    assert rnn.num_layers == times


def shared(first: int, second: int) -> bytes:
    """Return a zip file of two members, the second of which begins so many bytes after the first."""
    file = io.BytesIO()
    data = npy(np.ones((2, 2), "f4"))
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("weight_ih_l0.npy", "weight_hh_l0.npy"):
            archive.writestr(name, data)
    held = bytearray(file.getvalue())
    directory = held.index(b"PK\1\2")
    other = held.index(b"PK\1\2", directory + 4)
    size = len(data) + first
    for place, value in ((directory + 20, size), (directory + 24, size), (other + 42, second)):
        held[place : place + 4] = value.to_bytes(4, "little")
    return bytes(held)


@pytest.mark.parametrize("more", [46, 47, 60, 100, 200])
def test_members_that_share_bytes_are_refused(tmp_path: Path, more: int) -> None:
    path = tmp_path / "m.npz"
    data = npy(np.ones((2, 2), "f4"))
    path.write_bytes(shared(more, 46 + len(data)))
    refused(path, "'weight_ih_l0.npy', 'weight_hh_l0.npy' share bytes of it", activation="tanh")
    path.write_bytes(shared(0, 46 + len(data)))
    assert rb.load(path, activation="tanh").hidden_size == 2


# What is unpacked


@pytest.mark.parametrize(("shape", "is_sound"), [((3500, 3500), True), ((3700, 3700), False), ((7, 2**21), False)])
def test_zeros_are_unpacked_up_to_48_mib(tmp_path: Path, shape: tuple[int, int], is_sound: bool) -> None:
    path = tmp_path / "m.npz"
    members = {"weight_ih_l0": npy(np.zeros(shape, "f4")), "weight_hh_l0": npy(np.zeros((shape[0],) * 2, "f4"))}
    if is_sound:
        members["weight_ih_l0"] = npy(np.zeros((shape[0], 1), "f4"))
    write_members(path, members, zipfile.ZIP_DEFLATED)
    if is_sound:
        assert rb.load(path, activation="tanh").hidden_size == shape[0]
    else:
        refused(path, "write it without compression, by numpy.savez", activation="tanh")


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "big-endian rows": lambda array: array.astype(">f4"),
    "big-endian columns": lambda array: np.asfortranarray(array.astype(">f4")),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1500, 1500), (3, 700_000), (700_000, 3)])
def test_an_array_of_any_layout_is_read_in_its_own_size(
    tmp_path: Path, compression: int, layout: str, shape: tuple[int, int]
) -> None:
    path, draw = tmp_path / "m.npz", np.random.default_rng(0)
    table = draw.normal(size=shape).astype("f4")
    size = 3
    held = {"weight_ih_l0": np.ones((size, 2), "f4"), "weight_hh_l0": np.ones((size, size), "f4")}
    if shape[0] == shape[1]:
        held = {"weight_ih_l0": np.ones((shape[0], 2), "f4"), "weight_hh_l0": table}
    elif shape[1] == size:
        held["readout.weight"] = table
    else:
        held["weight_ih_l0"] = table
    members = {name: npy(LAYOUTS[layout](array)) for name, array in held.items()}
    write_members(path, members, compression)
    with little_memory(table.nbytes + 4 * MIB):
        rnn = rb.load(path, activation="tanh", readout_activation="identity" if "readout.weight" in held else None)
    cell: Any = rnn.layers[0].cells[0][0]
    found = {"weight_ih_l0": cell.weight_ih, "weight_hh_l0": cell.weight_hh}
    found |= {"readout.weight": rnn.readout.weight} if isinstance(rnn.readout, rb.Linear) else {}
    for name, array in held.items():
        np.testing.assert_array_equal(found[name], array)
        assert not found[name].flags.writeable
        assert found[name].dtype.isnative


PEAK = """
import sys, pathlib
import rnn_backends as rb
tiny, path = sys.argv[1:]
rb.load(tiny)
pathlib.Path("/proc/self/clear_refs").write_text("5")
status = lambda key: int(pathlib.Path("/proc/self/status").read_text().partition(key)[2].split()[0])
before = status("VmRSS:")
rb.load(path)
print(status("VmHWM:") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is found in /proc")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_sound_big_file_takes_its_size_and_little_more(tmp_path: Path, suffix: str) -> None:
    path, tiny = tmp_path / f"m{suffix}", tmp_path / f"tiny{suffix}"
    rb.RNN.init(4000, 4000, seed=0).save(path)
    rb.RNN.init(3, 4).save(tiny)
    done = subprocess.run([sys.executable, "-c", PEAK, tiny, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < path.stat().st_size + 64 * MIB


# Texts, names and vocabularies

TEXTS: dict[str, tuple[bytes, int]] = {
    "ASCII": (b'{"a": "bcd"}', 12),
    "two bytes a letter": ('{"a": "\u0436"}'.encode(), 20),
    "an accent": ('{"a": "\u00e9"}'.encode(), 20),
    "a smiley": ('{"a": "\U0001f600"}'.encode(), 40),
    "an escape of two bytes": (b'{"a": "\\u0436bc"}', 24),
    "an escape of a smiley": (b'{"a": "\\ud83d\\ude00bc"}', 52),
    "no escape": (b'{"a": "\\\\u0436bc"}', 18),
    "an escape after a backslash": (b'{"a": "\\\\\\u0436"}', 22),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_is_counted_as_it_lies_in_memory(kind: str) -> None:
    text, size = TEXTS[kind]
    found = _memory(text)
    assert found == size
    letters, parsed = text.decode(), json.loads(text)["a"]
    held = max(sys.getsizeof(each) - sys.getsizeof("" if each.isascii() else each[:0]) for each in (letters, parsed))
    assert found + 100 >= held


def padded(letter: str) -> Callable[[int], str]:
    return lambda size: json.dumps(description() | {"metadata": {"a": letter + "x" * size}}, ensure_ascii=False)


WIDE: dict[str, Callable[[int], str]] = {
    "a smiley": padded("\U0001f600"),
    "a smiley escaped": lambda size: json.dumps(description() | {"metadata": {"a": "\U0001f600" + "x" * size}}),
    "Chinese": padded("\u4e2d"),
    "Chinese escaped": lambda size: json.dumps(description() | {"metadata": {"a": "\u4e2d" + "x" * size}}),
    "a key": lambda size: json.dumps(description() | {"metadata": {"\U0001f600" + "x" * size: "a"}}),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", WIDE)
def test_a_text_that_would_be_long_in_memory_is_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    path = write(tmp_path / f"m{suffix}", weights(), WIDE[kind](7_000_000))
    with little_memory(40 * MIB):
        refused(path, "bytes of text, more than the 8388608")
    assert rb.load(write(path, weights(), WIDE[kind](1_000_000))).metadata


def words(kind: str, count: int) -> Any:
    letters = {"Latin": "abcdefghij", "Russian": "\u0430\u0431\u0432\u0433\u0434\u0435\u0436\u0437\u0438\u043a"}
    letters["smileys"] = "".join(chr(0x1F600 + k) for k in range(10))
    return ["".join(letters[kind][int(digit)] for digit in f"{number:08}") for number in range(count)]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".onnx"])
@pytest.mark.parametrize(("kind", "count"), [("Latin", 100_000), ("Russian", 100_000), ("smileys", 30_000)])
def test_a_large_vocabulary_is_saved_and_read(tmp_path: Path, suffix: str, kind: str, count: int) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    rnn = rb.RNN(rb.RNN.init(count, 2).layers, vocabulary=words(kind, count))
    rnn.save(tmp_path / f"m{suffix}")
    assert rb.load(tmp_path / f"m{suffix}").vocabulary == rnn.vocabulary


VOCABULARIES: dict[str, tuple[Any, str]] = {
    "all of Unicode": ("".join(map(chr, range(0x20, 0xD800))), "at most 2 items.*; it holds 55264"),
    "words": ([str(number) for number in range(50_000)], "at most 2 items.*; it holds 50000"),
    "one word again and again": (["a"] * 50_000, "at most 2 items.*; it holds 50000"),
    "one too many": (["a", "b", "c"], "at most 2 items.*; it holds 3"),
    "more than a file may": ("a" * 200_000, "the vocabulary would take 200000 items after .*, more than"),
    "a word of two": (["a", "b" * 100_000 + " c"], "must be without white space"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", VOCABULARIES)
def test_a_vocabulary_is_counted_before_it_is_looked_through(tmp_path: Path, suffix: str, kind: str) -> None:
    vocabulary, match = VOCABULARIES[kind]
    path = tmp_path / f"m{suffix}"
    held = {"weight_ih_l0": np.ones((3, 2), "f4"), "weight_hh_l0": np.ones((3, 3), "f4")}
    said = description()
    cell = next(iter(said["cells"].values()))
    write(path, held, said | {"cells": {"l0": cell}, "readout": None, "vocabulary": vocabulary})
    refused(path, match)


NAMES: dict[str, str] = {
    "letters": "a" * (NAME + 1),
    "dots": "." * 30_000,
    "smileys": "\U0001f600" * 10_000,
    "a prefix": "module." * 2000 + "weight_ih_l0",
    "line breaks": "\n" * 20_000,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", NAMES)
def test_long_names_are_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    path, data = tmp_path / f"m{suffix}", np.ones((2, 2), "f4")
    name = NAMES[kind]
    if suffix == ".npz":
        write_members(path, {name: npy(data)})
    else:
        write_safetensors(path, {name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}, data.tobytes())
    refused(path, f"a name has {NAME} at most", activation="tanh")
    with pytest.raises(rb.FormatError, match=f"a name has {NAME} at most"):
        rb.from_torch({name: data}, activation="tanh")


VERSIONS = [[], {}, "2", "x" * 600_000, 10**4000, VERSION + 1, 0, -1, 1.5, True, None, [[]] * 1000]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"{type(version).__name__}")
def test_any_other_version_is_refused(tmp_path: Path, suffix: str, version: Any) -> None:
    path = write(tmp_path / f"m{suffix}", weights(), description() | {"format_version": version})
    refused(path, f"the file has format version .*; this version of the package reads 1 to {VERSION}")


@pytest.mark.parametrize("size", [2**63, 2**64, 10**40, 10**4000, 2**63 - 1])
def test_sizes_that_no_array_has_are_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "m.safetensors"
    for shape in ([size, 0], [0, size], [size] * 32 + [0]):
        held = {"weight_ih_l0": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
        write_safetensors(path, held, b"")
        refused(path, "weight_ih_l0|has weight_ih", activation="tanh")
    path = tmp_path / "m.npz"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size}, 0)}}"
    write_members(path, {"weight_ih_l0": npy(np.zeros((0, 0), "f4"), header)})
    refused(path, "weight_ih_l0", activation="tanh")


# Ways out of many modules


@pytest.mark.parametrize("key", ["roles", "ignore", "names", "side_by_side", "roles_of_layers"])
def test_a_way_out_of_many_modules_takes_no_time(key: str) -> None:
    """The whole of the mapping would be printed anew for each that is left out."""
    named = "names" if key == "names" else "roles"
    few, many = ({f"module.{k}.weight": "ignore" for k in range(count)} for count in (10, 200_000))
    begin = time.perf_counter()
    found = way(key, **{named: many})
    assert time.perf_counter() - begin < 1.0
    assert found == way(key, **{named: few})
    assert str(few)[1:40] in found
    assert len(found) < LONGEST + 200
