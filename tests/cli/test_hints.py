"""Remarks on stderr where something is run that may not be what was meant, and what the report shows for that."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Run
from terminal import PROGRAM, Terminal

import rnn_backends as rb

JSONL, CSV = (
    "looks like JSON Lines; if it is that, give --from jsonl",
    "looks like CSV; if it is that, give --from csv",
)
LETTERS = 'abcdeintx ,:{}"\n'


def letters_model(**options: object) -> rb.RNN:
    drawn = rb.RNN.init(len(LETTERS), 4, output_size=len(LETTERS), seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary=LETTERS, **options)  # type: ignore[arg-type]
    rnn.save("model.npz")
    return rnn


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', JSONL),
        ("id,text\nabe,ace\n", CSV),
        ("a cab, a tea\nid,text\n", None),
        ("abc\nde\n", None),
        ("{a}\n", None),
        ("a,b", None),
    ],
)
def test_text_that_looks_like_a_table(run: Run, monkeypatch: pytest.MonkeyPatch, text: str, remark: str | None) -> None:
    letters_model()
    Path("input").write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
    wanted = "" if remark is None else f"rnn-backends: the input is read as text, and {remark}\n"
    for name in ("input", "-"):
        result = run("run", "model.npz", name)
        assert (result.code, result.err) == (0, wanted)
    assert run("run", "model.npz", "input", "--from", "text").err == ""


def test_a_prompt_that_is_a_file(run: Run) -> None:
    letters_model()
    Path("abc").write_text("tea")
    words = ["generate", "model.npz", "abc", "--length", 3, "--seed", 1]
    result = run(*words)
    assert result.code == 0
    wanted = "PROMPT is taken as text; to continue the text of the file 'abc', give - < abc"
    assert f"rnn-backends: {wanted}\n" in result.err
    assert run(*words, "--quiet").err == ""
    assert "taken as text" not in run("generate", "model.npz", "ab", "--length", 3, "--seed", 1).err


def test_a_stdin_that_is_left_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    letters_model()
    command = [*PROGRAM, "generate", "model.npz", "--length", "3", "--seed", "1"]
    remark = b"rnn-backends: stdin is not read; to continue what it brings, give - as PROMPT\n"
    assert subprocess.run(command, input=b"abc", capture_output=True, check=True).stderr == remark
    assert subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stderr == b""
    assert subprocess.run([*command, "--quiet"], input=b"abc", capture_output=True, check=True).stderr == b""
    with Terminal("generate", "model.npz", "--length", 3, "--seed", 1, cwd=tmp_path) as terminal:
        assert terminal.finish() == 0
        assert "stdin" not in terminal.shown


def test_line_breaks_that_a_vocabulary_lacks(run: Run) -> None:
    drawn = rb.RNN.init(3, 4, output_size=2, seed=1)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="abc").save("model.npz")
    Path("input.txt").write_text("abc\nab\n")
    err = run("run", "model.npz", "input.txt").err
    assert err.endswith("of 3 characters; give --lines if each line is a sequence of its own.\n")
    assert run("run", "model.npz", "input.txt", "--lines").code == 0
    Path("input.txt").write_text("abd\n")
    assert "--lines" not in run("run", "model.npz", "input.txt").err


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_report_says_how_x_is_read(run: Run, batch_first: bool) -> None:
    drawn = rb.RNN.init(3, 4, output_size=2, seed=1)
    rb.RNN(drawn.layers, drawn.readout, batch_first=batch_first).save("model.npz")
    np.save("x.npy", np.ones((2, 5, 3)))
    axes = "(batch, seq_len, ...)" if batch_first else "(seq_len, batch, ...)"
    assert run("run", "model.npz", "x.npy").rows["input"].strip() == f"x.npy, x of shape (2, 5, 3) as {axes}"
    Path("x.csv").write_text("id,a,c,b\n1,1,2,3\n")
    result = run("run", "model.npz", "x.csv", "--id", "id", "--x", "b,a,c")
    assert result.rows["input"].strip() == "x.csv, 'b', 'a', 'c' as x"
    assert json.loads(run("run", "model.npz", "x.csv", "--id", "id", "--json").out)["read_as"] == "'a', 'c', 'b' as x"


def test_the_report_counts_what_is_unknown(run: Run) -> None:
    letters_model(unknown="x")
    Path("input.txt").write_text("a z\nyet\nx\n")  # z, y and the x itself
    for words in ([], ["--lines"]):
        rows = run("run", "model.npz", "input.txt", *words).rows
        assert rows["unknown"].split()[0] == "3"
    Path("x.csv").write_text("text\na z\nyet\nx\n")
    assert run("run", "model.npz", "x.csv").rows["unknown"].strip() == "3 of 7 characters"
    Path("input.txt").write_text("abc\n")
    assert "unknown" not in run("run", "model.npz", "input.txt").rows


def test_accuracy_beside_the_loss(run: Run, backend: str) -> None:
    drawn = rb.RNN.init(3, 4, output_size=4, seed=1)
    rnn = rb.RNN(drawn.layers, drawn.readout)
    rnn.save("model.npz")
    x, targets = np.random.default_rng(0).normal(size=(6, 5, 3)), np.random.default_rng(1).integers(0, 4, (6, 5))
    lengths, mask = [6, 0, 3, 6, 1], np.random.default_rng(2).random((6, 5)) < 0.7
    ids = rnn.predict(x, lengths=lengths)
    counted = (np.arange(6)[:, None] < lengths) & mask
    np.savez("x.npz", x=x, targets=targets, lengths=lengths, mask=mask)
    right, count = int(((ids == targets) & counted).sum()), int(counted.sum())
    words = ["run", "model.npz", "x.npz", "--backend", backend]
    result = run(*words)
    assert result.rows["accuracy"].strip() == f"{right / count:.6f}, {right} of {count}"
    loss = float(rnn.loss(x, targets, lengths=lengths, mask=mask))
    assert float(result.rows["cross-entropy"].split()[0]) == pytest.approx(loss, abs=1e-6)
    np.savez("x.npz", x=x, targets=targets[0], lengths=lengths)
    right = int((rnn.predict(x, lengths=lengths, reads="last") == targets[0])[np.array(lengths) > 0].sum())
    result = run(*words, "--reads", "last", "--json")
    assert json.loads(result.out)["accuracy"] == pytest.approx(right / 4)


def test_values_are_no_classes(run: Run) -> None:
    """The report of a regression shows its first outputs, and no ids of the largest."""
    drawn = rb.RNN.init(3, 4, seed=1)
    rnn = rb.RNN(drawn.layers, rb.Linear(np.ones((2, 4), "f4"), activation="identity"), reads="last")
    rnn.save("model.npz")
    x = np.ones((5, 2, 3))
    np.save("x.npy", x)
    rows = run("run", "model.npz", "x.npy").rows
    assert rows["outputs"].split() == [f"{value:.6g}" for value in rnn.logits(x).reshape(-1).tolist()]
