"""The registry of backends, the choice of one, `use_backend`, and the way to and from a device."""

import asyncio
import contextvars
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path
from textwrap import dedent
from threading import Barrier, Thread
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol, TypeAlias

import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest

import rnn_backends as rb
from rnn_backends.backends import backend as record_module
from rnn_backends.backends import registry, selection
from rnn_backends.backends.selection import parse, select
from rnn_backends.backends.transfer import receive
from rnn_backends.core.layers import named_arrays
from rnn_backends.testing import BackendConformance

ROOT = Path(__file__).parents[2]
TOY = ROOT / "examples" / "toy_backend"
STRICT = "array_api_strict:device1"
AWAY = [STRICT, "local_toy:1", *(name for name in ("torch", "jax", "cupy") if importlib.util.find_spec(name))]


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a test loads, registers or enters is seen by the next."""
    monkeypatch.delenv("RNN_BACKEND", raising=False)
    monkeypatch.setattr(registry, "_backends", dict(registry._backends))
    token = selection._entries.set(())
    yield
    selection._entries.reset(token)


class Install(Protocol):
    def __call__(self, distribution: str, entries: dict[str, str], /, **modules: str) -> Path: ...


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
        (info / "entry_points.txt").write_text("".join([f"[{registry.GROUP}]\n", *points]))
        for module, source in modules.items():
            (site / f"{module}.py").write_text(dedent(source))
        monkeypatch.syspath_prepend(site)
        return site

    yield install_one
    for module in set(sys.modules) - imported:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


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


# --- Which backend is chosen -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "context", "variable", "chosen"),
    [
        (None, None, None, "numpy:cpu"),
        (None, None, STRICT, STRICT),
        (None, None, "array_api_strict", "array_api_strict:CPU_DEVICE"),
        (None, None, f"  {STRICT}\n", STRICT),
        (None, None, "", "numpy:cpu"),
        (None, None, "  ", "numpy:cpu"),
        (None, "numpy", STRICT, "numpy:cpu"),
        (None, STRICT, "numpy", STRICT),
        (None, STRICT, "nonsense", STRICT),
        ("numpy", STRICT, STRICT, "numpy:cpu"),
        ("numpy", None, "nonsense", "numpy:cpu"),
        (STRICT, None, None, STRICT),
        (STRICT, "array_api_strict:device2", "numpy", STRICT),
        ("numpy:cpu", None, None, "numpy:cpu"),
    ],
)
def test_argument_before_context_before_variable_before_numpy(
    argument: str | None, context: str | None, variable: str | None, chosen: str
) -> None:
    with settings(context, variable):
        assert place_of(rb.RNN.init(2, 2, backend=argument)) == chosen
        assert rb.get_backend(argument).name == chosen.partition(":")[0]


@pytest.mark.parametrize(
    ("context", "variable", "chosen"),
    [(None, None, "numpy:cpu"), (None, STRICT, STRICT), ("numpy", STRICT, "numpy:cpu"), (STRICT, None, STRICT)],
)
def test_numpy_parameters_go_where_a_new_model_would(context: str | None, variable: str | None, chosen: str) -> None:
    with settings(context, variable):
        model = rb.RNN([rb.Cell(*host_arrays())])
    assert place_of(model) == chosen
    for (_, array), host in zip(named_arrays(model.layers), host_arrays(), strict=True):
        assert model.backend.device_of(array) == model.device
        np.testing.assert_array_equal(rb.to_numpy(array), host)


@pytest.mark.parametrize("variable", ["numpy", "nonsense", "array_api_strict:device2"])
def test_device_parameters_stay_whatever_context_and_variable_say(variable: str) -> None:
    arrays = [on_strict(host) for host in host_arrays()]
    with settings("numpy", variable):
        model = rb.RNN([rb.Cell(*arrays)])
    assert place_of(model) == STRICT
    assert all(a is b for (_, a), b in zip(named_arrays(model.layers), arrays, strict=True))


@pytest.mark.parametrize("context", [None, "numpy", STRICT])
def test_mixed_parameters_are_refused(context: str | None) -> None:
    w_ih, w_hh, bias = host_arrays()
    with settings(context, "numpy"):
        with refused(
            rb.BackendMismatchError,
            "`layers[0].forward.weight_hh` is of numpy (cpu), but the model is on array_api_strict (device1). "
            "Nothing is moved implicitly: convert it, e.g. with rnn_backends.to_numpy.",
        ):
            rb.RNN([rb.Cell(on_strict(w_ih), w_hh)])
        with refused(rb.BackendMismatchError, "`readout.weight` is of numpy (cpu)"):
            rb.RNN([rb.Cell(on_strict(w_ih), on_strict(w_hh), on_strict(bias))], rb.Linear(w_hh))


def test_an_explicit_backend_takes_its_own_and_numpy_arrays_and_no_other() -> None:
    host = host_arrays()[0]
    arrays = [("a", host), ("b", on_strict(host))]
    assert select(STRICT, arrays).device == "device1"
    assert select(STRICT, arrays[:1]).backend.name == "array_api_strict"
    with refused(rb.BackendMismatchError, "`b` is of array_api_strict (device1)", "to_numpy"):
        select("numpy", arrays)


def test_parameters_on_two_devices_are_refused() -> None:
    w_ih, w_hh, _ = host_arrays()
    with refused(
        rb.DeviceError,
        "`layers[0].forward.weight_hh` is on device2, but the model is on device1. Move one to the other's device.",
    ):
        rb.RNN([rb.Cell(on_strict(w_ih), on_strict(w_hh, "device2"))])


def test_parameters_of_a_library_without_backend_are_refused() -> None:
    array = load_toy().ToyArray(host_arrays()[0], "first toy device")  # not registered
    with refused(
        rb.BackendMismatchError,
        "`layers[0].forward.weight_ih` belongs to no loaded backend; it is of type ToyArray. Nothing is "
        "converted implicitly: give a NumPy array, or register the backend of its library.",
    ):
        rb.RNN([rb.Cell(array, load_toy().ToyArray(host_arrays()[1], "first toy device"))])


def test_the_variable_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, chosen in ((STRICT, STRICT), ("numpy", "numpy:cpu"), (STRICT, STRICT)):
        monkeypatch.setenv("RNN_BACKEND", variable)
        assert current() == chosen
    monkeypatch.delenv("RNN_BACKEND")
    assert current() == "numpy:cpu"


def test_host_data_runs_where_the_model_is_whatever_the_context() -> None:
    model = rb.RNN.init(3, 4, backend=STRICT)
    with rb.use_backend("numpy"):
        output, h_n = model([[0.5, 0.25, -1.0]])
    assert model.backend.device_of(output) == model.backend.device_of(h_n) == "device1"


# --- Names that choose nothing ------------------------------------------------------------------------


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


@EVERY_WAY
def test_unknown_backend(source: str, choose: Choose) -> None:
    with refused(
        rb.UnknownBackendError,
        f"unknown backend 'cpuy' (from {source}). Known: ",
        "array_api_strict, ",
        "numpy, ",
        ". Did you mean 'cupy'? Third-party backends register under the entry-point group 'rnn_backends.backends'.",
    ):
        choose("cpuy:1")
    with pytest.raises(rb.UnknownBackendError) as caught:
        choose("zzz")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", ["CuPy", "JAX", "NumPy", "PyTorch"])
def test_a_backend_spelt_as_its_library_is_suggested(name: str) -> None:
    meant = name.lower().removeprefix("py")
    with refused(rb.UnknownBackendError, f"unknown backend '{name}'", f"Did you mean '{meant}'?"):
        rb.get_backend(name)


@EVERY_WAY
def test_unknown_device(source: str, choose: Choose) -> None:
    with refused(
        rb.DeviceError, f"the backend 'numpy' has no device 'cuda'; it has cpu. It was asked for by {source}."
    ):
        choose("numpy:cuda")
    with refused(rb.DeviceError, "'array_api_strict' has no device 'device7'; it has CPU_DEVICE, device1"):
        choose("array_api_strict:device7")


@pytest.mark.parametrize("name", ["", "  ", ":1"])
def test_an_empty_name_is_unknown(name: str) -> None:
    with refused(rb.UnknownBackendError, "unknown backend '' (from argument backend=)"):
        rb.get_backend(name)


@pytest.mark.parametrize("name", [3, b"numpy", np])
def test_a_backend_that_is_no_string(name: Any) -> None:
    with refused(rb.ArgumentError, "a backend is named by a string such as 'cupy:0'; got", "argument backend="):
        rb.get_backend(name)


def test_short_names_of_devices() -> None:
    with rb.register_backend(local_toy()):
        for short, device in {"": "toy:0", ":": "toy:0", ":1": "toy:1", ":toy:1": "toy:1", ":toy": "toy:0"}.items():
            assert parse(f"local_toy{short}", "x").device == device


# --- Shipped backends that cannot be loaded -----------------------------------------------------------

INSTALL = {
    "cupy": "pip install 'cupy-cuda13x[ctk]' for CUDA 13 or 'cupy-cuda12x[ctk]' for CUDA 12, not both",
    "torch": "pip install torch",
    "jax": "pip install jax",
    "array_api_strict": "pip install array-api-strict",
}


def forget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a shipped backend imported anew when it is next chosen."""
    registry._backends.pop(name, None)
    monkeypatch.delitem(sys.modules, f"rnn_backends.backends.{name}", raising=False)


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


