"""The registry: backends that cannot be loaded, and those that are registered; the record."""

import sys
import tomllib
from dataclasses import FrozenInstanceError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from places import EVERY_WAY, TOY, WAYS, Choose, Install, local_toy, record, refused

import rnn_backends as rb
from rnn_backends.backends import backend as record_module
from rnn_backends.backends import installed, registry
from rnn_backends.backends.selection import Placement
from rnn_backends.core.messages import fitted
from rnn_backends.testing import BackendConformance

pytestmark = pytest.mark.usefixtures("fresh_registry")


INSTALL = {
    "cupy": "pip install 'cupy-cuda13x[ctk]' for CUDA 13 or 'cupy-cuda12x[ctk]' for CUDA 12, not both",
    "torch": "pip install torch",
    "jax": "pip install jax",
    "array_api_strict": "pip install array-api-strict",
}


THEIRS = """
from dataclasses import replace
import rnn_backends as rb
def make():
    return replace(rb.get_backend("numpy"), name="numba")
"""


def forget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a shipped backend imported anew when it is next chosen."""
    registry._backends.pop(name, None)
    monkeypatch.delitem(sys.modules, f"rnn_backends.backends.{name}", raising=False)


def test_what_is_loaded_is_found_without_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    rb.get_backend("numpy")
    monkeypatch.setattr(registry, "RLock", lambda: pytest.fail("a lock was made"))
    assert rb.get_backend("numpy").name == "numpy"


@pytest.mark.parametrize("name", INSTALL)
def test_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(name, monkeypatch)
    monkeypatch.setitem(sys.modules, name, None)
    for source, choose in WAYS.items():  # a failure is not remembered: each gives the same message
        with refused(
            rb.BackendNotInstalledError,
            f"the backend '{name}' (from {source}) needs the package '{name}', which is not installed. "
            f"Install it: {INSTALL[name]}.",
        ):
            choose(name)
    assert rb.list_backends()[name] == "built in"


@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        ("raise ImportError('libcublas.so.12: no such file')", "ImportError: libcublas.so.12: no such file"),
        ("raise OSError('libcuda.so.1: no such file')", "OSError: libcuda.so.1: no such file"),
        ("raise RuntimeError('built for another NumPy')", "RuntimeError: built for another NumPy"),
        ("import a_missing_helper", "ModuleNotFoundError: No module named 'a_missing_helper'"),
    ],
)
def test_installed_but_broken(broken: str, shown: str, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    forget("cupy", monkeypatch)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    install("cupy-broken 1.0", {}, cupy=broken)
    with refused(
        rb.BackendNotInstalledError,
        f"the backend 'cupy' (from argument backend=) needs the package 'cupy', which fails to import: {shown}",
    ):
        rb.get_backend("cupy")


def test_a_backend_that_failed_to_load_can_load_later(monkeypatch: pytest.MonkeyPatch) -> None:
    forget("array_api_strict", monkeypatch)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "array_api_strict", None)
        with refused(rb.BackendNotInstalledError, "is not installed"):
            rb.get_backend("array_api_strict")
    assert rb.get_backend("array_api_strict").name == "array_api_strict"


def test_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> rb.Backend:
        msg = "is installed (cupy 99) but cannot run: cudaErrorWhatever."
        raise rb.BackendUnavailableError(msg)

    forget("cupy", monkeypatch)
    monkeypatch.setitem(sys.modules, "rnn_backends.backends.cupy", SimpleNamespace(make=make))
    for source, choose in WAYS.items():
        with refused(
            rb.BackendUnavailableError,
            f"the backend 'cupy' (from {source}) is installed (cupy 99) but cannot run: cudaErrorWhatever.",
        ):
            choose("cupy")


@EVERY_WAY
def test_the_numba_backend_is_gone(source: str, choose: Choose) -> None:
    with refused(
        rb.UnknownBackendError,
        f"there is no backend 'numba' any more (from {source}): the numpy backend walks by compiled kernels and is as "
        "fast; choose 'numpy', or unset what names 'numba'.",
    ):
        choose("numba")
    assert "numba" not in rb.list_backends()
    assert rb.get_backend("numpy").name == "numpy"


def test_others_may_offer_a_backend_named_numba(install: Install) -> None:
    with rb.register_backend(record("numba")) as registration:
        assert rb.get_backend("numba") is registration.backend
    install("their-numba 1.0", {"numba": "their_numba:make"}, their_numba=THEIRS)
    assert rb.RNN.init(2, 2, backend="numba").backend.name == "numba"
    assert rb.list_backends()["numba"] == "their-numba 1.0"


def test_the_bases_of_the_errors() -> None:
    bases = {
        rb.UnknownBackendError: ValueError,
        rb.DuplicateBackendError: ValueError,
        rb.BackendNotInstalledError: ImportError,
        rb.BackendLoadError: ImportError,
        rb.BackendUnavailableError: RuntimeError,
        rb.InvalidBackendError: TypeError,
        rb.BackendMismatchError: TypeError,
        rb.DeviceError: ValueError,
        rb.DeviceMemoryError: MemoryError,
        rb.DTypeError: TypeError,
        rb.WrongResultError: ArithmeticError,
    }
    assert all(issubclass(error, rb.RNNBackendError) for error in bases)
    assert all(issubclass(error, base) for error, base in bases.items())


# The record.


def test_register_and_unregister() -> None:
    mine = record()
    registration = rb.register_backend(mine)
    assert rb.get_backend("mine") is mine
    assert rb.list_backends()["mine"] == "registered by this process"
    registration.unregister()
    assert "mine" not in rb.list_backends()
    with refused(rb.UnknownBackendError, "unknown backend 'mine'"):
        rb.get_backend("mine")
    successor = record()
    rb.register_backend(successor)
    registration.unregister()  # once more: it has nothing left to take back
    assert rb.get_backend("mine") is successor


def test_a_registration_is_a_context_manager() -> None:
    with rb.register_backend(record()) as registration:
        assert rb.get_backend("mine") is registration.backend
    assert "mine" not in rb.list_backends()
    with pytest.raises(ZeroDivisionError), rb.register_backend(record()):
        _ = 1 / 0
    assert "mine" not in rb.list_backends()


def test_models_keep_a_backend_that_is_unregistered() -> None:
    with rb.register_backend(local_toy()):
        model = rb.RNN.init(3, 4, backend="local_toy")
    output, _ = model(np.zeros((2, 3)))
    assert model.backend.owns(output)
    with refused(rb.BackendMismatchError, "`array` belongs to no loaded backend; it is of type ToyArray."):
        rb.to_numpy(output)


@pytest.mark.parametrize("name", ["numpy", "cupy", "mine", "fake"])
def test_a_name_that_is_taken(name: str, install: Install) -> None:
    install("fake-rnn 1.2", {"fake": "fake_rnn:make"})
    mine = record()
    rb.register_backend(mine)
    with refused(
        rb.DuplicateBackendError,
        f"a backend named '{name}' exists already; choose another name, or unregister that one.",
    ):
        rb.register_backend(record(name))
    assert rb.get_backend("mine") is mine


@pytest.mark.parametrize("spec", [None, "numpy", rb.Backend, SimpleNamespace(name="mine")])
def test_registering_what_is_no_backend(spec: Any) -> None:
    with refused(rb.InvalidBackendError, f"`spec` must be a rnn_backends.Backend; got {type(spec).__name__}."):
        rb.register_backend(spec)


def test_an_invalid_record_lists_all_that_is_wrong() -> None:
    with pytest.raises(rb.InvalidBackendError) as caught:
        record(
            "My Backend", xp=SimpleNamespace(asarray=1, zeros=1), owns=1, to_numpy=None, dtypes=("float32",), on=2,
            asarray=3, devices={}, recurrence="fast", protocol_version=7,
        )  # fmt: skip
    missing = [name for name in record_module.NEEDED_FUNCTIONS if name not in {"asarray", "zeros"}]
    assert str(caught.value) == fitted(
        "the backend 'My Backend' cannot be used: name 'My Backend' is not a lower-case identifier; "
        "owns, to_numpy, dtypes, on must be callable; asarray, devices, recurrence must be callable or None; "
        f"xp has no function {', '.join(missing)}; "
        "protocol_version is 7, this package knows 1."
    )


def test_a_namespace_that_cannot_list_its_devices_needs_them_from_the_record() -> None:
    xp = SimpleNamespace(**dict.fromkeys(record_module.NEEDED_FUNCTIONS))
    with refused(
        rb.InvalidBackendError, "cannot be used: xp has no function __array_namespace_info__, so devices must be given."
    ):
        record(xp=xp)
    assert record(xp=xp, devices=lambda: {"here": 0}).device_names() == ("here",)


@pytest.mark.parametrize("name", ["", "Mine", "my-backend", "mine:0", "2fast", None, 3])
def test_a_name_must_be_a_lower_case_identifier(name: Any) -> None:
    with refused(rb.InvalidBackendError, f"name {name!r} is not a lower-case identifier"):
        record(name)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_record_of_another_protocol(version: Any) -> None:
    with refused(rb.InvalidBackendError, f"protocol_version is {version!r}, this package knows 1."):
        record(protocol_version=version)


def test_a_record_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        rb.get_backend("numpy").name = "other"  # type: ignore[misc]


class TestToy(BackendConformance):
    """A distribution with a backend passes: installed here is examples/toy_backend."""

    backend = "toy"

    @pytest.fixture(autouse=True)
    def toy_distribution(self, install: Install) -> None:
        project = tomllib.loads((TOY / "pyproject.toml").read_text())["project"]
        points = project["entry-points"][installed.GROUP]
        install(f"{project['name']} {project['version']}", points, toy_backend=(TOY / "toy_backend.py").read_text())

    def test_it_is_of_the_distribution(self) -> None:
        assert rb.list_backends()["toy"] == "rnn-backends-toy 0.1.0"


def test_a_backend_that_claims_the_arrays_of_the_host_is_found() -> None:
    class Claiming(BackendConformance):
        backend = "claiming"

        @property
        def place(self) -> Placement:
            return Placement(
                record(
                    "claiming", xp=np, devices=lambda: {"cpu": "cpu"}, owns=lambda array: isinstance(array, np.ndarray)
                ),
                "cpu",
            )

    with pytest.raises(AssertionError, match="`owns` claims NumPy's arrays, which are the user's on the host"):
        Claiming().test_record()
