"""The programs of examples/deploy: what they print, and how well their networks do on data held out from training.

With --deploy FOLDER, those of a copy of it, in which the networks were trained again.
"""

import os
import re
import subprocess
import sys
from math import exp
from pathlib import Path

import numpy as np
import pytest

import rnn_backends as rb

SHIPPED = Path(__file__).parents[1] / "examples" / "deploy"
PROGRAMS = ("names", "sentiment", "forecast", "words", "spaces")


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--deploy") or SHIPPED).resolve()


def stated(name: str) -> float:
    """Return what README.md states of a network, in its table."""
    (row,) = re.findall(rf"^\| `{name}\.py` \|.*$", (SHIPPED / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return float(row.split("|")[-2].split()[0].rstrip("%"))


def allowance(folder: Path) -> float:
    """Return by how much a network may fall behind README.md: what is shipped by its rounding alone."""
    return 0.001 if folder == SHIPPED else 0.05


def printed(folder: Path, name: str, elsewhere: Path, *words: str) -> list[str]:
    """Run a program from another working directory and return the lines that it prints."""
    command = [sys.executable, "-W", "error", str(folder / f"{name}.py"), *words]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    run = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def labelled(path: Path) -> list[list[str]]:
    return [line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()]


def right(rnn: rb.RNN, rows: list[list[str]], vocabulary: list[str], texts: list[list[str]]) -> float:
    """Return the percentage of right labels, computed in one batch."""
    unknown = vocabulary.index(str(rnn.unknown))
    ids = [[vocabulary.index(item) if item in vocabulary else unknown for item in text] for text in texts]
    x, lengths = rb.pad(ids)
    wanted = [rnn.metadata["classes"].split().index(label) for label, _ in rows]
    return 100 * float(np.mean(rnn.predict(x, lengths=lengths) == wanted))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short_and_its_network_small(folder: Path, name: str) -> None:
    text = (folder / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 25
    weights = folder / f"{name}.safetensors"
    assert weights.stat().st_size < 200_000
    assert {"task", "source", "licence"} <= rb.load(weights).metadata.keys()
    imported = set(re.findall(r"^(?:import|from) ([\w.]+)", text, re.MULTILINE))
    assert imported <= {"numpy", "rnn_backends", *sys.stdlib_module_names}


def test_names(folder: Path, tmp_path: Path) -> None:
    lines = printed(folder, "names", tmp_path)
    assert [line.split()[:2] for line in lines] == [
        ["Wilkinson", "English"],
        ["Rantanen", "Finnish"],
        ["Krueger", "German"],
        ["Castelli", "Italian"],
        ["Nishimura", "Japanese"],
        ["Smirnov", "Russian"],
    ]
    (line,) = printed(folder, "names", tmp_path, "Çelik")
    probabilities = [int(number) for number in re.findall(r"(\d+)%", line)]
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)


def test_names_held_out(folder: Path) -> None:
    rnn, rows = rb.load(folder / "names.safetensors"), labelled(folder / "data" / "names-held-out.txt")
    assert not {name for _, name in rows} & {name for _, name in labelled(folder / "data" / "names.txt")}
    texts = [list(name.lower()) for _, name in rows]
    assert right(rnn, rows, list(rnn.vocabulary or ""), texts) >= stated("names") - 100 * allowance(folder)


def test_sentiment(folder: Path, tmp_path: Path) -> None:
    lines = printed(folder, "sentiment", tmp_path)
    assert [line.split()[0] for line in lines] == ["positive", "negative", "positive", "negative"]
    (line,) = printed(folder, "sentiment", tmp_path, "The cake was delicious!")
    assert re.fullmatch(r"positive \d+%  The cake was delicious!", line)


def test_sentiment_held_out(folder: Path) -> None:
    rnn, rows = rb.load(folder / "sentiment.safetensors"), labelled(folder / "data" / "sentences-held-out.txt")
    assert not {text for _, text in rows} & {text for _, text in labelled(folder / "data" / "sentences.txt")}
    texts = [text.split() for _, text in rows]
    assert len(rnn.readout) == 2
    assert right(rnn, rows, list(rnn.vocabulary or ()), texts) >= stated("sentiment") - 100 * allowance(folder)


def test_forecast(folder: Path, tmp_path: Path) -> None:
    *months, network, naive = printed(folder, "forecast", tmp_path)
    assert len(months) == 6
    assert months[-1].startswith("2010-12  forecast 25.")
    assert months[-1].endswith("measured 25.29")
    error, naive_error = (float(re.findall(r": (\d\.\d\d) degrees", line)[0]) for line in (network, naive))
    assert error <= stated("forecast") + (0.005 if folder == SHIPPED else 0.04)
    assert error < naive_error == 0.36


def test_words(folder: Path, tmp_path: Path) -> None:
    text, measured = printed(folder, "words", tmp_path)
    assert text.startswith("my lord , ")
    assert len(text.split()) == 63
    assert len(set(text.split())) > 15
    passage = (folder / "data" / "the-tempest.txt").read_text(encoding="utf-8").split()
    rnn = rb.load(folder / "words.safetensors").to(dtype="float32")
    perplexity = exp(rnn.loss(" ".join(passage[:-1]), " ".join(passage[1:])))
    assert float(measured.split()[-1]) == pytest.approx(perplexity, rel=0.01)
    assert perplexity <= stated("words") * (1.01 + (folder != SHIPPED) * 0.04)
    (line, _) = printed(folder, "words", tmp_path, "Good morrow, zzz!")
    assert line.startswith("good morrow , zzz ! ")


def test_spaces(folder: Path, tmp_path: Path) -> None:
    lines = printed(folder, "spaces", tmp_path)
    assert len(lines) == 8
    assert lines[5:] == ["bestir bestir", "heigh my hearts", "cheerly cheerly my hearts"]
    assert printed(folder, "spaces", tmp_path, "WhatIsThyName?") == ["what is thy name"]


def test_spaces_held_out(folder: Path) -> None:
    """The sentences in one batch, each as it is alone: the padding changes nothing."""
    rnn = rb.load(folder / "spaces.safetensors")
    lines = (folder / "data" / "the-tempest.txt").read_text(encoding="utf-8").splitlines()
    sentences = [words for line in lines if (words := re.sub("[^a-z' ]", "", line).split())]
    vocabulary = str(rnn.vocabulary)
    x, lengths = rb.pad([[vocabulary.index(letter) for letter in "".join(words)] for words in sentences])
    begins = rnn.predict(x, lengths=lengths).T
    wanted, _ = rb.pad([[int(k == 0) for word in words for k in range(len(word))] for words in sentences])
    valid = begins >= 0
    assert valid.sum() == lengths.sum()
    assert 100 * np.mean((begins == wanted.T)[valid]) >= stated("spaces") - 100 * allowance(folder)
    assert (begins[0, : lengths[0]] == rnn.predict("".join(sentences[0]))).all()
