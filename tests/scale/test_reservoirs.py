"""The reservoirs of examples/reservoirs beside the same in reservoirpy: states, forecasts, and how free runs part."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from chaos import SYSTEMS, System

pytest.importorskip("reservoirpy")

from beside_reservoirpy import Ours, Theirs, seconds_of, side_by_side
from compare import in_lyapunov_times
from forecast import TRAINED, valid_times

COUNT = 5
"""Starts of free runs."""

both = cache(side_by_side)


@pytest.fixture(params=SYSTEMS, ids=[system.name for system in SYSTEMS])
def system(request: pytest.FixtureRequest) -> System:
    found: System = request.param
    return found


def largest(system: System, one: str, other: str, lyapunov_times: float) -> float:
    """Return the largest difference of the free runs of two up to some time."""
    runs = both(system, COUNT)["forecasts"]
    steps = max(1, round(lyapunov_times * system.lyapunov_time / system.dt))
    return float(abs(runs[one] - runs[other])[:steps].max())


def test_states_are_those_of_reservoirpy(system: System) -> None:
    here, there = both(system, COUNT)["states"]
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-12)


def test_of_one_readout_free_runs_are_those_of_reservoirpy_until_chaos_parts_them(system: System) -> None:
    assert largest(system, "its readout, here", "reservoirpy", 0) < 1e-12
    assert largest(system, "its readout, here", "reservoirpy", 3) < 1e-8


def test_of_a_readout_of_its_own_each_is_valid_for_as_long(system: System) -> None:
    found = both(system, COUNT)
    assert largest(system, "here", "reservoirpy", 0) < 1e-4
    means = {
        name: in_lyapunov_times(valid_times(run, found["true"]), system).mean()
        for name, run in found["forecasts"].items()
    }
    assert means["its readout, here"] == pytest.approx(means["reservoirpy"], abs=0.1)
    assert means["here"] > means["reservoirpy"] - 2


def test_the_same_tasks_are_timed_once_after_a_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that each task moves by an amount of its own."""
    clock = 100.0
    calls: list[Any] = []

    def taking(seconds: float, *said: Any) -> None:
        nonlocal clock
        clock += seconds
        calls.append(said)

    monkeypatch.setattr("beside_reservoirpy.time.process_time", lambda: clock)
    for kind in (Ours, Theirs):
        monkeypatch.setattr(kind, "states", lambda self, series: taking(1, "states", len(series)))
        monkeypatch.setattr(kind, "fit", lambda self: taking(2, "fit", len(self.known)))
        monkeypatch.setattr(
            kind, "free_runs", lambda self, series, starts, steps: taking(4 * len(starts), len(starts), steps)
        )
        calls.clear()
        assert seconds_of(kind, SYSTEMS[0]) == {
            "states of 2000 steps": 1,
            f"a fit to {TRAINED} steps": 2,
            "a free run of 1000 steps": 4,
            "20 free runs of 1000 steps": 80,
        }
        assert calls[::2] == calls[1::2] == [("states", 2000), ("fit", TRAINED), (1, 1000), (20, 1000)]
