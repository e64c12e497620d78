"""Fixtures of the tests of formats."""

from pathlib import Path

import pytest
from native_files import SUFFIXES


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the path of a file of each of this package's formats."""
    return tmp_path / f"model{request.param}"
