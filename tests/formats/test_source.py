"""One way to read a file: regular files only, opened once, closed always, and accounted."""

import os
import socket
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import numpy as np
import pytest

from rnn_backends.errors import ArgumentError, DeviceMemoryError, FileMemoryError, FormatError
from rnn_backends.formats.account import LIMITS, Account
from rnn_backends.formats.json_text import parse_json
from rnn_backends.formats.source import BLOCK, Source, opened

FD = Path("/proc/self/fd")


@pytest.fixture
def no_descriptor_left() -> Iterator[None]:
    if not FD.exists():
        pytest.skip("descriptors are counted in /proc")
    before = len(list(FD.iterdir()))
    yield
    assert len(list(FD.iterdir())) == before


def fifo(path: Path) -> None:
    os.mkfifo(path)


def linked_fifo(path: Path) -> None:
    fifo(path.with_name("f"))
    path.symlink_to("f")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # in the current folder, as such names are short


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "directory": (Path.mkdir, "is a directory, not a regular file"),
    "FIFO": (fifo, "is a FIFO, not a regular file"),
    "socket": (listening, "is a socket, not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, not a regular file"),
    "device without bytes": (lambda path: path.symlink_to(os.devnull), "is a device, not a regular file"),
    "link to a folder": (lambda path: path.symlink_to("."), "is a directory, not a regular file"),
    "link to a FIFO": (linked_fifo, "is a FIFO, not a regular file"),
}


@pytest.mark.skipif(os.name != "posix", reason="these are files of POSIX")
@pytest.mark.parametrize("kind", SPECIAL)
def test_only_regular_files_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_descriptor_left: None, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make, match = SPECIAL[kind]
    make(tmp_path / "m.npz")
    with pytest.raises(FormatError, match=match), opened(tmp_path / "m.npz"):
        pass


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "held").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("held")
    with opened(tmp_path / "link") as source:
        assert source.read(0, source.size) == b"abc"


def test_what_cannot_be_opened(tmp_path: Path, no_descriptor_left: None) -> None:
    with pytest.raises(FileNotFoundError), opened(tmp_path / "none"):
        pass
    for name in ("a\0b", "\0", "\0.npz", "m.npz\0", f"{tmp_path}/\0/m.npz"):
        with pytest.raises(FormatError, match=r"is no name of a file: .*embedded null") as caught, opened(name):
            pass
        assert str(caught.value).isprintable()


def test_parts_numbers_and_blocks(tmp_path: Path) -> None:
    data = np.arange(BLOCK, dtype=">f4").tobytes()
    (tmp_path / "held").write_bytes(data)
    with opened(tmp_path / "held") as source:
        for held in (source, Source.of(data)):
            part = held.part(8, held.size - 8)
            assert part.numbers(4, 3, ">f4").tolist() == [3, 4, 5]
            assert part.numbers(part.size, 0, "f8").shape == (0,)
            assert part.part(4, 8).read(4, 4) == data[16:20]
            assert b"".join(part.blocks()) == data[8:]
            assert part.account is held.account


@pytest.mark.parametrize(("start", "size"), [(-1, 2), (0, -1), (3, 6), (9, 0), (2**70, 1)])
def test_nothing_outside_is_read(start: int, size: int) -> None:
    for source in (Source.of(b"12345678"), Source.of(b"..12345678..").part(2, 8)):
        with pytest.raises(FormatError, match=r"points to bytes .* of 8"):
            source.read(start, size)
        with pytest.raises(FormatError, match=r"points to bytes .* of 8"):
            source.part(start, size)
        with pytest.raises(FormatError, match=r"points to bytes .* of 8"):
            source.numbers(start, size, "u1")


