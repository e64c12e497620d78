"""Backends of other distributions, found by their entry points."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from places import EVERY_WAY, Choose, Install, current, refused

import rnn_backends as rb
from rnn_backends.backends import installed, registry

pytestmark = pytest.mark.usefixtures("fresh_registry")


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
    monkeypatch.setattr(installed, "_entry_points", lambda: pytest.fail("looked for entry points"))
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
            f"the backend 'fake' (from {source}) of fake-rnn 1.2 failed to load (entry point {target!r}): {why}",
        ):
            choose("fake")
    assert rb.get_backend("numpy").name == "numpy"


@pytest.mark.parametrize(("target", "got"), [("other_name", "a Backend named 'other'"), ("wrong_type", "object")])
def test_an_entry_point_that_returns_something_else(target: str, got: str, install: Install) -> None:
    install("fake-rnn 1.2", {"fake": f"fake_rnn:{target}"}, fake_rnn=FAKE)
    with refused(
        rb.InvalidBackendError,
        f"the entry point 'fake_rnn:{target}' of fake-rnn 1.2 must return a Backend named 'fake'; got {got}.",
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
        "the backend 'fake' (from argument backend=) is offered by 'two-rnn 2.0', 'one-rnn 1.0'; "
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
    with refused(rb.UnknownBackendError, "Known: ", "Did you mean 'quantum'?"):
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
