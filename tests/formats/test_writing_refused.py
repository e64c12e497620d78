"""What the system refuses to write: its error in a sentence, the old file intact, nothing left behind."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from native_files import SUFFIXES, make

import rnn_backends as rb
from rnn_backends.formats import files
from rnn_backends.formats.files import replaced

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
OLD = b"old"
NUMBERS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPERM, errno.EROFS]


@pytest.fixture(params=["unnamed", "named"], autouse=True)
def _names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """New files without names, and with names, as on systems that have none without."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The path of a file that is there."""
    path = tmp_path / f"model{request.param}"
    path.write_bytes(OLD)
    return path


def require_intact(path: Path) -> None:
    assert path.read_bytes() == OLD
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def broken(number: int, method: str, after: int) -> type[files.File]:
    """Return files of which a method fails, from some call on."""
    calls = 0

    def fail(file: FileIO, *words: Any) -> Any:
        nonlocal calls
        calls += 1
        done = getattr(FileIO, method)(file, *words)
        if calls > after:
            raise OSError(number, os.strerror(number))
        return done

    return type("Broken", (files.File, type("Bad", (FileIO,), {method: fail})), {})


def fail(number: int) -> Callable[..., Any]:
    def call(*_: object) -> None:
        raise OSError(number, os.strerror(number), "an inner name", None, "another")

    return call


@pytest.mark.parametrize("step", ["first write", "second write", "close", "sync", "mode", "replace"])
@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.__getitem__)
def test_an_error_of_the_system_keeps_its_type_and_names_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    rnn = rb.RNN.init(20, 60)  # several writes of a zip file
    after = int(step == "second write" and path.suffix == ".npz")
    with monkeypatch.context() as patched:
        if step.endswith("write"):
            patched.setattr(files, "File", broken(number, "write", after))
        elif step == "close":
            patched.setattr(files, "File", broken(number, "close", 0))
        else:
            holder: Any = os if step == "sync" else Path
            patched.setattr(holder, {"sync": "fsync", "mode": "chmod", "replace": "replace"}[step], fail(number))
        with pytest.raises(OSError, match="cannot be written") as caught:
            rnn.save(path)
    assert str(caught.value) == f"'{path}' cannot be written: {os.strerror(number)}."
    assert type(caught.value) is type(OSError(number, ""))
    assert caught.value.errno == number
    require_intact(path)


def test_an_error_of_another_file_is_left_as_it_is(path: Path) -> None:
    def work() -> None:
        with replaced(path) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", "another file")

    with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: 'another file'"):
        work()
    require_intact(path)


@pytest.mark.sampled(3)
@POSIX
@pytest.mark.parametrize("limit", [0, 1, 100, 1000, 5000])
def test_a_limit_on_the_size_of_files(path: Path, limit: int) -> None:
    code = (
        "import os, resource, sys, rnn_backends as rb\n"
        "if sys.argv[3] == 'named': vars(os).pop('O_TMPFILE', None)\n"
        "rnn = rb.RNN.init(20, 60)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: rnn.save(sys.argv[1])\n"
        "except OSError as error: print(type(error).__name__, error.errno, error)\n"
    )
    name = "unnamed" if hasattr(os, "O_TMPFILE") else "named"
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", code, str(path), str(limit), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=outside)
    assert done.stderr == ""
    assert done.stdout == f"OSError {errno.EFBIG} '{path}' cannot be written: File too large.\n"
    require_intact(path)


@POSIX
def test_a_full_disk_is_full_whenever_it_is_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    monkeypatch.setattr(files, "_begun", lambda _, given: files.File(Path("/dev/full"), "r+", given))
    with pytest.raises(OSError, match="No space left on device"):
        make("layers").save(path)
    require_intact(path)