ENDS: dict[str, tuple[BaseException, type[BaseException], str]] = {
    "refused": (FormatError("no."), FormatError, "m.npz: no.$"),
    "damaged": (ValueError("odd\nsize"), FormatError, r"m.npz is no .npz file, or is damaged: odd\\nsize.$"),
    "option": (ArgumentError("`x`."), ArgumentError, "m.npz: `x`.$"),
    "memory": (MemoryError("61 MiB"), FileMemoryError, "m.npz takes more memory than there is: 61 MiB.$"),
    "a device's memory": (DeviceMemoryError("full."), DeviceMemoryError, "m.npz: full.$"),
    "structure": (struct.error("2 bytes"), FormatError, r"m.npz is no .npz file, or is damaged: 2 bytes.$"),
    "another file": (OSError(28, "No space", "o.npy"), OSError, r"^\[Errno 28\] No space: 'o.npy'$"),
    "fault": (TypeError("bug"), TypeError, "^bug$"),
    "stopped": (KeyboardInterrupt("stop"), KeyboardInterrupt, "^stop$"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_errors_name_the_file_and_leave_it_closed(tmp_path: Path, no_descriptor_left: None, kind: str) -> None:
    error, expected, match = ENDS[kind]
    (tmp_path / "m.npz").write_bytes(b"abc")
    with pytest.raises(expected, match=match) as caught, opened(tmp_path / "m.npz") as source:
        raise error
    with pytest.raises(ValueError, match="closed"):
        source.read(0, 1)
    del caught


def test_a_file_that_is_replaced_meanwhile_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "held"
    path.write_bytes(b"abcdef")
    with opened(path) as source:
        (tmp_path / "new").write_bytes(b"ABCDEF")
        (tmp_path / "new").replace(path)
        assert source.read(0, 6) == b"abcdef"


CHANGES: dict[str, tuple[bytes, Callable[[Source], object], str]] = {
    "overwritten": (b"ABCDEF", lambda source: source.read(0, 6), "was written to while it was read"),
    "grown": (b"abcdefgh", lambda source: source.read(0, 6), "was written to while it was read"),
    "cut": (b"ABC", lambda source: source.read(0, 6), "became shorter while it was read"),
    "cut in an array": (b"ABC", lambda source: source.numbers(0, 6, "u1"), "became shorter while it was read"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_file_that_is_written_to_meanwhile_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "held"
    data, read, match = CHANGES[kind]
    path.write_bytes(b"abcdef")
    os.utime(path, ns=(0, time.time_ns() - 10**10))

    def change() -> None:
        with opened(path) as source:
            path.write_bytes(data)
            read(source)

    with pytest.raises(FormatError, match=match):
        change()


def test_an_account_refuses_more_than_a_file_of_its_size_may(tmp_path: Path) -> None:
    floor = LIMITS["bytes"].floor
    account = Account(100)
    account.take("the first", "bytes", floor)
    with pytest.raises(
        FormatError, match=rf"the second would take 101 bytes after {floor}, more than the {floor + 100} "
    ):
        account.take("the second", "bytes", 101)
    account.take("the third", "bytes", 100)  # what was refused is not taken
    for _ in range(3):
        account.take("an array", "axes", LIMITS["axes"].floor)
    with pytest.raises(
        FormatError, match=r"an array would take 33 axes, more than the 32 that a file of 100 bytes may"
    ):
        account.take("an array", "axes", 33)
    with pytest.raises(FormatError, match=r"over 2\*\*63 bytes"):
        account.take("a shape", "bytes", 10**5000)


def test_objects_in_memory_are_bounded_by_counts_alone() -> None:
    account = Account()
    account.take("an array", "bytes", 2**60)
    assert account.size == inf
    with pytest.raises(FormatError, match="levels"):
        account.take("a tree", "depth", 129)


def test_reading_again_and_again_is_accounted() -> None:
    source = Source.of(bytes(2**20))
    times = LIMITS["bytes"].floor // 2**20 + int(LIMITS["bytes"].per_byte)
    for _ in range(times):
        assert len(source.read(0, source.size)) == source.size
        assert len(b"".join(source.blocks())) == source.size  # none of which is kept
    for read in (source.read, lambda start, size: source.numbers(start, size, "u1")):
        with pytest.raises(FormatError, match="more than the"):
            read(0, source.size)


# JSON


def parse(text: str | bytes, size: float = inf) -> object:
    return parse_json(text, "the text", Account(size))


def test_json_is_read() -> None:
    held = {"a": [1, 2.5, None, True], "b": {"c": 'x,y[z]{"\\'}}
    text = '{"a": [1, 2.5, null, true], "b": {"c": "x,y[z]{\\"\\\\"}}'
    assert parse(text) == held == parse(text.encode())


WRONG_JSON: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "the text is not valid JSON"),
    "a list": ("[1]", "the text must be a JSON object; got list"),
    "a key twice": ('{"a": 1, "b": {"c": 1, "c": 2}}', "a key stands in it twice"),
    "no UTF-8": (b'{"a": "\xff"}', "not valid JSON: .*utf-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not valid JSON"),
    "an open text": ('{"a": "' + "x" * 100_000, "not valid JSON: Unterminated"),
    "an open text of escapes": ('{"a": "' + "\\\\" * 100_000, "not valid JSON: Unterminated"),
    "a large number": ('{"a": ' + "9" * 100_000 + "}", "not valid JSON: Exceeds the limit"),
    "depth": ('{"a":' * 130 + "1" + "}" * 130, "the text would take 129 levels"),
    "depth that is never closed": ("[" * 1_000_000, "the text would take 129 levels"),
    "items": ('{"a": [' + "1," * 200_000 + "1]}", "the text would take 1000 items after 150000, more"),
    "objects": ('{"a": [' + "{}," * 150_000 + "1]}", "the text would take 1000 items after 150000, more"),
}


@pytest.mark.parametrize("kind", WRONG_JSON)
def test_other_json_is_refused_in_little_memory(kind: str) -> None:
    text, match = WRONG_JSON[kind]
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=match) as caught:
            parse(text, 1000)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 300


def test_marks_in_texts_are_no_items() -> None:
    assert parse('{"a": "' + "[{,]}" * 200_000 + '"}', 1000)
    assert parse('{"a": "' + '\\\\,\\"[' * 200_000 + '"}', 1000)


def test_a_text_too_long_for_its_file_is_not_looked_at() -> None:
    with pytest.raises(FormatError, match="would take 10485760 bytes of text"):
        parse(b"{" * (10 * 2**20), 1000)
