"""The formats that the command `run` reads and writes, by name and suffix."""

from importlib.util import find_spec
from pathlib import Path

from rnn_backends.errors import FormatError
from rnn_backends.formats.advice import way

INPUTS = ("text", "npy", "npz", "csv", "tsv", "jsonl", "parquet")
OUTPUTS = ("text", "npy", "csv", "tsv", "jsonl", "parquet")
TABLES = ("csv", "tsv", "jsonl", "parquet")
ARRAYS = ("npy", "npz")
_SUFFIXES = {
    ".txt": "text",
    ".npy": "npy",
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_MARKS = {b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PAR1": "parquet"}
WRITTEN = tuple(suffix for suffix, form in _SUFFIXES.items() if form in OUTPUTS)
"""The suffixes of outputs."""


def format_of(path: Path) -> str | None:
    """Return the format that the suffix of a name stands for, if it is one."""
    return _SUFFIXES.get(path.suffix.lower())


def format_that_begins(head: bytes) -> str | None:
    """Return the format whose files begin with these bytes; None for text, which begins with any."""
    return next((form for mark, form in _MARKS.items() if head.startswith(mark)), None)


def suffix_of(form: str) -> str:
    """Return the suffix of the names of outputs in a format."""
    return next(suffix for suffix, other in _SUFFIXES.items() if other == form)


def require_parquet() -> None:
    """Check that the package is installed that reads and writes Parquet."""
    if find_spec("pyarrow") is None:
        msg = f"Parquet needs the package 'pyarrow', which is not installed; {way('install', extra='parquet')}."
        raise FormatError(msg)
