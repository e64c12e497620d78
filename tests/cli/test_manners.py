"""Help, examples, versions, and output that any terminal takes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pt_files
import pytest
from commands import Run
from terminal import Terminal

import rnn_backends as rb
from rnn_backends.cli.examples import EXAMPLES
from rnn_backends.cli.parser import make_parser

TESTS = Path(__file__).parents[1]
COMMANDS = tuple(make_parser().commands)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_and_has_examples(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = command.split()
    code, out, err = run(*words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: {' '.join(['rnn-backends', *words])} [OPTION ...]")
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert 2 <= len(EXAMPLES[command]) <= 5
    for purpose, line in EXAMPLES[command]:
        lines = "\n".join(f"  {part}" for part in line.split("\n"))
        assert f"  # {purpose}\n{lines}" in out, "examples are never wrapped"
    assert run(*words, "-h") == run("help", *words) == (0, out, "")


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("columns", ["1", "20", "400"])
def test_help_in_any_width(run: Run, monkeypatch: pytest.MonkeyPatch, command: str, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run(*command.split(), "--help").code == 0


def test_the_help_of_the_program(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run("--help").out
    assert "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted" in out
    assert [re.search(rf"^ +{command} ", out, re.MULTILINE) is not None for command in COMMANDS] == [True] * len(
        COMMANDS
    )
    code, nothing, err = run()
    assert (code, nothing) == (2, "")
    assert err.startswith(out.partition("Examples, ")[0].rstrip())
    assert err.endswith("\nrnn-backends: error: no command is given. See `rnn-backends --help`.\n")
    assert run("--traceback").code == 2
    code, nothing, err = run("help", "rnu")
    assert (code, nothing) == (2, "")
    assert err.endswith("got 'rnu'. Did you mean run? See `rnn-backends help --help`.\n")


def test_the_version(run: Run) -> None:
    assert run("-V") == run("--version") == (0, f"rnn-backends {rb.__version__}\n", "")


def test_help_is_in_colour_only_where_argparse_has_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in run("--help").out + run("run", "--help").out + run().err


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder that the examples are for, with weights of a user."""
    place = tmp_path_factory.mktemp("examples") / "deploy"
    shutil.copytree(TESTS.parent / "examples" / "deploy", place)
    pt_files.write(place / "weights.pt")
    return place


SHOWN = [line for command, examples in EXAMPLES.items() if command != "completion" for _, line in examples]
"""The examples; those of completion are for several shells, and have tests of their own."""


@pytest.mark.parametrize("line", dict.fromkeys(SHOWN))
def test_examples_work(deploy: Path, line: str) -> None:
    script = f'set -euo pipefail\nrnn-backends() {{ {shlex.quote(sys.executable)} -m rnn_backends "$@"; }}\n{line}'
    done = subprocess.run(["bash", "-c", script], cwd=deploy, capture_output=True, text=True, check=False)
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_in_a_terminal_of_20_columns(command: str) -> None:
    with Terminal(*command.split(), "--help", columns=20, NO_COLOR="1", FORCE_COLOR="") as terminal:
        assert terminal.finish() == 0
        assert terminal.shown.count("usage: rnn-backends") == 1


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1"])
def test_no_encoding_is_too_small(tmp_path: Path, encoding: str) -> None:
    """Names of files that it cannot spell, and such as are no text at all, are shown escaped."""
    odd = os.fsdecode(b"\xff\xe4.npy")
    rb.RNN.init(3, 4).save(tmp_path / "模型.npz")
    for name in ("Ж.npy", odd):
        np.save(tmp_path / name, np.ones((4, 3)))
    outside = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    for words, code in (
        (["info", "模型.npz"], 0),
        (["info", "模型"], 1),
        (["run", "模型.npz", odd], 0),
        (["run", "模型.npz", "Ы.npy"], 1),
        (["run", "模型.npz", "Ж.npy", "--öutput"], 2),
        (["run", "模型.npz", odd, "--reads", "Ж"], 2),
    ):
        command = [sys.executable, "-m", "rnn_backends", *words]
        done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, check=False)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        assert done.stdout if code == 0 or words[0] == "info" else done.stderr


def test_streams_that_are_closed(tmp_path: Path) -> None:
    """Messages do not come among the results then, and results nowhere."""
    rb.RNN.init(3, 4, bidirectional=True).save(tmp_path / "m.npz")
    drawn = rb.RNN.init(4, 5, output_size=4)
    rb.RNN(drawn.layers, drawn.readout, vocabulary="ab,\n").save(tmp_path / "text.npz")
    (tmp_path / "table").write_text("a,b\nb,a\n")
    noted = "run text.npz table --output out.npy 2>&-"
    command = f"{shlex.quote(sys.executable)} -m rnn_backends"
    for words, code in (("run no.npz x.npy 2>&-", 1), ("info m.npz >&-", 0), ("walk 2>&-", 2), (f"{noted} >&-", 0)):
        done = subprocess.run(
            ["sh", "-c", f"{command} {words}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
