"""What may not happen while a file is loaded: code that runs, memory, time, and messages that help nobody."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEMORY = 64 * 2**20
SECONDS = 5.0
LONGEST = 400
ABSENT = [name for name in ("onnx", "msgpack") if importlib.util.find_spec(name) is None]
"""Packages for which a file may look that are not there."""
_LOOKING = "os.listdir"
"""What is done where a folder is in the place of a file."""
FORBIDDEN = ("exec", "compile", "import", "os.", "subprocess.", "pickle.", "marshal.", "ctypes.", "socket.", "code.")

_watching = False


def forbid() -> None:
    """Stop at the first sign that something is run while a file is loaded; this cannot be undone."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        is_absent = event == "import" and arguments[0] in ABSENT
        if _watching and event.startswith(FORBIDDEN) and not is_absent and event != _LOOKING:
            msg = f"{event} {arguments!r} happened"
            sys.stderr.write(f"{msg}, at {''.join(traceback.format_stack(limit=8))}")  # Atheris shows no message
            raise SystemExit(msg)

    sys.addaudithook(hook)


@contextmanager
def watched() -> Iterator[None]:
    """Have what `forbid` looks for looked for."""
    global _watching  # noqa: PLW0603  # as the hook is the process's
    _watching = True
    try:
        yield
    finally:
        _watching = False


def problem_of(said: str, path: Path | str) -> str:
    """Return what is wrong with a message, which must name a path; empty where it is sound."""
    if str(path) not in said:
        return "it names no file"
    if "\n" in said or "\r" in said or not said.isprintable():
        return "it is no one line that can be printed"
    return f"it has more than {LONGEST} characters" if len(said) > LONGEST else ""


def require_sound_message(said: str, path: Path) -> None:
    """Check the message of a refusal, empty where there was none."""
    problem = problem_of(said, path) if said else ""
    assert not problem, f"{said[:500]!r}: {problem}"


def reset_peak() -> None:
    """Have the most memory that the process has held be that which it holds now."""
    with Path("/proc/self/clear_refs").open("w", encoding="ascii") as file:
        file.write("5")


def resident() -> tuple[int, int]:
    """Return the bytes of memory that the process holds, and the most that it has held since `reset_peak`."""
    now = peak = 0
    with Path("/proc/self/status").open("rb") as file:
        for line in file:
            if line.startswith(b"VmHWM"):
                peak = int(line.split()[1]) << 10
            elif line.startswith(b"VmRSS"):
                now = int(line.split()[1]) << 10
    return now, peak