# --- Backends of other distributions ------------------------------------------------------------------

FAKE = """
    import array_api_compat.numpy
    from rnn_backends import Backend

    class Array: ...

    def make(name="fake", **changes):
        return Backend(
            name=name, xp=array_api_compat.numpy, owns=lambda array: isinstance(array, Array),
            to_numpy=lambda array: array, **changes,
        )

    def other_name(): return make(name="other")
    def broken(): return {}["key"]
    def unavailable():
        from rnn_backends import BackendUnavailableError
        raise BackendUnavailableError("no chip of ours was found.")
    def future(): return make(protocol_version=2)
    def wrong_type(): return object()
    not_callable = 3
"""


def test_listed_without_being_imported_and_loaded_only_when_chosen(install: Install) -> None:
    install("fake-rnn 1.2", {"fake": "fake_rnn:make"}, fake_rnn=FAKE)
    install("explosive 0.1", {"explosive": "explosive_rnn:make"}, explosive_rnn="raise SystemExit")
    listed = rb.list_backends()
    assert listed["fake"] == "fake-rnn 1.2"
    assert listed["explosive"] == "explosive 0.1"
    assert {"numpy", "cupy", "torch", "jax", "array_api_strict"} <= set(listed)
    rb.get_backend("numpy")
    assert not {"fake_rnn", "explosive_rnn"} & set(sys.modules)
    made = rb.get_backend("fake")
    assert made.name == "fake"
    assert "fake_rnn" in sys.modules
    assert "explosive_rnn" not in sys.modules
    assert rb.get_backend("fake") is made
    assert rb.list_backends()["fake"] == "fake-rnn 1.2"


def test_choosing_a_shipped_backend_looks_for_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_entry_points", lambda: pytest.fail("looked for entry points"))
    assert rb.get_backend("numpy").name == "numpy"
    assert current() == "numpy:cpu"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no_such_module:make", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("fake_rnn:nothing", "AttributeError: module 'fake_rnn' has no attribute 'nothing'"),
        ("fake_rnn:broken", "KeyError: 'key'"),
        ("fake_rnn:not_callable", "TypeError: 'int' object is not callable"),
    ],
)
@EVERY_WAY
def test_a_backend_that_fails_to_load(target: str, why: str, source: str, choose: Choose, install: Install) -> None:
    install("fake-rnn 1.2", {"fake": target}, fake_rnn=FAKE)
    for _ in range(2):  # a failure is not remembered
        with refused(
            rb.BackendLoadError,
            f"the backend 'fake' (from {source}) of fake-rnn 1.2 failed to load (entry point {target}): {why}",
        ):
            choose("fake")
    assert rb.get_backend("numpy").name == "numpy"


@pytest.mark.parametrize(("target", "got"), [("other_name", "a Backend named 'other'"), ("wrong_type", "object")])
def test_an_entry_point_that_returns_something_else(target: str, got: str, install: Install) -> None:
    install("fake-rnn 1.2", {"fake": f"fake_rnn:{target}"}, fake_rnn=FAKE)
    with refused(
        rb.InvalidBackendError,
        f"the entry point fake_rnn:{target} of fake-rnn 1.2 must return a Backend named 'fake'; got {got}.",
    ):
        rb.get_backend("fake")


