"""Files that are made at random: loaded or refused, in little memory and time, and nothing run."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"


@pytest.mark.parametrize("seed", range(2))
def test_files_made_at_random_load_or_are_refused(seed: int) -> None:
    words = [sys.executable, str(FUZZ), "--engine", "lines", "--count", "6000", "--seed", str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
