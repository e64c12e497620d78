"""Outputs that are full: a sentence that names them, exit code 1, the old file intact and nothing left behind."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from terminal import PROGRAM

import rnn_backends as rb

if sys.platform == "win32":
    pytest.skip("limits and devices of POSIX", allow_module_level=True)

import resource

FULL = Path("/dev/full")
LIMIT = 2000
OLD = b"old"
RUN = ("run", "m.npz", "x.npy", "--quiet")
TEXT = ("run", "m.npz", "t.txt", "--quiet", "--predictions")
DRAW = (
    "generate",
    "m.npz",
    "a",
    "--seed",
    "1",
    "--quiet",
    "--length",
    "20000",
)  # more than is kept before it is written
TO_FILES = {
    **{f"run {suffix}": (*RUN, "--output", f"o{suffix}") for suffix in (".npy", ".csv", ".tsv", ".jsonl")},
    "run .txt": (*TEXT, "--output", "o.txt"),
    "generate": (*DRAW, "--output", "o.txt"),
    "generate --json": (*DRAW, "--json", "--output", "o.jsonl"),
    **{f"convert {suffix}": ("convert", "m.npz", f"o{suffix}") for suffix in (".npz", ".safetensors", ".onnx")},
    "bench": ("bench", "--shape", "2", "2", "2", "2", "--against", "--rounds", "200", "--json", "o.json"),
}
TO_STDOUT = {
    "info": ("info",),
    "info of a model": ("info", "m.npz", "--json"),
    "run": ("run", "m.npz", "x.npy"),
    **{f"run --to {form}": (*RUN, "--output", "-", "--to", form) for form in ("npy", "csv", "tsv", "jsonl")},
    "run --predictions": TEXT,
    "generate": DRAW,
    "generate --json": (*DRAW, "--json"),
    "convert": ("convert", "m.npz", "o.npz"),
    "bench": ("bench", "--shape", "2", "2", "2", "2", "--against", "--rounds", "1"),
    "help": ("help",),
    "--help": ("run", "--help"),
    "--version": ("--version",),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, an array and a text."""
    folder = tmp_path_factory.mktemp("full")
    drawn = rb.RNN.init(6, 40, output_size=6, seed=0)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="abcdef").save(folder / "m.npz")
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 6, (200, 3)))
    (folder / "t.txt").write_text("abcdef" * 1000, encoding="utf-8")
    return folder


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    for each in source.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    return tmp_path


def ran(folder: Path, words: tuple[str, ...], stdout: int, limit: Callable[[], None] | None = None) -> tuple[int, str]:
    command, pipe = [*PROGRAM, *words], subprocess.PIPE
    done = subprocess.run(command, cwd=folder, text=True, check=False, preexec_fn=limit, stdout=stdout, stderr=pipe)
    return done.returncode, done.stderr.removeprefix("rnn-backends: T B I H = 2 2 2 2\n")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", TO_FILES)
def test_a_file_that_grows_too_large(folder: Path, name: str) -> None:
    words = TO_FILES[name]
    if words[-1].endswith(".onnx"):
        pytest.importorskip("onnx")
    path, before = folder / words[-1], sorted(each.name for each in folder.iterdir())
    path.write_bytes(OLD)
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    code, err = ran(folder, words, subprocess.DEVNULL, limit)
    assert (code, err) == (1, f"rnn-backends: error: '{path.name}' cannot be written: {os.strerror(errno.EFBIG)}.\n")
    assert path.read_bytes() == OLD
    assert sorted(each.name for each in folder.iterdir()) == sorted([*before, path.name])


@pytest.mark.sampled(3)
@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux")
@pytest.mark.parametrize("name", TO_STDOUT)
def test_stdout_that_is_full(folder: Path, name: str) -> None:
    with FULL.open("wb") as full:
        code, err = ran(folder, TO_STDOUT[name], full.fileno())
    assert (code, err) == (1, "rnn-backends: error: stdout cannot be written: No space left on device.\n")
