"""The formats that the command `run` reads and writes, by name and suffix."""

from pathlib import Path

INPUTS = ("text", "npy", "npz", "csv", "tsv", "jsonl")
OUTPUTS = ("text", "npy", "csv", "tsv", "jsonl")
TABLES = ("csv", "tsv", "jsonl")
ARRAYS = ("npy", "npz")
_SUFFIXES = {
    ".txt": "text",
    ".npy": "npy",
    ".npz": "npz",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
WRITTEN = tuple(suffix for suffix, form in _SUFFIXES.items() if form in OUTPUTS)
"""The suffixes of outputs."""


def format_of(path: Path) -> str | None:
    """Return the format that the suffix of a name stands for, if it is one."""
    return _SUFFIXES.get(path.suffix.lower())


def suffix_of(form: str) -> str:
    """Return the suffix of the names of outputs in a format."""
    return next(suffix for suffix, other in _SUFFIXES.items() if other == form)
