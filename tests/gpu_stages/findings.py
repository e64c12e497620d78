"""What was found, a line of JSON each, written at once so that a kill loses nothing that was found before it."""

import json
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

Finding: TypeAlias = dict[str, Any]

RIGHT, WRONG, REFUSED = 0, 1, 3
"""Exit codes of a stage's process: all is right, something is wrong, and the kernel or dtype does not run here."""


class Findings:
    """The file of findings, to which a stage and the processes that it starts append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, **finding: Any) -> None:
        """Append a finding, in one write."""
        line = json.dumps({"at": time.strftime("%H:%M:%S"), **finding}) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def mend(self) -> None:
        """End a line that a kill has cut short."""
        held = self.path.read_bytes() if self.path.exists() else b""
        if held and not held.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")

    def read(self, stage: str | None = None) -> list[Finding]:
        """Return the findings, or those of a stage; a line that was cut short is left out."""
        if not self.path.exists():
            return []
        found = [whole(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [one for one in found if one is not None and stage in {None, one.get("stage")}]

    def codes(self, stage: str) -> dict[str, int | str]:
        """Return how each job of a stage ended when it last ran: its exit code, or a word."""
        return {one["job"]: one["code"] for one in self.read(stage) if "code" in one}


def whole(line: str) -> Finding | None:
    """Return the finding of a line, None if it was cut short."""
    try:
        held = json.loads(line)
    except ValueError:
        return None
    return held if isinstance(held, dict) else None


def leave(code: int, why: str = "") -> None:
    """End the process of a stage, with a last line for the log."""
    if why:
        print(why, flush=True)
    sys.exit(code)