def test_a_third_party_says_that_it_cannot_run(install: Install) -> None:
    install("fake-rnn 1.2", {"fake": "fake_rnn:unavailable"}, fake_rnn=FAKE)
    with refused(
        rb.BackendUnavailableError,
        "the backend 'fake' (from argument backend=) of fake-rnn 1.2: no chip of ours was found.",
    ):
        rb.get_backend("fake")


def test_a_third_party_record_of_another_protocol(install: Install) -> None:
    install("fake-rnn 1.2", {"fake": "fake_rnn:future"}, fake_rnn=FAKE)
    with refused(
        rb.InvalidBackendError,
        "the backend 'fake' (from argument backend=) of fake-rnn 1.2: the backend 'fake' cannot be used: "
        "protocol_version is 2, this package knows 1.",
    ):
        rb.get_backend("fake")


def test_two_distributions_with_one_name_are_an_error_only_when_chosen(install: Install) -> None:
    install("one-rnn 1.0", {"fake": "fake_rnn:make", "single": "fake_rnn:other_name"}, fake_rnn=FAKE)
    install("two-rnn 2.0", {"fake": "fake_rnn:make"})
    assert rb.list_backends()["fake"] == "two-rnn 2.0 and one-rnn 1.0"
    assert rb.get_backend("numpy").name == "numpy"
    with refused(
        rb.DuplicateBackendError,
        "the backend 'fake' (from argument backend=) is offered by two-rnn 2.0 and one-rnn 1.0; "
        "uninstall all but one of them.",
    ):
        rb.get_backend("fake")


def test_a_distribution_found_twice_counts_once(install: Install) -> None:
    install("fake-rnn 1.0", {"fake": "fake_rnn:wrong_type"})
    install("fake-rnn 1.1", {"fake": "fake_rnn:make"}, fake_rnn=FAKE)  # before the other on the path
    assert rb.list_backends()["fake"] == "fake-rnn 1.1"
    assert rb.get_backend("fake").name == "fake"


def test_a_shipped_backend_wins_over_an_entry_point_of_its_name(install: Install) -> None:
    registry._backends.pop("numpy", None)
    install("usurper 1.0", {"numpy": "usurper_rnn:make"}, usurper_rnn="raise SystemExit")
    assert rb.list_backends()["numpy"] == "built in"
    assert rb.get_backend("numpy").owns(np.empty(0))
    assert "usurper_rnn" not in sys.modules


def test_an_unknown_name_suggests_what_is_installed(install: Install) -> None:
    install("fake-rnn 1.2", {"quantum": "fake_rnn:make"})
    with refused(rb.UnknownBackendError, "Known: ", "quantum", "Did you mean 'quantum'?"):
        rb.get_backend("quantun")


SLOW = """
    import time
    import array_api_compat.numpy as xp
    from rnn_backends import Backend

    calls = []

    def make():
        calls.append(1)
        time.sleep(0.05)
        return Backend(name="slow", xp=xp, owns=lambda array: False, to_numpy=lambda array: array)
"""


def test_threads_that_load_at_once_get_one_backend(install: Install) -> None:
    install("slow-rnn 1.0", {"slow": "slow_rnn:make"}, slow_rnn=SLOW)
    start = Barrier(16)

    def load(_: int) -> rb.Backend:
        start.wait()
        return rb.get_backend("slow")

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(load, range(16)))
    assert all(backend is made[0] for backend in made)
    assert sys.modules["slow_rnn"].calls == [1]


# --- register_backend and the record ------------------------------------------------------------------


def record(name: str = "mine", **changes: Any) -> rb.Backend:
    fields: dict[str, Any] = {"xp": array_api_compat.numpy, "owns": lambda _: False, "to_numpy": np.asarray}
    return rb.Backend(name=name, **{**fields, **changes})


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
    assert str(caught.value) == (
        "the backend 'My Backend' cannot be used: name 'My Backend' is not a lower-case identifier; "
        "owns is not callable; to_numpy is not callable; dtypes is not callable; on is not callable; "
        "asarray is neither callable nor None; devices is neither callable nor None; "
        "recurrence is neither callable nor None; "
        + "".join(f"xp has no function {name}; " for name in missing)
        + "protocol_version is 7, this package knows 1."
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
        points = project["entry-points"][registry.GROUP]
        install(f"{project['name']} {project['version']}", points, toy_backend=(TOY / "toy_backend.py").read_text())

    def test_it_is_of_the_distribution(self) -> None:
        assert rb.list_backends()["toy"] == "rnn-backends-toy 0.1.0"


# --- use_backend ----------------------------------------------------------------------------------------


def test_blocks_nest_and_end() -> None:
    with rb.use_backend(STRICT):
        assert current() == STRICT
        with rb.use_backend("numpy"):
            assert current() == "numpy:cpu"
            with rb.use_backend("array_api_strict"):
                assert current() == "array_api_strict:CPU_DEVICE"
            assert current() == "numpy:cpu"
        assert current() == STRICT
    assert current() == "numpy:cpu"


def test_entering_twice_is_refused() -> None:
    block = rb.use_backend(STRICT)
    with block:
        with refused(rb.ArgumentError, "this use_backend is entered already; make another one."):
            block.__enter__()
        assert current() == STRICT
    assert current() == "numpy:cpu"
    with block:  # one after the other is no harm
        assert current() == STRICT
    assert current() == "numpy:cpu"


def test_an_exception_ends_the_block() -> None:
    with pytest.raises(ZeroDivisionError), rb.use_backend(STRICT):
        _ = 1 / 0
    assert current() == "numpy:cpu"


def test_a_block_that_cannot_be_entered_changes_nothing() -> None:
    with rb.use_backend(STRICT):
        for name in ("nonsense", "numpy:cuda"):
            with pytest.raises(rb.RNNBackendError):
                use(name)
        assert current() == STRICT
    assert current() == "numpy:cpu"


def test_making_one_looks_nothing_up() -> None:
    rb.use_backend("nonsense")


def test_other_threads_do_not_see_it() -> None:
    seen: list[str] = []
    with rb.use_backend(STRICT):
        thread = Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(current).result())
            context = contextvars.copy_context()
            assert pool.submit(context.run, current).result() == STRICT  # unless it is handed to them
            seen.append(pool.submit(current).result())
    assert seen == ["numpy:cpu"] * 3


