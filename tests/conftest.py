"""Fixtures of all tests.  The backends to test are named on the command line; one that cannot run fails."""

import importlib
import os
from collections.abc import Iterator
from typing import Any

import array_api_strict
import pytest
from hypothesis import settings

DEFAULT_BACKENDS = ("numpy", "array_api_strict", "array_api_strict:device1")

settings.register_profile("default", deadline=None, max_examples=60, derandomize="CI" in os.environ)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", action="append", help="test this backend (again for more) and no other")
    parser.addoption(
        "--framework",
        action="append",
        help="compare with this framework, which must be there (again for more); "
        "others, but those named by --backend, are compared with where they are installed",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", metafunc.config.getoption("--backend") or DEFAULT_BACKENDS, scope="session")


def framework(config: pytest.Config, name: str) -> Any:
    """Import a framework to compare with: one that was asked for must be there, another may be missing."""
    asked_for = [*(config.getoption("--framework") or ()), *(config.getoption("--backend") or ())]
    return importlib.import_module(name) if name in asked_for else pytest.importorskip(name)


@pytest.fixture(scope="session")
def torch(pytestconfig: pytest.Config) -> Any:
    return framework(pytestconfig, "torch")


@pytest.fixture(scope="session")
def flax(pytestconfig: pytest.Config) -> Any:
    return framework(pytestconfig, "flax")


@pytest.fixture(scope="session")
def msgpack(pytestconfig: pytest.Config) -> Any:
    return framework(pytestconfig, "msgpack")


@pytest.fixture(autouse=True)
def no_backend_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNN_BACKEND", raising=False)


@pytest.fixture(autouse=True)
def strictest() -> Iterator[None]:
    """The core keeps to the standard of 2022.12, without extensions or shapes that depend on data."""
    flags: dict[str, Any] = array_api_strict.get_array_api_strict_flags()
    array_api_strict.set_array_api_strict_flags(
        api_version="2022.12", boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    )
    yield
    array_api_strict.set_array_api_strict_flags(
        **{name: flags[name] for name in ("api_version", "boolean_indexing", "data_dependent_shapes")},
        enabled_extensions=flags["enabled_extensions"],
    )
