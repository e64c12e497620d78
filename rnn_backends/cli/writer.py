"""Results that are written while they are made, to stdout or to a file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from rnn_backends.cli.reports import STDOUT, visible
from rnn_backends.formats.files import replaced, writing

WAIT = 0.1
"""The seconds after which a reader that is no terminal is given what there is."""


class Writer:
    """Text in pieces: a terminal shows each at once, and any other reader has it soon.

    Parameters
    ----------
    stream : text stream
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._flushed = monotonic()
        self._is_open = False

    def write(self, piece: str) -> None:
        """Write a piece; a terminal gets no control characters but tabs and line breaks."""
        with writing(STDOUT):  # a file has said what it is
            self._stream.write(visible(piece, kept="\t\n") if self._is_terminal else piece)
            self._is_open = not piece.endswith("\n") if piece else self._is_open
            if self._is_terminal or monotonic() - self._flushed > WAIT:
                self._stream.flush()
                self._flushed = monotonic()

    def close_line(self) -> None:
        """Have what follows on a terminal, the prompt of a shell or an error, begin a line of its own."""
        if self._is_terminal and self._is_open:
            self.write("\n")


class Stdout(BytesIO):
    """A binary file that goes on to stdout, and names it in errors."""

    def write(self, data: Any) -> int:
        """Write bytes."""
        with writing(STDOUT):
            return sys.stdout.buffer.write(data)

    def flush(self) -> None:
        """Let the reader have what is written."""
        with writing(STDOUT):
            sys.stdout.buffer.flush()


class TextFile(BytesIO):
    """A binary file of UTF-8 in whole characters, which goes on to a writer.

    Parameters
    ----------
    writer : Writer
    """

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    def write(self, data: Any) -> int:
        """Write text."""
        self._writer.write(bytes(data).decode())
        return len(data)


@contextmanager
def written(path: Path | None) -> Iterator[Writer]:
    """Yield a writer to a file, which is there whole at the end or not at all; without one, or for ``-``, to stdout."""
    if path is not None and str(path) != "-":
        with replaced(path) as file:
            text = TextIOWrapper(file, "utf-8", newline="")
            try:
                yield Writer(text)
            finally:
                text.detach()
        return
    if sys.stdout is None:  # as Python has it where it is closed
        msg = "stdout is closed; name a file with --output."
        raise OSError(msg)
    writer = Writer(sys.stdout)
    try:
        yield writer
    finally:
        writer.close_line()
