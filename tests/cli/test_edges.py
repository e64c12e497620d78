"""Values at the edges, names that would change a terminal, streams that are closed, and signals in each command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from terminal import PROGRAM, Terminal, is_writing

import rnn_backends as rb
from rnn_backends.cli.generate import seeds

HUGE = "9" * 5000


def save(letters: str = "ab ", **options: object) -> rb.RNN:
    drawn = rb.RNN.init(len(letters), 4, output_size=len(letters), seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary=letters, **options)  # type: ignore[arg-type]
    rnn.save("model.npz")
    return rnn


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["generate", "model.npz", "a", "--length", HUGE], 2, "--length: expected a whole number, such as 20; got '999"),
        (["generate", "model.npz", "a", "--seed", "1" * 19], 2, "--seed: expected a whole number, such as 20; got '111"),
        (["generate", "model.npz", "a", "--temperature", "1e999"], 2, "--temperature must be a finite number; got inf"),
        (["generate", "ids.npz", HUGE], 1, "PROMPT must hold token ids between spaces or commas"),
        (["generate", "model.npz", "a", "--output", "b.npz"], 2, "--output writes text, and 'b.npz' has the suffix of a model"),
        (["bench", "--shape", 1, 1, 1, HUGE], 2, "--shape: expected a positive integer below a billion; got '999"),
        (["run", "model.npz", "x.npy", "--lengths", HUGE], 2, "--lengths: expected whole numbers between commas"),
        (["run", "model.npz", "my name is " * 60], 1, "File name too long. INPUT is a file; pipe text to -: echo "),
        (["run", "x" * 3000, "input.txt"], 1, "File name too long."),
        (["run", "model.npz", "x.json"], 2, "files named .json are not read, but .npy, .npz, .csv, .tsv, .jsonl, .parquet and text"),
        (["run", "model.npz", "x.txt.gz"], 2, "files named .gz are not read"),
        (["run", "model.npz", "packed"], 1, "packed: it is no text, but packed; unpack it first, as by `gunzip -c`."),
        (["run", "model.npz", "array"], 1, "array: it is no text, but a file of the format npy; give --from npy."),
        (["run", "model.npz", "input.txt", "--predictions", "--output", "y.csv", "--to", "text"], 2, "--to text and the name 'y.csv' are of two formats"),
        (["run", "-", "input.txt"], 1, "MODEL is a file; only INPUT may come from stdin."),
        (["run", "model.npz", "input.txt", "x.npy"], 2, "there is no place for 'x.npy'; several files need --output-dir DIR"),
        (["convert", "model.npz", "y.npz", "x.npy"], 2, "there is no place for 'x.npy'; give one file at a time"),
        (["run", "model.npz", "input.txt", "--quiet", "true"], 2, "options of yes or no take no value"),
    ],
)  # fmt: skip
def test_words_at_the_edges(run: Run, words: list[object], code: int, message: str) -> None:
    save()
    drawn = rb.RNN.init(3, 4, output_size=3)
    rb.RNN(drawn.layers, drawn.readout, takes="tokens").save("ids.npz")
    np.save("x.npy", np.zeros((2, 2), np.int64))
    Path("input.txt").write_text("ab")
    Path("packed").write_bytes(b"\x1f\x8b\x08" + bytes(20))
    Path("array").write_bytes(Path("x.npy").read_bytes())
    result = run(*words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert len(result.err) < 5000


def test_many_results_take_no_memory_before_the_first() -> None:
    found = seeds(3, 10**12)
    assert next(found) == 3
    assert next(found) == [*seeds(3, 2)][1]


def test_names_in_a_model_change_no_terminal(run: Run) -> None:
    drawn = rb.RNN.init(3, 4, output_size=2)
    rnn = rb.RNN(
        drawn.layers, drawn.readout, vocabulary="ab ", reads="last", metadata={"classes": "\x1b[31mred \x07bell"}
    )
    rnn.save("model.npz")
    Path("input.txt").write_text("ab\n")
    for words in (["input.txt"], ["input.txt", "--json"], ["input.txt", "--predictions", "--to", "jsonl"]):
        result = run("run", "model.npz", *words)
        assert result.code == 0
        assert not {"\x1b", "\x07"} & {*result.out, *result.err}


def test_quiet_is_quiet(run: Run) -> None:
    save(',:{}"abcdeintx \n')
    Path("input").write_text('{"text": "a"}\n')
    assert "looks like" in run("run", "model.npz", "input").err
    assert run("run", "model.npz", "input", "--quiet").err == ""


def test_unknown_words_of_a_prompt_are_counted(run: Run) -> None:
    drawn = rb.RNN.init(2, 4, output_size=2)
    rb.RNN(drawn.layers, drawn.readout, vocabulary=["a", "?"], unknown="?").save("words.npz")
    remark = "rnn-backends: 2 of the 3 words of PROMPT are not in the vocabulary\n"
    words = ["generate", "words.npz", "b a c", "--length", 2, "--seed", 1]
    assert run(*words).err == remark
    assert run(*words, "--quiet").err == ""


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize("words", ["input.txt --predictions", "input.txt", "input.txt --lines --output y.csv"])
def test_a_stderr_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redirected: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save()
    Path("input.txt").write_text("ab ab")
    command = f"{' '.join(PROGRAM)} run model.npz {words} {redirected}"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, check=False)
    assert (done.returncode, bool(done.stdout)) == (0, True)


def test_progress_of_a_run_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save()
    Path("input.txt").write_text("ab ab " * 50_000)
    script = "import sys; from rnn_backends.cli import progress, main; progress.DELAY = progress.REFRESH = 0\nsys.exit(main.main())"
    for more, is_shown in (([], True), (["--lines"], True), (["--quiet"], False)):
        words = ["run", "model.npz", "input.txt", *more]
        with Terminal(*words, program=(sys.executable, "-c", script), cwd=tmp_path, pipes=["stdout"]) as terminal:
            assert terminal.finish() == 0
            assert ("100% 300k/300k [" in terminal.shown) == is_shown
            assert "bits per character" in terminal.piped
    Path("input.txt").write_text("ab ab")
    with Terminal("run", "model.npz", "input.txt", cwd=tmp_path, pipes=["stdout"]) as terminal:
        assert terminal.finish() == 0
        assert terminal.shown == ""  # nothing under a second


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "words",
    [
        "generate model.npz a --length 1000000000 --seed 1 --output y.txt --quiet",
        "run model.npz - --predictions --output y.txt",
        "run model.npz - --from npy --output y.npy",
        "bench --shape 2000 8 64 64 --rounds 1000000 --against --json t.json",
    ],
)
def test_signals_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    save()
    before = sorted(tmp_path.rglob("*"))
    with subprocess.Popen([*PROGRAM, *words.split()], stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdin is not None
        process.stdin.write(b"ab")
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while sorted(tmp_path.rglob("*")) == before and not is_writing(tmp_path, process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (out, [line for line in err.splitlines() if b"T B I H" not in line]) == (b"", [])
    assert sorted(tmp_path.rglob("*")) == before
