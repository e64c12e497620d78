"""The project in which the machine plants faults."""

import subprocess
from pathlib import Path

import pytest

from faults.tiny import SOURCE, TESTED, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("installed/tiny/__init__.py", "")
    made.write("installed/tiny/numbers.py", SOURCE)
    made.write("tests/test_tiny.py", TESTED)
    made.write(
        "pyproject.toml", "[tool.pytest.ini_options]\ntestpaths = ['tests']\naddopts = ['--import-mode=importlib']\n"
    )
    for words in ("init -q", "-c user.name=a -c user.email=a commit -q --allow-empty -m none"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    return made
