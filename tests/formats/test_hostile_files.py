"""Damaged and hostile files: refused by FormatError, in little memory, and nothing in them is run."""

import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import fuzz
import numpy as np
import pt_files
import pytest
from pt_files import TENSOR, dictionary, integer, members, plain, storage, tensor, text

import rnn_backends as rb

pytestmark = pytest.mark.sampled(3)

MEMORY = 64 * 2**20


def load(path: Path) -> rb.RNN:
    return rb.load(path, activation="tanh")


def refuse(path: Path, match: str) -> None:
    with pytest.raises(rb.FormatError, match=match) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@contextmanager
def little_memory(limit: int = MEMORY) -> Iterator[None]:
    import rnn_backends.formats.weights  # noqa: F401  # it is imported when it is needed, and takes memory then

    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


# Pickles that would be run


SYSTEM, COMMAND = b"cos\nsystem\n", text("touch pwned")
NOT_WRITTEN = "which torch.save writes for nothing"
RUNNING: dict[str, bytes] = {
    "os.system": SYSTEM + b"(" + COMMAND + b"tR",
    "eval": b"cbuiltins\neval\n(" + text("1") + b"tR",
    "eval of Python 2": b"c__builtin__\neval\n(" + text("1") + b"tR",
    "exec in a tensor": TENSOR + b"(cbuiltins\nexec\n(" + text("1") + b"tRtR",
    "getattr": b"cbuiltins\ngetattr\n",
    "what getattr returns": b"cbuiltins\ngetattr\n(cos\nsystem\n" + text("__call__") + b"tR(" + COMMAND + b"tR",
    "torch.load": b"ctorch\nload\n",
    "a class of the user": b"c__main__\nNet\n)\x81}b",
    "a class with options": b"c__main__\nNet\n)}\x92}b",
    "a dotted name": b"ctorch\nFloatStorage.__init__\n",
    "a name with an escape": b"ctorch\n\\x46loatStorage\\q\n",
    "a name with a line break": b"ctorch\r\nFloatStorage\n",
    "NEWOBJ": pt_files.ORDERED_DICT + b")\x81",
    "OBJ": b"(" + SYSTEM + COMMAND + b"o",
    "OBJ of what is known": b"(" + pt_files.ORDERED_DICT + b"o",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93(" + COMMAND + b"tR",
    "BUILD of a tensor": plain("0", np.ones((4, 3), "f4")) + b"}b",
    "BUILD with other attributes": b"}}" + text("__class__") + b"Nsb",
    "BUILD with a tuple": b"}" + b"N}\x86b",
    "REDUCE of a storage": b"ctorch\nFloatStorage\n)R",
    "OrderedDict of something": pt_files.ORDERED_DICT + b"]\x85R",
    "items of an object": b"c__main__\nNet\n)\x81(" + text("a") + b"Nu(Ne",
    "bytes": b"C\3abcB\3\0\0\0abc\x86",
    "sets": b"\x8f(NK\1\x90(NK\1\x91\x86",
    "keys of any kind": b"}(NN)N]N" + b"G" + bytes(8) + b"N" + integer(2**61 - 1) + b"N" + b"cos\nsystem\nNu",
    "a complex tensor": tensor(storage("9", 12).replace(b"FloatStorage", b"ComplexFloatStorage"), 0, (4, 3), (3, 1)),
    "frames and memos": b"\x95" + bytes(8) + b"N\x940)\x94",
}  # fmt: skip
"""Values that Python's own pickle would run, or make objects of."""
WRITTEN_BY_NONE: dict[str, tuple[bytes, str]] = {
    "a name that is cut short": (b"ctorch\nFloat", "ends within a name"),
    "a name of other letters": (b"ctorch\n\xff\n", "its pickle is damaged: .*utf-8"),
    "a name that is no text": (b"NN\x93", "has a name that is no text"),
    "INST": (b"(" + COMMAND + b"ios\nsystem\n", f"the opcode INST, {NOT_WRITTEN}"),
    "EXT1": (b"\x82\1", f"the opcode EXT1, {NOT_WRITTEN}"),
    "EXT4": (b"\x84\1\0\0\0", f"the opcode EXT4, {NOT_WRITTEN}"),
    "PERSID": (b"Pstorage\n", f"the opcode PERSID, {NOT_WRITTEN}"),
    "UNICODE, which imports a codec": (b"V\\u0041\n", f"the opcode UNICODE, {NOT_WRITTEN}"),
    "NEXT_BUFFER": (b"\x97", f"the opcode NEXT_BUFFER, {NOT_WRITTEN}"),
    "BUILD of a function": (pt_files.ORDERED_DICT + b"}b", "sets the state of what has none"),
    "REDUCE of a text": (text("os.system") + b")R", "calls what is no function"),
    "REDUCE of a tensor": (plain("0", np.ones((4, 3), "f4")) + b")R", "calls what is no function"),
    "OBJ of nothing": (b"(o", "calls what is no function"),
    "SETITEMS on a list": (b"](" + text("a") + b"Nu", "adds to what is no dict"),
    "SETITEM on a tensor": (plain("0", np.ones((4, 3), "f4")) + text("a") + b"Ns", "adds to what is no dict"),
    "APPEND to a dict": (b"}Na", "adds to what is no list"),
    "APPENDS to a function": (pt_files.ORDERED_DICT + b"(Ne", "adds to what is no list"),
    "ADDITEMS to a list": (b"](N\x90", "adds to what is no set"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RUNNING)
def test_what_would_be_run_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    value = dictionary({"extra": RUNNING[kind], "model": state(), "again": RUNNING[kind]})
    found = load(pt_files.write(tmp_path / "m.pt", members(value=value)))
    assert found.layers[0].forward.weight_hh.tolist() == pt_files.cell()["weight_hh_l0"].tolist()  # type: ignore[union-attr]  # a Cell
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("kind", RUNNING)
def test_what_would_be_run_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    refuse(pt_files.write(tmp_path / "m.pt", members(value=RUNNING[kind])), "it holds no recurrent network")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt"]


@pytest.mark.parametrize("kind", WRITTEN_BY_NONE)
@pytest.mark.parametrize("inside", [False, True])
def test_what_torch_never_writes_is_refused(tmp_path: Path, kind: str, inside: bool) -> None:
    value, match = WRITTEN_BY_NONE[kind]
    value = dictionary({"model": state(), "extra": value}) if inside else value
    refuse(pt_files.write(tmp_path / "m.pt", members(value=value)), match)


def test_a_tensor_that_is_not_plain_is_refused_by_its_name(tmp_path: Path) -> None:
    value = state(fc__weight=RUNNING["a complex tensor"])
    refuse(
        pt_files.write(tmp_path / "m.pt", members(value=value)),
        r"'fc__weight' is made by 'torch._utils._rebuild_tensor_v2', and is no plain tensor",
    )


def test_nothing_is_executed_imported_or_compiled(tmp_path: Path) -> None:
    for index, value in enumerate([*RUNNING.values(), *(value for value, _ in WRITTEN_BY_NONE.values())]):
        pt_files.write(tmp_path / f"{index}.pt", members(value=value))
    program = """
import sys
from pathlib import Path
import fuzz
paths = sorted(Path(sys.argv[1]).glob("*.pt"))
files = [path.read_bytes() for path in paths]
fuzz.outcome(paths[0], (fuzz.DATA / "layers.pt").read_bytes())  # imports what is needed
fuzz.outcome(paths[0], files[0])
fuzz.forbid()
assert {fuzz.outcome(path, data) for path, data in zip(paths, files)} == {"refused"}
assert fuzz.outcome(paths[0], (fuzz.DATA / "checkpoint.pth").read_bytes()) == "loaded"
print("done")
try:
    with fuzz.watched():
        eval("1")
except SystemExit as stop:
    print(stop)
"""
    command = [sys.executable, "-W", "error", "-X", "tracemalloc", "-c", program, str(tmp_path)]
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                map(str, (fuzz.HERE, fuzz.HERE / "support", os.environ.get("PYTHONPATH", "")))
            ),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "done"
    assert done.stdout.splitlines()[1].startswith("compile")  # the watch is awake


# Pickles that are wrong


WRONG_PICKLES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "takes from an empty stack"),
    "two values": (b"NN", "ends with more than one value"),
    "an open mark": (b"(N", "takes from an empty stack|ends with more than one value"),
    "an end without a mark": (b"t", "ends a list that has not begun"),
    "a memo that was not put": (b"h\7", "gets what was not put"),
    "a put of nothing": (b"q\0", "takes from an empty stack"),
    "a tuple of nothing": (b"\x87", "takes from an empty stack"),
    "a key without a value": (b"}(" + text("a") + b"u", "has a key without a value"),
    "a key twice": (b"}(" + (text("a") + b"N") * 2 + b"u", "has a key twice"),
    "an unknown opcode": (b"\xff", "has an unknown opcode, or no end"),
    "another protocol": (b"\x80\6N", "its pickle is of protocol 6; those of torch.save are 2 to 5"),
    "a text that is none": (b"X\2\0\0\0\xff\xff", "its pickle is damaged: .*utf-8"),
    "a text that ends late": (b"X\xff\xff\xff\x7fabc", "its pickle is damaged: .*expected 2147483647 bytes"),
    "a text of eight bytes of length": (b"\x8d" + b"\xff" * 8, "its pickle is damaged"),
    "an integer of gigabytes": (b"\x8b\xff\xff\xff\x7f", "its pickle is damaged"),
    "an integer in decimals": (b"L" + b"9" * 100_000 + b"L\n", "the opcode LONG"),
    "something after the end": (b"N.N", "bytes follow the end of its pickle"),
    "no network": (b"}", "it holds no recurrent network, no arrays with names such as"),
    "a number": (integer(7), "it holds no recurrent network"),
    "a tensor alone": (plain("0", np.ones((4, 3), "f4")), "it holds no recurrent network"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_PICKLES)
