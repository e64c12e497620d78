"""Where files are written: names of any length, links, permissions, and systems without files that have no names."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from native_files import SUFFIXES, assert_same, make

import rnn_backends as rb
from rnn_backends.formats.files import replaced


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


def folder(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


@pytest.fixture(params=["unnamed", "named"])
def names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """New files without names, and with names, as on systems that have none without."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


LONG = [
    *(f"{'n' * (size - 4)}.npz" for size in (233, 234, 238, 245, 250, 254, 255)),
    f"{'ü' * 125}.npz",
    f"{'語' * 83}.npz",
]


@pytest.mark.parametrize("name", LONG, ids=lambda name: f"{len(name.encode())} bytes")
@pytest.mark.usefixtures("names")
def test_names_of_any_length_that_the_system_takes(tmp_path: Path, name: str) -> None:
    for _ in range(2):  # a new file, and one that takes its place
        make("layers").save(tmp_path / name)
        assert_same(rb.load(tmp_path / name), make("layers"))
        assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o444, 0o666, 0o755])
@pytest.mark.usefixtures("names")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_permissions_stay_and_a_new_file_has_the_usual_ones(path: Path, mode: int) -> None:
    path.write_bytes(b"old")
    usual = path.stat().st_mode
    path.chmod(mode)
    make("layers").save(path)
    assert path.stat().st_mode & 0o7777 == mode
    path.unlink()
    make("layers").save(path)
    assert path.stat().st_mode == usual


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_link_is_followed_and_another_name_of_the_file_keeps_the_old_one(path: Path) -> None:
    path.write_bytes(b"old")
    folder_of_links = path.parent / "links"
    folder_of_links.mkdir()
    other, chained = folder_of_links / "other", folder_of_links / f"chained{path.suffix}"
    other.hardlink_to(path)
    (folder_of_links / "first").symlink_to(f"../{path.name}")
    chained.symlink_to("first")
    make("layers").save(chained)
    assert chained.is_symlink()
    assert_same(rb.load(path), make("layers"))
    assert other.read_bytes() == b"old"
    dangling = folder_of_links / f"dangling{path.suffix}"
    dangling.symlink_to(f"new{path.suffix}")
    make("no bias").save(dangling)
    assert_same(rb.load(folder_of_links / f"new{path.suffix}"), make("no bias"))
    wanted = ["chained", "dangling", "first", "new", "other"]
    assert sorted(each.stem for each in folder_of_links.iterdir()) == wanted


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EACCES])
def test_where_a_file_without_a_name_can_have_none_it_is_copied(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)
    path.write_bytes(b"old")
    make("layers").save(path)
    assert_same(rb.load(path), make("layers"))
    assert folder(path) == [path.name]


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EPERM])
def test_a_file_system_that_has_no_files_without_names(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    open_file = os.open

    def fail(name: str, flags: int, *words: int, **options: Any) -> int:
        if flags & getattr(os, "O_TMPFILE", 0) == getattr(os, "O_TMPFILE", -1):
            raise OSError(number, os.strerror(number))
        return open_file(name, flags, *words, **options)

    monkeypatch.setattr(os, "open", fail)
    make("layers").save(path)
    assert_same(rb.load(path), make("layers"))
    assert folder(path) == [path.name]


@pytest.mark.usefixtures("names")
def test_a_file_is_on_the_disk_before_it_takes_its_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a crash of the system may leave an empty file where the old one was."""
    done, sync, replace = [], os.fsync, Path.replace

    def synced(number: int) -> None:
        sync(number)
        done.append(("synced", os.fstat(number).st_ino, os.fstat(number).st_size))

    def moved(one: Path, other: Path) -> Path:
        done.append(("moved", one.stat().st_ino, one.stat().st_size))
        return replace(one, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    make("layers").save(path)
    assert [step for step, *_ in done] == ["synced", "moved"]
    assert done[0][1:] == done[1][1:]
    assert path.stat().st_size == done[0][2]


def test_a_model_that_is_written_has_no_name_until_it_is_whole(path: Path) -> None:
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("the system has no files without names")
    with replaced(path) as file:
        file.write(b"half")
        file.flush()
        assert folder(path) == []
    assert folder(path) == [path.name]
