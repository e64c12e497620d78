"""Progress on stderr: what it shows, when, and that nothing about it ends a run."""

import io
import os
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from terminal import Terminal

from rnn_backends.cli import progress as module
from rnn_backends.cli.progress import progress

NAME = "the-tempest.txt"
SIZE = 95_912_345
KINDS = ["own", "tqdm"]


class Screen(io.StringIO):
    """A terminal that keeps what is written."""

    columns = 80

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1000

    @property
    def lines(self) -> list[str]:
        """What each drawing left on the line, without the blank that clears it."""
        return [drawn.rstrip() for drawn in self.getvalue().split("\r") if drawn.strip()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


Show = Callable[..., Screen]


@pytest.fixture
def show(clock: SimpleNamespace) -> Show:
    """Report what is done at some seconds, on a terminal of some width, and return the terminal."""

    def call(
        kind: str,
        done: Iterable[tuple[float, int]],
        total: int | None = SIZE,
        text: str = NAME,
        screen: Screen | None = None,
    ) -> Screen:
        screen = Screen() if screen is None else screen
        start = clock.now
        with pytest.MonkeyPatch.context() as patch:
            if kind == "own":
                patch.setitem(sys.modules, "tqdm", None)
            else:
                patch.setattr(pytest.importorskip("tqdm").std, "time", lambda: clock.now)
            patch.setenv("TERM", "xterm")
            patch.setattr(sys, "stderr", screen)
            patch.setattr(os, "get_terminal_size", lambda _: SimpleNamespace(columns=screen.columns))
            with progress(text, total, "characters") as report:
                for seconds, count in done:
                    clock.now = start + seconds
                    report(count)
        return screen

    return call


# The line of a terminal

STEADY = [(0.25 * quarter, SIZE // 80 * quarter) for quarter in range(81)]
UNEVEN = [
    (0.3, 5),
    (1.2, 12),
    (1.25, 13),
    (1.5, 13),
    (2.0, 999),
    (9.0, 123_456),
    (9.2, 9_994_999),
    (4000.5, 50_000_000),
]
STALLED = [(2.0, 0), (3.0, 0), (90.0, 1), (100_000.0, 2)]


@pytest.mark.parametrize("total", [SIZE, 50_000_000, None])
@pytest.mark.parametrize("done", [STEADY, UNEVEN, STALLED])
@pytest.mark.parametrize("columns", [80, 20])
def test_the_line_is_that_of_tqdm(
    show: Show, monkeypatch: pytest.MonkeyPatch, done: list[tuple[float, int]], total: int | None, columns: int
) -> None:
    monkeypatch.setattr(Screen, "columns", columns)
    own = show("own", done, total).getvalue()
    assert own.count("\r") > 3
    assert show("tqdm", done, total).getvalue().rstrip("\r") == own.rstrip("\r")


@pytest.mark.parametrize("kind", KINDS)
def test_the_line(show: Show, kind: str) -> None:
    assert show(kind, [(10.0, 39_300_000)]).lines == [
        "the-tempest.txt:  41% 39.3M/95.9M [00:10<00:14, 3.93M characters/s]"
    ]
    assert show(kind, [(3700.0, 37_000)], 74_000).lines == [
        "the-tempest.txt:  50% 37.0k/74.0k [1:01:40<1:01:40, 10.0 characters/s]"
    ]
    assert show(kind, [(10.0, 39_300_000)], None).lines == ["the-tempest.txt: 39.3M/? [00:10<?, 3.93M characters/s]"]
    assert show(kind, [(10.0, 0)]).lines == ["the-tempest.txt:   0% 0.00/95.9M [00:10<?, ? characters/s]"]
    assert show(kind, [(2.0, 12)], 10).lines == ["the-tempest.txt: 100% 10.0/10.0 [00:02<00:00, 5.00 characters/s]"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_follows_a_run_that_becomes_slower(show: Show, kind: str) -> None:
    done = [(second, 1000 * min(second, 10) + 10 * max(second - 10, 0)) for second in range(41)]
    assert " 10.0 characters/s" in show(kind, done).lines[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_shown_in_the_first_second_and_ten_lines_in_each_later_one(show: Show, kind: str) -> None:
    assert show(kind, [(hundredth / 100, hundredth) for hundredth in range(100)]).getvalue() == ""
    thousandths = [(thousandth / 1000, thousandth) for thousandth in range(3001)]
    assert 18 <= len(show(kind, thousandths).lines) <= 21


@pytest.mark.parametrize("kind", KINDS)
def test_the_line_is_cleared(show: Show, kind: str) -> None:
    shown = show(kind, [(2.0, 5)]).getvalue().rstrip("\r")
    assert shown.endswith(" characters/s]\r" + 79 * " ")


# Whatever the width and the text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", [NAME, "a\nb\r\x1b[31mc\x07.txt", "テンペスト第一幕第一場.txt", "a\udcffb\u202ec{n}%s"]
)
@pytest.mark.parametrize("columns", [80, 20, 7, 1, 0])
def test_no_line_is_wider_than_the_terminal(show: Show, kind: str, text: str, columns: int) -> None:
    screen = Screen()
    screen.columns = columns
    shown = show(kind, STEADY, text=text, screen=screen).getvalue()
    drawn = shown.split("\r")[1:-1]
    assert len(drawn) > 3
    widths = [sum(2 if letter > "\u3000" else 1 for letter in line) for line in drawn]
    assert max(widths) <= max((columns or 80) - 1, 1)
    assert "".join(drawn).isprintable()


def test_control_characters_are_escaped(show: Show) -> None:
    assert show("own", [(2.0, 5)], text="a\n\x1b[3\u202e.txt").lines[0].startswith("a\\n\\x1b[3\\u202e.txt:   0% ")


@pytest.mark.parametrize("kind", KINDS)
def test_figures_stay_in_sight_beside_a_long_name(show: Show, kind: str) -> None:
    (line,) = show(kind, [(10.0, 39_300_000)], text="x" * 300).lines
    assert line == "x" * 19 + ":  41% 39.3M/95.9M [00:10<00:14, 3.93M characters/s]"


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_width_counts_from_the_next_drawing(show: Show, kind: str) -> None:
    screen = Screen()

    def done() -> Iterable[tuple[float, int]]:
        for second, columns in enumerate([80, 80, 40, 100]):
            screen.columns = columns
            yield second + 0.5, second

    shown = show(kind, done(), text="x" * 300, screen=screen).getvalue().rstrip("\r")
    widths = [len(line) for line in shown.split("\r")[1:]]
    assert widths == [75, 39, 80, 99]


def test_what_the_encoding_lacks_is_escaped_and_counts(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "encoding", "ascii")
    assert show("own", [(2.0, 5)], text="öl.txt").lines[0].startswith("\\xf6l.txt: ")


# Where there is no terminal


class Pipe(io.StringIO):
    """A file that keeps what is written, and is no terminal."""


def reported(monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace, total: int | None, pipe: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", pipe)
    start = clock.now
    with progress("the-tempest\n.txt", total, "characters") as report:
        for tenth in range(351):
            clock.now = start + tenth / 10
            report(61_440 * tenth // 10)
    return pipe.getvalue()


@pytest.mark.parametrize("dumb", [False, True])
def test_plain_lines_every_ten_seconds(monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace, dumb: bool) -> None:
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    pipe = Screen if dumb else Pipe
    assert reported(monkeypatch, clock, 3_000_000, pipe()).splitlines() == [
        "rnn-backends: the-tempest\\n.txt: 20% of 3.00M characters, 61.4k characters/s, 0:38 left",
        "rnn-backends: the-tempest\\n.txt: 41% of 3.00M characters, 61.4k characters/s, 0:28 left",
        "rnn-backends: the-tempest\\n.txt: 61% of 3.00M characters, 61.4k characters/s, 0:18 left",
    ]
    assert reported(monkeypatch, clock, None, pipe()).splitlines()[1:] == [
        "rnn-backends: the-tempest\\n.txt: 1.23M characters, 61.4k characters/s",
        "rnn-backends: the-tempest\\n.txt: 1.84M characters, 61.4k characters/s",
    ]


@pytest.mark.parametrize("kind", [Screen, Pipe])
def test_nothing_is_shown_of_nothing_or_quietly(
    monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace, kind: type[io.StringIO]
) -> None:
    for total, quiet in ((SIZE, True), (None, True), (0, False)):
        stderr = kind()
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress(NAME, total, "characters", quiet=quiet) as report:
            for _ in range(3):
                clock.now += 20
                report(0)
        assert stderr.getvalue() == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_costs_next_to_nothing(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind == "own":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Screen())
    with progress(NAME, SIZE, "characters") as report:
        seconds = min(timeit.repeat(lambda: report(5), number=10_000, repeat=5)) / 10_000
    assert seconds < 2e-6


# A stderr that takes nothing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [BrokenPipeError, OSError(28, "No space left on device"), OSError(5, "I/O error")])
def test_a_terminal_that_is_gone(show: Show, kind: str, error: Exception) -> None:
    class Gone(Screen):
        attempts = 0

        def write(self, _: str) -> int:
            self.attempts += 1
            raise error

        def fileno(self) -> int:
            raise io.UnsupportedOperation

    screen = Gone()
    show(kind, STEADY, screen=screen)
    assert screen.attempts == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_that_is_closed_meanwhile(show: Show, kind: str) -> None:
    screen = Screen()

    def done() -> Iterable[tuple[float, int]]:
        yield 2.0, 5
        screen.close()
        yield 3.0, 6

    show(kind, done(), screen=screen)
    assert screen.closed


SCRIPT = """
import sys, termios, threading, time
from rnn_backends.cli import progress

kind, way = sys.argv[1:]
if kind == "own":
    sys.modules["tqdm"] = None
progress.DELAY, progress.PLAIN = 0.2, 0.1
if way == "wait":  # or the kernel may drop what is written while it handles Ctrl-C
    modes = termios.tcgetattr(0)
    modes[3] |= termios.NOFLSH
    termios.tcsetattr(0, termios.TCSANOW, modes)
try:
    with progress.progress("x" * 100, 100, "steps") as report:
        for step in range(0, 100, 20):
            report(step)
            time.sleep(0.1)
        if way == "fail":
            raise OSError("no luck")
        if way == "wait":
            time.sleep(60)
except OSError as error:
    print(f"error: {error}", file=sys.stderr)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
assert threading.enumerate() == [threading.main_thread()]
assert "multiprocessing.synchronize" not in sys.modules
print("done")
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize("redirected", ["2>/dev/full", "2>&-", "2>&1 >&3 | true"], ids=["full", "closed", "no reader"])
def test_a_stderr_that_takes_nothing_ends_nothing(script: Path, redirected: str) -> None:
    command = f'{{ "$0" "$1" own end {redirected}; }} 3>&1; exit ${{PIPESTATUS:-$?}}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


# In a real terminal


def rows(shown: str, columns: int) -> list[str]:
    """Return what a terminal shows in the end."""
    found, at = [""], 0
    for letter in shown:
        if letter == "\n":
            found.append("")
        elif letter == "\r":
            at = 0
        else:
            assert letter.isprintable()
            if at == columns:
                found.append("")
                at = 0
            found[-1] = found[-1][:at].ljust(at) + letter + found[-1][at + 1 :]
            at += 1
    return [row.rstrip() for row in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("columns", "line"), [(80, "x" * 19 + ":  40% 40.0/100 [00:00<00:0"), (20, "x" * 4 + ":  40% 40")]
)
def test_the_next_line_after_an_error_stands_alone(script: Path, kind: str, columns: int, line: str) -> None:
    with Terminal(script, kind, "fail", program=[sys.executable], columns=columns) as terminal:
        shown = terminal.wait_for(line)
        assert len(rows(shown, columns)) == 1
        assert terminal.finish() == 0
    assert rows(terminal.shown, columns) == ["error: no luck", "done", ""]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [80, 40])
def test_what_is_left_of_ctrl_c_is_cleared(script: Path, kind: str, columns: int) -> None:
    with Terminal(script, kind, "wait", program=[sys.executable], columns=columns) as terminal:
        terminal.wait_for(":  40% ")
        terminal.type("\x03")
        assert terminal.finish() == 0
    assert "^C" in terminal.shown
    assert rows(terminal.shown, columns) == ["interrupted", "done", ""]


def test_plain_lines_in_a_pipe_beside_a_terminal(script: Path) -> None:
    with Terminal(script, "tqdm", "end", program=[sys.executable], pipes=["stderr"]) as terminal:
        assert terminal.finish() == 0
    lines = terminal.piped.splitlines()
    assert lines[0].startswith(f"rnn-backends: {'x' * 100}: 20% of 100 steps, ")
    assert all(line.endswith(" left") for line in lines)
    assert terminal.shown == "done\r\n"
