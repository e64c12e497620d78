"""Files changed at random: loaded or refused, in little memory."""

from pathlib import Path

import fuzz
import pytest


@pytest.mark.parametrize("seed", range(2))
def test_files_changed_at_random_load_or_are_refused(tmp_path: Path, seed: int) -> None:
    found = fuzz.run(1000, seed, tmp_path)
    results: dict[str, int] = {"loaded": 0, "refused": 0}
    for (_, result), number in found.items():
        results[result] += number
    assert min(results.values()) > 20, "the changes are too small, or too large, to find anything"
