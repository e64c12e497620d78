"""The input of the command `run` as it arrives: bytes of a file or of stdin, their text, and its lines."""

import re
import sys
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedWriter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from rnn_backends.cli.running.formats import format_that_begins
from rnn_backends.core.messages import fitted, shown_path
from rnn_backends.errors import ArgumentError, FormatError
from rnn_backends.formats.files import TEMPORARY, File
from rnn_backends.formats.source import Source, opened

STDIN = Path("-")
PIECE = 2**20
"""The bytes that are read at once; of a pipe, no more than are there."""
_BYTE_ORDER_MARK = "\ufeff"
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Reader:
    """The bytes of an input, read once from its beginning to its end.

    Parameters
    ----------
    name : str
        What errors call it.
    blocks : iterator of bytes
    size : int or None
        The number of bytes; None where nobody knows.

    Attributes
    ----------
    position : int
        The number of bytes that were read.
    """

    def __init__(self, name: str, blocks: Iterator[bytes], size: int | None) -> None:
        self.name, self.size, self.position = name, size, 0
        self._blocks = blocks

    def texts(self) -> Iterator[str]:
        """Yield the text, which is UTF-8, piece by piece; a mark of the byte order before it is left out."""
        decoder, is_first = getincrementaldecoder("utf-8")(), True
        for block in self._blocks:
            text = self._decoded(decoder, block)
            self.position += len(block)
            if text:
                yield text.removeprefix(_BYTE_ORDER_MARK) if is_first else text
                is_first = False
        if rest := self._decoded(decoder, b"", final=True):
            yield rest

    def _decoded(self, decoder: IncrementalDecoder, block: bytes, *, final: bool = False) -> str:
        held = decoder.getstate()[0]
        try:
            return decoder.decode(block, final)
        except UnicodeDecodeError as error:
            place = self.position - len(held) + error.start
            raise FormatError(self._refusal(error.reason, place, held + block)) from error

    def _refusal(self, reason: str, place: int, block: bytes) -> str:
        if self.position == 0 and block.startswith(_UTF_16):
            return "it is UTF-16 text; convert it, for example by `iconv -f UTF-16 -t UTF-8`."
        if self.position == 0 and (form := format_that_begins(block)) is not None:
            return f"it is no text, but a file of the format {form}; give --from {form}."
        if self.position == 0 and block.startswith(_PACKED):
            return "it is no text, but packed; unpack it first, as by `gunzip -c`."
        return f"it is not UTF-8 text: {reason} at byte {place}; convert it, for example by `iconv -f LATIN1 -t UTF-8`."

    def lines(self) -> Iterator[list[str]]:
        """Yield the lines, as many at a time as a piece of the text completes, without line feeds at their ends."""
        held: list[str] = []
        for text in self.texts():
            first, *more = text.split("\n")
            held.append(first)
            if more:
                yield ["".join(held), *more[:-1]]
                held = [more[-1]]
        if last := "".join(held):
            yield [last]


@contextmanager
def reading(path: Path, note: Callable[[str], None] | None = None) -> Iterator[Reader]:
    """Open a file, or stdin, to read its bytes once; a `note` is made where a text looks like a table."""
    if path == STDIN:
        blocks = iter(partial(_stdin().read1, PIECE), b"")  # type: ignore[attr-defined]
        try:
            yield Reader(name_of(path), blocks if note is None else _looked_at(blocks, note), None)
        except FormatError as error:
            msg = fitted(f"stdin: {error}")
            raise FormatError(msg) from error
        return
    if path.is_fifo():
        msg = f"'{shown_path(path)}' is a FIFO; give - for the input, and pipe it in."
        raise FormatError(msg)
    with opened(path) as source:
        blocks = (
            source.read(start, min(PIECE, source.size - start), "the text") for start in range(0, source.size, PIECE)
        )
        yield Reader(name_of(path), blocks if note is None else _looked_at(blocks, note), source.size)


def _looked_at(blocks: Iterator[bytes], note: Callable[[str], None]) -> Iterator[bytes]:
    """Yield blocks of a text, and say of the first one if it looks like a table."""
    first = next(blocks, b"")
    head = first.partition(b"\n")[0].strip()
    if re.fullmatch(rb"\{\s*\".*\}", head):
        note("the input is read as text, and looks like JSON Lines; if it is that, give --from jsonl")
    elif re.fullmatch(rb"[\w ]+(,[\w ]+)+", head) and b"\n" in first and b" " not in head:
        note("the input is read as text, and looks like CSV; if it is that, give --from csv")
    yield from ([first] if first else [])
    yield from blocks


@contextmanager
def seekable(path: Path) -> Iterator[Source]:
    """Open a file of arrays, or what stdin brings, which is kept in a file for that."""
    if path != STDIN:
        with opened(path) as source:
            yield source
        return
    with TemporaryDirectory(prefix="rnn-backends-") as folder:
        kept = Path(folder, "stdin")
        with BufferedWriter(File(kept, "x", TEMPORARY)) as file:
            for block in iter(partial(_stdin().read, PIECE), b""):
                file.write(block)
        with opened(kept) as source:
            yield source


def name_of(path: Path) -> str:
    """Return what errors call an input."""
    return "stdin" if path == STDIN else f"'{shown_path(path)}'"


def head_of_stdin(count: int) -> bytes:
    """Return the first bytes that stdin brings, which stay there."""
    return _stdin().peek(count)[:count]  # type: ignore[attr-defined, no-any-return]


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        msg = "the input is to come from stdin, which is closed; name a file instead of -."
        raise ArgumentError(msg)
    return sys.stdin.buffer
