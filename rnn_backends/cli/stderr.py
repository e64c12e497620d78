"""The stderr of a command: a terminal or a file, either of which may fail without ending the command."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from unicodedata import east_asian_width

from rnn_backends.cli.reports import visible

COLUMNS = 80
"""The width of a terminal that does not say it."""
CTRL_C = "^C"
"""The text that a terminal adds to the line when a command is interrupted; there is room for it, or it would stay."""


class Stderr:
    """A stderr that may be missing, closed or full, and then takes all and shows nothing.

    Parameters
    ----------
    file : file or None
        `sys.stderr`, which is None where the process began without one.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file, self._drawn = file, 0

    def is_terminal(self) -> bool:
        """Return whether this is a terminal that can go back to the start of a line."""
        try:
            return self._file is not None and self._file.isatty() and os.environ.get("TERM") != "dumb"
        except ValueError:  # closed
            return False

    def showable(self, text: str) -> str:
        """Return a text without control characters and what the encoding lacks, which are escaped."""
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        return visible(text).encode(encoding, "backslashreplace").decode(encoding)

    def columns(self) -> int:
        """Return how many columns of the terminal, as wide as it is now, a line may take."""
        try:
            size = 0 if self._file is None else os.get_terminal_size(self._file.fileno()).columns
        except (OSError, ValueError):
            size = 0
        return max((size or COLUMNS) - 1, 1)  # some terminals begin the next line when the last column is written

    def write(self, text: str) -> None:
        """Write a text at once."""
        if self._file is None or not text:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):
            # What waits in the file would fail again when Python ends, and change the exit code.
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as null:
                os.dup2(null.fileno(), self._file.fileno())
            self._file = None

    def draw(self, line: str) -> None:
        """Draw a line over the last one."""
        columns = self.columns()
        line = cut(line, max(columns - len(CTRL_C), 0))
        old, self._drawn = min(self._drawn, columns), width(line)
        self.write(f"\r{line}{' ' * (old - self._drawn)}")

    def clear(self) -> None:
        """Clear the line that was drawn, if any, and what keys have added to it."""
        if self._drawn:
            self._drawn = 0
            self.write(f"\r{' ' * self.columns()}\r")


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes at most."""
    return sum(2 if east_asian_width(letter) in "FW" else 1 for letter in text)


def cut(text: str, columns: int) -> str:
    """Return as much of a text as that many columns hold."""
    while width(text) > columns:
        text = text[:-1]
    return text
