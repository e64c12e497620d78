"""What a word of a command is on the disk, if it is anything there."""

from pathlib import Path


def is_there(word: str) -> bool:
    """Return whether a word is the name of something; what is too long for a name is none."""
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def is_file(word: str) -> bool:
    """Return whether a word is the name of a file; what is too long for a name is none."""
    return is_there(word) and Path(word).is_file()


def is_same(one: Path | None, other: Path) -> bool:
    """Return whether two paths mean one file that is there."""
    try:
        return one is not None and one.samefile(other)
    except (OSError, ValueError):
        return False
