"""The command `run` in a real terminal and in pipes, as people use it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from terminal import PROGRAM, Terminal

import rnn_backends as rb

LETTERS = "abc \nö"
WORDS = ("run", "model.npz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drawn = rb.RNN.init(len(LETTERS), 7, output_size=len(LETTERS), seed=3)
    rb.RNN(drawn.layers, drawn.readout, vocabulary=LETTERS).save(tmp_path / "model.npz")
    drawn = rb.RNN.init(len(LETTERS), 7, output_size=2, seed=3)
    rb.RNN(drawn.layers, drawn.readout, vocabulary=LETTERS, reads="last", metadata={"classes": "no yes"}).save(
        tmp_path / "labels.npz"
    )
    (tmp_path / "input.txt").write_text("abba cab\nöc ab abc\nab\n", encoding="utf-8")
    np.save(tmp_path / "x.npy", np.array([0, 1, 2]))
    return tmp_path


def piped(folder: Path, *words: str, given: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PROGRAM, *words], cwd=folder, input=given, capture_output=True, check=False, **options)


CALLS = [
    ["input.txt"],
    ["input.txt", "--json"],
    ["input.txt", "--predictions"],
    ["input.txt", "--predictions", "--quiet"],
    ["input.txt", "--lines", "--predictions", "--to", "csv"],
    ["input.txt", "--lines", "--output", "-", "--to", "jsonl", "--json"],
    ["input.txt", "--output", "y.npy"],
    ["x.npy", "--reads", "last", "--backend", "numpy"],
    ["x.npy", "--from", "npy", "--output", "y.csv"],
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_a_terminal_shows_what_pipes_bring(folder: Path, words: list[str]) -> None:
    done = piped(folder, *WORDS, *words)
    assert done.returncode == 0
    with Terminal(*WORDS, *words, cwd=folder, pipes=["stdout"]) as terminal:
        assert terminal.finish() == 0
        assert without_times(terminal.piped) == without_times(done.stdout.decode())
        assert without_times(terminal.shown.replace("\r\n", "\n")) == without_times(done.stderr.decode())
    with Terminal(*WORDS, *words, cwd=folder, pipes=["stderr"]) as terminal:
        assert terminal.finish() == 0
        results = done.stdout.decode().removesuffix("\n") + "\n"  # the prompt of a shell begins a line of its own
        assert without_times(terminal.shown.replace("\r\n", "\n")) == without_times(results if done.stdout else "")


def without_times(text: str) -> list[str]:
    return [line for line in text.split("\n") if not line.startswith(("time", "speed", '{"model'))]


def test_a_terminal_is_shown_no_control_characters(folder: Path) -> None:
    drawn = rb.RNN.init(2, 3, seed=0)
    readout = rb.Linear(np.zeros((2, 3), "f4"), np.array([0, 1], "f4"))
    rb.RNN(drawn.layers, readout, vocabulary="a\x1b").save(folder / "model.npz")
    (folder / "input.txt").write_text("aaaa")
    with Terminal(*WORDS, "input.txt", "--predictions", "--quiet", cwd=folder) as terminal:
        assert terminal.finish() == 0
        assert terminal.shown == "\\x1b" * 3 + "\r\n"
    assert piped(folder, *WORDS, "input.txt", "--predictions", "--quiet").stdout == b"\x1b" * 3


def test_an_array_is_nothing_for_a_terminal(folder: Path) -> None:
    with Terminal(*WORDS, "x.npy", "--to", "npy", cwd=folder) as terminal:
        assert terminal.finish() == 2
        assert "the .npy format is nothing for a terminal; give --output FILE, or --to csv" in terminal.shown
    done = piped(folder, *WORDS, "x.npy", "--to", "npy")
    (folder / "y.npy").write_bytes(done.stdout)
    wanted = rb.load(folder / "model.npz").probabilities([0, 1, 2])
    np.testing.assert_array_equal(np.load(folder / "y.npy"), wanted)


def test_what_is_typed_is_answered_at_once(folder: Path) -> None:
    with Terminal("run", "labels.npz", "-", "--predictions", "--quiet", cwd=folder) as terminal:
        for line in ("abc", "cab"):
            before = terminal.shown
            terminal.type(f"{line}\n")
            label = ("no", "yes")[rb.load(folder / "labels.npz").predict(line)]
            while not terminal.shown[len(before) :].endswith(f"{label}\r\n"):
                terminal.wait_for(f"{before}{line}\r\n{label}\r\n")
        terminal.type("\x04")
        assert terminal.finish() == 0


def test_a_terminal_of_20_columns(folder: Path) -> None:
    with Terminal(*WORDS, "input.txt", columns=20, cwd=folder) as terminal:
        assert terminal.finish() == 0
        assert "bits per character" in terminal.shown
    with Terminal("run", "--help", columns=20, cwd=folder) as terminal:
        assert terminal.finish() == 0


@pytest.mark.parametrize(
    "words", [["labels.npz", "-"], ["model.npz", "-"], ["model.npz", "-", "--lines"]], ids=" ".join
)
def test_an_endless_input_ends_with_its_reader(folder: Path, words: list[str]) -> None:
    """`yes | rnn-backends run ... - | head`."""
    command = ["run", *words, "--predictions"]
    with (
        subprocess.Popen(["yes", "abc ab"], stdout=subprocess.PIPE) as endless,
        subprocess.Popen([*PROGRAM, *command], cwd=folder, stdin=endless.stdout, stdout=-1, stderr=-1) as ours,
    ):
        assert endless.stdout is not None
        assert ours.stdout is not None
        assert ours.stderr is not None
        endless.stdout.close()
        assert len(ours.stdout.read(1000)) == 1000
        ours.stdout.close()
        assert ours.stderr.read() == b""
        assert ours.wait(60) == 1


def test_a_full_pipe_is_waited_for(folder: Path) -> None:
    (folder / "long.txt").write_text("abc ab\n" * 30_000)
    reading, writing = os.pipe()
    process = subprocess.Popen([*PROGRAM, *WORDS, "long.txt", "--predictions", "--quiet"], cwd=folder, stdout=writing)
    os.close(writing)
    found = bytearray()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)  # the pipe holds 64 KiB
    while piece := os.read(reading, 2**16):
        found += piece
    os.close(reading)
    assert process.wait(60) == 0
    assert len(found) == 7 * 30_000 - 1


def test_a_closed_stdout(folder: Path) -> None:
    command = " ".join([*PROGRAM, *WORDS, "input.txt", "--predictions", ">&-"])
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "rnn-backends: error: stdout is closed; name a file with --output.\n")
    command = " ".join([*PROGRAM, *WORDS, "input.txt", "--output", "y.npy", ">&-"])
    assert subprocess.run(["sh", "-c", command], cwd=folder, check=False).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [["--predictions"], ["--to", "csv"], ["--to", "npy"]], ids=" ".join)
def test_a_full_disk_is_one_line(folder: Path, words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, *WORDS, "input.txt", "--quiet", *words], cwd=folder, stdout=full, stderr=-1, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"rnn-backends: error: stdout cannot be written: No space left on device.\n"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_a_file_in_another_encoding(folder: Path, encoding: str) -> None:
    (folder / "input.txt").write_text("abba öc", encoding=encoding)
    done = piped(folder, *WORDS, "input.txt", "--predictions", "--quiet")
    if encoding == "utf-8-sig":
        assert (done.returncode, len(done.stdout.decode()), done.stderr) == (0, 6, b"")
        return
    name = {"latin-1": "LATIN1", "utf-16": "UTF-16"}[encoding]
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"convert it, for example by `iconv -f {name} -t UTF-8`" in done.stderr.decode()
    converted = subprocess.run(
        ["iconv", "-f", name, "-t", "UTF-8", "input.txt"], cwd=folder, stdout=-1, check=True
    ).stdout
    assert piped(folder, *WORDS, "-", "--predictions", given=converted).returncode == 0


def test_text_is_utf_8_whatever_the_locale(folder: Path) -> None:
    quiet = [*WORDS, "input.txt", "--predictions", "--quiet"]
    wanted = piped(folder, *quiet).stdout
    for outside in (
        {"LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ):
        assert piped(folder, *quiet, env={**os.environ, **outside}).stdout == wanted
