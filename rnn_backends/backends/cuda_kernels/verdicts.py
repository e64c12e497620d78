"""Verdicts on kernels, kept in the user's cache folder, in a file that may be absent, broken or read-only."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from time import time

VARIABLE, FILE = "RNN_CACHE_DIR", "cuda_kernels.json"

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


def read() -> dict[str, str | float]:
    """Return all that is kept: verdicts, and when checks began that have none."""
    try:
        held = json.loads((folder() / FILE).read_text(encoding="utf-8"))
    except BROKEN:
        return {}
    return {key: value for key, value in held.items() if isinstance(value, (str, float))} if type(held) is dict else {}


def kept(key: str) -> str | None:
    """Return a verdict: `PASSED`, or why it failed; None if there is none yet."""
    held = read().get(key)
    if isinstance(held, float):
        return CUT_SHORT if time() - held > LONGEST else None
    return held


def keep(key: str, verdict: str | float | None) -> None:
    """Keep a verdict, or the time at which a check begins, or forget it; where that is impossible, do nothing."""
    with suppress(*BROKEN):
        path = folder() / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        held = {**read(), key: verdict}
        aside = path.with_name(f".{FILE}.{token_hex(8)}.part")
        try:
            aside.write_text(json.dumps({k: v for k, v in held.items() if v is not None}, indent=1), encoding="utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