def test_threads_do_not_disturb_each_other() -> None:
    step = Barrier(2, timeout=30)

    def run(name: str) -> list[str]:
        seen = []
        for _ in range(20):
            with rb.use_backend(name):
                step.wait()
                seen.append(current())
                step.wait()
            seen.append(current())
        return seen

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, (STRICT, "array_api_strict:device2"))
    assert first == [STRICT, "numpy:cpu"] * 20
    assert second == ["array_api_strict:device2", "numpy:cpu"] * 20


def test_tasks_do_not_disturb_each_other() -> None:
    async def run(name: str, mine: asyncio.Event, other: asyncio.Event) -> list[str]:
        seen = []
        for _ in range(3):
            with rb.use_backend(name):
                other.set()
                await mine.wait()
                mine.clear()
                seen.append(current())
                seen.append(await asyncio.create_task(started_in_the_block()))
                seen.append(await asyncio.to_thread(current))
            other.set()
            await mine.wait()
            mine.clear()
            seen.append(current())
        other.set()
        return seen

    async def started_in_the_block() -> str:
        await asyncio.sleep(0)
        return current()

    async def both() -> tuple[list[str], list[str]]:
        first, second = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(run(STRICT, first, second), run("array_api_strict:device2", second, first))

    first, second = asyncio.run(both())
    assert first == [STRICT, STRICT, STRICT, "numpy:cpu"] * 3
    assert second == [*["array_api_strict:device2"] * 3, "numpy:cpu"] * 3
    assert current() == "numpy:cpu"


# Generators that yield inside the block.  What they yield is what they see themselves.


Steps: TypeAlias = Generator[str, None, None]


def block(name: str = STRICT, steps: int = 3) -> Steps:
    with rb.use_backend(name):
        for _ in range(steps):
            yield current()
    yield current()


def block_by_exit_stack() -> Steps:
    with ExitStack() as stack:
        stack.enter_context(rb.use_backend(STRICT))
        yield current()
        yield current()
    yield current()


@contextmanager
def managed(name: str = STRICT) -> Iterator[str]:
    with rb.use_backend(name):
        yield current()


def block_by_context_manager() -> Steps:
    with managed():
        yield current()
        yield current()
    yield current()


def delegating() -> Steps:
    yield from block()


def reporting(steps: Iterable[str]) -> Iterator[str]:
    """Pass on what is iterated over, as tqdm does."""
    for step in steps:
        assert current() == "numpy:cpu"
        yield step


class Loader:
    """Drives a generator from a method of its own, as data loaders do."""

    def __init__(self) -> None:
        self.steps = block()

    def __iter__(self) -> "Loader":
        return self

    def __next__(self) -> str:
        return next(self.steps)


@pytest.mark.parametrize(
    "make",
    [
        block,
        block_by_exit_stack,
        block_by_context_manager,
        delegating,
        Loader,
        lambda: reporting(block()),
        lambda: (step for step in block()),
        lambda: (step for (step,) in zip(block(), strict=True)),
    ],
)
def test_who_iterates_does_not_see_the_backend_of_a_generator(make: Callable[[], Iterable[str]]) -> None:
    seen = []
    for step in make():
        seen.append(step)
        assert current() == "numpy:cpu"
    assert set(seen[:-1]) == {STRICT}
    assert len(seen) >= 3
    assert seen[-1] == current() == "numpy:cpu"


def test_who_iterates_keeps_the_backend_of_its_own_block() -> None:
    with rb.use_backend("array_api_strict:device2"):
        for step in block(steps=2):
            assert current() == "array_api_strict:device2"
            assert step in {STRICT, current()}
        assert step == current() == "array_api_strict:device2"


def test_a_generator_that_is_started_elsewhere_is_not_seen() -> None:
    def start() -> Steps:
        steps = block()
        next(steps)
        return steps

    steps = start()
    assert current() == "numpy:cpu"
    assert next(steps) == STRICT
    steps.close()
    assert current() == "numpy:cpu"


def test_a_generator_that_is_dropped_ends_its_block() -> None:
    ended = []

    def watched() -> Iterator[None]:
        try:
            with rb.use_backend(STRICT):
                yield
        finally:
            ended.append(current())

    def drop() -> None:
        steps = watched()
        next(steps)
        assert not ended

    drop()
    assert ended == ["numpy:cpu"]
    assert current() == "numpy:cpu"


def test_generators_may_be_closed_in_any_order() -> None:
    with rb.use_backend("array_api_strict"):
        first, second, third = block(STRICT), block("numpy"), block("array_api_strict:device2")
        for steps in (first, second, third):
            next(steps)
        first.close()
        assert current() == "array_api_strict:CPU_DEVICE"
        assert next(third) == "array_api_strict:device2"
        assert next(second) == "numpy:cpu"
        third.close()
        assert next(second) == "numpy:cpu"
        assert current() == "array_api_strict:CPU_DEVICE"
    assert current() == "numpy:cpu"
    with rb.use_backend(STRICT):
        second.close()
        assert current() == STRICT
    assert current() == "numpy:cpu"


def test_an_exception_thrown_into_a_generator_ends_its_block() -> None:
    steps = block()
    next(steps)
    with pytest.raises(ZeroDivisionError):
        steps.throw(ZeroDivisionError())
    assert current() == "numpy:cpu"


def test_what_a_running_generator_calls_sees_its_backend() -> None:
    def outer() -> Iterator[list[str]]:
        with rb.use_backend(STRICT):
            yield [current(), *block("numpy", 1), *[current() for _ in "a"], *(current() for _ in "a")]

    assert next(outer()) == [STRICT, "numpy:cpu", STRICT, STRICT, STRICT]


# Generators that yield to have the code run that asked for the block.


def test_the_body_of_a_context_manager_sees_it() -> None:
    with managed() as inside:
        assert inside == current() == STRICT
        with managed("numpy"):
            assert current() == "numpy:cpu"
        assert current() == STRICT
    assert current() == "numpy:cpu"
    with ExitStack() as stack:
        stack.enter_context(managed())
        stack.enter_context(rb.use_backend("array_api_strict:device2"))
        assert current() == "array_api_strict:device2"
        rest = stack.pop_all()
    assert current() == "array_api_strict:device2"
    rest.close()
    assert current() == "numpy:cpu"


def test_a_context_manager_as_decorator() -> None:
    assert managed()(current)() == STRICT
    assert current() == "numpy:cpu"


