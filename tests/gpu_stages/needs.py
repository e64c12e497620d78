"""What must be installed, and what is, found without importing any of it; and wheels from a folder."""

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gpu_stages.names import NEEDING, OPTIONAL, REQUIRED


def missing() -> dict[str, str]:
    """Return the distribution of each module that is needed for something and is not installed."""
    importlib.invalidate_caches()
    wanted = {**REQUIRED, **{module: distribution for module, (distribution, _) in OPTIONAL.items()}}
    return {module: distribution for module, distribution in wanted.items() if find_spec(module) is None}


def consequences(absent: dict[str, str]) -> list[str]:
    """Return a sentence for each module that is missing."""
    return [
        f"{module} is missing: {'nothing runs without it' if module in REQUIRED else OPTIONAL[module][1]}; "
        f"pip install {distribution!r}, or give --wheels DIR with a wheel of it"
        for module, distribution in absent.items()
    ]


def install(distribution: str, wheels: Path, site: Path, seconds: float) -> str:
    """Install a distribution from a folder of wheels into the folder `site`, and return pip's last line.

    Python's own environment may belong to a system, or be read-only.  What is there already pip would not see.
    """
    needs = [] if distribution in NEEDING else ["--no-deps"]
    where = ["--no-index", "--find-links", str(wheels), "--target", str(site)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *where, *needs, distribution]
    environment = {**os.environ, "PIP_USER": "0"}  # which a machine may have set, and which --target excludes
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"pip took more than {seconds:.0f} s"
    lines = done.stderr.strip().splitlines()
    return "installed" if done.returncode == 0 else lines[-1] if lines else f"pip ended with code {done.returncode}"
