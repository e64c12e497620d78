"""A command over many inputs that ends, or whose processes do, at any moment: the next one goes on to the same end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from terminal import LIMIT, PROGRAM, Terminal

import rnn_backends as rb
from rnn_backends.cli.shards.folder import WORK
from rnn_backends.cli.shards.manifest import NAME

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
WORDS = ("run", "model.npz", "c/**/*.txt", "--to", "csv", "--output-dir")
ENDS = {"KILL": -9, "TERM": 143, "INT": 130, "HUP": 129}
"""The exit codes by the signals."""
COUNT, LENGTH = 10, 6000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model and inputs, one of which is wrong."""
    drawn = rb.RNN.init(4, 40, output_size=4, seed=1)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="abcd").save(tmp_path / "model.npz")
    (tmp_path / "c" / "sub").mkdir(parents=True)
    for index in range(COUNT):
        draw = np.random.default_rng(index)
        text = "".join(draw.choice([*"abcd"], LENGTH + 500 * index))
        (tmp_path / "c" / ("sub" if index % 2 else "") / f"{index}.txt").write_text(text)
    (tmp_path / "c" / "wrong.txt").write_text("x")
    return tmp_path


def begin(folder: Path, out: str, jobs: int) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = (*PROGRAM, *WORDS, out, "--jobs", str(jobs))
    return subprocess.Popen(words, cwd=folder, start_new_session=True, **pipes)


def end(folder: Path, out: str, jobs: int) -> float:
    """Run a command to its end, and return the seconds that it took."""
    begun = time.monotonic()
    with begin(folder, out, jobs) as command:
        said = command.communicate(timeout=LIMIT)
    assert command.returncode == 1, said
    assert "1 of 11 inputs failed" in said[1]
    return time.monotonic() - begun


def held(folder: Path) -> dict[str, bytes]:
    """The files in a folder, but those that are being made."""
    files = (each for each in folder.rglob("*") if each.is_file() and WORK not in each.parts)
    found = {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}
    return {name: content for name, content in found.items() if not Path(name).name.startswith(".")}


def children(process: int) -> list[int]:
    shown = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    return [int(pid) for pid, parent, state in rows if int(parent) == process and state[0] != "Z"]


def wait_for_end(processes: list[int]) -> None:
    limit = time.monotonic() + LIMIT
    while any(map(is_there, processes)):
        assert time.monotonic() < limit, "a process outlives its command"
        time.sleep(0.01)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_end_is_the_same_however_often_it_is_killed(folder: Path, pytestconfig: pytest.Config) -> None:
    random, kills = Random(0), pytestconfig.getoption("--kills")
    seconds = end(folder, "whole", 2)
    whole = held(folder / "whole")
    entries = json.loads(whole[NAME])["files"]
    assert len(whole) == COUNT + 1
    assert len(entries) == COUNT + 1
    found = dict.fromkeys((*ENDS, "worker", "while it worked"), 0)
    out, made = folder / "out0", 0
    for index in range(kills):
        command = begin(folder, out.name, random.choice((1, 2, 3)))
        time.sleep(random.uniform(0.1, 1.2 * seconds))
        workers = children(command.pid)
        found["while it worked"] += bool(workers) and (out / WORK).exists()
        if index % 2 and workers:
            os.kill(random.choice(workers), signal.SIGKILL)
            said, code, number = command.communicate(timeout=LIMIT), command.returncode, "worker"
            assert code == 1, said
            assert "1 of 11 inputs failed" in said[1]
        else:
            number = [*ENDS][index // 2 % 4]
            command.send_signal(signal.Signals[f"SIG{number}"])
            said, code = command.communicate(timeout=LIMIT), command.returncode
            assert code in {ENDS[number], 1, -signal.Signals[f"SIG{number}"]}, said  # as it begins, or has ended
            assert "Traceback" not in said[1]
            wait_for_end(workers)
        found[number] += 1
        # Whatever there is, is whole; whatever the manifest has of it, is true.
        between = held(out)
        for name, entry in json.loads(between.pop(NAME, b'{"files": {}}'))["files"].items():
            assert entry == entries[name]
        for name, content in between.items():
            assert content == whole[name], name
        if code == 1:
            assert held(out) == whole
            made += 1
            out = folder / f"out{made}"
    end(folder, out.name, 3)
    assert held(out) == whole
    assert sorted(each.name for each in out.iterdir()) == sorted({name.partition("/")[0] for name in whole})
    print(kills, "kills:", found)
    assert sum(found[name] for name in (*ENDS, "worker")) == kills
    assert found["while it worked"] >= kills / 4


@pytest.mark.parametrize("number", ["INT", "TERM", "HUP"])
def test_a_signal_ends_it_cleanly_and_the_next_goes_on(folder: Path, number: str) -> None:
    for path in (folder / "c").rglob("[0-9].txt"):
        path.write_text(path.read_text() * 4)  # long enough
    with begin(folder, "out", 2) as command:
        limit = time.monotonic() + LIMIT
        while len(list((folder / "out").rglob("*.csv"))) < 2:  # the first of which is recorded
            assert command.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.005)
        workers = children(command.pid)
        command.send_signal(signal.Signals[f"SIG{number}"])
        said = command.communicate(timeout=LIMIT)
    assert (command.returncode, said) == (ENDS[number], ("", "rnn-backends: interrupted\n" if number == "INT" else ""))
    assert len(workers) == 2
    wait_for_end(workers)
    assert not (folder / "out" / WORK).exists()
    entries = json.loads((folder / "out" / NAME).read_text())["files"]
    done = [name for name, entry in entries.items() if "failed" not in entry]
    assert {*done} <= {each.relative_to(folder / "out").as_posix() for each in (folder / "out").rglob("*.csv")}
    assert 0 < len(done) < COUNT
    again = subprocess.run([*PROGRAM, *WORDS, "out", "--json"], cwd=folder, capture_output=True, text=True, check=False)
    assert json.loads(again.stdout)["kept"] >= len(done)


def test_ctrl_c_in_a_terminal(folder: Path) -> None:
    with Terminal(*WORDS, "out", "--jobs", 2, cwd=folder) as terminal:
        limit = time.monotonic() + LIMIT
        while not list((folder / "out").rglob("*.csv")):
            assert time.monotonic() < limit
            time.sleep(0.005)
        terminal.type("\x03\x03")
        assert terminal.finish() == 130
        assert terminal.shown.replace("^C", "").splitlines()[-1] == "rnn-backends: interrupted"
        assert "Traceback" not in terminal.shown
    assert not (folder / "out" / WORK).exists()