def test_a_context_manager_of_context_managers() -> None:
    @contextmanager
    def outer() -> Iterator[None]:
        with managed(), ExitStack() as stack:
            stack.enter_context(managed("array_api_strict:device2"))
            yield

    with outer():
        assert current() == "array_api_strict:device2"
    assert current() == "numpy:cpu"


@pytest.fixture
def strict_fixture() -> Iterator[None]:
    with rb.use_backend(STRICT):
        yield


@pytest.fixture
def managed_fixture() -> Iterator[None]:
    with managed():
        yield


@pytest.mark.usefixtures("strict_fixture")
def test_the_test_sees_its_fixture() -> None:
    assert current() == STRICT


@pytest.mark.usefixtures("managed_fixture")
def test_the_test_sees_the_context_manager_of_its_fixture() -> None:
    assert current() == STRICT


@pytest.mark.parametrize(
    ("module", "seen"), [*((name, STRICT) for name in sorted(selection._MANAGERS)), ("tqdm", "numpy:cpu")]
)
def test_who_drives_a_generator_tells_whether_its_caller_asked(module: str, seen: str) -> None:
    scope: dict[str, Any] = {"__name__": f"{module}.plugin"}
    exec("def drive(steps): return next(steps, None)", scope)
    steps = block(steps=1)
    assert scope["drive"](steps) == STRICT
    assert current() == seen
    assert scope["drive"](steps) == "numpy:cpu"
    assert current() == "numpy:cpu"


# The same for asynchronous ones.


async def async_block() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    with rb.use_backend(STRICT):
        for _ in range(3):
            await asyncio.sleep(0)
            yield current()
    yield current()


@asynccontextmanager
async def async_managed() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    with rb.use_backend(STRICT):
        await asyncio.sleep(0)
        yield current()


async def child() -> str:
    return current()


def test_who_iterates_does_not_see_the_backend_of_an_async_generator() -> None:
    async def iterate() -> None:
        seen = []
        async for step in async_block():
            seen.append(step)
            assert current() == "numpy:cpu"
            await asyncio.sleep(0)
            assert await asyncio.create_task(child()) == current() == "numpy:cpu"
        assert seen == [STRICT] * 3 + ["numpy:cpu"]

    asyncio.run(iterate())


def test_an_async_generator_that_is_dropped_is_not_seen() -> None:
    async def take_one() -> str:
        async for step in async_block():
            return step
        return ""

    async def iterate() -> None:
        assert await take_one() == STRICT
        for _ in range(5):
            assert current() == "numpy:cpu"
            await asyncio.sleep(0)

    asyncio.run(iterate())


def test_the_body_of_an_async_context_manager_sees_it() -> None:
    async def enter() -> None:
        async with async_managed() as inside:
            assert inside == current() == STRICT
            await asyncio.sleep(0)
            assert await asyncio.create_task(child()) == current() == STRICT
        assert current() == "numpy:cpu"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(async_managed())
            assert current() == STRICT
        assert current() == "numpy:cpu"

    asyncio.run(enter())


# --- To a device and back -------------------------------------------------------------------------------


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


def dtypes(library: str) -> tuple[str, ...]:
    return tuple(rb.get_backend(library).dtypes())


def test_host_data_is_moved_and_converted(library: str) -> None:
    place = parse(library, "x")
    host = np.array([[1.5, -2.0, 0.25], [4.0, 0.0, 8.5]])
    for dtype in dtypes(library):
        for data in (host, host.tolist(), host.astype(np.float16), host.astype(np.float32), tuple(host)):
            array = receive("x", data, place, dtype)
            assert place.backend.owns(array)
            assert place.backend.device_of(array) == place.device
            assert array.dtype == place.backend.dtype(dtype)
            np.testing.assert_array_equal(rb.to_numpy(array), host)


def test_host_integers_become_int32(library: str) -> None:
    place = parse(library, "x")
    for data in ([3, 0, 2], (3, 0, 2), *(np.array([3, 0, 2], dtype) for dtype in ("i8", "i2", "u1", ">i4"))):
        array = receive("x", data, place, "float32")
        assert array.dtype == place.backend.xp.int32
        assert rb.to_numpy(array).dtype == np.int32
        np.testing.assert_array_equal(rb.to_numpy(array), [3, 0, 2])


LAYOUTS: dict[str, Any] = {
    "reversed": np.arange(6.0, dtype=np.float32).reshape(2, 3)[::-1, ::-1],
    "reversed float64": np.arange(6.0).reshape(2, 3)[::-1, ::-1],
    "Fortran": np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
    "strided": np.arange(12.0, dtype=np.float32).reshape(4, 3)[::2],
    "big-endian": np.arange(6.0).reshape(2, 3).astype(">f4"),
    "long double": np.arange(6.0).reshape(2, 3).astype(np.longdouble),
    "empty": np.zeros((0, 3), np.float32),
    "without axes": np.array(0.5, np.float32),
    "scalar": np.float64(0.5),
    "broadcast": np.broadcast_to(np.float32(0.5), (2, 3)),
}


