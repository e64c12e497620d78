"""Processes that are forked, spawned and served while other threads compute: each gives the right numbers, and ends."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

METHODS = tuple(name for name in ("fork", "spawn", "forkserver") if name in multiprocessing.get_all_start_methods())
CHILDREN = Path(__file__).parents[1] / "support" / "children.py"


def run(method: str, during: str, count: int) -> None:
    """Start processes by a method, and compare what they compute with what the parent does."""
    words = [
        sys.executable,
        "-P",
        "-W",
        "error",
        "-W",
        "ignore:This process:DeprecationWarning",
        str(CHILDREN),
        method,
        during,
        str(count),
    ]
    # A plain product of NumPy's may hang in a child: that is OpenBLAS's, which one thread spares it.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "RNN_CPU_THREADS": "2"}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["right"] * count


@pytest.mark.parametrize("during", ["models", "streams", "loads", "saves", "threads"])
@pytest.mark.parametrize("method", METHODS)
def test_a_child_computes_what_its_parent_does(method: str, during: str, thorough: bool) -> None:
    if during != "models" and method != "fork" and not thorough:
        pytest.skip("a sample is tried; --thorough tries all")
    run(method, during, 40 if thorough else 6 if method == "fork" else 2)
