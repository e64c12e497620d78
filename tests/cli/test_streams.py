"""The command `run` on text as it is read, from a file and from stdin, whole or line by line."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run

import rnn_backends as rb
from rnn_backends.cli.running import samples, streams

LETTERS = "ab c\nö"
TEXT = "abba cab\nöc ab abc\nab\n\na böa\n"
NOISE = rb.Noise(0.5, seed=4)
WORDS = ("the", "cat", "sat", "on", "<unk>")


def save(letters: Any = LETTERS, *, outputs: int | None = None, **options: Any) -> rb.RNN:
    drawn = rb.RNN.init(
        len(letters), 7, output_size=outputs or len(letters), seed=3, bidirectional=options.pop("bidirectional", False)
    )
    rnn = rb.RNN(drawn.layers, drawn.readout, vocabulary=letters, **options)
    rnn.save("model.npz")
    return rnn


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(data: bytes | str) -> None:
        held = data if isinstance(data, bytes) else data.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(held))))

    return give


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("is_piped", [False, True])
def test_pieces_give_what_the_whole_gives(
    run: Run, monkeypatch: pytest.MonkeyPatch, stdin: Any, backend: str, piece: int, is_piped: bool
) -> None:
    rnn = save().to(backend)
    monkeypatch.setattr(streams, "PIECE", piece)
    Path("input.txt").write_text(TEXT, encoding="utf-8")
    stdin(TEXT)
    name = "-" if is_piped else "input.txt"
    result = run("run", "model.npz", name, "--backend", backend, "--output", "p.npy")
    assert (result.code, result.err) == (0, "")
    np.testing.assert_allclose(np.load("p.npy"), rb.to_numpy(rnn.probabilities(TEXT[:-1])), rtol=0, atol=1e-6)
    wanted = float(rnn.loss(TEXT[:-1], TEXT[1:])) / np.log(2)
    assert float(result.rows["bits per character"]) == pytest.approx(wanted, abs=3e-6)
    assert result.rows["sequence length"].strip() == str(len(TEXT) - 1)
    assert result.rows["input"].strip() == name


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_the_noise_of_a_text_goes_on_from_piece_to_piece(
    run: Run, monkeypatch: pytest.MonkeyPatch, backend: str, piece: int
) -> None:
    rnn = save(noise=NOISE).to(backend)
    monkeypatch.setattr(streams, "PIECE", piece)
    Path("input.txt").write_text(TEXT, encoding="utf-8")
    assert run("run", "model.npz", "input.txt", "--backend", backend, "--output", "p.npy").code == 0
    np.testing.assert_allclose(np.load("p.npy"), rb.to_numpy(rnn.probabilities(TEXT[:-1])), rtol=0, atol=1e-6)


@pytest.mark.parametrize("words", [["--lines"], ["--reads", "last"]])
def test_noise_is_not_drawn_by_the_order_of_lines_and_rows(run: Run, words: list[str]) -> None:
    rnn = save(noise=NOISE)
    Path("input.txt").write_text("ab\nabc\n")
    result = run("run", "model.npz", "input.txt", *words)
    assert result.code == 1
    assert "batched by their lengths, and what the noise of this model draws depends on the place" in result.err
    # As it is advised.
    np.save("x.npy", [[0, 1], [1, 0], [3, 3]])
    assert run("run", "model.npz", "x.npy", "--output", "p.npy").code == 0
    np.testing.assert_allclose(np.load("p.npy"), rnn.probabilities(np.load("x.npy")), rtol=0, atol=1e-6)


def test_a_table_of_one_sequence_has_the_noise_of_the_first(run: Run) -> None:
    rnn = rb.RNN(rb.RNN.init(2, 5).layers, takes="features", noise=NOISE)
    rnn.save("model.npz")
    x = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    rows = "\n".join(f"{a},{b}" for a, b in x)
    Path("x.csv").write_text(f"a,b\n{rows}\n")
    assert run("run", "model.npz", "x.csv", "--output", "states.npy").code == 0
    np.testing.assert_allclose(np.load("states.npy"), rnn(x)[0], rtol=0, atol=1e-6)
    Path("x.csv").write_text("i,a,b\n" + "\n".join(f"1,{row}" for row in rows.split()))
    assert "the noise of this model" in run("run", "model.npz", "x.csv", "--id", "i").err


@pytest.mark.parametrize("piece", [1, 4, 1000])
def test_words_may_stand_in_two_pieces(run: Run, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    rnn = save(WORDS, unknown="<unk>")
    text = " the cat\nsat  on the mat on"
    Path("input.txt").write_text(text)
    monkeypatch.setattr(streams, "PIECE", piece)
    result = run("run", "model.npz", "input.txt", "--predictions")
    words = text.split()
    assert result.out == " ".join(WORDS[index] for index in rnn.predict(" ".join(words[:-1])))
    wanted = float(rnn.loss(" ".join(words[:-1]), " ".join(words[1:]))) / np.log(2)
    assert f"bits per word    {wanted:.6f}\n" in result.err


def test_backward_cells_see_all_of_a_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rnn = save(outputs=2, bidirectional=True)
    monkeypatch.setattr(streams, "PIECE", 2)
    Path("input.txt").write_text(TEXT, encoding="utf-8")
    assert run("run", "model.npz", "input.txt", "--output", "p.npy").code == 0
    np.testing.assert_allclose(np.load("p.npy"), rnn.probabilities(TEXT), rtol=0, atol=1e-6)


def test_half_precision_goes_on_from_full_states(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    rnn = rb.load("model.npz").to(dtype="float16")
    rnn.save("model.npz")
    monkeypatch.setattr(streams, "PIECE", 2)
    Path("input.txt").write_text(TEXT, encoding="utf-8")
    assert run("run", "model.npz", "input.txt", "--output", "p.npy").code == 0
    np.testing.assert_array_equal(np.load("p.npy"), rnn.probabilities(TEXT[:-1]))


@pytest.mark.parametrize("piece", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ab\nöabXa", "the character 'X' at line 2, column 4 is not in the model's vocabulary of 6 characters"),
        ("ab\n\naab\n \nX", "the character 'X' at line 5, column 1 is not in"),
        ("Xab", "the character 'X' at line 1, column 1 is not in"),
    ],
)
def test_the_place_is_that_in_the_whole_text(
    run: Run, monkeypatch: pytest.MonkeyPatch, piece: int, text: str, message: str
) -> None:
    save()
    monkeypatch.setattr(streams, "PIECE", piece)
    Path("input.txt").write_text(text, encoding="utf-8")
    result = run("run", "model.npz", "input.txt", "--output", "y.npy")
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert not Path("y.npy").exists()


def test_the_place_of_a_word_in_the_whole_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save(("a", "b"))
    monkeypatch.setattr(streams, "PIECE", 3)
    Path("input.txt").write_text("a b a\nb mat a")
    assert "the word 'mat', word 5 of the text, is not in" in run("run", "model.npz", "input.txt").err
    assert "the word 'mat', word 2 of line 2, is not in" in run("run", "model.npz", "input.txt", "--lines").err


@pytest.mark.parametrize("piece", [1, 2, 5, 1000])
def test_damaged_text_is_named_by_its_byte(run: Run, monkeypatch: pytest.MonkeyPatch, stdin: Any, piece: int) -> None:
    save()
    monkeypatch.setattr(streams, "PIECE", piece)
    Path("input.txt").write_bytes("abö a".encode() + b"\xf6b")  # as Latin-1 has it
    stdin(Path("input.txt").read_bytes())
    for name, said in (("input.txt", "input.txt"), ("-", "stdin")):
        err = run("run", "model.npz", name).err
        assert f"{said}: it is not UTF-8 text: " in err
        assert "at byte 6; convert it, for example by `iconv -f LATIN1 -t UTF-8`" in err


def test_a_mark_of_the_byte_order_is_no_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    Path("input.txt").write_text("abba", encoding="utf-8-sig")
    for piece in (2, 1000):
        monkeypatch.setattr(streams, "PIECE", piece)
        assert run("run", "model.npz", "input.txt").rows["sequence length"].strip() == "3"


# Lines


@pytest.mark.parametrize("piece", [2, 1000])
@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_are_sequences_of_their_own(
    run: Run, monkeypatch: pytest.MonkeyPatch, backend: str, piece: int, end: str
) -> None:
    rnn = save().to(backend)
    lines = ["abba cab", "", "öc", "a", "ab abc b"]
    monkeypatch.setattr(streams, "PIECE", piece)
    monkeypatch.setattr(samples, "MOST", 2)
    Path("input.txt").write_text("\r\n".join(lines) + end, encoding="utf-8", newline="")
    words = ["run", "model.npz", "input.txt", "--lines", "--backend", backend]
    result = run(*words, "--predictions")
    assert result.code == 0
    vocabulary = rnn.placed.vocabulary
    assert vocabulary is not None
    wanted = [vocabulary.decode(rb.to_numpy(rnn.predict(line[:-1]))) for line in lines if len(line) > 1]
    wanted[1:1] = [""]
    wanted[3:3] = [""]
    assert result.out == "\n".join(wanted) + "\n"
    losses = [float(rnn.loss(line[:-1], line[1:])) * (len(line) - 1) for line in lines if len(line) > 1]
    bits = sum(losses) / sum(len(line) - 1 for line in lines if line) / np.log(2)
    rows = run(*words).rows
    assert float(rows["bits per character"]) == pytest.approx(bits, abs=3e-6)
    assert (rows["sequences"].strip(), rows["sequence length"].strip()) == ("5", "up to 7")


def test_tags_of_lines(run: Run) -> None:
    rnn = save(outputs=2, bidirectional=True, metadata={"classes": "no yes"})
    Path("input.txt").write_text("abba cab\na\n")
    result = run("run", "model.npz", "input.txt", "--lines", "--predictions", "--quiet")
    tags = [" ".join(("no", "yes")[tag] for tag in rnn.predict(line)) for line in ("abba cab", "a")]
    assert result == (0, "".join(f"{line}\n" for line in tags), "")


@pytest.mark.parametrize("batch_first", [False, True])
def test_lines_that_are_read_as_a_whole_come_in_their_order(
    run: Run, monkeypatch: pytest.MonkeyPatch, batch_first: bool
) -> None:
    rnn = save(outputs=3, reads="max", batch_first=batch_first, metadata={"classes": "x y z"})
    draw = np.random.default_rng(0)
    lines = ["".join(draw.choice(list("ab c"), size=size)) for size in draw.integers(0, 30, 50)]
    Path("input.txt").write_text("\n".join(lines))
    monkeypatch.setattr(samples, "MOST", 4)
    assert run("run", "model.npz", "input.txt", "--output", "p.npy").code == 0
    wanted = np.array([rnn.probabilities(line) for line in lines])
    np.testing.assert_allclose(np.load("p.npy"), wanted, rtol=0, atol=1e-6)
    names = run("run", "model.npz", "input.txt", "--predictions", "--quiet").out.splitlines()
    assert names == ["xyz"[index] for index in wanted.argmax(axis=-1)]


# Arrays from stdin


def test_arrays_come_from_stdin(run: Run, stdin: Any) -> None:
    rnn = rb.RNN.init(3, 5, output_size=4)
    rnn.save("model.npz")
    x = np.random.default_rng(0).normal(size=(6, 2, 3))
    for name, options in (("x.npy", []), ("x.npz", ["--from", "npz"])):
        np.save(name, x) if name.endswith("y") else np.savez(name, x=x, lengths=[6, 2])
        stdin(Path(name).read_bytes())
        assert run("run", "model.npz", "-", *options, "--output", "p.npy").code == 0
        lengths = None if name.endswith("y") else [6, 2]
        np.testing.assert_array_equal(np.load("p.npy"), rnn.probabilities(x, lengths=lengths))
    stdin("1,2,3\n")
    result = run("run", "model.npz", "-")
    assert result.code == 1
    assert "what stdin brings is unknown, as the model has no vocabulary; name it by --from" in result.err


@pytest.mark.parametrize(
    ("option", "what"), [("--id", "tables"), ("--x", "tables"), ("--targets", "tables"), ("--lengths", "a batch")]
)
def test_options_of_another_format_than_stdin_brings(run: Run, stdin: Any, option: str, what: str) -> None:
    save()
    stdin(TEXT)
    code, out, err = run("run", "model.npz", "-", option, 1)
    assert (code, out) == (2, "")
    assert f"{option} is for {what}" in err
    assert "and the input is text; leave it out, or name the format by --from" in err


def test_an_empty_stdin_and_a_closed_one(run: Run, monkeypatch: pytest.MonkeyPatch, stdin: Any) -> None:
    save()
    stdin("")
    assert (
        "text must have at least 2 characters, one to predict the other; stdin has 0."
        in run("run", "model.npz", "-").err
    )
    assert "text must have at least one line, each a sequence of its own; stdin is empty." in (
        run("run", "model.npz", "-", "--lines").err
    )
    monkeypatch.setattr(sys, "stdin", None)
    result = run("run", "model.npz", "-")
    assert (result.code, result.out) == (1, "")
    assert "the input is to come from stdin, which is closed; name a file instead of -." in result.err
