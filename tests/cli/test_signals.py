"""Ctrl-C, SIGTERM and SIGHUP: one word at most, the exit code, and nothing left behind."""

import _imp
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from commands import Run
from terminal import LIMIT, PROGRAM, Terminal, is_writing

import rnn_backends as rb
from rnn_backends import startup
from rnn_backends.__main__ import program
from rnn_backends.cli import main as cli
from rnn_backends.cli import process, signals
from rnn_backends.cli.signals import SIGNALS, Ended, raised

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
LONG = ("run", "model.npz", "x.npy", "--output", "y.npy")
BENCH = ("bench", "--shape", "50", "8", "16", "32", "--against", "--rounds", "1000000")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and an input that takes it long."""
    path = tmp_path_factory.mktemp("long")
    rb.RNN.init(1, 64, num_layers=4, output_size=2).save(path / "model.npz")
    np.save(path / "x.npy", np.ones((3_000_000, 1), np.float32))
    return path


def wait_for_part(folder: Path, command: "subprocess.Popen[Any]") -> None:
    end = time.monotonic() + LIMIT
    while not is_writing(folder, command.pid):
        assert command.poll() is None, "the command has ended"
        assert time.monotonic() < end, "no file was begun"
        time.sleep(0.01)


def require_nothing_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["model.npz", "x.npy"]


def of_session(leader: int) -> list[int]:
    """Return the processes of a session."""
    shown = subprocess.run(["ps", "-e", "-o", "pid=,sess=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    return [int(pid) for pid, session, state in rows if int(session) == leader and state[0] != "Z"]


@pytest.mark.parametrize("keys", ["\x03", "\x03\x03", "\x03\x03\x03\x03\x03"])
def test_ctrl_c_while_a_model_runs(folder: Path, keys: str) -> None:
    with Terminal(*LONG, cwd=folder) as terminal:
        wait_for_part(folder, terminal.process)
        terminal.type(keys)
        assert terminal.finish() == 130
        assert terminal.shown.replace("^C", "").splitlines()[-1] == "rnn-backends: interrupted"
        assert terminal.shown.count("rnn-backends: interrupted") == 1
        assert "Traceback" not in terminal.shown
    require_nothing_left(folder)


def test_ctrl_c_ends_the_contestants_of_bench(tmp_path: Path) -> None:
    with Terminal(*BENCH, cwd=tmp_path, TMPDIR=str(tmp_path)) as terminal:
        terminal.wait_for("T B I H = ")
        end = time.monotonic() + LIMIT
        while len(of_session(terminal.process.pid)) < 2:
            assert time.monotonic() < end, "no contestant was started"
        for _ in range(2):  # as it is started, or once it measures
            time.sleep(0.3)
        terminal.type("\x03")
        assert terminal.finish() == 130
        assert terminal.shown.replace("^C", "").splitlines()[1:] == ["rnn-backends: interrupted"]
        assert of_session(terminal.process.pid) == []
    assert list(tmp_path.iterdir()) == []


def begun(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start a command in a session of its own, and return it when it writes its output."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    made = subprocess.Popen([*words, *PROGRAM, *LONG], cwd=folder, start_new_session=True, **pipes)
    wait_for_part(folder, made)
    return made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_undo_what_was_begun(folder: Path, number: signal.Signals) -> None:
    with begun(folder) as command:
        command.send_signal(number)
        out, err = command.communicate(timeout=LIMIT)
    assert (command.returncode, out) == (128 + number, "")
    assert err == ("rnn-backends: interrupted\n" if number == signal.SIGINT else "")
    require_nothing_left(folder)


def test_signals_that_are_ignored_stay_ignored(folder: Path) -> None:
    with begun(folder, "sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh") as command:
        for number in (signal.SIGINT, signal.SIGHUP):
            command.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(0.5)
        command.terminate()
        assert command.communicate(timeout=LIMIT) == ("", "")
    assert command.returncode == 128 + signal.SIGTERM
    require_nothing_left(folder)


INTERRUPTED = "rnn-backends: interrupted\n"
IMPORTS: dict[str, tuple[str, str, int, str]] = {
    "a library that info looks for": ("jax", "info", 130, INTERRUPTED),
    "a backend": ("torch", "run m.npz x.npy --backend torch", 130, INTERRUPTED),
    "a format": ("msgpack", "info m.msgpack", 130, INTERRUPTED),
    "a format to write": ("safetensors", "convert m.npz o.safetensors", 130, INTERRUPTED),
    "NumPy": ("numpy", "info m.npz", -signal.SIGINT, ""),
    "what reads the words": ("argparse", "--version", -signal.SIGINT, ""),
}
"""Modules, the words of a command that imports them, and its end: before the first word is read, the signal's own."""


