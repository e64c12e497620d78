"""Fixtures of the tests that run kernels on a CPU, behind the stand-in for CuPy."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import shim
import standin
from gpu_walks import module
from kernel_checks import Plant, another_process, forget_kernels, selfcheck

from rnn_backends.backends.cuda_kernels import sources


@pytest.fixture(scope="module")
def cupy(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Return the stand-in for CuPy, which is installed."""
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels, which needs g++")
    with standin.installed() as module:
        yield module
    shim.clear()


@pytest.fixture(scope="module")
def passed(cupy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder in which all kernels have passed their checks."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNN_CACHE_DIR", str(folder))
        standin.trust()
    return folder


@pytest.fixture
def all_trusted(monkeypatch: pytest.MonkeyPatch, passed: Path) -> Iterator[None]:
    """All kernels have passed their checks, and no variable names one."""
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    monkeypatch.setenv("RNN_CACHE_DIR", str(passed))
    monkeypatch.delenv("CUPY_TF32", raising=False)
    standin.RawKernel.seed = 1
    standin.RawKernel.launches.clear()
    module("choices").choices_of.cache_clear()
    yield
    standin.resident = 1


@pytest.fixture
def none_checked(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No verdict is known, and a check is small."""
    monkeypatch.delenv("RNN_CUPY_KERNEL", raising=False)
    monkeypatch.setenv("RNN_CACHE_DIR", str(tmp_path / "cache"))
    small = {"STEPS": 13, "SIZES": (88, 69), "COPIES": 2, "COPIED": 16}
    for name, value in small.items():
        monkeypatch.setattr(selfcheck(), name, value)
    monkeypatch.setattr(standin.RawKernel, "seed", 1)
    another_process()


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Change the text of a kernel: what stands in a file, and what takes its place."""

    def planted(file: str, right: str, wrong: str) -> None:
        text = sources.source(file)
        assert text.count(right) == 1
        before = sources.source
        monkeypatch.setattr(
            sources, "source", lambda name: text.replace(right, wrong) if name == file else before(name)
        )
        forget_kernels()

    return planted


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the checks that were made; they pass without a walk."""
    made: list[str] = []
    monkeypatch.setattr(selfcheck(), "fault", lambda regime, _: made.append(regime))
    return made
