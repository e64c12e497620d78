"""Progress of a long command on stderr: one line of a terminal, drawn again and again, or a plain line now and then."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from time import monotonic
from typing import Any, Protocol

from rnn_backends.cli.reports import PROG
from rnn_backends.cli.stderr import Stderr, cut

DELAY = 1.0
"""The seconds of a run before the line of a terminal is shown."""
REFRESH = 0.1
"""The least seconds between two drawings of it."""
PLAIN = 10.0
"""The least seconds before a plain line, where stderr is no terminal."""
SMOOTHING = 0.3
"""The share of the last interval in the rate, which follows a run that becomes slower or faster."""

KNOWN = "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
UNKNOWN = "{desc}: {n_fmt}/? [{elapsed}<?, {rate_noinv_fmt}]"
"""The line of a terminal, with and without a total: the format of a bar of tqdm, and of the one here."""
PLAIN_KNOWN = f"{PROG}: {{desc}}: {{percentage:.0f}}% of {{total_fmt}}{{unit}}, {{rate_noinv_fmt}}, {{left}} left\n"
PLAIN_UNKNOWN = f"{PROG}: {{desc}}: {{n_fmt}}{{unit}}, {{rate_noinv_fmt}}\n"


@contextmanager
def progress(text: str, total: int | None, unit: str, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Yield a function that is given how much is done, and shows it now and then; it costs next to nothing otherwise.

    Parameters
    ----------
    text : str
        What is shown first, such as the name of a file; control characters in it are escaped.
    total : int or None
        How much there is to do; None where it is unknown.
    unit : str
        What is counted, in the plural.
    quiet : bool, default: False
        Whether to show nothing.

    Yields
    ------
    callable
        Takes how much is done since the start: never less than before.

    Notes
    -----
    A terminal has one line, by tqdm where that is installed, after the first second; it is cleared at the end, so that
    whatever is printed next stands alone. Other files, and terminals that cannot go back in a line, have a plain line
    every 10 seconds. A stderr that is closed or full shows nothing more and ends nothing.
    """
    stream = Stderr(sys.stderr)
    if quiet or total == 0:
        yield lambda _: None
        return
    text = stream.showable(text)
    if not stream.is_terminal():
        plain = _Plain(text, total, f" {unit}", stream)
        yield _now_and_then(lambda done: plain.update(done - plain.n), PLAIN, PLAIN, total)
        return
    with _bar(text, total, f" {unit}", stream) as line:

        def draw(done: int) -> None:
            line.desc = cut(text, max(stream.columns() // 4, 2))  # or a long name would leave no room for the figures
            line.update(done - line.n)

        try:
            yield _now_and_then(draw, DELAY, REFRESH, total)
        finally:
            stream.clear()


def _now_and_then(draw: Callable[[int], None], first: float, every: float, total: int | None) -> Callable[[int], None]:
    """Return a function that draws if the time has come, and otherwise does nothing but look at the clock."""
    due = monotonic() + first

    def report(done: int) -> None:
        nonlocal due
        now = monotonic()
        if now >= due:
            due = now + every
            draw(done if total is None else min(done, total))

    return report


class _Line(Protocol):
    """A bar of tqdm, or the one here."""

    desc: str
    n: int

    def update(self, n: int, /) -> object: ...


def _bar(text: str, total: int | None, unit: str, stream: Stderr) -> AbstractContextManager[_Line]:
    """Return a bar of tqdm where it is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext(_Bar(text, total, unit, stream))
    # tqdm's thread, which draws when nothing is reported, and its lock between processes are of no use here;
    # its printer does not look at the width of the terminal.
    printer = staticmethod(lambda _: lambda line: stream.draw(line) if line else stream.clear())
    kind: Any = type("Bar", (tqdm,), {"monitor_interval": 0, "status_printer": printer})
    kind.set_lock(RLock())
    bar: AbstractContextManager[_Line] = kind(
        desc=text,
        total=total,
        unit=unit,
        unit_scale=True,
        bar_format=UNKNOWN if total is None else KNOWN,
        file=stream,
        leave=False,
        delay=DELAY,
        mininterval=0,
        miniters=0,
        smoothing=SMOOTHING,
        ascii=True,
        position=0,
    )
    return bar


class _Meter:
    """Count, time and rate of what is done, in tqdm's words and by its rules.

    Parameters
    ----------
    text, total, unit
        As tqdm takes them: a space before the unit.
    stream : Stderr
        Where `update` writes.
    """

    def __init__(self, text: str, total: int | None, unit: str, stream: Stderr) -> None:
        self.desc, self.n, self._total, self._unit, self._stream = text, 0, total, unit, stream
        self._start = self._last = monotonic()
        self._items = self._seconds = 0.0

    def _count(self, n: int) -> None:
        """Add n to what is done."""
        now = monotonic()
        seconds = now - self._last
        if seconds and n:
            self._items += SMOOTHING * (n - self._items)
            self._seconds += SMOOTHING * (seconds - self._seconds)
        self.n += n
        self._last = now

    def _fields(self) -> dict[str, Any]:
        rate = self._items / self._seconds if self._seconds else 0.0
        left = "?" if self._total is None or not rate else interval((self._total - self.n) / rate)
        return {
            "desc": self.desc,
            "percentage": 100 * self.n / (self._total or 1),
            "n_fmt": si(self.n),
            "total_fmt": "?" if self._total is None else si(self._total),
            "elapsed": interval(self._last - self._start),
            "remaining": left,
            "left": left.removeprefix("0"),
            "unit": self._unit,
            "rate_noinv_fmt": f"{si(rate) if rate else '?'}{self._unit}/s",
        }


class _Plain(_Meter):
    """Plain lines, one below the other."""

    def update(self, n: int) -> None:
        """Add n to what is done, and write a line."""
        self._count(n)
        self._stream.write((PLAIN_UNKNOWN if self._total is None else PLAIN_KNOWN).format(**self._fields()))


class _Bar(_Meter):
    """The line of a terminal as tqdm draws it."""

    def update(self, n: int) -> None:
        """Add n to what is done, and draw the line over the last one."""
        self._count(n)
        self._stream.draw((UNKNOWN if self._total is None else KNOWN).format(**self._fields()))


def si(number: float) -> str:
    """Return a number in three digits and an SI prefix."""
    for prefix in ("", "k", "M", "G", "T", "P", "E", "Z"):
        if number < 999.5:
            digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
            return f"{number:.{digits}f}{prefix}"
        number /= 1000
    return f"{number:.1f}Y"


def interval(seconds: float) -> str:
    """Return seconds as [h:]mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
