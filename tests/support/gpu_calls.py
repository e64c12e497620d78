"""Calls of `gpu_first.py`, as a user would make them, on the stand-in for CuPy, and what they wrote."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_stages.findings import Finding

TESTS = Path(__file__).parents[1]
STANDIN = str(TESTS / "support" / "on_standin")
SANITIZER = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift 2; done\nexec "$@"\n'
"""It runs the command that follows its own options, each of which has a word after it."""


def run(out: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a user would, from elsewhere, with the stand-in on PYTHONPATH."""
    command = [sys.executable, str(TESTS / "gpu_first.py"), str(out), "--quick", *words]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RNN_", "CUPY_", "PYTHON"))}
    environment = {**inherited, "PYTHONPATH": STANDIN, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=out.parent)


def jobs(found: Sequence[Finding], stage: str) -> list[tuple[str, Any]]:
    return [(one["job"], one["code"]) for one in found if one.get("stage") == stage and "code" in one]
