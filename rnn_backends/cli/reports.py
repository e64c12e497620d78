"""Text that the commands print: aligned rows and errors of one line."""

from collections.abc import Iterable, Iterator, Sequence

PROG = "rnn-backends"

Row = tuple[str, str]


def aligned(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each label and value, the values below one another."""
    rows = list(rows)
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        yield f"{label:{width}}  {value}"


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each row of a table, its columns as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks; its type where it has no message."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"cannot use {str(error.filename2 or error.filename)!r}: {error.strerror}."
    return " ".join(str(error).split()) or type(error).__name__
