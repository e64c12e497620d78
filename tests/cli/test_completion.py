"""Completion by shells: the scripts are right, and bash completes what there is."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Run

from rnn_backends.cli.parser import make_parser

SHELLS = ("bash", "zsh", "fish")
NEEDED = "completion needs the package 'shtab', which is not installed: pip install 'rnn-backends[completion]'."
COMMANDS = make_parser().commands
DRIVE = r"""
source ./script
function="$(complete -p rnn-backends)"
function="${function##*-F }"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_LINE="${COMP_WORDS[*]}"
COMP_POINT=${#COMP_LINE}
"${function%% *}" 2> errors
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(run: Run) -> Callable[..., set[str]]:
    """Return what bash completes the words of a command line with, of which the last one is begun."""
    pytest.importorskip("shtab")
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    Path("script").write_text(run("completion", "bash").out)

    def call(*words: str) -> set[str]:
        command = ["bash", "--norc", "-c", DRIVE, "bash", "rnn-backends", *words]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    return call


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_right(run: Run, shell: str) -> None:
    pytest.importorskip("shtab")
    code, out, err = run("completion", shell)
    assert (code, err) == (0, "")
    for command, parser in COMMANDS.items():
        assert command in out
        assert all(option.lstrip("-") in out for option in parser.options)
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    Path("script").write_text(out)
    done = subprocess.run([shell, "-n", "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_has_no_colon_of_a_metavar(run: Run) -> None:
    pytest.importorskip("shtab")
    out = run("completion", "zsh").out
    assert ":NAME:" in out
    assert "[:DEVICE]" not in out
    assert "('T'" not in out


def test_bash_completes(complete: Callable[..., set[str]]) -> None:
    call = complete
    for name in ("model.npz", "my-input.npy"):
        Path(name).touch()
    assert call("") >= COMMANDS.keys()
    assert call("in") == {"info"}
    assert call("help", "be") == {"bench"}
    assert call("completion", "") == set(SHELLS)
    assert call("--v") == {"--version"}
    assert call("run", "-") == set(COMMANDS["run"].options)
    assert call("convert", "--no-b") == {"--no-batch-first"}
    assert call("run", "m") == {"model.npz", "my-input.npy"}
    assert call("run", "model.npz", "my") == {"my-input.npy"}
    assert call("run", "--batch-first", "model.npz", "my") == {"my-input.npy"}
    assert call("run", "model.npz", "my-input.npy", "--output", "mo") == {"model.npz"}
    assert call("run", "model.npz", "my-input.npy", "--reads", "") == {"steps", "last", "final", "mean", "max"}
    assert call("bench", "--against", "onn") == {"onnxruntime"}
    assert call("bench", "--dtype", "") == {"float32", "float64"}


def test_without_shtab(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert run("completion", "bash") == (
        1,
        "",
        f"rnn-backends: error: {NEEDED}\n",
    )
    code, _, err = run("completion", "bsh")
    assert (code, err.count("\n")) == (2, 1)
    assert "expected one of bash, zsh, fish; got 'bsh'. Did you mean bash?" in err