@pytest.mark.parametrize("host", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_of_host_data_moves(library: str, host: Any) -> None:
    array = receive("x", host, parse(library, "x"), "float32")
    assert tuple(array.shape) == host.shape
    np.testing.assert_array_equal(rb.to_numpy(array), host)


def test_read_only_host_data_moves_without_a_warning(library: str) -> None:
    host = np.arange(3, dtype=np.float32)
    host.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = receive("x", host, parse(library, "x"), "float32")
    np.testing.assert_array_equal(rb.to_numpy(array), host)


def shareable(dtype: str) -> Any:
    """Return an array as libraries like it best: large, and aligned to the lines of the cache."""
    size = 64 * 64 * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(64, 64)


def test_no_device_array_shares_memory_with_the_host(away: str) -> None:
    for dtype in {"float32", "float64"} & set(dtypes(away)):
        host = shareable(dtype)
        host[...] = 1.0
        array = receive("x", host, parse(away, "x"), dtype)
        host[...] = 7.0
        first = rb.to_numpy(array)
        assert first.dtype == dtype
        np.testing.assert_array_equal(first, 1.0)
        if first.flags.writeable:
            first[...] = 5.0
        np.testing.assert_array_equal(rb.to_numpy(array), 1.0)


def test_a_model_shares_no_memory_with_what_it_was_made_of(away: str) -> None:
    arrays = host_arrays()
    with rb.use_backend(away):
        model = rb.RNN([rb.Cell(*arrays)])
    back = model.to("numpy")
    for array in arrays:
        array[...] = 7.0
    for _, array in named_arrays(back.layers):
        if array.flags.writeable:
            array[...] = 5.0
    for (_, array), wanted in zip(named_arrays(model.layers), host_arrays(), strict=True):
        np.testing.assert_array_equal(rb.to_numpy(array), wanted)


def test_device_arrays_are_used_as_they_are(away: str) -> None:
    place = parse(away, "x")
    for dtype in (*dtypes(away), "int32"):
        array = place.backend.from_host(np.ones((2, 3), np.float32), dtype, place.device)
        assert receive("x", array, place, "float32") is array


def test_to_numpy_is_exact(library: str) -> None:
    place = parse(library, "x")
    host = np.array([1.0, -0.0, np.inf, 2.0**-14, 65280.0, np.nan])
    for dtype in dtypes(library):
        back = rb.to_numpy(place.backend.from_host(host, dtype, place.device))
        assert type(back) is np.ndarray
        assert back.dtype == ("float32" if dtype == "bfloat16" else dtype)
        np.testing.assert_array_equal(back, host)
        assert np.signbit(back[1])
    back = rb.to_numpy(place.backend.from_host(np.array([[2**31 - 1], [-(2**31)]]), "int32", place.device))
    np.testing.assert_array_equal(back, np.array([[2**31 - 1], [-(2**31)]], np.int32), strict=True)


@pytest.mark.parametrize("data", [[1.0], 1.0, None, "text", object()])
def test_to_numpy_of_what_is_no_array(data: Any) -> None:
    with refused(
        rb.BackendMismatchError, f"`array` belongs to no loaded backend; it is of type {type(data).__name__}."
    ):
        rb.to_numpy(data)


def parameters(model: rb.RNN) -> list[Any]:
    return [array for _, array in named_arrays((model.layers, model.readout))]


def full_model(backend: str = "numpy", dtype: str = "float32") -> rb.RNN:
    return rb.RNN.init(3, 4, num_layers=2, bidirectional=True, output_size=5, seed=7, dtype=dtype, backend=backend)


def test_arrays_are_made_in_the_context_of_the_device() -> None:
    """For a library whose functions take no device, or do not heed it."""
    now, made = ["nowhere"], set()

    @contextmanager
    def on(device: Any) -> Iterator[None]:
        now.append(str(device))
        yield
        now.pop()

    class Namespace(ModuleType):
        def __getattr__(self, name: str) -> Any:
            made.add((name, now[-1]))
            return getattr(array_api_strict, name)

    def activation(z: Any) -> Any:
        made.add(("activation", now[-1]))
        return z

    device1 = str(array_api_strict.Device("device1"))
    mine = replace(rb.get_backend("array_api_strict"), name="mine", xp=Namespace("mine"), on=on)
    made.clear()  # the record has looked whether all functions are there
    with rb.register_backend(mine):
        rnn = rb.RNN.init(3, 4, activation=activation, backend="mine:device1")
        rnn(np.zeros((2, 3)))
    assert {("asarray", device1), ("activation", device1)} <= made
    assert not {("asarray", "nowhere"), ("activation", "nowhere")} & made
    assert now == ["nowhere"]


def test_init_gives_the_same_parameters_on_every_backend(library: str) -> None:
    for dtype in dtypes(library):
        model = full_model(library, dtype)
        assert model.dtype == dtype
        assert len(parameters(model)) == 2 * 2 * 3 + 2
        wanted = full_model(dtype="float32" if dtype == "bfloat16" else dtype)
        for array, host in zip(parameters(model), parameters(wanted), strict=True):
            np.testing.assert_allclose(rb.to_numpy(array), host, rtol=2.0**-8 if dtype == "bfloat16" else 0)


def test_moving_a_model_is_exact_and_leaves_the_original(library: str) -> None:
    layers, readout = full_model().layers, full_model().readout
    first = rb.RNN(layers, readout, batch_first=True, vocabulary="abc", metadata={"licence": "MIT"})
    before, copies = parameters(first), [array.copy() for array in parameters(first)]
    moved = first.to(library)
    back = moved.to("numpy")
    assert (moved.backend, moved.device) == parse(library, "x")
    assert all(moved.backend.device_of(array) == moved.device for array in parameters(moved))
    for model in (moved, back):
        assert (model.batch_first, model.vocabulary, model.metadata) == (True, "abc", {"licence": "MIT"})
        assert model.dtype == "float32"
    for array, wanted in zip(parameters(back), copies, strict=True):
        np.testing.assert_array_equal(array, wanted, strict=True)
    assert first.backend.name == "numpy"
    assert all(a is b for a, b in zip(parameters(first), before, strict=True))
    for array, wanted in zip(before, copies, strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_changing_the_dtype_rounds_once_and_leaves_the_original(library: str) -> None:
    if "float64" not in dtypes(library):
        pytest.skip("the library has no float64")
    wide = full_model(library, "float64")
    host = [rb.to_numpy(array).copy() for array in parameters(wide)]
    for narrow, place in ((wide.to(dtype="float32"), wide.device), (wide.to("numpy", "float32"), "cpu")):
        assert (narrow.dtype, narrow.device) == ("float32", place)
        for array, wanted in zip(parameters(narrow), host, strict=True):
            np.testing.assert_array_equal(rb.to_numpy(array), wanted.astype(np.float32), strict=True)
        for array, wanted in zip(parameters(narrow.to(library, "float64")), host, strict=True):
            np.testing.assert_array_equal(rb.to_numpy(array), wanted.astype(np.float32).astype(np.float64))
    assert wide.dtype == "float64"
    for array, wanted in zip(parameters(wide), host, strict=True):
        np.testing.assert_array_equal(rb.to_numpy(array), wanted, strict=True)


def test_a_model_that_need_not_move_keeps_its_arrays(library: str) -> None:
    model = full_model(library)
    for same in (model.to(), model.to(library), model.to(dtype="float32"), model.to(library, "float32")):
        assert all(a is b for a, b in zip(parameters(same), parameters(model), strict=True))


def test_moving_between_devices() -> None:
    model = full_model(STRICT)
    moved = model.to("array_api_strict:device2")
    assert (model.device, moved.device) == ("device1", "device2")
    assert all(moved.backend.device_of(array) == "device2" for array in parameters(moved))
    for array, wanted in zip(parameters(moved), parameters(full_model()), strict=True):
        np.testing.assert_array_equal(rb.to_numpy(array), wanted)
    assert model.to("array_api_strict").device == "CPU_DEVICE"


@dataclass(frozen=True, eq=False)
class Scaled:
    """A cell of the user's, with a parameter that is a number in an array."""

    weight: Any
    scale: Any

    def project(self, x: Any) -> Any:
        return x @ self.weight.T

    def step(self, projected: Any, h: Any) -> Any:
        return projected + self.scale * h


def test_a_parameter_without_axes_keeps_its_shape(library: str) -> None:
    model = rb.RNN([Scaled(host_arrays()[0], np.array(0.5, np.float32))]).to(library)
    own: Any = model.layers[0].forward
    assert tuple(own.scale.shape) == ()
    x = np.ones((2, 3), np.float32)
    wanted = x @ host_arrays()[0].T * np.array([[1.0], [1.5]])
    np.testing.assert_allclose(rb.to_numpy(model(x)[0]), wanted, rtol=1e-6)


def test_host_data_gives_what_device_data_gives(library: str) -> None:
    model, place = full_model(library), parse(library, "x")
    host: dict[str, Any] = {
        "x": np.random.default_rng(1).normal(size=(5, 2, 3)),
        "h_0": np.random.default_rng(2).normal(size=(4, 2, 4)),
        "lengths": np.array([5, 2]),
    }
    on_device = {
        name: place.backend.from_host(array, "int32" if name == "lengths" else "float32", place.device)
        for name, array in host.items()
    }
    as_lists = {name: array.tolist() for name, array in host.items()}
    wanted = [rb.to_numpy(result) for result in model(**host)]
    for arguments in (on_device, as_lists):
        for got, want in zip(model(**arguments), wanted, strict=True):
            assert place.backend.owns(got)
            np.testing.assert_array_equal(rb.to_numpy(got), want)


# --- What does not move ---------------------------------------------------------------------------------

Call: TypeAlias = Callable[[rb.RNN, Any], object]
CALLS: dict[str, Call] = {
    "x": lambda model, array: model(array),
    "h_0": lambda model, array: model(np.zeros((2, 3)), array),
    "lengths": lambda model, array: model(np.zeros((2, 1, 3)), lengths=array),
    "targets": lambda model, array: model.loss(np.zeros((2, 3)), array),
}
EVERY_ARGUMENT = pytest.mark.parametrize(("argument", "call"), CALLS.items(), ids=CALLS)


@EVERY_ARGUMENT
def test_an_array_of_another_library(argument: str, call: Call) -> None:
    with refused(
        rb.BackendMismatchError,
        f"`{argument}` is of array_api_strict (device1), but the model is on numpy (cpu). "
        "Nothing is moved implicitly: convert it, e.g. with rnn_backends.to_numpy.",
    ):
        call(rb.RNN.init(3, 4, output_size=3, backend="numpy"), on_strict(np.zeros((1, 1, 3))))


@EVERY_ARGUMENT
def test_an_array_on_another_device(argument: str, call: Call) -> None:
    with refused(
        rb.DeviceError,
        f"`{argument}` is on device2, but the model is on device1. Move one to the other's device.",
    ):
        call(rb.RNN.init(3, 4, output_size=3, backend=STRICT), on_strict(np.zeros((1, 1, 3)), "device2"))


class Copying:
    """An array of an unknown library that NumPy could copy to the host, from wherever it is."""

    shape, dtype = (2, 3), np.dtype("float32")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return pytest.fail("the array was copied to the host")


class OfTheStandard(Copying):
    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return array_api_strict


class OfDLPack(Copying):
    def __dlpack__(self, **_: Any) -> Any:
        return pytest.fail("the array was exported")


@pytest.mark.parametrize("unknown", [OfTheStandard(), OfDLPack()], ids=lambda array: type(array).__name__)
@EVERY_ARGUMENT
def test_an_array_of_a_library_without_backend(argument: str, call: Call, unknown: Any) -> None:
    with refused(
        rb.BackendMismatchError,
        f"`{argument}` belongs to no loaded backend; it is of type {type(unknown).__name__}. Nothing is "
        "converted implicitly: give a NumPy array, or register the backend of its library.",
    ):
        call(rb.RNN.init(3, 4, output_size=3), unknown)


class Tagged(np.ndarray[Any, Any]):
    """Arrays of a library that derives them from NumPy's."""


@pytest.mark.parametrize("place", ["numpy", STRICT])
@EVERY_ARGUMENT
def test_an_array_derived_from_numpys_belongs_to_its_own_backend(argument: str, call: Call, place: str) -> None:
    tagged = record(
        "tagged",
        xp=array_api_compat.numpy,
        owns=lambda array: isinstance(array, Tagged),
        asarray=lambda host, dtype, _: np.array(host, dtype=dtype).view(Tagged),
        devices=lambda: {"tag:0": "cpu"},
    )
    array = np.zeros((1, 1, 3), np.float32).view(Tagged)
    with rb.register_backend(tagged), refused(rb.BackendMismatchError, f"`{argument}` is of tagged (tag:0)"):
        call(rb.RNN.init(3, 4, output_size=3, backend=place), array)
    with rb.register_backend(tagged):
        assert receive("x", array, parse("tagged", "x"), "float32") is array


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ([[1.0, 2.0], [3.0]], "be an array or nested lists of numbers, of equal lengths; got list. Pad"),
        (["a", "b"], "got list of dtype <U1."),
        ([None], "got list of dtype object."),
        (None.__class__, "got type of dtype object."),
        (np.zeros((2, 3), complex), "got ndarray of dtype complex128."),
        (np.zeros((2, 3), bool), "got ndarray of dtype bool."),
        (np.zeros(3, "datetime64[s]"), "got ndarray of dtype datetime64[s]."),
        (object(), "got object of dtype object."),
    ],
    ids=["ragged", "strings", "None", "class", "complex", "bool", "dates", "object"],
)
@EVERY_ARGUMENT
def test_host_data_that_holds_no_real_numbers(argument: str, call: Call, data: Any, shown: str) -> None:
    wanted = "integers" if argument in {"lengths", "targets"} else "real numbers"
    with refused(rb.DTypeError, f"`{argument}` must ", shown if "lengths" in shown else f"hold {wanted}; {shown}"):
        call(rb.RNN.init(3, 4, output_size=3), data)


