"""Files are written whole or not at all."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_files import SUFFIXES, Doubled, Echo, Louder, Scaled, assert_same, make

import rnn_backends as rb
from rnn_backends.core.messages import got
from rnn_backends.formats import WRITTEN
from rnn_backends.formats.files import replaced


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"model{request.param}"


def folder(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def unsavable() -> dict[str, tuple[Callable[[], rb.RNN], str]]:
    square = np.ones((2, 2))
    cell = rb.Cell(square, square)
    return {
        "a cell of the user's": (lambda: rb.RNN([cell, Echo()]), "alone; layer 1 has one of Echo"),
        "a changed Cell": (lambda: rb.RNN([Doubled(square, square)]), "alone; layer 0 has one of Doubled"),
        "a changed Linear": (lambda: rb.RNN([cell], Scaled(square)), "Linear readouts and encoders only, not a Scaled"),
        "a function": (
            lambda: rb.RNN([rb.Cell(square, square, activation=np.tanh)]),
            "cannot hold the function 'tanh'; only the activations of the table",
        ),
        "a changed Activation": (
            lambda: rb.RNN([rb.Cell(square, square, activation=Louder("tanh"))]),
            "cannot hold the function 'Louder'",
        ),
        "a function as g2": (
            lambda: rb.RNN([cell], rb.Linear(square, activation=lambda z: z)),
            "cannot hold the function '<lambda>'",
        ),
    }


@pytest.mark.parametrize("kind", unsavable())
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(path: Path, kind: str) -> None:
    make_model, match = unsavable()[kind]
    path.write_bytes(b"old")
    with pytest.raises(rb.FormatError, match=match):
        make_model().save(path)
    assert path.read_bytes() == b"old"
    assert folder(path) == [path.name]


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"year": 1990}},
        {"metadata": {1: "a"}},
        {"metadata": {"object": object()}},
        {"vocabulary": ["a", 2]},
        {"vocabulary": b"ab"},
        {"batch_first": 1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_notes_that_could_not_be_read_again_are_not_written(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(rb.RNNBackendError, match=next(iter(options))):
        rb.RNN([rb.Cell(np.ones((2, 2)), np.ones((2, 2)))], **options).save(path)
    assert folder(path) == []


def test_numbers_of_numpy_are_saved_as_numbers(path: Path) -> None:
    rb.RNN([rb.Cell(np.ones((2, 2)), np.ones((2, 2)), leak=np.float64(0.1), clip=3)]).save(path)
    cell = rb.load(path).layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert (cell.leak, cell.clip) == (0.1, 3.0)


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_write_that_fails_halfway_leaves_no_trace(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "m.npz"
    if old is not None:
        path.write_bytes(old)

    def fail() -> None:
        with replaced(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert folder(path) == ([] if old is None else ["m.npz"])
    assert old is None or path.read_bytes() == old


def test_a_save_that_fails_at_the_end_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("layers").save(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(PermissionError, match="Permission denied"):
            make("no bias").save(path)
    assert path.read_bytes() == before
    assert folder(path) == [path.name]


def test_the_part_file_of_another_writer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    with replaced(path) as first:
        first.write(b"first")
        with replaced(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert folder(path) == ["m.npz"]


def test_threads_may_save_to_one_file(path: Path) -> None:
    rnn = make("layers")
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(rnn.save, path) for _ in range(40)]:
            done.result()
    assert_same(rb.load(path), rnn)
    assert folder(path) == [path.name]


def test_a_folder_or_a_missing_folder_is_no_place_for_a_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        make("layers").save(path.parent / "absent" / path.name)
    path.mkdir()
    with pytest.raises(OSError, match="is no ordinary file, and cannot be replaced"):
        make("layers").save(path)
    assert folder(path) == [path.name]


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=path.name):
        rb.load(path)


@pytest.mark.parametrize("name", ["m.bin", "m", "m.npz.gz", ".npz", "m.NPZ", "m" * 5000])
def test_the_suffix_of_what_is_written_must_be_known(tmp_path: Path, name: str) -> None:
    match = rf"suffix of a file to write a model to must be one of {re.escape(', '.join(WRITTEN))}; got"
    with pytest.raises(rb.FormatError, match=match):
        make("layers").save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, 3, b"m.npz"])
def test_a_path_must_be_one(path: Any) -> None:
    with pytest.raises(rb.ArgumentError, match=rf"`path` must be a str or a pathlib.Path; got {re.escape(got(path))}"):
        rb.load(path)
    with pytest.raises(rb.ArgumentError, match=rf"`path` must be a str or a pathlib.Path; got {re.escape(got(path))}"):
        make("layers").save(path)


def test_a_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(rb.FormatError, match="is a directory, not a regular file; name a file in it"):
        rb.load(tmp_path)
