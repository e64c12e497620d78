"""Backends, devices and refusals that the tests of several files need."""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, Protocol, TypeAlias

import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends import installed, registry

ROOT = Path(__file__).parents[2]
TOY = ROOT / "examples" / "toy_backend"
STRICT = "array_api_strict:device1"
AWAY = [STRICT, "local_toy:1", *(name for name in ("torch", "jax", "cupy") if importlib.util.find_spec(name))]


class Install(Protocol):
    def __call__(self, distribution: str, entries: dict[str, str], /, **modules: str) -> Path: ...


@contextmanager
def refused(error: type[rb.RNNBackendError], *parts: str) -> Iterator[None]:
    """Expect an error of exactly this type, with these parts of its message in this order."""
    with pytest.raises(error, match=re.compile(".*".join(map(re.escape, parts)), re.DOTALL)) as caught:
        yield
    assert type(caught.value) is error


def load_toy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_backend", TOY / "toy_backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def settings(context: str | None, variable: str | None) -> Iterator[None]:
    """Set what is not None of use_backend and RNN_BACKEND."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        if variable is not None:
            patch.setenv("RNN_BACKEND", variable)
        if context is not None:
            stack.enter_context(rb.use_backend(context))
        yield


def local_toy() -> rb.Backend:
    """Return the toy backend by another name, for the toy distribution may be installed."""
    backend: rb.Backend = load_toy().make()
    return replace(backend, name="local_toy")


def place_of(model: rb.RNN) -> str:
    return f"{model.backend.name}:{model.device}"


def current() -> str:
    """Return the backend on which a model would be placed now."""
    return place_of(rb.RNN.init(1, 1))


def on_strict(host: Any, device: str = "device1") -> Any:
    return array_api_strict.asarray(host, device=array_api_strict.Device(device))


def host_arrays() -> list[Any]:
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype(np.float32) for shape in ((4, 3), (4, 4), (4,))]


def record(name: str = "mine", **changes: Any) -> rb.Backend:
    fields: dict[str, Any] = {"xp": array_api_compat.numpy, "owns": lambda _: False, "to_numpy": np.asarray}
    return rb.Backend(name=name, **{**fields, **changes})


# Ways to choose a backend.


def use(name: str) -> None:
    with rb.use_backend(name):
        pytest.fail("the block was entered")


def by_variable(name: str) -> None:
    with settings(None, name):
        rb.RNN.init(2, 2)


Choose: TypeAlias = Callable[[str], object]
WAYS: dict[str, Choose] = {
    "argument backend=": lambda name: rb.RNN.init(2, 2, backend=name),
    "use_backend()": use,
    "environment variable RNN_BACKEND": by_variable,
}
EVERY_WAY = pytest.mark.parametrize(("source", "choose"), WAYS.items(), ids=["argument", "context", "variable"])


# Fixtures; tests/conftest.py makes a plugin of this file.


@pytest.fixture
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test loads or registers is seen by the next."""
    monkeypatch.setattr(registry, "_backends", dict(registry._backends))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install fake distributions, "name version", with entry points and modules."""
    imported = set(sys.modules)

    def install_one(distribution: str, entries: dict[str, str], /, **modules: str) -> Path:
        name, version = distribution.split()
        site = tmp_path / f"site{len(list(tmp_path.iterdir()))}"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = [f"{point} = {target}\n" for point, target in entries.items()]
        (info / "entry_points.txt").write_text("".join([f"[{installed.GROUP}]\n", *points]))
        for module, source in modules.items():
            (site / f"{module}.py").write_text(dedent(source))
        monkeypatch.syspath_prepend(site)
        return site

    yield install_one
    for module in set(sys.modules) - imported:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def usable(name: str) -> str:
    """Return the name of a backend that is installed, unless it cannot run here."""
    if name == "local_toy:1":
        rb.register_backend(local_toy())
    try:
        rb.get_backend(name)
    except rb.BackendUnavailableError as error:
        pytest.skip(str(error))
    return name


@pytest.fixture(params=["numpy", *AWAY])
def library(request: pytest.FixtureRequest) -> str:
    return usable(request.param)


@pytest.fixture(params=AWAY)
def away(request: pytest.FixtureRequest) -> str:
    """A library whose arrays are not host data."""
    return usable(request.param)


@contextmanager
def in_float64(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch float64 on for JAX, if that is the backend of a test."""
    name = getattr(request.node, "callspec", None)
    if name is None or not str(name.params.get("backend", "")).startswith("jax"):
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield
