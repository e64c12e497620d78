"""Words of any length and kind on the command line: what is said of them is short, one line, and can be printed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run

import rnn_backends as rb

LONG = "w" * 3000
ODD = "\x1b[31m\n\r\ud800é" * 400
DEEP = "/".join(["e" * 100] * 40)
NUMBER = "9" * 4200
KINDS = {"long": LONG, "odd": ODD, "deep": DEEP, "digits": NUMBER}
COMMANDS: dict[str, tuple[str, ...]] = {
    "a command": ("{}",),
    "an option": ("run", "--{}"),
    "an option of the program": ("--{}", "run"),
    "an option with another dash": ("run", "m.npz", "t.txt", "\u2014{}"),
    "a word too many": ("run", "m.npz", "t.txt", "{}"),
    "a model": ("run", "{}", "t.txt"),
    "a model to tell of": ("info", "{}"),
    "a model to convert": ("convert", "{}", "o.npz"),
    "an input": ("run", "m.npz", "{}"),
    "a table": ("run", "m.npz", "{}.csv"),
    "a file of arrays": ("run", "m.npz", "{}.npy"),
    "a format": ("run", "m.npz", "t.txt", "--from", "{}"),
    "a packed input": ("run", "m.npz", "{}.gz"),
    "an output": ("run", "m.npz", "t.txt", "--output", "{}"),
    "an output of text": ("run", "m.npz", "t.txt", "--predictions", "--output", "{}.txt"),
    "an output of two formats": ("run", "m.npz", "t.txt", "--to", "csv", "--output", "{}.npy"),
    "a column": ("run", "m.npz", "t.csv", "--x", "{}"),
    "columns": ("run", "m.npz", "t.csv", "--x", "{},{}"),
    "an id": ("run", "m.npz", "t.csv", "--id", "{}"),
    "targets": ("run", "m.npz", "t.csv", "--targets", "{}"),
    "lengths": ("run", "m.npz", "x.npy", "--lengths", "{}"),
    "a way to read": ("run", "m.npz", "t.txt", "--reads", "{}"),
    "a backend": ("run", "m.npz", "t.txt", "--backend", "{}"),
    "a device": ("run", "m.npz", "t.txt", "--backend", "numpy:{}"),
    "an activation": ("run", "m.npz", "t.txt", "--activation", "{}"),
    "a prompt": ("generate", "m.npz", "{}"),
    "a length": ("generate", "m.npz", "a", "--length", "{}"),
    "a temperature": ("generate", "m.npz", "a", "--temperature", "{}"),
    "a stop": ("generate", "m.npz", "a", "--length", "1", "--stop", "{}"),
    "a prompt of ids": ("generate", "ids.npz", "{}"),
    "a stop of ids": ("generate", "ids.npz", "0", "--stop", "{}"),
    "a prompt of steps": ("generate", "f.npz", "{}"),
    "a text to write": ("generate", "m.npz", "a", "--output", "{}/o.txt"),
    "a model to write over": ("generate", "m.npz", "a", "--output", "{}.npz"),
    "a file to convert to": ("convert", "m.npz", "{}"),
    "a long file to convert to": ("convert", "m.npz", "{}.npz"),
    "shapes": ("bench", "--shape", "{}", "2", "2", "2"),
    "times": ("bench", "--rounds", "{}"),
    "a library": ("bench", "--against", "{}"),
    "a shell": ("completion", "{}"),
    "help": ("help", "{}"),
    "a value of an option without one": ("run", "m.npz", "t.txt", "--json={}"),
    "a value of another": ("convert", "m.npz", "o.npz", "--traceback={}"),
    "roles": ("info", "m.npz", "--roles", "{}"),
    "names": ("info", "m.npz", "--names", "{}"),
    "a file of names": ("info", "m.npz", "--names", "a={}"),
    "a key": ("info", "m.npz", "--key", "{}"),
}


@pytest.fixture
def files(run: Run) -> None:  # it comes first: it changes the folder
    """Models over letters, ids and features, and inputs of each kind."""
    drawn = rb.RNN.init(3, 4, output_size=3, seed=0)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="abc").save("m.npz")
    rb.RNN(drawn.layers, drawn.readout, takes="tokens").save("ids.npz")
    forecaster = rb.Linear(drawn.readout.weight, activation="identity")
    rb.RNN(drawn.layers, forecaster, takes="features").save("f.npz")
    Path("t.txt").write_text("abcabc", encoding="utf-8")
    Path("t.csv").write_text("text,y\nabc,0\n", encoding="utf-8")
    np.save("x.npy", np.zeros((2, 3), np.int64))


def require_short(err: str) -> None:
    line = err.removesuffix("\n")
    assert err.endswith("\n")
    assert line.isprintable()
    assert len(line) <= 400


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_word_is_not_echoed_whole(run: Run, name: str, kind: str) -> None:
    before = sorted(Path().iterdir())
    words = [word.replace("{}", KINDS[kind]) for word in COMMANDS[name]]
    code, out, err = run(*words)
    # A prompt of letters that are known, or the word of a kind that all words are, may be taken.
    assert code in {1, 2}, out[:80]
    if name == "a model to tell of" or (words[0] == "info" and not err):
        assert len(out) <= 20_000  # which repeats the path, as a result
        return
    for line in err.splitlines(keepends=True):
        require_short(line)
    assert sorted(Path().iterdir()) == before


TABLES = {
    "a name of a column": f"{LONG},b\n1,2,3\n",
    "names of columns that are alike": f"{LONG},{LONG}\n1,2\n",
    "many columns": ",".join(f"column{index}" for index in range(5000)) + "\n" + ",".join(["1"] * 5000) + "\n",
    "a text in a column of numbers": f"a,b,c\n{LONG},1,2\n",
    "an odd text in a column of numbers": f"a,b,c\n{ODD.replace(chr(0xD800), '')[:50]!a},1,2\n",
}
OBJECTS: dict[str, dict[str, Any]] = {
    "a list": {"x": [[1.5] * 1000] * 3},
    "a list of texts": {"x": ["a" * 1000] * 50},
    "an object": {"x": {"a": {"b": list(range(1000))}}},
    "an id that is a list": {"id": [1] * 5000, "x": [[1.0, 2.0, 3.0]]},
    "an id that is long": {"id": LONG, "y": LONG, "x": 1},
}


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", [*TABLES, *OBJECTS])
def test_what_a_table_holds_is_not_echoed_whole(run: Run, name: str) -> None:
    if name in TABLES:
        Path("in.csv").write_text(TABLES[name], encoding="utf-8")
        code, _, err = run("run", "f.npz", "in.csv")
    else:
        Path("in.jsonl").write_text(json.dumps(OBJECTS[name]) + "\n", encoding="utf-8")
        code, _, err = run("run", "f.npz", "in.jsonl", *(["--id", "id"] if "id" in OBJECTS[name] else []))
    assert code == 1
    require_short(err)
    assert "1.5, 1.5" not in err


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("place", ["l/o.npz", "no/o.npz", f"{'n' * 252}.npz", "m.npz", "f/o.npz"])
def test_a_long_path_that_cannot_be_written(run: Run, place: str) -> None:
    folder = Path(*["e" * 200] * 8)
    (folder / "m.npz").mkdir(parents=True)
    (folder / "l").symlink_to("l")
    (folder / "f").touch()
    code, _, err = run("convert", "m.npz", folder / place)
    assert code == 1
    require_short(err)
    assert "cannot be written: " in err or "is no ordinary file" in err
    assert sorted(each.name for each in folder.iterdir()) == ["f", "l", "m.npz"]
