"""Verdicts on kernels, kept in the user's cache folder, a file each, which may be absent, broken or read-only.

A file each, so that processes that check at once do not lose each other's.
"""

import json
import os
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from time import time

from rnn_backends.core.messages import shown_path

VARIABLE, FOLDER = "RNN_CACHE_DIR", "cuda_kernels"

PASSED = "passed"
CUT_SHORT = "a process ended while it was checked"
LONGEST = 120.0
"""The seconds after which a check that has not ended never will; until then other processes make their own."""

BROKEN = (OSError, ValueError, RuntimeError)
"""Raised by a file that cannot be used, JSON that is none or too deep, and a user without a home."""


def folder() -> Path:
    """Return the cache folder: that of the environment variable, else the platform's."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "rnn_backends")


def file_of(key: str) -> Path:
    """Return the file of a verdict."""
    return folder() / FOLDER / f"{sha256(key.encode()).hexdigest()[:32]}.json"


def where(key: str) -> str:
    """Name the file of a verdict, for people."""
    try:
        return shown_path(file_of(key))
    except RuntimeError:  # there is no home
        return "a file"


def kept(key: str) -> str | None:
    """Return a verdict: `PASSED`, or why it failed; None if there is none yet."""
    try:
        held = json.loads(file_of(key).read_text(encoding="utf-8"))
    except BROKEN:
        return None
    verdict = held.get(key) if isinstance(held, dict) else None
    if isinstance(verdict, float):  # the time at which a check began
        return CUT_SHORT if time() - verdict > LONGEST else None
    return verdict if isinstance(verdict, str) else None


def keep(key: str, verdict: str | float | None) -> None:
    """Keep a verdict, or the time at which a check begins, or forget it; where that is impossible, do nothing."""
    with suppress(*BROKEN):
        path = file_of(key)
        if verdict is None:
            return path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{token_hex(8)}.part")
        try:
            aside.write_text(json.dumps({key: verdict}), encoding="utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
