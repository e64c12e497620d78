"""HDF5 and .keras files that lie: refused by FormatError, in little time and memory, and no other file is opened."""

import io
import os
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_files as kf
import numpy as np
import pytest
from keras_files import simple_rnn

import rnn_backends as rb
from rnn_backends.formats.account import LIMITS

pytestmark = pytest.mark.sampled(3)

h5py = pytest.importorskip("h5py")

MEMORY = 64 * 2**20
CELL = kf.cell_arrays("layers/simple_rnn")
VARS = "layers/simple_rnn/cell/vars"
SOUND = kf.hdf5(CELL)


def load(path: Path) -> rb.RNN:
    return rb.load(path, activation="tanh", go_backwards=False)


def refuse(tmp_path: Path, weights: bytes, match: str) -> None:
    """Check that weights are refused, alone and in a model."""
    alone, model = tmp_path / "m.weights.h5", tmp_path / "m.keras"
    alone.write_bytes(weights)
    model.write_bytes(kf.archive(kf.sequential(simple_rnn()), weights))
    for path in (alone, model):
        tracemalloc.start()
        begin = time.process_time()
        try:
            with pytest.raises(rb.FormatError, match=match) as caught:
                rb.load(path) if path is model else load(path)
            assert tracemalloc.get_traced_memory()[1] < MEMORY
        finally:
            tracemalloc.stop()
        assert time.process_time() - begin < 20
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000


def instead(path: str, make: Callable[[Any], object]) -> Callable[[Any], object]:
    """Return what makes something else in the place of a group or an array."""

    def change(held: Any) -> None:
        del held[path]
        make(held)

    return change


