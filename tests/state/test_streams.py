"""Streams as a state machine: whatever is called in whatever order, a stream gives what the whole gives."""

import copy
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

import rnn_backends as rb

FEATURES, OUTPUTS = 3, 2
BACKENDS = ("numpy", "array_api_strict")
EPS = {"float32": 2**-23, "float64": 2**-52}
Array = NDArray[Any]

WRONG: tuple[Any, ...] = (
    None, "abc", np.ones((5, 9, FEATURES)), np.ones((2, FEATURES + 1)), np.ones((1, 1, 1, 1)), [[None]], np.ma.masked_array(np.ones((2, FEATURES)), True),
    np.ones((2, 1, FEATURES), complex), np.array([[[object()] * FEATURES]]), {}, np.full(2, FEATURES), np.array([-1]), [["a"] * FEATURES],
)  # fmt: skip
"""What no stream of this machine takes: other sizes, batches and dtypes, and things that are no arrays."""


class Streams(RuleBasedStateMachine):
    """A stream beside all that it was given since it began."""

    @initialize(
        seed=st.integers(0, 99), layers=st.integers(1, 2), batch=st.integers(1, 2), batch_first=st.booleans(),
        reads=st.sampled_from(("steps", "last", "final", "mean", "max")), activation=st.sampled_from(("tanh", "relu")),
        dtype=st.sampled_from(sorted(EPS)), backend=st.sampled_from(BACKENDS),
    )  # fmt: skip
    def begin(
        self,
        seed: int,
        layers: int,
        batch: int,
        batch_first: bool,
        reads: str,
        activation: str,
        dtype: str,
        backend: str,
    ) -> None:
        options: dict[str, Any] = {"num_layers": layers, "seed": seed, "activation": activation, "dtype": dtype}
        made = rb.RNN.init(FEATURES, 4, output_size=OUTPUTS, **options)
        self.rnn = rb.RNN(made.layers, made.readout, reads=reads, batch_first=batch_first, takes="features").to(backend)
        self.stream, self.batch, self.dtype = self.rnn.stream(batch_size=batch), batch, dtype
        self.draw = np.random.default_rng(seed)
        self.h_0: Array | None = None
        self.steps = np.zeros((0, batch, FEATURES), dtype)
        self.saved: list[Array] = []

    def given(self, count: int) -> Array:
        """Return the next steps, in the order of axes of the model."""
        more = self.draw.normal(size=(count, self.batch, FEATURES)).astype(self.dtype)
        self.steps = np.concatenate([self.steps, more])
        return self.turned(more)

    def turned(self, x: Array) -> Array:
        return x.swapaxes(0, 1) if self.rnn.batch_first else x

    def close(self, found: Any, wanted: Any) -> None:
        found, wanted = rb.to_numpy(found), rb.to_numpy(wanted)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=1000 * EPS[self.dtype], rtol=1000 * EPS[self.dtype])

    def whole(self, method: str) -> Any:
        return getattr(self.rnn, method)(self.turned(self.steps), self.h_0)

    @rule(count=st.integers(0, 3))
    def feed(self, count: int) -> None:
        found = self.stream(self.given(count))
        wanted = self.turned(rb.to_numpy(self.whole("__call__")[0]))[len(self.steps) - count :]
        self.close(found, self.turned(wanted))

    @precondition(lambda self: self.batch == 1)
    @rule(count=st.integers(1, 3))
    def feed_without_a_batch(self, count: int) -> None:
        more = self.given(count)
        found = self.stream(more[0] if self.rnn.batch_first else more[:, 0])
        wanted = self.turned(rb.to_numpy(self.whole("__call__")[0]))[len(self.steps) - count :]
        self.close(found, wanted[:, 0])

    @rule(count=st.integers(0, 3), method=st.sampled_from(("logits", "probabilities")))
    def read(self, count: int, method: str) -> None:
        found = getattr(self.stream, method)(self.given(count))
        wanted = rb.to_numpy(self.whole(method))
        if self.rnn.reads == "steps":
            wanted = self.turned(self.turned(wanted)[len(self.steps) - count :])
        self.close(found, wanted)

    @rule()
    def save(self) -> None:
        if self.stream.state is not None:
            self.saved.append(rb.to_numpy(self.stream.state).copy())

    @rule(place=st.integers(0, 99))
    def reset(self, place: int) -> None:
        """Begin again, from nothing or from a state that was saved."""
        known = [None, *self.saved]
        self.h_0 = known[place % len(known)]
        self.steps = self.steps[:0]
        given = None if self.h_0 is None else self.h_0.copy()
        self.stream.reset(given)
        if given is not None:
            given[...] = 7  # the stream has its own

    @rule(count=st.integers(1, 3), place=st.integers(0, 99))
    def read_again(self, count: int, place: int) -> None:
        """Read, begin again, and read: of the first there is nothing left."""
        self.read(count, "logits")
        self.reset(place)
        self.read(count, "logits")

    @rule(count=st.integers(1, 3), copied=st.sampled_from((copy.copy, copy.deepcopy)))
    def copied(self, count: int, copied: Callable[[rb.Stream], rb.Stream]) -> None:
        """Go on with a copy; what the other is given then makes no difference."""
        other = self.stream
        self.stream = copied(other)
        other.logits(self.turned(np.ones((count, self.batch, FEATURES), self.dtype)))
        other.reset()

    @rule(wrong=st.sampled_from(range(len(WRONG))), method=st.sampled_from(("__call__", "logits", "probabilities")))
    def wrong_chunk(self, wrong: int, method: str) -> None:
        with pytest.raises(rb.RNNBackendError):
            getattr(self.stream, method)(WRONG[wrong])

    @rule(wrong=st.sampled_from(range(len(WRONG))))
    def wrong_state(self, wrong: int) -> None:
        if WRONG[wrong] is not None:
            with pytest.raises(rb.RNNBackendError):
                self.stream.reset(WRONG[wrong])

    @rule()
    def write_to_the_state(self) -> None:
        """Change what was returned; the stream keeps its own."""
        state = self.stream.state
        if isinstance(state, np.ndarray) and state.flags.writeable:
            state[...] = 7

    @invariant()
    def has_the_state_of_the_whole(self) -> None:
        if not hasattr(self, "stream"):
            return
        state = self.stream.state
        if len(self.steps) or self.h_0 is not None:
            assert state is not None or not len(self.steps)
        if state is not None:
            self.close(state, self.whole("__call__")[1])


Streams.TestCase.settings = settings(stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))


class TestStreams(Streams.TestCase):  # type: ignore[misc,valid-type,unused-ignore]
    """A stream is used in any order."""
