"""Reading of every format: regular files alone, opened once, closed always, in memory in proportion to their size."""

import io
import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import fuzz
import numpy as np
import pytest
from native_files import description, parameters, weights, write, write_members
from native_files import npy as npy_bytes

import rnn_backends as rb
from rnn_backends.cli.running.arrays import Inputs, read_inputs
from rnn_backends.formats.source import Source, opened

FD = Path("/proc/self/fd")
MEMORY = 64 * 2**20
OPTIONS: dict[str, dict[str, Any]] = {
    ".safetensors": {},
    ".npz": {},
    ".pt": {"activation": "tanh"},
    ".msgpack": {"activation": "tanh", "residual": False},
    ".keras": {},
    ".h5": {"activation": "tanh", "go_backwards": False},
    ".onnx": {},
}
PACKAGES = {".msgpack": "msgpack", ".onnx": "onnx"}


@contextmanager
def little_memory(limit: int) -> Iterator[None]:
    """Check that no more than so many bytes are taken above those that are taken already."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    before = len(list(FD.iterdir())) if FD.exists() else 0
    yield
    assert not FD.exists() or len(list(FD.iterdir())) == before


@pytest.fixture(params=OPTIONS)
def suffix(request: pytest.FixtureRequest) -> str:
    """Return a suffix of a format that can be read here."""
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param])
    return str(request.param)


def sound(suffix: str, folder: Path) -> bytes:
    """Return a file that loads."""
    path = folder / f"sound{suffix}"
    names = {".pt": "layers.pt", ".keras": "tagger.keras", ".h5": "stack.weights.h5"}
    if suffix in names:
        return (fuzz.DATA / names[suffix]).read_bytes()
    if suffix == ".msgpack":
        return fuzz.flax_file()
    rb.RNN.init(3, 4, output_size=2).save(path)
    return path.read_bytes()


def load(path: Path) -> rb.RNN:
    options = dict(OPTIONS[path.suffix])
    if path.suffix in {".msgpack", ".h5"}:
        options["readout_activation"] = "identity"
    return rb.load(path, **options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs and devices are of POSIX")
@pytest.mark.parametrize("kind", ["FIFO", "device", "directory"])
def test_only_regular_files_are_read(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"m{suffix}"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with no_descriptor_left(), pytest.raises(rb.FormatError, match=f"m{suffix}.* is a {kind}, not a regular file; "):
        load(path)


def test_no_descriptor_outlives_a_refusal(tmp_path: Path, suffix: str) -> None:
    path, whole = tmp_path / f"m{suffix}", sound(suffix, tmp_path)
    path.write_bytes(whole)
    load(path)
    errors = []
    with no_descriptor_left():
        for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(rb.FormatError, match=path.name) as caught:
                load(path)
            errors.append(caught.value)  # with its traceback, and so all that its frames hold
        path.write_bytes(whole)
        models = [load(path) for _ in range(2)]
    del errors, models


def test_a_model_is_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path, other = tmp_path / f"m{suffix}", tmp_path / "other"
    path.write_bytes(sound(suffix, tmp_path))
    wanted = [array.tobytes() for array in parameters(load(path)).values()]
    calls = []

    def replacing(read: Callable[..., Any]) -> Callable[..., Any]:
        def after(self: Source, *arguments: Any) -> Any:
            found = read(self, *arguments)
            calls.append(arguments)
            other.write_bytes(bytes(self.size))
            other.replace(path)
            return found

        return after

    for name in ("look", "block"):
        monkeypatch.setattr(Source, name, replacing(getattr(Source, name)))
    assert [array.tobytes() for array in parameters(load(path)).values()] == wanted
    assert calls


# Bombs: small files of which a reader that trusts them makes much


def bomb_of_headers() -> bytes:
    text = b'{"a":[' + b"{}," * 7_000_000 + b"1]}"
    return struct.pack("<Q", len(text)) + text


def bomb_of_entries() -> bytes:
    text = b'{"a":[' + b"{}," * 2_000_000 + b"1]}"
    return struct.pack("<Q", len(text)) + text


def zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def bomb_of_text() -> bytes:
    text = b'{"a":[' + b"[]," * 10_000_000 + b"1]}"
    return zip_of({"__rnn_backends__.npy": npy_bytes(np.frombuffer(text, np.uint8)), "weight_ih_l0.npy": WEIGHT})


def bomb_of(text: bytes) -> Callable[[], bytes]:
    """Return what packs a text as a description."""
    held = {name: npy_bytes(array) for name, array in weights().items()}
    described = {"__rnn_backends__": npy_bytes(np.frombuffer(text, np.uint8))}
    return lambda: zip_of({f"{name}.npy": data for name, data in (held | described).items()})


def headed(text: bytes) -> Callable[[], bytes]:
    """Return what makes a text the header of a file of safetensors."""
    return lambda: struct.pack("<Q", len(text)) + text


def entry_of(comment: bytes = b"", extra: bytes = b"", name: bytes = b"weight_ih_l0.npy", count: int = 1) -> bytes:
    """Return a zip file whose directory has one entry, a number of times."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    lengths = (len(name), len(extra), len(comment))
    far = 2**32 - 1 if extra[:2] == b"\1\0" else 0
    one = struct.pack("<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, far, far, *lengths, 0, 0, 0, far)
    directory = (one + name + extra + comment) * count
    return local + directory + _end(count, len(directory), len(local))


def sized(size: int, packed: int, offset: int) -> bytes:
    """Return the field of an entry that has these in 64 bits."""
    return struct.pack("<HH3Q", 1, 24, size, packed, offset)


@cache
def bomb_of_directory() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for index in range(100_000):
            archive.writestr(f"{index:07d}", b"")
    return file.getvalue()


def _end(count: int, size: int, start: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, 0)


def zip64(offset: int) -> bytes:
    """Return a zip file whose directory lies at an offset of 64 bits."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 46, offset)
    return (
        b"PK\3\4"
        + bytes(100)
        + record
        + struct.pack("<4sLQL", b"PK\6\7", 0, 104, 1)
        + _end(65535, 2**32 - 1, 2**32 - 1)
    )


WEIGHT = npy_bytes(np.ones((3, 2), "<f4"))
FEW = 2_000_000
BOMBS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "a header of 21 MB": (".safetensors", bomb_of_headers, "the header would take 21000009 bytes of text, more than"),
    "a header of entries": (".safetensors", bomb_of_entries, "the header would take 1000 items after"),
    "a description": (
        ".npz",
        bomb_of_text,
        "the description of the network would take 300000.* bytes of text, more than",
    ),
    "a header of lists": (
        ".safetensors",
        headed(b'{"a":[' + b"[]," * 190_000 + b"1]}"),
        "the header would take 1000 items after",
    ),
    "a header of numbers": (
        ".safetensors",
        headed(b'{"a":[' + b"1," * 190_000 + b"1]}"),
        "the header would take 1000 items after",
    ),
    "a header of notes": (
        ".safetensors",
        headed(b'{"__metadata__":{' + b'"":"",' * 190_000 + b'"":""}}'),
        "the header would take 1000 items after",
    ),
    "a header of spaces": (
        ".safetensors",
        headed(b"{" + b" " * 9_000_000 + b"}"),
        "the header would take 9000002 bytes of text",
    ),
    "a header of letters": (
        ".safetensors",
        headed(b'{"a":"' + b"a" * 4_000_000 + "\U0001f600".encode() + b'"}'),
        "the header would take [0-9]+ bytes of text",
    ),
    "a description of numbers": (
        ".npz",
        bomb_of(b'{"a":[' + b"1.5," * (FEW // 4) + b"1]}"),
        "would take 1000 items after 150000",
    ),
    "a description of names": (
        ".npz",
        bomb_of(b"{" + b'"":1,' * (FEW // 5) + b'"":1}'),
        "would take 1000 items after 150000",
    ),
    "a description of spaces": (".npz", bomb_of(b"{" + b" " * 30_000_000 + b"}"), "would take 30000002 bytes of text"),
    "a description in itself": (".npz", bomb_of(b'{"a":' * (FEW // 5)), "would take 129 levels"),
    "a directory of comments": (
        ".npz",
        lambda: entry_of(b"c" * 60_000, count=100),
        "its directory would take .* bytes",
    ),
    "a directory of fields": (
        ".keras",
        lambda: entry_of(extra=struct.pack("<HH", 0x7777, 60_000) + bytes(60_000), count=100),
        "its directory would take .* bytes",
    ),
    "a directory of long names": (
        ".pt",
        lambda: entry_of(name=b"n" * 60_000, count=100),
        "its directory would take .* bytes",
    ),
    "a directory": (".npz", bomb_of_directory, "its directory would take .* bytes"),
    "a directory of .pt": (".pt", bomb_of_directory, "its directory would take .* bytes"),
    "a directory of .keras": (".keras", bomb_of_directory, "its directory would take .* bytes"),
    "an offset of 64 bits": (".npz", lambda: zip64(2**63 - 1), "is no .npz file, or is damaged: "),
    "a negative offset": (".npz", lambda: zip64(2**64 - 1), "is no .npz file, or is damaged: "),
    "an offset of 64 bits in .pt": (".pt", lambda: zip64(2**63), "is no .pt file, or is damaged: "),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_in_little_memory(tmp_path: Path, kind: str) -> None:
    suffix, make, match = BOMBS[kind]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(make())
    with little_memory(MEMORY), pytest.raises(rb.FormatError, match=match):
        load(path)


@pytest.mark.usefixtures("msgpack")
@pytest.mark.parametrize(
    "shape",
    [[2**63], [2**40, 0], [0, 2**63, 2**63], [1] * 33, [0, 2**64 - 1], [2**62, 0, 2**62], [0] * 65, [2**31] * 2 + [0]],
)
def test_shapes_beyond_those_of_numpy_are_refused(tmp_path: Path, shape: list[int]) -> None:
    import msgpack

    path, count = tmp_path / "m.msgpack", int(np.prod(np.array(shape, object)))
    inner = msgpack.packb((shape, "float32", bytes(4 * count if count < 2 else 0)))
    path.write_bytes(b"\x81\xa1a" + b"\xc8" + struct.pack(">H", len(inner)) + b"\1" + inner)
    with pytest.raises(
        rb.FormatError, match=r"m\.msgpack.*(declared|axes|damaged: Maximum allowed dimension|holds no SimpleCell)"
    ):
        load(path)


PLACED: dict[str, Callable[[int], bytes]] = {
    "the directory": zip64,
    "a member": lambda far: entry_of(extra=sized(0, 0, far)),
    "a size": lambda far: entry_of(extra=sized(far, 0, 0)),
    "a packed size": lambda far: entry_of(extra=sized(0, far, 0)),
    "all of a member": lambda far: entry_of(extra=sized(far, far, far)),
}


@pytest.mark.parametrize("kind", PLACED)
@pytest.mark.parametrize("suffix", [".npz", ".pt", ".keras"])
def test_numbers_of_64_bits_in_a_zip_file_lead_nowhere(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"m{suffix}"
    for far in (2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1):
        path.write_bytes(PLACED[kind](far))
        with pytest.raises(rb.FormatError, match=path.name):
            load(path)


def inputs_of(path: Path) -> Inputs:
    with opened(path) as source:
        return read_inputs(source, "npz", path.name, rb.RNN.init(2, 2).placed.network, None)


def test_the_readers_of_npz_agree(tmp_path: Path) -> None:
    side = 4000
    members = {"x": npy_bytes(np.zeros((side, side), "f4"))}
    path = write_members(tmp_path / "x.npz", members, zipfile.ZIP_DEFLATED)
    with little_memory(MEMORY), pytest.raises(rb.FormatError, match=r"x.npz: 'x' would take 64000.* bytes"):
        inputs_of(path)
    write_members(path, members)
    assert inputs_of(path).x.shape == (side, side)


def test_metadata_of_a_sound_file_may_be_long(tmp_path: Path) -> None:
    rnn = rb.RNN.init(2, 3, seed=0)
    held = rb.RNN(rnn.layers, metadata={"notes": "[{,}]" * 200_000})
    for suffix in (".safetensors", ".npz"):
        held.save(tmp_path / f"m{suffix}")
        assert rb.load(tmp_path / f"m{suffix}").metadata == held.metadata


def test_a_description_that_is_deep_is_refused(tmp_path: Path) -> None:
    text = json.dumps(description())[:-1] + ', "more": ' + "[" * 200 + "]" * 200 + "}"
    path = write(tmp_path / "m.safetensors", weights(), text)
    with pytest.raises(rb.FormatError, match="the description of the network would take 129 levels"):
        load(path)
