"""Timing of contestants in turn, round by round, and the ratios of each round."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from random import Random
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from harness.contestant import Contestant
from rnn_backends.cli.bench import wait_for_idle_threads
from rnn_backends.core.arrays import Host

SAMPLE_SECONDS = 20e-3
LEAST_ROUNDS = 5

Clock: TypeAlias = Callable[[Contestant, Sequence[Host]], Callable[[], float]]
"""A function that makes the first calls of a contestant and returns one that takes a sample: the seconds of a call."""


class Quartiles(NamedTuple):
    """The median of some numbers and the quartiles around it."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quartiles":
        """Return those of one number or more, interpolated linearly."""
        import numpy as np

        lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75))
        return cls(float(median), float(lower), float(upper))


def ratios(seconds: Mapping[str, Sequence[float]], ours: str) -> dict[str, Quartiles]:
    """Return the time of each other contestant in units of ours, the ratios being taken within a round.

    There are none where ours was not timed.
    """
    if ours not in seconds:
        return {}
    return {
        name: Quartiles.of([other / own for other, own in zip(theirs, seconds[ours], strict=True)])
        for name, theirs in seconds.items()
        if name != ours
    }


def host_clock(contestant: Contestant, inputs: Sequence[Host]) -> Callable[[], float]:
    """Time calls from the host, the `Clock` of contestants on it.

    A sample is of one call, or of as many as last some milliseconds, and calls that are not timed go before it.
    """
    placed = [contestant.place(x) for x in inputs]
    calls = 1
    _seconds(contestant, placed, calls)
    while (needed := _seconds(contestant, placed, calls)) < SAMPLE_SECONDS:
        calls = ceil(1.1 * calls * SAMPLE_SECONDS / max(needed, 1e-9))

    def sample() -> float:
        _seconds(contestant, placed, 1 + calls // 4)
        return _seconds(contestant, placed, calls) / calls

    return sample


def interleave(samples: Mapping[str, Callable[[], float]], *, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Return the samples of each contestant, one number for each round.

    In every round each contestant is timed once, in an order drawn anew; rounds end when `seconds` are over
    or `rounds` are done, but not before there are five (or `rounds`, if that is less).
    """
    random, taken = Random(0), {name: list[float]() for name in samples}
    order, deadline = list(samples), perf_counter() + seconds
    for done in range(rounds):
        if done >= LEAST_ROUNDS and perf_counter() > deadline:
            break
        random.shuffle(order)
        for name in order:
            wait_for_idle_threads()
            taken[name].append(samples[name]())
    return taken


def _seconds(contestant: Contestant, inputs: Sequence[Any], calls: int) -> float:
    """Return the seconds of some calls, with the inputs in turn."""
    call, handed = contestant.call, [inputs[i % len(inputs)] for i in range(calls)]
    with uncollected(), contestant.context():
        start = perf_counter()
        for x in handed:
            call(x)
        return perf_counter() - start


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
