"""The files of the corpus of tests/fuzz, and a few at random: loaded or refused, in little memory, and nothing run."""

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import situations, watch
from fuzz.draws import Draw
from fuzz.engine import corpus, mutated
from fuzz.machine import main
from fuzz.readers import READERS
from fuzz.situations import Situation
from fuzz.trial import Trial

import rnn_backends as rb
from rnn_backends.formats import changes

FUZZ = Path(__file__).parents[1] / "fuzz"


@pytest.fixture(name="reader", params=READERS)
def _reader(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    for package in READERS[name].needs:
        pytest.importorskip(package)
    return name


def test_files_of_the_corpus_load_or_are_refused(reader: str) -> None:
    words = [
        sys.executable,
        str(FUZZ),
        "--engine",
        "lines",
        "--count",
        str(len(corpus(reader)) + 100),
        "--reader",
        reader,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith(reader)).split()
    assert int(row[1]) >= len(corpus(reader)) + 100
    assert min(int(row[2]), int(row[3])) > 5, "the files are too sound, or too strange, to find anything"


def test_without_choices_a_file_is_sound_and_the_same_choices_make_the_same_file(reader: str) -> None:
    generate = READERS[reader].generate
    data = bytes(range(256))
    assert generate(Draw(data)) == generate(Draw(data))
    with Trial(reader) as trial:
        assert trial.tried(b"") == "loaded"


@pytest.mark.parametrize("situation", situations.ALL, ids=str)
def test_a_file_is_read_in_each_situation(situation: Situation) -> None:
    with Trial("npz") as trial:
        found = trial.done(trial.generate(Draw(b"")), situation)
        assert found == ("refused" if situation.place or situation.event or situation.call else "loaded")


def test_a_model_of_a_file_that_changed_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes.Seen, "change", lambda _: None)
    with Trial("npz") as trial:
        found = trial.done(trial.generate(Draw(b"")), Situation(event="becomes longer"))
        assert found == "it was loaded, although the file becomes longer"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("/x/y.npz is bad.", ""),
        ("it is bad.", "it names no file"),
        ("/x/y.npz\nis bad.", "it is no one line that can be printed"),
        ("/x/y.npz is \ud800.", "it is no one line that can be printed"),
        ("/x/y.npz" + " is bad" * 80, "it has more than 400 characters"),
    ],
)
def test_a_message_is_judged(said: str, problem: str) -> None:
    assert watch.problem_of(said, Path("/x/y.npz")) == problem


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        MemoryError(),
        RecursionError("deep"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "x"),
        SystemExit("exec"),
    ],
)
def test_any_other_error_is_a_failure(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(rb, "load", fail)
    with Trial("npz") as trial:
        assert trial.tried(b"").startswith(type(error).__name__)
        assert trial.seen.outcomes == {"failed": 1}
        assert list(trial.seen.failures.values()) == [b""]


def test_a_load_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_: object, **__: object) -> None:
        while True:
            pass

    monkeypatch.setattr(rb, "load", wait)
    monkeypatch.setattr("fuzz.trial.ENDLESS", 0.2)
    with Trial("npz") as trial:
        assert trial.tried(b"").startswith("it did not end")


def test_memory_beyond_the_size_is_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    load = rb.load

    def take(*arguments: object, **options: object) -> object:
        assert bytearray(b"x" * 2**26)
        return load(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(rb, "load", take)
    with Trial("npz") as trial:
        assert trial.tried(b"") == "loaded"
        assert list(trial.seen.suspects.values()) == [b""]
        assert trial.seen.largest >= 2**26


def test_choices_that_are_crossed_stay_short() -> None:
    import random

    draw = random.Random(5)
    found = [mutated(draw, bytes(600), bytes(range(256))) for _ in range(50)]
    assert len(set(found)) > 40
    assert max(map(len, found)) <= 600


def test_an_unknown_reader_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--reader", "nonsense"])
    assert "invalid choice: 'nonsense'" in capsys.readouterr().err