def test_a_list_of_device_arrays() -> None:
    array = on_strict(np.zeros(3, np.float32))
    with refused(rb.DTypeError, "`x` must be an array or nested lists of numbers, of equal lengths; got list."):
        rb.RNN.init(3, 4, backend=STRICT)([array, array])


def test_a_device_array_of_another_dtype(away: str) -> None:
    place, other = parse(away, "x"), next(dtype for dtype in dtypes(away) if dtype != "float32")
    array = place.backend.from_host(np.zeros((1, 4)), other, place.device)
    with refused(rb.DTypeError, f"`x` must be float32, as the parameters are; got {other}."):
        rb.RNN.init(3, 4, backend=away)(array)
    with refused(rb.DTypeError, f"`h_0` must be float32, as the parameters are; got {other}."):
        rb.RNN.init(3, 4, backend=away)(np.zeros((2, 3)), array)


def test_a_dtype_that_the_backend_has_not() -> None:
    ways: list[Choose] = [
        lambda dtype: rb.RNN.init(3, 4, dtype=dtype, backend=STRICT),
        lambda dtype: rb.RNN.init(3, 4, backend=STRICT).to(dtype=dtype),
        lambda dtype: rb.RNN.init(3, 4, backend="numpy").to(STRICT, dtype),
    ]
    for choose in ways:
        with refused(
            rb.DTypeError,
            "`dtype` 'bfloat16' is not on the backend 'array_api_strict'; use one of float32, float64.",
        ):
            choose("bfloat16")
        with refused(rb.DTypeError, "`dtype` 'float65' is unknown to the backend 'array_api_strict'; use one"):
            choose("float65")