def virtual(held: Any) -> None:
    layout = h5py.VirtualLayout(shape=(4, 4), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", shape=(4, 4))
    held.create_virtual_dataset(f"{VARS}/1", layout)


def created(**options: Any) -> Callable[[Any], object]:
    return instead(f"{VARS}/1", lambda held: held.create_dataset(f"{VARS}/1", **options))


ONES = np.ones((4, 4), "f4")
ODD: dict[str, tuple[Callable[[Any], object], str]] = {
    "an external link": (instead(f"{VARS}/1", lambda held: held.__setitem__(
        f"{VARS}/1", h5py.ExternalLink("/etc/passwd", "/a"))), "vars' is no group that Keras writes: .* links to other files"),
    "a group elsewhere": (instead("layers/simple_rnn", lambda held: held.__setitem__(
        "layers/simple_rnn", h5py.ExternalLink("/etc/passwd", "/a"))), "'layers' is no group that Keras writes"),
    "a soft link": (instead(f"{VARS}/1", lambda held: held.__setitem__(f"{VARS}/1", h5py.SoftLink(f"/{VARS}/2"))),
        "vars/1' is a link to another place, which Keras does not write"),
    "a soft link out": (instead("layers/simple_rnn", lambda held: held.__setitem__(
        "layers/simple_rnn", h5py.SoftLink("../../etc"))), "'layers/simple_rnn' is a link to another place"),
    "external storage": (created(shape=(4, 4), dtype="f4", external=[("/etc/passwd", 0, 64)]), "vars/1' is stored in another file"),
    "a virtual data set": (instead(f"{VARS}/1", virtual), "vars/1' is not stored in one piece, as Keras writes it"),
    "chunks": (created(data=ONES, chunks=(2, 2)), "vars/1' is not stored in one piece, as Keras writes it"),
    "gzip": (created(data=ONES, compression="gzip"), "vars/1' is compressed, or filtered otherwise"),
    "a checksum": (created(data=ONES, fletcher32=True), "vars/1' is compressed, or filtered otherwise"),
    "a shape bomb": (created(shape=(2**20, 2**20), dtype="f8", chunks=(2**10, 2**10), fillvalue=1.0), "not stored in one piece"),
    "a shape bomb of gzip": (created(shape=(2**20, 2**20), dtype="f8", compression="gzip"), "is compressed, or filtered"),
    "an array never written": (created(shape=(4, 4), dtype="f4"), "vars/1' was never written"),
    "a shape bomb never written": (created(shape=(2**30, 2**30), dtype="f4"), "vars/1' was never written"),
    "a compound": (created(shape=(4,), dtype=[("a", "f4"), ("b", "f4")]), "vars/1' holds no floats; weights are float16"),
    "references": (created(shape=(4,), dtype=h5py.ref_dtype), "vars/1' holds no floats"),
    "texts": (created(data=["a", "b"], dtype=h5py.string_dtype()), "vars/1' holds no floats"),
    "sequences": (created(shape=(4,), dtype=h5py.vlen_dtype("f4")), "vars/1' holds no floats"),
    "arrays in an array": (created(shape=(4,), dtype=np.dtype(("f4", (4,)))), "vars/1' holds no floats"),
    "numbers of an enumeration": (created(data=np.ones((4, 4), "i1"), dtype=h5py.enum_dtype({"a": 1})), "vars/1' holds no floats"),
    "complex numbers": (created(data=np.ones((4, 4), "c8")), "vars/1' holds no floats"),
    "long doubles": (created(data=np.ones((4, 4), np.longdouble)), "vars/1' holds no floats"),
    "bytes of no meaning": (created(data=np.zeros((4, 4), "V2")), "vars/1' holds no floats"),
    "nothing": (created(data=h5py.Empty("f4")), "vars/1' was never written"),
    "a dtype": (instead(f"{VARS}/1", lambda held: held.__setitem__(f"{VARS}/1", np.dtype("f4"))), "vars/1' is no array"),
    "a named dtype": (instead(f"{VARS}/1", lambda held: (held.__setitem__("optimizer/type", np.dtype("f4")), held.create_dataset(
        f"{VARS}/1", data=ONES, dtype=held["optimizer/type"]))), "shares a part with another, which Keras's do not"),
    "a group that holds itself": (instead(f"{VARS}/1", lambda held: held.__setitem__(f"{VARS}/1", held["layers"])), "is no array"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_what_keras_does_not_write_is_refused(tmp_path: Path, kind: str) -> None:
    change, match = ODD[kind]
    refuse(tmp_path, kf.hdf5(CELL, change), match)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"libver": "latest"}, r"it is an HDF5 file that Keras does not write \(superblock 3\)"),
        ({"userblock_size": 512}, "neither a zip file, as a .keras file is, nor an HDF5 file|it is no HDF5 file"),
        ({"track_order": True}, "is of version 79, which h5py does not write for Keras"),
    ],
)
def test_other_layouts_of_hdf5_are_refused(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    refuse(tmp_path, kf.hdf5(CELL, **options), match)


def test_an_array_that_many_paths_lead_to_is_held_once(tmp_path: Path) -> None:
    table = np.zeros((2000, 2000), "f4")

    def change(held: Any) -> None:
        held[f"{VARS}/0"] = table
        for layer in range(20):
            folder = f"layers/simple_rnn{f'_{layer}' if layer else ''}/cell/vars"
            for number in range(2):
                if f"{folder}/{number}" not in held:
                    held[f"{folder}/{number}"] = held[f"{VARS}/0"]

    weights = kf.hdf5({}, change)
    path = tmp_path / "m.weights.h5"
    path.write_bytes(weights)
    assert load(path).num_layers == 20  # and all that it imports is there
    tracemalloc.start()
    try:
        assert load(path).num_layers == 20
        assert tracemalloc.get_traced_memory()[1] < len(weights) + 2**20
    finally:
        tracemalloc.stop()


# Trees that libhdf5 would walk for years


def tree_of(weights: bytes, levels: int, again: bool = False) -> bytes:
    """Return a file whose root has a tree of so many levels, each node of which has one child, 32 times."""
    raw = bytearray(weights)
    tree, heap = struct.unpack_from("<QQ", raw, 0x50)
    (header,) = struct.unpack_from("<Q", raw, 0x40)
    child = len(raw)
    raw += b"SNOD" + struct.pack("<BBH", 1, 0, 0) + bytes(320)
    for level in range(levels):
        at = len(raw)
        place = at if again and level + 1 == levels else child
        raw += b"TREE" + struct.pack("<BBHQQ", 0, level, 32, 2**64 - 1, 2**64 - 1)
        raw += struct.pack("<QQ", 0, place) * 32 + struct.pack("<Q", 0)
        child = at
    struct.pack_into("<Q", raw, 0x50, child)
    struct.pack_into("<Q", raw, raw.index(struct.pack("<QQ", tree, heap), header), child)
    struct.pack_into("<Q", raw, 0x28, len(raw))
    return bytes(raw)


@pytest.mark.parametrize("levels", [1, 12, 200])
@pytest.mark.parametrize("again", [False, True])
def test_a_tree_is_walked_once(tmp_path: Path, levels: int, again: bool) -> None:
    refuse(tmp_path, tree_of(SOUND, levels, again), "the tree of the members of '' is damaged")


def many(count: int) -> bytes:
    """Return a file whose root has a tree of leaves, each with as many members as a number of two bytes can say."""
    raw = bytearray(SOUND)
    tree, heap = struct.unpack_from("<QQ", raw, 0x50)
    (header,) = struct.unpack_from("<Q", raw, 0x40)
    leaves = []
    for _ in range(count):
        leaves.append(len(raw))
        raw += b"SNOD" + struct.pack("<BBH", 1, 0, 65535)
    raw += bytes(40 * 65536)
    at = len(raw)
    raw += b"TREE" + struct.pack("<BBHQQ", 0, 0, count, 2**64 - 1, 2**64 - 1)
    raw += b"".join(struct.pack("<QQ", 0, leaf) for leaf in leaves) + bytes(8)
    struct.pack_into("<Q", raw, 0x50, at)
    struct.pack_into("<Q", raw, raw.index(struct.pack("<QQ", tree, heap), header), at)
    struct.pack_into("<Q", raw, 0x28, len(raw))
    return bytes(raw)


def test_structures_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(tmp_path, many(1000), "'/' is in it twice, which Keras does not write")
    monkeypatch.setitem(LIMITS, "nodes", LIMITS["nodes"]._replace(floor=20, per_byte=0))
    refuse(tmp_path, SOUND, "the structures in it would take .* more than the 20 that a file of")


def header_of_root(raw: bytes) -> int:
    return int(struct.unpack_from("<Q", raw, 0x40)[0])


def patched(at: int, value: bytes) -> bytes:
    return SOUND[:at] + value + SOUND[at + len(value) :]


def changed_root(*messages: tuple[int, int, bytes]) -> bytes:
    """Return a file whose root has a header of these messages: kind, flags and body."""
    body = b"".join(struct.pack("<HHB3x", kind, len(held), flags) + held for kind, flags, held in messages)
    raw = SOUND + struct.pack("<BBHII4x", 1, 0, len(messages), 1, len(body)) + body
    return raw[:0x40] + struct.pack("<Q", len(SOUND)) + raw[0x48:]


def overlapping(count: int) -> bytes:
    """Return a file whose root has a header of one long part, and of continuations that lead back to it."""
    block = struct.pack("<HHB3x", 0, 60_000, 0) + bytes(60_000)
    begin = len(SOUND) + 16
    size = len(block) + 24
    block += struct.pack("<HHB3xQQ", 0x10, 16, 0, begin, size)
    raw = SOUND + struct.pack("<BBHII4x", 1, 0, count, 1, size) + block
    return raw[:0x40] + struct.pack("<Q", len(SOUND)) + raw[0x48:]


def wide(count: int) -> bytes:
    """Return a file whose root has a tree of so many nodes, which overlap, and as many children each as can be."""
    raw = bytearray(SOUND)
    tree, heap = struct.unpack_from("<QQ", raw, 0x50)
    (header,) = struct.unpack_from("<Q", raw, 0x40)
    first = len(raw)
    node = b"TREE" + struct.pack("<BBHQQ", 0, 1, 65535, 0, 0)
    raw += bytes(16 * 65536 + 24 * count + 64)
    for number in range(count):
        raw[first + 24 * number : first + 24 * (number + 1)] = node
    for number in range(count):  # the last child of each is the next
        place = first + 24 * number + 32 + 16 * 65534
        raw[place : place + 8] = struct.pack("<Q", first + 24 * (number + 1))
    struct.pack_into("<Q", raw, 0x50, first)
    struct.pack_into("<Q", raw, raw.index(struct.pack("<QQ", tree, heap), header), first)
    struct.pack_into("<Q", raw, 0x28, len(raw))
    return bytes(raw)


def test_a_header_that_leads_back_to_itself_takes_little_memory(tmp_path: Path) -> None:
    refuse(tmp_path, overlapping(4000), "the header of the object at byte .* has more than 65536 bytes")


def test_a_tree_of_many_children_takes_little_memory(tmp_path: Path) -> None:
    refuse(tmp_path, wide(60), "the structures in it would take .* more than the [0-9]+ that a file of")


ROOT = SOUND[0x50:0x60]
NO_NAMES = struct.unpack_from("<Q", SOUND, 0x58)[0]
DAMAGED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is empty; if it is just being written, load it again|it is no HDF5 file, or is cut short"),
    "another file": (b"GIF8" + bytes(500), "it is neither a zip file, .* nor an HDF5 file|it is no HDF5 file, or is cut short"),
    "another version": (patched(8, b"\2"), r"an HDF5 file that Keras does not write \(superblock 2\)"),
    "narrow offsets": (patched(13, b"\4"), r"that Keras does not write \(superblock 0\)"),
    "a base": (patched(24, struct.pack("<Q", 512)), "that Keras does not write"),
    "a driver": (patched(48, struct.pack("<Q", 512)), "that Keras does not write"),
    "an end that lies": (patched(40, struct.pack("<Q", 2**40)), "it is cut short: it has .* of 1099511627776 bytes"),
    "a root past the end": (patched(64, struct.pack("<Q", 2**63)), r"it points to bytes over 2\*\*63 to over 2\*\*63 of"),
    "a header of another version": (patched(header_of_root(SOUND), b"\2"), "is of version 2, which h5py does not write for"),
    "no tree": (changed_root(), "'' is no group that Keras writes"),
    "two trees": (changed_root((0x11, 0, ROOT), (0x11, 0, ROOT)), "'' is no group that Keras writes"),
    "a short tree": (changed_root((0x11, 0, ROOT[:8])), "a part of it is shorter than it must be"),
    "a shared tree": (changed_root((0x11, 2, ROOT)), "shares a part with another, which Keras's do not"),
    "a part past the end": (changed_root((0x11, 0, ROOT))[:-8], "it points to bytes .* of "),
    "a header that goes on for ever": (changed_root(*[(0x10, 0, struct.pack("<QQ", len(SOUND) + 16, 2**20))] * 8),
        "'' is no group that Keras writes: no group at all, or"),
    "a header that goes on elsewhere": (changed_root((0x10, 0, struct.pack("<QQ", 2**60, 24))), "'' is no group that Keras writes"),
    "no names": (patched(NO_NAMES, b"PEAH"), "the names of the members of '' are damaged"),
    "names past the end": (patched(NO_NAMES + 24, struct.pack("<Q", 2**50)), "it points to bytes"),
    "no names at all": (patched(NO_NAMES + 8, struct.pack("<Q", 0)), "a name in it has more than 255 bytes, or is cut short"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_structures_are_refused(tmp_path: Path, kind: str) -> None:
    weights, match = DAMAGED[kind]
    refuse(tmp_path, weights, match)


def test_a_size_that_is_not_the_shapes_is_refused(tmp_path: Path) -> None:
    at = SOUND.index(struct.pack("<BB", 3, 1) + struct.pack("<Q", SOUND.index(CELL[f"{VARS}/1"].tobytes())))
    refuse(tmp_path, patched(at + 10, struct.pack("<Q", 63)), "vars/1' declares 64 bytes, but has 63 from byte")
    refuse(
        tmp_path, patched(at + 2, struct.pack("<Q", len(SOUND) - 8)), "vars/1' declares 64 bytes, but has 64 from byte"
    )


# Zip files that lie


def archive(**members: Any) -> bytes:
    held = {"metadata.json": b'{"keras_version": "3.1"}', "config.json": b"{}", "model.weights.h5": SOUND}
    held |= {name.replace("_json", ".json"): content for name, content in members.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name, content in held.items():
            if content is not None:
                zipped.writestr(name, content)
    return file.getvalue()


def compressed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("metadata.json", b"{}")
        zipped.writestr("config.json", bytes(100_000_000))
    return file.getvalue()


def nested(depth: int) -> Any:
    """Return the configuration of layers of activations in each other."""
    held: Any = "tanh"
    for _ in range(depth):
        held = kf.layer("Activation", activation=held)
    return held


def activated(*layers: Any) -> bytes:
    return kf.archive(kf.sequential(*layers), SOUND)


MODEL = kf.archive(kf.sequential(simple_rnn()), SOUND)
ZIPPED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is empty; if it is just being written, load it again"),
    "half of it": (MODEL[:5000], r"is no \.keras file, or is damaged: File is not a zip file"),
    "another member": (archive(**{"assets/x": b""}), "it holds 'assets/x', which Keras does not write for an RNN"),
    "weights of NumPy": (archive(**{"model.weights.npz": b""}), "it holds 'model.weights.npz'"),
    "no metadata": (archive(metadata_json=None), "it lacks the member 'metadata.json'"),
    "no configuration": (archive(config_json=None), "it lacks the member 'config.json'"),
    "no weights": (archive(**{"model.weights.h5": None}), "it lacks the member 'model.weights.h5'"),
    "no JSON": (archive(config_json=b"{"), "config.json is not valid JSON"),
    "a JSON list": (archive(config_json=b"[]"), "config.json must be a JSON object; got list"),
    "a deep JSON text": (archive(config_json=b"[" * 500_000), r"config\.json would take \d+ levels"),
    "a key twice": (archive(config_json=b'{"a": 1, "a": 2}'), "config.json is not valid JSON: a key stands in it twice"),
    "a long JSON text": (archive(config_json=bytes(2**23 + 1)), r"config\.json would take \d+ bytes of text, more than the 8388608"),
    "a list of lists": (archive(config_json=b'{"a": [' + b"[]," * 340_000 + b"[]]}"), r"config\.json would take \d+ items"),
    "activations in each other": (activated(simple_rnn(activation=nested(20))), "'simplernn' is of Activation layers in each other, more than 2"),
    "three activations in each other": (activated(simple_rnn(activation=nested(3))), "'simplernn' is of Activation layers in each"),
    "activations of a Dense": (activated(simple_rnn(), kf.dense(), nested(20)), "'activation' is of Activation layers in each other"),
    "a compressed member": (compressed(), "'metadata.json' is packed or encrypted in a way that Keras does not use"),
    "weights that changed": (MODEL.replace(CELL[f"{VARS}/1"].tobytes(), bytes(64)), "the checksum of 'model.weights.h5' is wrong"),
}  # fmt: skip


def test_an_activation_may_hold_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(activated(simple_rnn(activation=nested(2))))
    cell = rb.load(path).layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert cell.activation == rb.Activation("tanh")


@pytest.mark.parametrize("kind", ZIPPED)
def test_archives_that_lie_are_refused(tmp_path: Path, kind: str) -> None:
    data, match = ZIPPED[kind]
    path = tmp_path / "m.keras"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(rb.FormatError, match=match) as caught:
            rb.load(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


# What is no regular file, and what is left behind


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_special_files_are_refused(tmp_path: Path, suffix: str) -> None:
    """Opening a FIFO waits for its writer, and a device ends nowhere."""
    fifo, link = tmp_path / f"fifo{suffix}", tmp_path / f"zero{suffix}"
    os.mkfifo(fifo)
    link.symlink_to("/dev/zero")
    options: dict[str, Any] = {} if suffix == ".keras" else {"activation": "tanh", "go_backwards": False}
    for path, what in ((fifo, "a FIFO"), (link, "a device")):
        with pytest.raises(rb.FormatError, match=f"is {what}, not a regular file"):
            rb.from_keras(path, **options)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted as on Linux")
def test_no_descriptor_outlives_a_refusal(tmp_path: Path) -> None:
    before, caught = len(list(Path("/proc/self/fd").iterdir())), []
    for name, data in (
        ("a.keras", MODEL[:-100]),
        ("b.keras", archive(config_json=b"{")),
        ("c.weights.h5", SOUND[:3000]),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(rb.FormatError) as error:
            load(tmp_path / name) if name.endswith(".h5") else rb.load(tmp_path / name)
        caught.append(error)  # with its frames
    assert len(list(Path("/proc/self/fd").iterdir())) == before
