"""The same reservoirs here and in reservoirpy: their states, their forecasts, and the time that they take.

pip install reservoirpy
python beside_reservoirpy.py
"""

import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np
from chaos import SYSTEMS, System
from compare import in_lyapunov_times, worded
from forecast import (
    CHOSEN,
    CHOSEN_ON,
    DENSITY,
    SEED,
    TRAINED,
    UNITS,
    WASHOUT,
    following,
    free_runs,
    longest,
    standardised,
    starting_points,
    valid_times,
)

import rnn_backends as rb


class Ours:
    """A reservoir of this library, and what is measured of it."""

    def __init__(self, system: System, series: Any) -> None:
        self.options = dict(CHOSEN[system.name])
        self.known, self.ridge = series[:TRAINED], self.options.pop("ridge")
        self.rnn = rb.reservoir(self.known.shape[1], UNITS, density=DENSITY, seed=SEED, **self.options)

    def states(self, series: Any) -> Any:
        return self.rnn(series)[0]

    def fit(self) -> None:
        x, y = self.known[:-1], self.known[1:]
        self.rnn = self.rnn.fit_readout(x, y, ridge=self.ridge, washout=WASHOUT)

    def free_runs(self, series: Any, starts: Any, steps: int) -> Any:
        return free_runs(self.rnn, series, starts, steps)


class Theirs(Ours):
    """The same reservoir, of the same matrices, in reservoirpy."""

    def __init__(self, system: System, series: Any) -> None:
        super().__init__(system, series)
        from reservoirpy.nodes import Reservoir, Ridge
        from scipy.sparse import csr_array

        cell: Any = self.rnn.layers[0].forward
        matrix = csr_array(cell.weight_hh.to_csr(), shape=cell.weight_hh.shape)
        leak = 1.0 if cell.leak is None else cell.leak
        self.body = Reservoir(W=matrix, Win=cell.weight_ih, bias=cell.bias, lr=leak)
        self.model = self.body >> Ridge(self.ridge)

    def at(self, state: Any) -> None:
        self.body.state = {"out": state}

    def states(self, series: Any) -> Any:
        if not self.body.initialized:
            self.body.initialize(series[0])
        self.at(np.zeros(UNITS))
        return self.body.run(series)

    def fit(self) -> None:
        with warnings.catch_warnings():  # of a matrix that is ill-conditioned, as it is with so small a ridge
            warnings.simplefilter("ignore")
            self.model.fit(self.known[:-1], self.known[1:], warmup=WASHOUT)

    def free_runs(self, series: Any, starts: Any, steps: int) -> Any:
        """Run one start after the other, as nodes have one state."""
        states, runs = self.states(series), np.empty((steps, len(starts), series.shape[1]))
        for k, start in enumerate(starts):
            self.at(states[start - 1])
            value = series[start]
            for step in range(steps):
                value = runs[step, k] = self.model.step(value)
        return runs


def side_by_side(system: System, count: int) -> dict[str, Any]:
    """Return what the same reservoir gives here and in reservoirpy, from some starts of the test."""
    series, first = standardised(system), TRAINED + CHOSEN_ON
    starts, steps = starting_points(system, first, len(series), count) - first, longest(system)
    test, both = series[first:], (Ours(system, series), Theirs(system, series))
    for each in both:
        each.fit()
    ours, theirs = (each.free_runs(test, starts, steps) for each in both)
    taken = rb.from_reservoirpy(both[1].model).replace(batch_first=False)
    return {
        "states": [each.states(test) for each in both],
        "forecasts": {"here": ours, "reservoirpy": theirs, "its readout, here": free_runs(taken, test, starts, steps)},
        "true": following(test, starts, steps),
    }


def seconds_of(kind: type[Ours], system: System) -> dict[str, float]:
    """Return the seconds of a processor that a contestant takes for each of its tasks."""
    series = standardised(system)
    contestant, test = kind(system, series), series[-2000:]
    starts, found = np.full(20, WASHOUT), {}
    tasks: dict[str, Callable[[], Any]] = {
        f"states of {len(test)} steps": partial(contestant.states, test),
        f"a fit to {TRAINED} steps": contestant.fit,
        "a free run of 1000 steps": partial(contestant.free_runs, test[: WASHOUT + 1], starts[:1], 1000),
        "20 free runs of 1000 steps": partial(contestant.free_runs, test[: WASHOUT + 1], starts, 1000),
    }
    for name, task in tasks.items():
        task()
        begun = time.process_time()
        task()
        found[name] = time.process_time() - begun
    return found


def main() -> None:
    """Print how far the same reservoir is the same in reservoirpy, and what each takes."""
    for system in SYSTEMS:
        found = side_by_side(system, 10)
        here, there = found["states"]
        print(f"{system.name}: largest difference of the states {abs(here - there).max():.1e}")
        for name, run in found["forecasts"].items():
            print(f"  {name}: {worded(in_lyapunov_times(valid_times(run, found['true']), system))}")
        theirs = found["forecasts"]["reservoirpy"]
        for name in ("here", "its readout, here"):
            apart = in_lyapunov_times(valid_times(found["forecasts"][name], theirs), system)
            first = abs(found["forecasts"][name] - theirs)[0].max()
            print(f"  {name} and reservoirpy: {first:.1e} after a step; they part after {worded(apart)}")
        taken = {kind: timed(kind, system) for kind in (Ours, Theirs)}
        for task, seconds in taken[Ours].items():
            print(f"  {task}: {seconds * 1e3:.1f} ms, reservoirpy {taken[Theirs][task] / seconds:.1f} times that")


def timed(kind: type[Ours], system: System, rounds: int = 3) -> dict[str, float]:
    """Return the median of the seconds of each task, each round in a new process of one thread."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    each = []
    for _ in range(rounds):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            each.append(pool.submit(seconds_by_name, kind.__name__, system.name).result())
    return {task: median(one[task] for one in each) for task in each[0]}


def seconds_by_name(kind: str, system: str) -> dict[str, float]:
    return seconds_of({"Ours": Ours, "Theirs": Theirs}[kind], {each.name: each for each in SYSTEMS}[system])


if __name__ == "__main__":
    main()
