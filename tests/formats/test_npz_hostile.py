"""Hostile .npz files."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_files import bare, little_memory, npy, refuse, unbiased, write, write_members, zeros
from numpy.typing import NDArray

import rnn_backends as rb


def header_of(shape: str = "(3, 2)", dtype: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"


WRONG_MEMBERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "'weight_ih_l0.npy' must be in version 1.0 or 2.0 of the .npy format; got b''"),
    "no magic": (b"PK\3\4" * 9, "must be in version 1.0 or 2.0 of the .npy format; got b'PK"),
    "version 3": (npy(zeros(3, 2), version=(3, 0)), r"must be in version 1.0 or 2.0 .*NUMPY\\x03\\x00"),
    "version 1.1": (npy(zeros(3, 2), version=(1, 1)), "must be in version 1.0 or 2.0"),
    "cut in the header": (npy(zeros(3, 2))[:40], "header of 'weight_ih_l0.npy' is not that of an array of numbers"),
    "cut in the data": (npy(zeros(3, 2))[:-1], r"declares <f4 of shape \(3, 2\), but holds 23 bytes"),
    "data that are too long": (npy(zeros(3, 2)) + b"\0", r"declares <f4 of shape \(3, 2\), but holds 25 bytes"),
    "shape too large": (npy(zeros(3, 2), header_of("(3, 4)")), r"declares <f4 of shape \(3, 4\), but holds 24 bytes"),
    "shape enormous": (npy(zeros(3, 2), header_of(f"({2**40}, {2**40})")), "declares .*, but holds 24 bytes"),
    "shape with many digits": (
        npy(zeros(3, 2), header_of(f"({'9' * 5000},)")),
        "has a size of 5000 digits, which no array has",
    ),
    "shape negative": (npy(zeros(3, 2), header_of("(-3, -2)")), "header of .* is not that of an array of numbers"),
    "shape of fractions": (npy(zeros(3, 2), header_of("(3.0, 2)")), "header of .* is not that of an array"),
    "shape of Python 2": (npy(zeros(3, 2), header_of("(3L, 2L)")), "header of .* is not that of an array"),
    "shape open": (npy(zeros(3, 2), header_of("(3, 2")), "header of .* is not that of an array"),
    "shape without comma": (npy(zeros(3, 2), header_of("(3 2)")), "header of .* is not that of an array"),
    "order a number": (npy(zeros(3, 2), header_of(order="0")), "header of .* is not that of an array"),
    "no shape": (npy(zeros(3, 2), "{'descr': '<f4', 'fortran_order': False, }"), "header of .* is not that of"),
    "a key twice": (npy(zeros(3, 2), header_of()[:-2] + "'shape': (3, 2)}"), "header of .* is not that of"),
    "a key twice, one missing": (
        npy(zeros(3, 2), "{'descr': '<f4', 'shape': (3, 2), 'shape': (3, 2), }"),
        "header of .* is not that of",
    ),
    "a key of its own": (npy(zeros(3, 2), header_of()[:-2] + "'x': True}"), "header of .* is not that of"),
    "code": (npy(zeros(3, 2), header_of("__import__('os').abort()")), "header of .* is not that of an array"),
    "nesting": (npy(zeros(3, 2), "(" * 9000), "header of .* is not that of an array"),
    "a header that is too long": (npy(zeros(3, 2), header_of() + " " * 20_000), "header of .* is not that of"),
    "objects": (npy(zeros(3, 1), header_of("(3, 1)", "'|O'")), r"'weight_ih_l0.npy' has dtype '\|O'; it must be one"),
    "structure": (
        npy(zeros(3, 2), header_of("(3,)", "[('a', '<f4'), ('b', '<f4')]")),
        "header of .* is not that of an array of numbers: .*'a'",
    ),
    "integers": (npy(zeros(3, 2, dtype="<i8")), "`weight_ih` must be one of float16, .*; got int64"),
    "booleans": (npy(zeros(3, 2, dtype="|b1")), "`weight_ih` must be one of float16, .*; got bool"),
    "text": (npy(zeros(3, 2, dtype="<U2")), "has dtype '<U2'"),
    "complex": (npy(zeros(3, 2, dtype="<c8")), "has dtype '<c8'"),
    "times": (npy(zeros(3, 2, dtype="<M8[s]")), r"has dtype '<M8\[s\]'"),
    "long double": (npy(np.zeros((3, 2), np.longdouble), header_of(dtype="'<f16'")), "has dtype '<f16'"),
    "a subarray": (npy(zeros(3, 2), header_of(dtype="('<f4', (1,))")), "header of .* is not that of an array"),
    "no dtype": (npy(zeros(3, 2), header_of(dtype="'?!'")), r"has dtype '\?!'"),
}


@pytest.mark.parametrize("kind", WRONG_MEMBERS)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_wrong_members_are_refused(tmp_path: Path, kind: str, compression: int) -> None:
    member, match = WRONG_MEMBERS[kind]
    members = {"weight_ih_l0": member, "weight_hh_l0": npy(bare()["weight_hh_l0"])}
    with little_memory():
        refuse(write_members(tmp_path / "m.npz", members, compression), match, activation="tanh")


def test_an_object_array_is_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("a pickle was executed",)

    path = tmp_path / "m.npz"
    traps: NDArray[Any] = np.array([[Trap()]], dtype=object)
    np.savez(path, weight_ih_l0=traps, weight_hh_l0=zeros(1, 1))
    refuse(path, r"has dtype '\|O'; it must be one of", activation="tanh")
    np.savez(path, __rnn_backends__=traps, **unbiased())  # type: ignore[arg-type]
    refuse(path, r"'__rnn_backends__.npy' has dtype '\|O'; it must be one of \|u1")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weight_ih_l0.npy", b"\x80\x04]\x94.")
    refuse(path, "must be in version 1.0 or 2.0 of the .npy format", activation="tanh")


@pytest.mark.parametrize("dtype", ["<f4", "<U9", "<i8", "|b1", "|S9"])
def test_a_description_must_be_bytes(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "m.npz"
    members = {"__rnn_backends__": npy(np.zeros(3, dtype)), **{name: npy(array) for name, array in bare().items()}}
    refuse(write_members(path, members), r"'__rnn_backends__.npy' has dtype .*; it must be one of \|u1")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("second", ["weight_ih_l0.npy", "weight_ih_l0"])
def test_a_member_that_stands_twice_is_refused(tmp_path: Path, second: str) -> None:
    path = tmp_path / "m.npz"
    write(path, bare())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(second, npy(bare()["weight_ih_l0"]))
    refuse(path, "(an array|a member) stands in (the file|it) twice", activation="tanh")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_does_not_write_are_refused(tmp_path: Path, compression: int) -> None:
    # They unpack in one piece, however much that is.
    path = write_members(tmp_path / "m.npz", {"weight_ih_l0": npy(zeros(3, 2))}, compression)
    refuse(path, PACKED, activation="tanh")


PACKED = "'weight_ih_l0.npy' is packed or encrypted in a way that numpy.savez does not use"


def patch_central(path: Path, offset: int, value: bytes, local_offset: int | None = None) -> None:
    """Overwrite what the zip file says of its first member, in the directory and before the member."""
    held = bytearray(path.read_bytes())
    start = held.index(b"PK\1\2") + offset
    held[start : start + len(value)] = value
    if local_offset is not None:
        held[local_offset : local_offset + len(value)] = value
    path.write_bytes(held)


@pytest.mark.parametrize(
    ("offset", "value", "local_offset", "match"),
    [
        (8, b"\1\0", 6, PACKED),
        (8, b"\x20\0", 6, PACKED),
        (10, b"\x63\0", 8, PACKED),
        (16, b"\0\0\0\0", 14, "the checksum of 'weight_ih_l0.npy' is wrong"),
        (24, b"\xff\0\0\0", 22, PACKED),
        (42, b"\xff\xff\xff\x7f", None, "does not lie in it where its directory says"),
        (46, b"weight_hx", None, "'weight_hx_l0.npy' does not lie in it where its directory says"),
    ],
    ids=["encrypted", "patched", "compression 99", "checksum", "size", "place", "name"],
)
def test_damaged_directories_are_refused(
    tmp_path: Path, offset: int, value: bytes, local_offset: int | None, match: str
) -> None:
    path = write(tmp_path / "m.npz", unbiased())
    patch_central(path, offset, value, local_offset)
    refuse(path, match, activation="tanh")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    side = 4000
    members = {"weight_ih_l0": npy(zeros(side, 1)), "weight_hh_l0": npy(zeros(side, side))}
    path = write_members(tmp_path / "m.npz", members, zipfile.ZIP_DEFLATED)
    with little_memory():
        refuse(path, "'weight_hh_l0' would take 640000.* bytes.*, more than the", activation="tanh")
    rb.load(write_members(path, members), activation="tanh")


def test_zeros_among_weights_are_no_zip_bomb(tmp_path: Path) -> None:
    path, side = tmp_path / "m.npz", 600
    square = np.random.default_rng(0).normal(size=(side, side))
    held = {"weight_ih_l0": square, "weight_hh_l0": square, "bias_l0": np.zeros(side)}
    held |= {"weight_ih_l1": square, "weight_hh_l1": np.zeros((side, side))}
    save: Any = np.savez_compressed  # its own keywords could be among the names, for all mypy knows
    save(path, **held)
    assert len(rb.load(path, activation="tanh").layers) == 2


def test_a_small_file_of_zeros_is_no_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez_compressed(path, weight_ih_l0=zeros(450, 2), weight_hh_l0=zeros(450, 450))
    assert path.stat().st_size * 200 < 450 * 450 * 4
    rb.load(path, activation="tanh")


def test_a_member_that_unpacks_to_more_than_it_says_takes_no_memory(tmp_path: Path) -> None:
    path, member = tmp_path / "m.npz", npy(zeros(64, 64))
    write_members(path, {"weight_hh_l0": member + bytes(2**26)}, zipfile.ZIP_DEFLATED)
    patch_central(path, 24, struct.pack("<I", len(member)), 22)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weight_ih_l0.npy", npy(zeros(64, 2)))
    with little_memory():
        refuse(path, "'weight_hh_l0.npy' unpacks to more than the 164.. bytes", activation="tanh")


def test_arrays_of_npz_that_do_not_fit_are_not_read(tmp_path: Path) -> None:
    members = {"weight_ih_l0": npy(zeros(3, 2)), "weight_hh_l0": npy(zeros(2000, 2000))}
    path = write_members(tmp_path / "m.npz", members)
    with little_memory():
        refuse(path, r"`weight_hh` must .*\(3, 3\); got \(2000, 2000\)", activation="tanh")


def test_a_header_said_to_be_enormous_is_not_read(tmp_path: Path) -> None:
    lie = b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + bytes(2**24)
    path = write_members(tmp_path / "m.npz", {"weight_ih_l0": lie})
    with little_memory():
        refuse(path, "header of 'weight_ih_l0.npy' is not that of an array of numbers", activation="tanh")