def link(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def made(path: Path, make_it: Callable[[Path], object]) -> Path:
    make_it(path)
    return path


REFUSED: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "a name of 256 bytes": (lambda at: at / f"{'n' * 252}.npz", OSError, "File name too long"),
    "a name of 256 bytes in other letters": (lambda at: at / f"{'ü' * 126}.npz", OSError, "File name too long"),
    "a name of 1000 letters": (lambda at: at / f"{'n' * 1000}.npz", OSError, "File name too long"),
    "a path that is too long": (lambda at: at / ("e/" * 3000) / "m.npz", OSError, "File name too long"),
    "a link to itself": (lambda at: link(at / "a.npz", "a.npz"), OSError, "Too many levels of symbolic links"),
    "links to each other": (
        lambda at: link(link(at / "a.npz", "b.npz").with_name("b.npz"), "a.npz"), OSError, "Too many levels"),
    "three links in a ring": (
        lambda at: link(link(link(at / "a.npz", "b.npz").with_name("b.npz"), "c.npz").with_name("c.npz"), "a.npz"), OSError, "Too many levels"),
    "a folder that is a link to itself": (lambda at: link(at / "l", "l") / "m.npz", OSError, "Too many levels"),
    "a link that becomes longer": (lambda at: link(at / "g", "g/g") / "m.npz", OSError, "Too many levels"),
    "a NUL": (lambda at: f"{at}/a\0b.npz", rb.FormatError, "is no name of a file: .*embedded null"),
    "a NUL at the end": (lambda at: f"{at}/\0.npz", rb.FormatError, "is no name of a file"),
    "a NUL in a folder": (lambda at: f"{at}/\0/b.npz", rb.FormatError, "is no name of a file"),
    "half a letter": (lambda at: f"{at}/a\ud800.npz", rb.FormatError, "is no name of a file"),
    "half a letter in a folder": (lambda at: f"{at}/\udbff/a.npz", rb.FormatError, "is no name of a file"),
    "nothing": (lambda _: "", rb.FormatError, "suffix of a file to write a model to"),
    "a slash at the end": (lambda at: f"{at}/m.npz/", rb.FormatError, "suffix of a file to write a model to"),
    "a folder": (lambda at: made(at / "m.npz", Path.mkdir), OSError, "is no ordinary file"),
    "a link to a folder": (lambda at: link(at / "m.npz", "."), OSError, "is no ordinary file"),
    "a device": (lambda at: link(at / "m.npz", os.devnull), OSError, "is no ordinary file"),
    "a FIFO": (lambda at: made(at / "m.npz", os.mkfifo), OSError, "is no ordinary file"),
    "no folder": (lambda at: at / "no" / "m.npz", FileNotFoundError, "there is no folder '.*no'"),
    "a file as a folder": (lambda at: made(at / "f", Path.touch) / "m.npz", NotADirectoryError, "Not a d"),
    "a link into no folder": (
        lambda at: link(at / "m.npz", "no/m.npz"), FileNotFoundError, "it is a link to '.*no/m.npz', whose folder"),
}  # fmt: skip


@POSIX
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_path_to_write_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    make_path, kind, match = REFUSED[name]
    path: Any = make_path(tmp_path)
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises((rb.RNNBackendError, OSError), match=match) as caught:
        make("layers").save(path)
    assert isinstance(caught.value, kind)
    message = str(caught.value)
    assert len(message) <= 400
    assert message.isprintable()
    assert message.endswith(".")
    assert "[Errno" not in message
    assert not (isinstance(caught.value, OSError) and message.count("cannot be written") and not caught.value.errno)
    assert sorted(each.name for each in tmp_path.iterdir()) == before


@pytest.mark.parametrize("given", ["", ".", "..", "no/.", "no/..", "x/"])
def test_the_name_of_a_folder_is_no_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((rb.FormatError, OSError), match=r"no ordinary file|does not end with the name of a file"):
        replaced(given).__enter__()
    assert not list(tmp_path.iterdir())


@POSIX
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_takes_no_new_file(tmp_path: Path, suffix: str) -> None:
    """The file in it may be writable: a new one takes its place, which the folder must allow."""
    shut = tmp_path / "shut"
    shut.mkdir()
    path = shut / f"m{suffix}"
    path.write_bytes(OLD)
    path.chmod(0o666)
    shut.chmod(0o555)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys, rnn_backends as rb\n"
        "rnn = rb.RNN.init(2, 3)\n"
        "os.chdir(sys.argv[1])\n"
        "rnn.save(sys.argv[3])\n"  # which imports all that it needs
        "if os.geteuid() == 0: os.chroot('.'), os.setuid(65534)\n"  # the superuser may write everywhere
        "try: rnn.save(sys.argv[2])\n"
        "except OSError as error: print(type(error).__name__, error.errno, error)\n"
    )
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path), f"shut/m{suffix}", f"free{suffix}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=outside)
    shut.chmod(0o755)
    assert done.stdout == (
        f"PermissionError 13 'shut/m{suffix}' cannot be written: Permission denied in its folder, where a new file is "
        "made first; choose another folder.\n"
    )
    require_intact(path)
