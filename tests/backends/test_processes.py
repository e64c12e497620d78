"""Processes that are made while one thread loads a backend and another computes, and threads that need not wait."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from threading import Event, Thread
from typing import Any, cast

import numpy as np
import pytest
from computing import X, compute, computed_in_a_process
from places import Install, refused

import rnn_backends as rb
from rnn_backends.backends import registry
from rnn_backends.backends.cpu_kernels.choice import chosen

pytestmark = pytest.mark.usefixtures("fresh_registry")

WAITING = """
from dataclasses import replace
from threading import Event
import rnn_backends as rb
begun, go_on = Event(), Event()
def make():
    begun.set()
    assert go_on.wait(900)
    return replace(rb.get_backend("numpy"), name="waiting")
"""
SECONDS = 120


class Slow:
    """A backend that a thread loads for as long as the test wants, and a thread that computes meanwhile."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.loaded: list[rb.Backend] = []
        self.is_over = False
        self.threads = [Thread(target=self.load), Thread(target=self.compute)]

    def load(self) -> None:
        self.loaded.append(rb.get_backend("waiting"))

    def compute(self) -> None:
        while not self.is_over:
            rb.RNN.init(3, 4)(X)  # no product of NumPy's, within which OpenBLAS must not be forked


@pytest.fixture
def slow(install: Install) -> Iterator[Slow]:
    rb.get_backend("numpy")
    if chosen() is None:
        pytest.skip("without a kernel, the thread computes by NumPy's products")
    install("waiting-rnn 1.0", {"waiting": "waiting_rnn:make"}, waiting_rnn=WAITING)
    import waiting_rnn  # type: ignore[import-not-found]

    held = Slow(waiting_rnn)
    for thread in held.threads:
        thread.start()
    assert held.module.begun.wait(SECONDS)
    yield held
    held.module.go_on.set()
    held.is_over = True
    for thread in held.threads:
        thread.join(SECONDS)
    assert [backend.name for backend in held.loaded] == ["waiting"]
    sys.modules.pop("waiting_rnn")


def forked(work: Any) -> bool:
    """Return whether a forked process does some work and ends."""
    child = os.fork()
    if child == 0:  # it must not return into pytest
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the parent is to see it
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(1)
    watch = Event()
    for _ in range(SECONDS * 5):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        watch.wait(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
IGNORE_THREADS = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*fork:DeprecationWarning", "ignore:.*fork.* incompatible with multithreaded:RuntimeWarning"
)


@NEEDS_FORK
@IGNORE_THREADS
@pytest.mark.parametrize(
    "work",
    [
        lambda rnn: rnn(X),
        lambda rnn: rnn.loss(X, np.zeros((5, 2), int)),
        lambda rnn: rnn.predict_many([[0, 1], [2]]),
        lambda _: rb.RNN.init(3, 4),
        lambda rnn: rb.RNN(rnn.layers, rnn.readout).stream(2)(X),
        lambda rnn: rnn.to(dtype="float64"),
        lambda _: rb.get_backend("array_api_strict"),
        lambda _: rb.register_backend(replace(rb.get_backend("numpy"), name="mine")),
        compute,
    ],
    ids=["call", "loss", "many", "init", "stream", "to", "another backend", "register", "all"],
)
def test_a_fork_computes_while_a_thread_loads(work: Any, slow: Slow) -> None:
    rnn = rb.RNN.init(3, 4, output_size=3)
    assert not slow.loaded
    assert forked(lambda: work(rnn))


@NEEDS_FORK
@IGNORE_THREADS
def test_a_fork_refuses_a_backend_of_which_it_has_a_half(slow: Slow) -> None:
    def choose() -> None:
        for _ in range(2):
            with refused(
                rb.BackendUnavailableError,
                "the backend 'waiting' (from argument backend=) was being loaded by another thread when this process "
                "was forked, and half of its library is here; load it before the fork",
            ):
                rb.RNN.init(3, 4, backend="waiting")

    assert not slow.loaded
    assert forked(choose)
    assert not registry._torn  # here it is whole


@NEEDS_FORK
@IGNORE_THREADS
def test_a_fork_has_the_backends_that_were_loaded(slow: Slow) -> None:
    slow.module.go_on.set()
    slow.threads[0].join(SECONDS)
    assert forked(lambda: rb.RNN.init(3, 4, backend="waiting")(X))


@IGNORE_THREADS
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_of_every_method_compute_while_a_thread_loads(method: str, slow: Slow) -> None:
    rnn, context = rb.RNN.init(3, 4, output_size=3, seed=3), cast(Any, multiprocessing.get_context(method))
    results = context.SimpleQueue()
    workers = [context.Process(target=computed_in_a_process, args=(rnn, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS)
        assert worker.exitcode == 0
    assert [results.get() for _ in workers] == [compute(rnn)] * 2
    assert not slow.loaded


def test_those_who_compute_wait_for_no_import(slow: Slow) -> None:
    rnn = rb.RNN.init(3, 4, output_size=3)
    assert compute(rnn)  # it ends, and the backend is not there yet
    with rb.use_backend("array_api_strict"):
        assert rb.RNN.init(3, 4).backend.name == "array_api_strict"
    assert not slow.loaded


def test_those_who_want_the_same_wait_for_it(slow: Slow) -> None:
    found: list[rb.Backend] = []
    others = [Thread(target=lambda: found.append(rb.get_backend("waiting"))) for _ in range(5)]
    for other in others:
        other.start()
    assert not found
    slow.module.go_on.set()
    for other in (*others, slow.threads[0]):
        other.join(SECONDS)
    assert len(found) == len(others)
    assert {id(backend) for backend in (*found, *slow.loaded)} == {id(rb.get_backend("waiting"))}
    assert not registry._loading