def test_a_model_is_not_rounded_to_move_where_its_dtype_is_not() -> None:
    model = rb.RNN.init(3, 4, dtype="float16", backend="numpy")
    with refused(rb.DTypeError, "`dtype` 'float16' is not on the backend 'array_api_strict'"):
        model.to(STRICT)
    assert model.to(STRICT, "float32").dtype == "float32"


def test_float64_on_jax_without_x64() -> None:
    jax = pytest.importorskip("jax")
    if jax.config.jax_enable_x64:
        pytest.skip("x64 is enabled")
    with refused(rb.DTypeError, "`dtype` 'float64' is not on the backend 'jax'; use one of float16"):
        rb.RNN.init(3, 4, dtype="float64", backend="numpy").to("jax")
    assert not jax.config.jax_enable_x64


def test_the_pure_function_refuses_mixtures() -> None:
    w_ih, w_hh, _ = host_arrays()
    x = np.zeros((2, 3), np.float32)
    with refused(
        rb.BackendMismatchError,
        "all arrays must belong to one library; `layers[0].forward.weight_ih` is of numpy and `x` of "
        "array_api_strict. Nothing is moved implicitly: convert one of them.",
    ):
        rb.forward([rb.Cell(w_ih, w_hh)], on_strict(x))
    with refused(
        rb.DeviceError,
        "all arrays must lie on one device; `layers[0].forward.weight_ih` is on ",
        " and `x` on ",
    ):
        rb.forward([rb.Cell(on_strict(w_ih), on_strict(w_hh))], on_strict(x, "device2"))


# --- Importing the package ------------------------------------------------------------------------------


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_no_array_library_but_numpy_and_reads_no_variable() -> None:
    loaded = run_python(
        """
        import os, sys

        class Watched(dict):
            read = []
            def __getitem__(self, key):
                self.read.append(key)
                return super().__getitem__(key)

        import numpy
        os.environ._data = Watched(os.environ._data)
        before = set(sys.modules)
        import rnn_backends
        print(*sorted(set(sys.modules) - before))
        names = [os.fsdecode(name) for name in Watched.read]
        assert not [name for name in names if "RNN" in name.upper()], names
        """,
        RNN_BACKEND="nonsense",
    ).split()
    packages = {name.partition(".")[0] for name in loaded}
    assert "rnn_backends" in packages
    heavy = {"cupy", "torch", "jax", "jaxlib", "array_api_strict", "safetensors", "scipy", "numba", "pytest"}
    assert not packages & heavy
    assert packages <= {"rnn_backends", "array_api_compat", "numpy", *sys.stdlib_module_names}


COLD = """
    import sys
    import inspect, numpy  # which imports it itself, from some version on
    before = set(sys.modules)
    {code}
    print(*(set(sys.modules) - before))
"""
MODEL = str(ROOT / "examples" / "shakespeare" / "shakespeare.safetensors")


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import rnn_backends", 34),
        (f"import rnn_backends as rb; rb.load({MODEL!r}).predict('a')", 64),
    ],
)
def test_a_cold_start_imports_little(code: str, most: int) -> None:
    # What an import costs is told by the clock badly, and by the number of modules well.
    loaded = set(run_python(COLD.format(code=code)).split())
    packages = {name.partition(".")[0] for name in loaded}
    assert packages <= {"rnn_backends", "safetensors", *sys.stdlib_module_names}  # of NumPy nothing more
    assert not packages & {"difflib", "hashlib", "secrets", "shutil", "subprocess", "tempfile", "zipfile"}
    assert "importlib.metadata" not in loaded
    assert len(loaded) <= most, sorted(loaded)


def test_a_model_on_numpy_loads_no_other_array_library() -> None:
    loaded = run_python(
        """
        import sys
        import rnn_backends as rb
        rb.RNN.init(3, 4)([[1.0, 2.0, 3.0]])
        rb.list_backends()
        print(*sys.modules)
        """
    ).split()
    assert not {"cupy", "torch", "jax", "jaxlib", "array_api_strict"} & set(loaded)


def test_the_variable_matters_when_a_model_is_made() -> None:
    run_python(
        """
        import os
        import rnn_backends as rb
        try:
            rb.RNN.init(3, 4)
        except rb.UnknownBackendError as error:
            assert "environment variable RNN_BACKEND" in str(error)
        else:
            raise SystemExit("nonsense was accepted")
        os.environ["RNN_BACKEND"] = "array_api_strict:device1"
        assert rb.RNN.init(3, 4).device == "device1"
        """,
        RNN_BACKEND="nonsense",
    )


def test_all_names_are_there_and_in_order() -> None:
    names = rb.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(rb, name) for name in names)
    public = {
        name for name, value in vars(rb).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public | {"__version__"} == set(names)
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
