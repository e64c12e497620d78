"""How the harness takes times: samples, rounds and ratios."""

import gc
from typing import Any

import numpy as np
import pytest
from harness import timing
from harness.contestant import Contestant
from harness.problem import COPIES, Drawn, Problem
from harness.timing import Quartiles, host_clock, interleave, ratios

INPUTS = [np.zeros(1)]


class Clock:
    """A clock that moves only with calls that are made to take time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(timing, "perf_counter", lambda: self.now)
        monkeypatch.setattr(timing, "wait_for_idle_threads", lambda: None)

    def takes(self, name: str, seconds: float, log: list[str] | None = None) -> Contestant:
        def call(_: Any) -> None:
            self.now += seconds
            if log is not None:
                log.append(name)

        return Contestant(name, call)


def taken(*contestants: Contestant, seconds: float = 1e9, rounds: int = 1) -> dict[str, list[float]]:
    """Time contestants on the host."""
    return interleave({one.name: host_clock(one, INPUTS) for one in contestants}, seconds=seconds, rounds=rounds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_ratios_are_of_the_times_of_a_round() -> None:
    seconds = {"ours": [1.0, 2.0, 4.0, 1.0, 1.0], "other": [3.0, 2.0, 2.0, 1.0, 5.0]}
    assert ratios(seconds, "ours") == {"other": Quartiles(median=1.0, lower=1.0, upper=3.0)}
    assert ratios(seconds, "other") == {"ours": Quartiles(1.0, 1 / 3, 1.0)}
    assert Quartiles.of([1.0, 2.0]) == (1.5, 1.25, 1.75)


def test_times_are_those_of_one_call(clock: Clock) -> None:
    found = taken(clock.takes("quick", 1e-6), clock.takes("slow", 3.0), rounds=7)
    assert found == {"quick": pytest.approx([1e-6] * 7), "slow": pytest.approx([3.0] * 7)}


def test_samples_last_some_milliseconds_or_are_one_call(clock: Clock) -> None:
    calls: list[str] = []
    quick, slow = clock.takes("quick", 1e-4, calls), clock.takes("slow", 1.0, calls)
    taken(quick)
    once = calls.count("quick")
    taken(quick, rounds=2)
    a_round = calls.count("quick") - 2 * once  # both began with the same calls
    assert 200 + 51 <= a_round <= 240 + 61  # with the calls before a sample
    taken(slow, rounds=2)
    assert calls.count("slow") == 2 + 2 * 2


def test_the_first_calls_are_not_counted(clock: Clock) -> None:
    """One that compiles for 100 s is timed by what comes afterwards, and by as many calls as others are."""
    calls = 0

    def call(_: Any) -> None:
        nonlocal calls
        calls += 1
        clock.now += 100.0 if calls == 1 else 1e-3

    assert taken(Contestant("compiled", call), rounds=5)["compiled"] == pytest.approx([1e-3] * 5)
    assert calls > 5 * 20


def test_everybody_is_timed_in_every_round_in_changing_order(clock: Clock) -> None:
    calls: list[str] = []
    taken(*(clock.takes(name, 1.0, calls) for name in "abc"), rounds=20)
    samples = calls[6::2]  # two calls each come first, and then one before each sample
    rounds = ["".join(samples[i : i + 3]) for i in range(0, len(samples), 3)]
    assert len(rounds) == 20
    assert {"".join(sorted(order)) for order in rounds} == {"abc"}
    assert len(set(rounds)) > 3


@pytest.mark.parametrize(("rounds", "done"), [(100, 8), (3, 3)])
def test_rounds_end_with_the_time(clock: Clock, rounds: int, done: int) -> None:
    assert len(taken(clock.takes("a", 0.5), seconds=7.5, rounds=rounds)["a"]) == done
    assert len(taken(clock.takes("a", 50.0), seconds=1.0, rounds=rounds)["a"]) == min(5, rounds)


def test_inputs_are_handed_over_in_turn_and_nothing_is_collected() -> None:
    handed, collecting, entered = [], [], []

    class Context:
        def __enter__(self) -> None:
            entered.append(True)

        def __exit__(self, *_: object) -> None:
            entered.append(False)

    def call(x: Any) -> None:
        handed.append(id(x))
        collecting.append(gc.isenabled())
        assert entered[-1]

    drawn = Drawn.of(Problem(seq_len=5, batch=11, input_size=4, hidden_size=6))
    host_clock(Contestant("a", call, context=Context), drawn.inputs)()
    assert len(set(handed)) == COPIES == len({x.ctypes.data for x in drawn.inputs})
    assert not any(first == second for first, second in zip(handed[-9:], handed[-8:], strict=False))
    assert not any(collecting)
    assert gc.isenabled()
