"""Files that change while they are read, that the system fails to read, and paths that are odd."""

import errno
import io
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from native_files import small

import rnn_backends as rb
from rnn_backends.cli import main as cli
from rnn_backends.core.messages import MOST
from rnn_backends.formats import changes, source
from rnn_backends.formats.source import Source, opened
from rnn_backends.model import chunks

SUFFIXES = [".safetensors", ".npz"]


def age(path: Path, seconds: float) -> None:
    os.utime(path, ns=(0, time.time_ns() - int(seconds * 10**9)))


def matrices(rnn: rb.RNN) -> Any:
    cells: list[Any] = [cell for layer in rnn.layers for cell, _ in layer.cells]
    return np.stack([cell.weight_hh for cell in cells])


# Written to in place


def test_a_write_in_the_tick_of_the_last_one_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The times are as a coarse clock gives them: the same for both."""
    path = tmp_path / "m.bin"
    for size in (1, 100, changes._WHOLE, changes._WHOLE + 1, 3_000_000):
        path.write_bytes(bytes(size))
        stamp = path.stat().st_mtime_ns

        def rewritten(size: int = size, stamp: int = stamp) -> None:
            with opened(path) as held:
                with path.open("r+b") as file:
                    file.write(b"\1" * size)
                os.utime(path, ns=(stamp, stamp))
                held.look(0, held.size)

        with pytest.raises(rb.FormatError, match=r"m\.bin was written to while it was read; load it again"):
            rewritten()


def test_the_tick_of_the_last_write_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, slept = tmp_path / "m.bin", list[float]()
    path.write_bytes(b"abc")
    stamp = path.stat().st_mtime_ns
    monkeypatch.setattr(time, "sleep", slept.append)
    for late in (-4_000_000, -1_000_000, 0):
        monkeypatch.setattr(changes, "_clock", lambda late=late: stamp + late + 5_000_000 * len(slept))
        with opened(path):
            assert len(slept) == 1
        assert slept.pop() <= 0.006
    monkeypatch.setattr(changes, "_clock", lambda: stamp + 1)
    with opened(path):
        assert not slept


@pytest.mark.parametrize("seconds", [3.0, 3600.0, 10.0**9, -3600.0])
def test_a_file_of_another_time_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"abc")
    age(path, seconds)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    monkeypatch.setattr(changes, "_samples", lambda *_: pytest.fail("it is read twice"))
    with opened(path) as held:
        assert held.look(0, 3) == b"abc"


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".onnx"])
def test_a_file_that_was_just_saved_is_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    path = tmp_path / f"m{suffix}"
    for seed in range(10):
        rnn = rb.RNN.init(3, 4, seed=seed)
        rnn.save(path)
        np.testing.assert_array_equal(matrices(rb.load(path)), matrices(rnn))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_rewritten_all_the_time_gives_no_mixture(tmp_path: Path, suffix: str) -> None:
    path, done = tmp_path / f"m{suffix}", Event()
    versions = []
    for value in (1.0, 2.0):
        weights = np.full((40, 40), value, "f4")
        rb.RNN([rb.Cell(weights, weights, weights[0])] * 3).save(path)
        versions.append(path.read_bytes())

    def write() -> None:
        with path.open("r+b", buffering=0) as file:
            while not done.is_set():
                for version in versions:
                    file.seek(0)
                    file.write(version)
                done.wait(0.002)

    writer = Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            try:
                rnn = rb.load(path)
            except rb.FormatError as error:
                assert "was written to" in str(error) or "checksum" in str(error)  # noqa: PT017  # or it is loaded
            else:
                assert len(np.unique(matrices(rnn))) == 1
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_replaced_all_the_time_are_read(tmp_path: Path, suffix: str) -> None:
    path, done = tmp_path / f"m{suffix}", Event()
    models = [rb.RNN([rb.Cell(np.full((9, 9), k, "f4"), np.full((9, 9), k, "f4"))] * 2) for k in (1, 2)]
    models[0].save(path)

    def write() -> None:
        while not done.is_set():
            for model in models:
                model.save(path)

    writer = Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            assert np.unique(matrices(rb.load(path))).tolist() in ([1], [2])
    finally:
        done.set()
        writer.join()


CUTS: dict[str, tuple[int, str]] = {
    "emptied": (0, "was emptied while it was read; load it again"),
    "cut to a byte": (1, "became shorter while it was read; load it again"),
    "cut to a header": (60, "became shorter while it was read; load it again"),
    "cut in half": (-2, "became shorter while it was read; load it again"),
    "cut by a byte": (-1, "became shorter while it was read; load it again"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", CUTS)
def test_a_file_that_becomes_shorter_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, kind: str
) -> None:
    size, match = CUTS[kind]
    path = tmp_path / f"m{suffix}"
    whole = len(small(path))
    age(path, 100)
    look = Source.look

    def cut(self: Source, *given: Any) -> bytes:
        os.truncate(path, {-1: whole - 1, -2: whole // 2}.get(size, size))
        return look(self, *given)

    monkeypatch.setattr(Source, "look", cut)
    with pytest.raises(rb.FormatError, match=match):
        rb.load(path)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".onnx", ".pt", ".ckpt", ".msgpack", ".keras", ".h5", ".bin", ""])
def test_an_empty_file_is_said_to_be(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"empty{suffix}"
    path.write_bytes(b"")
    with pytest.raises(rb.FormatError, match=r"empty.*: it is empty; if it is just being written, load it again\.$"):
        rb.load(path)
    small(tmp_path / "m.npz")
    (tmp_path / "m.npz").replace(path)
    assert rb.load(path).hidden_size


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_an_empty_input_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    small(tmp_path / "m.npz")
    (tmp_path / f"x.{form}").write_bytes(b"")
    assert cli.main(["run", str(tmp_path / "m.npz"), str(tmp_path / f"x.{form}")]) == 1
    assert capsys.readouterr().err.endswith(f"x.{form}: it is empty; if it is just being written, load it again.\n")


# Errors of the system

READS: dict[str, tuple[OSError, type[OSError]]] = {
    "a broken disk": (OSError(errno.EIO, "Input/output error"), OSError),
    "a share that is gone": (OSError(errno.ESTALE, "Stale file handle"), OSError),
    "a share that is slow": (OSError(errno.ETIMEDOUT, "Connection timed out"), TimeoutError),
    "a right that is withdrawn": (OSError(errno.EACCES, "Permission denied"), PermissionError),
    "a lock": (OSError(errno.EDEADLK, "Resource deadlock avoided"), OSError),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", READS)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_error_at_reading_keeps_its_type_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, kind: str, after: int
) -> None:
    error, expected = READS[kind]

    class Failing(io.FileIO):
        left = after

        def readinto(self, buffer: Any, /) -> int:
            Failing.left -= 1
            if Failing.left < 0:
                raise error
            return super().readinto(buffer) or 0

    path = tmp_path / f"m{suffix}"
    small(path)
    age(path, 100)
    monkeypatch.setattr(source, "FileIO", Failing)
    with pytest.raises(expected) as caught:
        rb.load(path)
    assert type(caught.value) is expected
    assert caught.value.errno == error.errno
    assert str(caught.value) == f"{path} cannot be read: {error.strerror}."


def looped(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_bytes(b"")
    return folder / "file" / "m.npz"


OPENED: dict[str, tuple[Callable[[Path], Path], type[OSError], int]] = {
    "no file": (lambda folder: folder / "none.npz", FileNotFoundError, errno.ENOENT),
    "no folder": (lambda folder: folder / "none" / "m.npz", FileNotFoundError, errno.ENOENT),
    "a loop of links": (looped, OSError, errno.ELOOP),
    "a file for a folder": (below_a_file, NotADirectoryError, errno.ENOTDIR),
    "a long name": (lambda folder: folder / ("a" * 300 + ".npz"), OSError, errno.ENAMETOOLONG),
    "a long path": (lambda folder: folder.joinpath(*["b" * 200] * 30, "m.npz"), OSError, errno.ENAMETOOLONG),
}


@pytest.mark.skipif(os.name != "posix", reason="the errors are those of POSIX")
@pytest.mark.parametrize("kind", OPENED)
def test_an_error_at_opening_is_a_sentence(tmp_path: Path, kind: str) -> None:
    make, expected, number = OPENED[kind]
    path = make(tmp_path)
    with pytest.raises(expected) as caught:
        rb.load(path)
    assert type(caught.value) is expected
    assert caught.value.errno == number
    said = str(caught.value)
    assert said.endswith(f"cannot be read: {os.strerror(number)}.")
    assert len(said) <= MOST
    assert path.name[-20:] in said


def test_errors_of_the_system_are_pickled(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        rb.load(tmp_path / "none.npz")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_too_little_memory_is_an_error_of_both_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"m{suffix}"
    small(path)

    def full(*_: Any, **__: Any) -> Any:
        msg = "Unable to allocate 61.0 MiB"
        raise MemoryError(msg)

    monkeypatch.setattr(np, "empty", full)
    for kind in (MemoryError, rb.FormatError, ValueError, rb.FileMemoryError):
        with pytest.raises(kind, match=rf"m{suffix} takes more memory than there is: Unable to allocate 61.0 MiB\.$"):
            rb.load(path)


# Names

NAMES = {
    "a line break": ("a\nb", "a\\nb"),
    "a carriage return": ("a\rb", "a\\rb"),
    "no UTF-8": (os.fsdecode(b"a\xff\xfe"), "a\\udcff\\udcfe"),
    "an escape of a terminal": ("a\x1b[31m", "a\\x1b[31m"),
    "text from right to left": ("a\u202eb", "a\\u202eb"),
    "a zero-width space": ("a\u200bb", "a\\u200bb"),
}


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX")
@pytest.mark.parametrize("kind", NAMES)
def test_a_message_is_one_line_that_can_be_printed(tmp_path: Path, kind: str) -> None:
    name, shown = NAMES[kind]
    path = tmp_path / f"{name}.npz"
    for data in (b"", b"PK\3\4", b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(rb.FormatError) as caught:
            rb.load(path)
        said = str(caught.value)
        assert f"{shown}.npz" in said
        assert said.isprintable()
        assert said.encode()


@pytest.mark.parametrize("length", [0, 100, 200, 235])
@pytest.mark.parametrize("depth", [0, 1, 10])
def test_a_message_is_short_and_keeps_the_name_and_the_advice(tmp_path: Path, length: int, depth: int) -> None:
    folder = tmp_path.joinpath(*["d" * 200] * depth)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{'n' * length}_.npz"
    state = {f"rnn.weight_{kind}_l0": np.ones((4, 4), "f4") for kind in ("ih", "hh")}
    state |= {f"{'linear' * 12}{k}.weight": np.ones((4, 4), "f4") for k in range(12)}
    with path.open("wb") as file:
        np.savez(file, **state)  # type: ignore[arg-type]  # its own keywords could be among the names
    with pytest.raises(rb.FormatError) as caught:
        rb.load(path, activation="tanh")
    said = str(caught.value)
    assert len(said) <= MOST
    assert "n_.npz: " in said or not length
    assert said.endswith("if they are applied so and in this order, or other ones.")


# Inputs of the command run


def test_an_input_that_becomes_shorter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is mapped would end the process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chunks, "BUDGET", 2**14)
    rnn = rb.RNN.init(4, 3, output_size=2, seed=0)
    rnn.save("m.npz")
    rb.RNN(rnn.layers, rnn.readout, batch_first=True).save("b.npz")
    x = np.zeros((3000, 4, 4), "f4")
    inputs = {"rows": (x, "m"), "columns": (np.asfortranarray(x), "m"), "sequences": (x.swapaxes(0, 1).copy(), "b")}
    inputs |= {"one sequence": (x[:, 0], "m"), "big-endian": (x.astype(">f4"), "m")}
    fill = Source.fill
    for name, (array, model) in inputs.items():
        np.save("x.npy", array)
        age(Path("x.npy"), 100)
        calls: list[int] = []
        size = Path("x.npy").stat().st_size

        def cut(self: Source, *given: Any, calls: list[int] = calls, size: int = size) -> None:
            calls += [1] * (self.size == size)
            if len(calls) == 3:
                os.truncate("x.npy", 1000)
            fill(self, *given)

        monkeypatch.setattr(Source, "fill", cut)
        assert cli.main(["run", f"{model}.npz", "x.npy", "--output", "y.npy"]) == 1, name
        monkeypatch.setattr(Source, "fill", fill)
        assert "x.npy became shorter while it was read" in capsys.readouterr().err
        assert not Path("y.npy").exists()
        np.save("x.npy", array)
        assert cli.main(["run", f"{model}.npz", "x.npy", "--output", "y.npy"]) == 0
        wanted = rb.load(f"{model}.npz").probabilities(array.astype("f4"))
        np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)
        Path("y.npy").unlink()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("reads", ["steps", "last", "mean"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("what", ["<f4", ">f8", "<i8", "|u1"])
def test_long_inputs_of_any_layout_give_what_short_ones_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_first: bool, reads: str, order: Any, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made = rb.RNN.init(5, 3, output_size=2, seed=0)
    rnn = rb.RNN(made.layers, made.readout, batch_first=batch_first)
    rnn.save("m.npz")
    draw = np.random.default_rng(0)
    shape = (4, 500) if batch_first else (500, 4)
    x: Any = draw.integers(0, 5, shape) if what[1] in "iu" else draw.normal(size=(*shape, 5))
    x = x.astype(what)
    np.save("x.npy", np.array(x, order=order))
    monkeypatch.setattr(chunks, "BUDGET", 1000)
    options = ["--reads", reads, "--lengths", "500,499,3,0"]
    assert cli.main(["run", "m.npz", "x.npy", "--output", "y.npy", *options]) == 0
    wanted = rnn.probabilities(x, lengths=[500, 499, 3, 0], reads=reads)
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("place", [0, 7, 250, 499])
def test_an_id_out_of_range_in_a_long_input_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], batch_first: bool, place: int
) -> None:
    monkeypatch.chdir(tmp_path)
    made = rb.RNN.init(5, 3, output_size=2)
    rb.RNN(made.layers, made.readout, batch_first=batch_first).save("m.npz")
    ids = np.zeros((500, 3), int)
    ids[place, 1] = 9
    np.save("x.npy", ids.T if batch_first else ids)
    monkeypatch.setattr(chunks, "BUDGET", 1000)
    assert cli.main(["run", "m.npz", "x.npy"]) == 1
    where = [1, place] if batch_first else [place, 1]
    assert capsys.readouterr().err.endswith(f"must be in 0..4; got 9 at {where}.\n")
