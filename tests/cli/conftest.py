"""A folder of its own for each command that is tested."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Result, Run

from rnn_backends.cli import main as cli


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Call `main` in an empty folder, in which no half-written file may be left."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    yield call
    assert not list(tmp_path.rglob("*.part"))
