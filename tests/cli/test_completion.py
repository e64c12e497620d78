"""Completion: each script is right in its own shell, and completes what there is to complete."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Run
from terminal import Terminal

from rnn_backends.cli.arguments import SHELLS
from rnn_backends.cli.examples import EXAMPLES
from rnn_backends.cli.parser import make_parser
from rnn_backends.cli.running.formats import INPUTS, OUTPUTS
from rnn_backends.core.activations import ACTIVATIONS
from rnn_backends.core.network import READS

PROGRAM = f'rnn-backends() {{ {sys.executable} -m rnn_backends "$@"; }}\n'
OF_FISH = f"function rnn-backends; {sys.executable} -m rnn_backends $argv; end\n"
COMMANDS = set(make_parser().commands)
FILES = {"a.npz", "b.txt", "folder"}
CASES = [
    ([""], COMMANDS),
    (["co"], {"convert", "completion"}),
    (["--v"], {"--version"}),
    (["help", ""], COMMANDS),
    (["help", "g"], {"generate"}),
    (["completion", ""], set(SHELLS)),
    (["run", "--re"], {"--reads", "--readout-activation", "--residual"}),
    (["run", "a.npz", "b.txt", "--pre"], {"--predictions"}),
    (["generate", "--top"], {"--top-k", "--top-p"}),
    (["run", "--reads", ""], set(READS)),
    (["run", "--from", ""], set(INPUTS)),
    (["run", "a.npz", "--to", ""], set(OUTPUTS)),
    (["info", "--takes", "t"], {"tokens"}),
    (["info", "--activation", ""], set(ACTIVATIONS)),
    (["run", "--readout-activation", "softm"], {"softmax"}),
    (["generate", "--backend", "cu"], {"cupy"}),
    (["bench", "--dtype", ""], {"float32", "float64"}),
    (["bench", "--shape", "1", "2", "3", "4", "--against", ""], {"torch", "onnxruntime"}),
    (["--traceback", "inf"], {"info"}),
    (["run", "a"], {"a.npz"}),
    (["run", "a.npz", ""], FILES),
    (["info", ""], FILES),
    (["convert", "--batch-first", "a.npz", "b"], {"b.txt"}),
    (["run", "a.npz", "b.txt", "--output", ""], FILES),
    (["run", "a.npz", "b.txt", "--output-d"], {"--output-dir"}),
    (["run", "a.npz", "--output-dir", "fo"], {"folder"}),
    (["run", "a.npz", "b.txt", "a"], {"a.npz"}),
    (["run", "--jo"], {"--jobs"}),
    (["bench", "--json", "fo"], {"folder"}),
]
"""Words of which the last is not complete, and what it may become."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files, and the scripts beside it."""
    place = tmp_path_factory.mktemp("completion") / "here"
    (place / "folder").mkdir(parents=True)
    for name in ("a.npz", "b.txt"):
        (place / name).touch()
    for shell in SHELLS:
        done = subprocess.run(
            [sys.executable, "-m", "rnn_backends", "completion", shell], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        (place.parent / shell).write_text(done.stdout, encoding="utf-8")
    return place


def in_shell(shell: str, script: str, folder: Path) -> str:
    """Run a script in a shell without the files of a user, where there is that shell; return what it prints."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    bare = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run([shell, *bare, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_right(folder: Path, shell: str) -> None:
    assert in_shell(shell, f"{shell} -n ../{shell}", folder) == ""


@pytest.mark.parametrize(("words", "wanted"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_completion_in_bash(folder: Path, words: list[str], wanted: set[str]) -> None:
    """As Bash itself calls the function that the script makes known to it."""
    script = f"""
set -eu
source ../bash
read -ra made <<< "$(complete -p rnn-backends)"
COMP_WORDS=(rnn-backends {shlex.join(words)}) COMP_CWORD={len(words)}
"${{made[-2]}}" rnn-backends {shlex.quote(words[-1])} {shlex.quote(["rnn-backends", *words][-2])}
[ ${{#COMPREPLY[@]}} = 0 ] || printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    found = in_shell("bash", script, folder).split()
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize(("words", "wanted"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_completion_in_fish(folder: Path, words: list[str], wanted: set[str]) -> None:
    shown = in_shell("fish", f"source ../fish; complete -C {shlex.quote(' '.join(['rnn-backends', *words]))}", folder)
    assert {line.partition("\t")[0].rstrip("/") for line in shown.splitlines()} == wanted


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
def test_completion_in_zsh(folder: Path) -> None:
    """As it is typed: zsh completes nothing without its editor."""
    with Terminal(program=["zsh", "-f", "-i"], cwd=folder) as terminal:
        terminal.type("autoload -U compinit; compinit -D; eval \"$(cat ../zsh)\"; echo RE''ADY\n")
        terminal.wait_for("READY")
        for words, wanted in [
            ("gen", "generate"),
            ("help b", "help bench"),
            ("completion z", "completion zsh"),
            ("run a", "run a.npz"),
            ("run a.npz b.txt --pre", "b.txt --predictions"),
            ("run --reads st", "--reads steps"),
            ("generate --backend cu", "--backend cupy"),
        ]:
            terminal.type(f"rnn-backends {words}\t")
            terminal.wait_for(wanted)
            terminal.type("\x15")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_help_says_sets_it_up(folder: Path, shell: str) -> None:
    """The lines of the examples, each in its shell."""
    (line,) = [line for purpose, line in EXAMPLES["completion"] if purpose.startswith(f"{shell}:")]
    assert f"completion {shell}" in line
    if shell == "fish":
        shown = in_shell(shell, f"{OF_FISH}{line}\ncomplete -C 'rnn-backends run --pr'", folder)
        assert shown.startswith("--predictions\t")
    elif shell == "zsh":
        begin = f"{PROGRAM}autoload -U compinit && compinit -D\n"
        assert in_shell(shell, f"{begin}{line}\necho $_comps[rnn-backends]", folder) == "_shtab_rnn_backends\n"
    else:
        assert "-F _shtab_rnn_backends" in in_shell(shell, f"{PROGRAM}{line}\ncomplete -p rnn-backends", folder)


def test_without_shtab(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, out, err = run("completion", "bash")
    assert (code, out) == (1, "")
    wanted = "completion needs the package 'shtab', which is not installed: pip install 'rnn-backends[completion]'."
    assert err == f"rnn-backends: error: {wanted}\n"
    assert "completion" in run("--help").out


def test_shells_by_other_names(run: Run) -> None:
    code, _, err = run("completion", "bsh")
    assert code == 2
    assert "expected one of bash, zsh, fish; got 'bsh'. Did you mean bash?" in err


def test_completion_changes_no_later_command(run: Run) -> None:
    before = run("run", "--help")
    assert run("completion", "bash").code == 0
    assert run("run", "--help") == before
    assert "invalid choice" not in run("info", "no.npz", "--activation", "other").err