@pytest.mark.parametrize("kind", IMPORTS)
def test_an_interrupt_in_an_import_of_a_command(tmp_path: Path, kind: str) -> None:
    module, words, code, said = IMPORTS[kind]
    hidden = tmp_path / "modules"
    hidden.mkdir()
    (hidden / f"{module}.py").write_text("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)")
    rb.RNN.init(3, 4).save(tmp_path / "m.npz")
    (tmp_path / "m.msgpack").write_bytes(b"\x80")
    np.save(tmp_path / "x.npy", np.ones((2, 1, 3), np.float32))
    before = sorted(tmp_path.iterdir())
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join([str(hidden), *sys.path])}
    command = [*PROGRAM, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=outside, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_once(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            for again in (number, *SIGNALS):
                signal.raise_signal(again)
            cleaned.append(number)

    with raised():
        with pytest.raises(Ended) as caught:
            work()
        assert (caught.value.code, cleaned) == (128 + number, [number])
        monkeypatch.setattr(signals, "SAME_SECONDS", -1.0)  # later it is another wish, were the first one lost
        with pytest.raises(Ended):
            signal.raise_signal(number)


class Dying:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_exception_that_python_ignores_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    hook, end = sys.unraisablehook, time.monotonic() + LIMIT

    def work() -> None:
        Dying()
        while time.monotonic() < end:
            time.sleep(0.01)

    with raised(), pytest.raises(Ended):
        work()
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("step", ["create_dynamic", "exec_dynamic"])
def test_the_initialisation_of_an_extension_module_is_not_disturbed(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """An exception would go through its C++, which may end the process or leave a wrong ImportError."""
    done, end = [], time.monotonic() + LIMIT

    def initialise(_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        done.append(step)

    monkeypatch.setattr(_imp, step, initialise)
    loader = ExtensionFileLoader("none", "none.so")
    spec = ModuleSpec("none", loader)

    def load() -> None:
        if step == "create_dynamic":
            loader.create_module(spec)
        else:
            loader.exec_module(ModuleType("none"))

    def work() -> None:
        load()
        while time.monotonic() < end:
            time.sleep(0.01)

    with raised(), pytest.raises(Ended) as caught:
        work()
    assert (caught.value.code, done) == (128 + signal.SIGTERM, [step])


@pytest.fixture
def handlers() -> Iterator[list[object]]:
    """The handlers of this process, which it has again afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield list(before.values())
    for number, held in before.items():
        signal.signal(number, held)


def test_handlers_are_as_they_were(run: Run, handlers: list[object]) -> None:
    for words in (["--version"], ["walk"], ["info", "no.npz"]):
        run(*words)
        assert [signal.getsignal(number) for number in SIGNALS] == handlers
    with pytest.raises(ZeroDivisionError), raised():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_main_runs_in_another_thread() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]


INTERRUPTED = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"
PROGRAM_FILE = "import sys\nfrom rnn_backends.__main__ import program\nsys.exit(program())\n"
CAUTIOUS = "import sys\nsys.argv = ['rnn-backends']\ntry:\n    import rnn_backends\nexcept KeyboardInterrupt:\n    sys.exit('closed')\n"


def interrupted(folder: Path, *words: str, text: str = "") -> tuple[int, str, str]:
    """Run Python in a folder, whose import of NumPy is interrupted, with a program of a text where one is given."""
    (folder / "numpy.py").write_text(INTERRUPTED)
    if text:
        Path(folder, words[0]).write_text(text)
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False, env=outside
    )
    return done.returncode, done.stdout, done.stderr.strip()


@pytest.mark.parametrize("name", ["rnn-backends", "rnn-backends.exe"])
def test_an_interrupt_before_the_first_word_is_read(tmp_path: Path, name: str) -> None:
    assert interrupted(tmp_path, name, "info", text=PROGRAM_FILE) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("options", [(), ("-u",), ("-W", "error")])
def test_an_interrupt_before_the_first_word_of_a_module_is_read(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert interrupted(tmp_path, *options, "-m", "rnn_backends", "info") == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    "words",
    [("rnn-backends.py",), ("server.py",), ("server.py", "-m", "rnn_backends"), ("server.py", "rnn-backends")],
    ids=" ".join,
)
def test_an_interrupt_is_a_programs_own(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Whatever it is called, and whatever words it is given."""
    assert interrupted(tmp_path, *words, text=CAUTIOUS) == (1, "", "closed")


@pytest.mark.parametrize("words", [("-m", "server"), ("-m", "server", "-m", "rnn_backends")], ids=" ".join)
def test_an_interrupt_is_a_modules_own(tmp_path: Path, words: tuple[str, ...]) -> None:
    package = tmp_path / "server"
    package.mkdir()
    (package / "__init__.py").write_text(CAUTIOUS.replace("sys.argv = ['rnn-backends']\n", ""))
    (package / "__main__.py").touch()
    assert interrupted(tmp_path, *words) == (1, "", "closed")


ARGUMENTS: tuple[Any, ...] = (None, [], [Path("rnn-backends")], [b"-m"], ["rnn-backends", "info"])


@pytest.mark.parametrize("words", ARGUMENTS, ids=str)
@pytest.mark.usefixtures("handlers")
def test_whatever_a_program_writes_to_its_words_it_keeps_its_handlers(
    monkeypatch: pytest.MonkeyPatch, words: Any
) -> None:
    monkeypatch.setattr(sys, "argv", words)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    importlib.reload(startup)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("handlers")
def test_the_program_has_python_show_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    for code, held, left in (
        (0, signal.default_int_handler, signal.SIG_DFL),
        (130, signal.default_int_handler, signal.SIG_DFL),
        (143, signal.SIG_IGN, signal.SIG_IGN),
    ):
        signal.signal(signal.SIGINT, held)
        monkeypatch.setattr(cli, "main", lambda code=code: code)
        assert program() == code
        assert signal.getsignal(signal.SIGINT) == left
    assert ended == [130, 143]


def test_a_contestant_that_nobody_asks_ends() -> None:
    child = subprocess.run([sys.executable, "-c", process.CHILD, *sys.path], input="", capture_output=True, text=True, check=False)  # fmt: skip
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