def test_wrong_pickles_are_refused(tmp_path: Path, kind: str) -> None:
    value, match = WRONG_PICKLES[kind]
    refuse(pt_files.write(tmp_path / "m.pt", members(value=value)), match)


IH = storage("0", 12)
WRONG_TENSORS: dict[str, tuple[bytes, str]] = {
    "past the end": (tensor(IH, 0, (4, 4), (4, 1)), "reaches past the end of its storage"),
    "an offset past the end": (tensor(IH, 1, (4, 3), (3, 1)), "reaches past the end of its storage"),
    "a stride past the end": (tensor(IH, 0, (4, 3), (4, 1)), "reaches past the end of its storage"),
    "a negative offset": (tensor(IH, -1, (4, 3), (3, 1)), "has a tensor of a wrong size"),
    "a negative size": (tensor(IH, 0, (-4, 3), (3, 1)), "has a tensor of a wrong size"),
    "a negative stride": (tensor(IH, 11, (4, 3), (-3, -1)), "has a tensor of a wrong size"),
    "a gigantic size": (tensor(IH, 0, (2**200, 3), (0, 1)), "has a tensor of a wrong size"),
    "a gigantic stride": (tensor(IH, 0, (2, 3), (2**2000, 1)), "has a tensor of a wrong size"),
    "sizes and strides": (tensor(IH, 0, (4, 3), (1,)), "has a tensor whose strides do not fit its shape"),
    "a boolean for a size": (TENSOR + b"(" + IH + b"K\0\x88\x85K\1\x85\x89}tR", "has a tensor of a wrong size"),
    "a float for an offset": (TENSOR + b"(" + IH + b"G" + bytes(8) + b"))\x89}tR", "has a tensor of a wrong size"),
    "a list for a shape": (TENSOR + b"(" + IH + b"K\0])\x89}tR", "it holds no recurrent network"),
    "no storage": (TENSOR + b"(NK\0))\x89}tR", "it holds no recurrent network"),
    "too few arguments": (TENSOR + b"(" + IH + b"tR", "it holds no recurrent network"),
    "hooks": (tensor(IH, 0, (4, 3), (3, 1), b"\x89}" + text("a") + b"Ns"), "has a tensor that is not plain"),
    "a lazy conjugate": (tensor(IH, 0, (4, 3), (3, 1), b"\x89}}" + text("conj") + b"\x88s"), "tensor that is not plain"),
    "a parameter of nothing": (pt_files.PARAMETER + b"(N\x89}tR", "it holds no recurrent network"),
    "a storage of another type": (tensor(IH.replace(b"FloatStorage", b"FloatTensor"), 0, (4, 3), (3, 1)), "it holds no recurrent"),
    "a storage that is no class": (b"(" + text("storage") + text("a") * 3 + b"K\1tQ", "a persistent id that is no storage"),
    "a negative storage": (storage("0", -12), "a persistent id that is no storage"),
    "a gigantic storage": (storage("0", 2**100), "a persistent id that is no storage"),
    "a storage with a view": (IH.replace(b"tQ", b"NtQ"), "a persistent id that is no storage"),
    "another persistent id": (text("module") + b"Q", "a persistent id that is no storage"),
    "two storages of one name": (
        dictionary({"a": tensor(IH, 0, (4, 3), (3, 1)), "b": tensor(storage("0", 6, "f8"), 0, (2, 3), (3, 1))}),
        "has two storages of one name",
    ),
    "a storage larger than its member": (tensor(storage("0", 13), 0, (4, 3), (3, 1)), "48 bytes, but .* announces 52"),
    "a storage of a wider dtype": (tensor(storage("0", 12, "f8"), 0, (4, 3), (3, 1)), "48 bytes, but .* announces 96"),
    "a storage that is not there": (tensor(storage("9", 12), 0, (4, 3), (3, 1)), "it lacks the member 'data/9'"),
    "a storage elsewhere": (tensor(storage("../0", 12), 0, (4, 3), (3, 1)), "it lacks the member 'data/../0'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_TENSORS)
def test_wrong_tensors_are_refused(tmp_path: Path, kind: str) -> None:
    value, match = WRONG_TENSORS[kind]
    value = value if value.startswith(b"}") else dictionary({"weight_ih_l0": value})
    refuse(pt_files.write(tmp_path / "m.pt", members(value=value)), match)


def state(**more: bytes) -> bytes:
    arrays = pt_files.cell()
    return dictionary({name: plain(str(key), array) for key, (name, array) in enumerate(arrays.items())} | more)


WRONG_STATES: dict[str, tuple[bytes, str]] = {
    "two networks": (dictionary({"model": state(), "ema": state()}), "several recurrent networks; they are in 'model', 'ema'; pass key='model'"),
    "two in a list": (b"](" + state() + state() + b"e", "several recurrent networks; they are in '0', '1'; pass key='0'"),
    "integers": (state(weight_hh_l0=tensor(storage("1", 8, "i8"), 0, (2, 4), (4, 1))), "`weight_hh` must be one of float16, .*; got int64"),
    "an odd name": (state(**{"\udc80\n": plain("0", np.ones((4, 3), "f4"))}), r"'\\udc80\\n', of shape \(4, 3\), belongs to none"),
    "an LSTM": (
        dictionary({"weight_ih_l0": plain("0", np.ones((4, 3), "f4")), "weight_hh_l0": tensor(IH, 0, (4, 1), (1, 1))}),
        "'weight_hh_l0' has 4 rows of gates for each unit, as an LSTM has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_STATES)
def test_wrong_states_are_refused(tmp_path: Path, kind: str) -> None:
    value, match = WRONG_STATES[kind]
    refuse(pt_files.write(tmp_path / "m.pt", members(value=value)), match)


def test_what_is_no_array_computes_nothing(tmp_path: Path) -> None:
    value = state(epoch=integer(3), more=b"](" + plain("0", np.ones((4, 3), "f4")) + b"e")
    assert load(pt_files.write(tmp_path / "m.pt", members(value=value))).num_parameters == 32


def test_a_network_is_found_in_what_is_plain(tmp_path: Path) -> None:
    value = dictionary(
        {"args": b"(" + integer(1) + b"]t", "history": b"]", "nested": dictionary({"0": b"(N" + state() + b"t"})}
    )
    assert load(pt_files.write(tmp_path / "m.pt", members(value=value))).dtype == "float32"


def test_a_container_that_holds_itself_is_no_trap(tmp_path: Path) -> None:
    value = b"}q\0" + text("self") + b"h\0s" + text("model") + state() + b"s"
    assert load(pt_files.write(tmp_path / "m.pt", members(value=value))).dtype == "float32"


# Bombs


MODULE = b"}(" + text("_parameters") + b"}" + text("_buffers") + b"}" + text("_modules") + b"}" + text("a") + b"%bsu"
"""The state of a module, which holds another."""
BOMBS: dict[str, tuple[bytes, str]] = {
    "of marks": (b"(" * 3_000_000, "its pickle would take 1 items after"),
    "of dicts": (b"}" * 3_000_000, "its pickle would take 1 items after"),
    "of memos": (b"N" + b"".join(b"r" + struct.pack("<I", key * 7919) for key in range(520_000)), "its pickle would take [0-9]+ bytes after"),
    "of depth": (b")" + b"\x85" * 60_000, "it holds no recurrent network"),
    "of depth in lists": (b"]" * 60_000 + b"a" * 59_999, "it holds no recurrent network"),
    "of laughs": (b"]q\0" + b"](h\0h\0h\0h\0h\0h\0h\0h\0eq\0" * 9000 + b"0" * 9000, "it holds no recurrent network"),
    "of modules in each other": (b"c__main__\nNet\n)\x81q\0" + MODULE % (b"h\0",) + b"b", "its modules would take 129 levels"),
    "of modules that are shared": (pt_files.shared(200, 20_000), "its modules would take 20000 items after"),
    "of children that are shared": (pt_files.shared(5000, 1, depth=3), "its modules would take [0-9]+ items after"),
    "of laughs that are looked at": (b"](" + b"](h\0h\0h\0h\0h\0h\0h\0h\0eq\0".join([b"Nq\0"] * 9000) + b"e", "no recurrent"),
    "of dicts in a dict": (
        b"}(" + b"".join(b"J" + struct.pack("<i", key) + b"}" for key in range(60_000)) + b"u",
        "it holds no recurrent network",
    ),
    "of wide text": (text("a" * 3_900_000 + "\U0001f600"), "it holds no recurrent network"),
    "of bytes": (text("a" * 5_000_000), "it holds no recurrent network"),
}  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_take_little_memory(tmp_path: Path, kind: str) -> None:
    value, match = BOMBS[kind]
    path = pt_files.write(tmp_path / "m.pt", members(value=value))
    del value
    with little_memory():
        refuse(path, match)


def test_tensors_that_share_a_storage_cannot_fill_the_memory(tmp_path: Path) -> None:
    size = 20_000
    views = {
        "weight_ih_l0": tensor(storage("0", 2 * size), 0, (size, size), (1, 1)),
        "weight_hh_l0": tensor(storage("0", 2 * size), 1, (size, size), (1, 1)),
    }
    held = members({"any": np.zeros(2 * size, "f4")}, dictionary(views))
    with little_memory():
        refuse(pt_files.write(tmp_path / "m.pt", held), "its tensors would take [0-9]+ bytes.*, more than the")


def test_expanded_tensors_cannot_fill_the_memory(tmp_path: Path) -> None:
    views = {f"weight_{kind}_l0": tensor(storage("0", 1), 0, (2**40, 2**40), (0, 0)) for kind in ("ih", "hh")}
    held = members({"any": np.zeros(1, "f4")}, dictionary(views))
    with little_memory():
        refuse(pt_files.write(tmp_path / "m.pt", held), "its tensors would take over 2.*63 bytes")


def test_a_sound_file_takes_its_own_size_once(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {"weight_ih_l0": draw.normal(size=(2000, 4000)), "weight_hh_l0": draw.normal(size=(2000, 2000))}
    path = pt_files.write(tmp_path / "m.pt", members(arrays))
    size = path.stat().st_size
    del arrays
    with little_memory(size + 2**20):
        assert load(path).dtype == "float64"


# Zip files that lie


def zipped(path: Path, change: Callable[[zipfile.ZipFile], object]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members().items():
            archive.writestr(f"archive/{name}", member)
        change(archive)
    return path


def patched(path: Path, name: str, local: Mapping[int, bytes], central: Mapping[int, bytes]) -> Path:
    """Change bytes in the two headers of a member."""
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(name).header_offset
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\1\2", 0, data.rindex(name.encode()))
    for base, changes in ((start, local), (directory, central)):
        for offset, value in changes.items():
            data[base + offset : base + offset + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("archive/data/0", "a member stands in it twice"),
        ("archive/data.pkl", "it must hold one data.pkl; it holds 2"),
        ("other/data.pkl", "it must hold one data.pkl; it holds 2"),
        ("other/data/9", "it holds 'other/data/9', which torch.save does not write"),
        ("archive/extra", "it holds 'extra', which torch.save does not write"),
        ("archive/data/0x", "it holds 'data/0x', which torch.save does not write"),
        ("archive/constants.pkl", "it is a TorchScript program, and nothing in a file is executed"),
    ],
)
def test_members_that_torch_does_not_write_are_refused(tmp_path: Path, name: str, match: str) -> None:
    refuse(zipped(tmp_path / "m.pt", lambda archive: archive.writestr(name, b"x")), match)


@pytest.mark.parametrize("name", ["data.pkl", "version", "data/0", "data/2"])
def test_members_that_are_missing_are_missed(tmp_path: Path, name: str) -> None:
    held = members()
    del held[name]
    match = "it must hold one data.pkl; it holds 0" if name == "data.pkl" else f"it lacks the member '{name}'"
    refuse(pt_files.write(tmp_path / "m.pt", held), match)


def test_other_versions_and_byte_orders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    refuse(pt_files.write(path, members(version=b"10\n")), r"its version is b'10'; this version of the package reads 3")
    refuse(pt_files.write(path, members(byteorder=b"middle")), "its byteorder must be little or big; got b'middle'")
    refuse(pt_files.write(path, members(byteorder=bytes(100))), r"its byteorder must be little or big; got b'.x00")


def test_a_compressed_member_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    held = members(value=b"N" * 10) | {"data/0": bytes(200_000_000)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in held.items():
            archive.writestr(f"archive/{name}", member)
    del held
    with little_memory():
        refuse(path, "is packed or encrypted in a way that torch.save does not use")


HEADERS: dict[str, tuple[dict[int, bytes], dict[int, bytes], str]] = {
    "a size that lies": ({}, {20: struct.pack("<II", 2**20, 2**20)}, "'archive/data/0' does not lie in it where"),
    "two sizes": ({}, {24: struct.pack("<I", 49)}, "is packed or encrypted"),
    "a smaller size": ({}, {20: struct.pack("<II", 40, 40)}, "'data/0' has 40 bytes, but its pickle announces 48"),
    "an offset that lies": ({}, {42: struct.pack("<I", 1)}, "'archive/data/0' does not lie in it where its directory says"),
    "an offset past the end": ({}, {42: struct.pack("<I", 2**31)}, "does not lie in it where its directory says"),
    "another name": ({30: b"archive/data/9"}, {}, "'archive/data/0' does not lie in it where its directory says"),
    "a long name": ({26: struct.pack("<H", 65535)}, {}, "'archive/data/0' does not lie in it where its directory says"),
    "a long extra field": ({28: struct.pack("<H", 65535)}, {}, "'archive/data/0' does not lie in it where"),
    "encryption": ({6: b"\1\0"}, {8: b"\1\0"}, "'archive/data/0' is packed or encrypted"),
    "another method": ({8: b"\x0e\0"}, {10: b"\x0e\0"}, "'archive/data/0' is packed or encrypted"),
    "a wrong checksum": ({14: b"abcd"}, {16: b"abcd"}, "the checksum of 'archive/data/0' is wrong, or torch.save did not compute it"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_lie_are_refused(tmp_path: Path, kind: str) -> None:
    local, central, match = HEADERS[kind]
    refuse(patched(pt_files.write(tmp_path / "m.pt"), "archive/data/0", local, central), match)


def test_a_weight_that_changed_is_noticed(tmp_path: Path) -> None:
    path = pt_files.write(tmp_path / "m.pt")
    weights = pt_files.cell()["weight_hh_l0"].tobytes()
    path.write_bytes(path.read_bytes().replace(weights, weights[:-1] + b"\xff"))
    refuse(path, "the checksum of 'archive/data/1' is wrong")


def test_a_directory_of_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(80_000):
            archive.writestr(f"archive/data/{index:010d}", b"")
    with little_memory():
        refuse(path, "its directory would take .* bytes.*, more than the")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "it is empty; if it is just being written, load it again"),
        (b"PK", "it is no zip file"),
        (b"hello" * 100, "it is no zip file"),
        (b"PK\3\4" + bytes(100), "is no .pth? file, or is damaged: File is not a zip file"),
        ((fuzz.DATA / "legacy.pt").read_bytes(), "torch's format of before 1.6; load it with torch, and save its state dict again"),
        (bytes(257) + b"ustar" + bytes(250), "torch's format of before 1.6"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_other_files_are_refused(tmp_path: Path, suffix: str, data: bytes, match: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(data)
    refuse(path, match)


# Files changed at random


@pytest.mark.parametrize("name", ["layers.pt", "checkpoint.pth", "views.pt"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    whole, path = (fuzz.DATA / name).read_bytes(), tmp_path / name
    for size in {*range(0, len(whole), 64), *range(len(whole) - 70, len(whole))}:
        path.write_bytes(whole[:size])
        with pytest.raises(rb.FormatError):
            load(path)


@pytest.mark.usefixtures("msgpack")
def test_a_file_of_flax_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole, path = fuzz.flax_file(), tmp_path / "m.msgpack"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(rb.FormatError):
            rb.load(path, activation="tanh", residual=False)
    path.write_bytes(whole)
    assert rb.load(path, activation="tanh", residual=False, readout_activation="softmax").readout is not None


KERAS_FILES = ["tagger.keras", "classifier.keras", "stack.weights.h5", "bfloat16.weights.h5"]


def load_keras(path: Path) -> rb.RNN:
    return rb.load(path, **fuzz.options_of(path))


@pytest.mark.parametrize("name", KERAS_FILES)
def test_a_file_of_keras_cut_short_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    whole, path = (fuzz.DATA / name).read_bytes(), tmp_path / name
    for size in {*range(0, len(whole), 64), *range(len(whole) - 70, len(whole))}:
        path.write_bytes(whole[:size])
        with pytest.raises(rb.FormatError):
            load_keras(path)
    path.write_bytes(whole)
    assert load_keras(path).readout is not None
