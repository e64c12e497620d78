"""`use_backend` as a state machine: blocks entered and left in any order, on threads that take turns."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import rnn_backends as rb

NAMES = ("numpy", "array_api_strict", "array_api_strict:device1", "array_api_strict:device2")
UNKNOWN = ("nonsense", "numpy:cuda", "", "array_api_strict:device9", "a\n" * 999)
THREADS = 3
threads = st.integers(0, THREADS - 1)
DEFAULT = "numpy:cpu"


def full(name: str) -> str:
    """Return the backend and the device that a name chooses."""
    return {"numpy": DEFAULT, "array_api_strict": "array_api_strict:CPU_DEVICE"}.get(name, name)


def current() -> str:
    rnn = rb.RNN.init(2, 2)
    return f"{rnn.backend.name}:{rnn.device}"


class Contexts(RuleBasedStateMachine):
    """Threads, each with the blocks that it is in."""

    @initialize()
    def begin(self) -> None:
        self.pools = [ThreadPoolExecutor(1) for _ in range(THREADS)]
        self.blocks: list[list[tuple[rb.use_backend, str]]] = [[] for _ in self.pools]
        self.known = {name: self.on(0, self._named, name) for name in NAMES}
        self.streams = [self.on(0, rb.RNN.init(2, 3, seed=k).stream) for k in range(2)]

    @staticmethod
    def _named(name: str) -> str:
        with rb.use_backend(name):
            return current()

    def teardown(self) -> None:
        for pool in getattr(self, "pools", ()):
            pool.shutdown()

    def on(self, thread: int, function: Any, *arguments: Any) -> Any:
        """Return what a function gives on one of the threads."""
        return self.pools[thread].submit(function, *arguments).result()

    @rule(thread=threads, name=st.sampled_from(NAMES))
    def enter(self, thread: int, name: str) -> None:
        block = rb.use_backend(name)
        self.on(thread, block.__enter__)
        self.blocks[thread].append((block, name))

    @rule(thread=threads, name=st.sampled_from(UNKNOWN))
    def enter_what_is_unknown(self, thread: int, name: str) -> None:
        with pytest.raises(rb.RNNBackendError):
            self.on(thread, rb.use_backend(name).__enter__)

    @precondition(lambda self: any(self.blocks))
    @rule(thread=threads)
    def leave(self, thread: int) -> None:
        if self.blocks[thread]:
            block, _ = self.blocks[thread].pop()
            self.on(thread, block.__exit__, None, None, None)

    @precondition(lambda self: any(self.blocks))
    @rule(thread=threads, place=st.integers(0, 9), other=threads)
    def leave_elsewhere(self, thread: int, place: int, other: int) -> None:
        """Leave a block on another thread than entered it: refused, and nothing is changed."""
        if thread != other and self.blocks[thread]:
            block, _ = self.blocks[thread][place % len(self.blocks[thread])]
            with pytest.raises(rb.ArgumentError):
                self.on(other, block.__exit__, None, None, None)

    @precondition(lambda self: any(len(each) > 1 for each in self.blocks))
    @rule(thread=threads, place=st.integers(0, 9))
    def leave_out_of_order(self, thread: int, place: int) -> None:
        """Leave a block before one inside it: refused, and nothing is changed."""
        if len(self.blocks[thread]) > 1:
            block, _ = self.blocks[thread][place % (len(self.blocks[thread]) - 1)]
            with pytest.raises(rb.ArgumentError):
                self.on(thread, block.__exit__, None, None, None)

    @rule(thread=threads, name=st.sampled_from(NAMES), twice=st.booleans())
    def nest(self, thread: int, name: str, twice: bool) -> None:
        def nested() -> str:
            with rb.use_backend(name):
                if twice:
                    with rb.use_backend("numpy"):
                        current()
                return current()

        assert self.on(thread, nested) == self.known[name]

    @rule(thread=threads, name=st.sampled_from(NAMES))
    def say_it_by_an_argument(self, thread: int, name: str) -> None:
        rnn = self.on(thread, lambda: rb.RNN.init(2, 2, backend=name))
        assert f"{rnn.backend.name}:{rnn.device}" == self.known[name]

    @rule(thread=threads, which=st.integers(0, 1))
    def feed(self, thread: int, which: int) -> None:
        """Use a stream on any thread, one after the other: it stays where it is."""
        found = self.on(thread, self.streams[which], np.ones((2, 2), np.float32))
        assert isinstance(found, np.ndarray)

    @invariant()
    def are_where_their_blocks_say(self) -> None:
        for thread, blocks in enumerate(getattr(self, "blocks", ())):
            wanted = self.known[blocks[-1][1]] if blocks else DEFAULT
            assert self.on(thread, current) == wanted


Contexts.TestCase.settings = settings(stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))


class TestContexts(Contexts.TestCase):  # type: ignore[misc,valid-type,unused-ignore]
    """Blocks are entered and left in any order."""
