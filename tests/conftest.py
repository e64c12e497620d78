"""Fixtures of all tests.  The backends to test are named on the command line; one that cannot run fails."""

import importlib
import importlib.util
import inspect
import os
import re
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import array_api_strict
import pytest
from commands import Result, Run
from hypothesis import settings
from ways import LONGEST

import rnn_backends
from rnn_backends.backends.registry import BUILTIN
from rnn_backends.cli import main as cli

pytest_plugins = ["places"]

_LONGEST = (
    "test_random_networks", "test_linen_computes", "test_narrower_vectors", "test_results_stay", "test_pieces_give",
    "test_splitting_changes", "test_two_calls", "test_parity",
)  # fmt: skip
DEFAULT_BACKENDS = ("numpy", "array_api_strict", "array_api_strict:device1")

settings.register_profile("default", deadline=None, max_examples=60, derandomize="CI" in os.environ)
settings.register_profile("sample", settings.get_profile("default"), max_examples=20)
settings.register_profile("long", settings.get_profile("default"), max_examples=1500)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", action="append", help="test this backend (again for more) and no other")
    parser.addoption(
        "--peer",
        action="append",
        default=[],
        help="a package to test against (again for more); without it, if installed",
    )
    parser.addoption(
        "--only",
        action="append",
        default=[],
        help="leave out the tests that do not name this library, in their arguments or their text (again for more)",
    )
    parser.addoption("--kernels", action="store_true", help="run the GPU kernels on the CPU; needs g++")
    parser.addoption("--sample", type=int, default=1, metavar="N", help="run one in N of the cases of each test")
    parser.addoption("--share", type=int, default=1, metavar="N", help="run one in N of the tests and their cases")
    parser.addoption("--thorough", action="store_true", help="run all that is otherwise sampled; minutes longer")
    parser.addoption(
        "--kills",
        type=int,
        default=8,
        help="how many writes of each kind, or runs of many inputs, are ended by a signal",
    )
    parser.addoption("--deploy", help="test this copy of examples/deploy, of which the networks were trained again")
    parser.addoption("--gallery", help="test copies of the examples of the gallery, trained again, in here")
    parser.addoption("--checkout", action="store_true", help="test the package in the checkout, not the installed one")


def pytest_configure(config: pytest.Config) -> None:
    require_installed(config)
    config.addinivalue_line(
        "markers", "sampled(step): one in so many of its cases runs, all with --thorough or by name"
    )
    for number in (signal.SIGINT, signal.SIGHUP):  # which a shell has jobs in the background ignore
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)  # processes that tests start take them as ever
    os.environ["MPLBACKEND"] = "Agg"  # pictures are drawn without a display
    os.environ["PYTHONSAFEPATH"] = "1"  # or a Python that a test starts would import the checkout
    for name in config.getoption("--backend") or ():
        known = BUILTIN.get(name.partition(":")[0])
        if known is not None and importlib.util.find_spec(known.packages[0]) is None:
            msg = f"--backend {name} needs the package {known.packages[0]}, which is not installed"
            raise pytest.UsageError(msg)
    for name in config.getoption("--peer"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            msg = f"--peer {name}: it cannot be imported: {error}"
            raise pytest.UsageError(msg) from error


def require_installed(config: pytest.Config) -> None:
    """Fail where the package under test is the checkout's, which may lack what the wheel lacks and hide it."""
    place = Path(rnn_backends.__file__).parent
    if place == config.rootpath / "rnn_backends" and not config.getoption("--checkout"):
        msg = f"rnn_backends is imported from {place}; install it (pip install .), or test the checkout with --checkout"
        raise pytest.UsageError(msg)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", metafunc.config.getoption("--backend") or DEFAULT_BACKENDS, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = config.getoption("--only")
    if names:
        others = [item for item in items if not any(name in item.nodeid or name in text_of(item) for name in names)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    if not config.getoption("--thorough") and not any("::" in word for word in config.args):
        left = left_out(items, config.getoption("--sample"), config.getoption("--share"))
        config.hook.pytest_deselected(items=left)
        dropped = set(left)
        items[:] = [item for item in items if item not in dropped]
    items.sort(key=lambda item: not item.name.startswith(_LONGEST))  # or one core would wait for another at the end


def left_out(items: Iterable[pytest.Item], fewest: int, share: int) -> list[pytest.Item]:
    """Return all cases of tests but for the first of each and one in so many, more with JAX, which compiles; or a share.

    The sample is by their names, as every so-manieth might have the same dtype.
    """
    found, seen = [], set[tuple[str, bool]]()
    for item in items:
        marker, of_jax = item.get_closest_marker("sampled"), "[jax" in item.name
        step = max(fewest, 3 if of_jax else 1, marker.args[0] if marker is not None else 1)
        test = item.nodeid.partition("[")[0], of_jax
        number = crc32(item.nodeid.encode())
        if number % share or (test in seen and number // share % step):
            found.append(item)
        seen.add(test)
    return found


def text_of(item: pytest.Item) -> str:
    return inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether to try all of what takes long, and not a sample."""
    return bool(request.config.getoption("--thorough"))


@pytest.fixture(scope="session")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="session")
def flax() -> Any:
    return pytest.importorskip("flax")


@pytest.fixture(scope="session")
def msgpack() -> Any:
    return pytest.importorskip("msgpack")


@pytest.fixture(autouse=True)
def no_backend_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNN_BACKEND", raising=False)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, nor a process that it starts, reads or writes the cache folder of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(autouse=True)
def short_messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No refusal of a file or of weights is longer than a reader reads; the path of the file is not counted."""
    made: list[str] = []

    def note(self: rnn_backends.FormatError, *arguments: object) -> None:
        ValueError.__init__(self, *arguments)
        made.extend(re.sub(r"^\S*/\S*: ", "", str(argument)) for argument in arguments)

    monkeypatch.setattr(rnn_backends.FormatError, "__init__", note)
    yield
    assert [message for message in made if len(message) > LONGEST] == []


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
