"""Forecasts of two chaotic systems by reservoirs: how long do free runs follow the systems, from many starting points?

python forecast.py
"""

from typing import Any

import numpy as np
from chaos import SYSTEMS, System

import rnn_backends as rb

CHOSEN: dict[str, dict[str, Any]] = {
    "Lorenz": {"spectral_radius": 0.6, "input_scaling": 0.2, "bias_scaling": 1.0, "leak": 0.5, "ridge": 1e-10},
    "Mackey-Glass": {"spectral_radius": 1.0, "input_scaling": 0.4, "bias_scaling": 1.0, "leak": 0.5, "ridge": 1e-10},
}
"""By `python compare.py choose`, on data before those of the test."""
UNITS, DENSITY, SEED = 500, 0.02, 1
WASHOUT, TRAINED, CHOSEN_ON, TESTED_ON = 200, 6000, 8000, 20000
"""Steps of one series, in this order; a readout is fitted to all steps that were trained on but the washout."""
LONGEST = 20
"""Lyapunov times of a free run."""
THRESHOLD = 0.5
"""Of the error, in standard deviations, up to which a forecast is valid."""


def standardised(system: System, steps: int = TRAINED + CHOSEN_ON + TESTED_ON, parts: int | None = None) -> Any:
    """Return a series of a system, (steps, features), of mean 0 and deviation 1 over the steps that are trained on."""
    series = system.series(steps, parts)
    return (series - series[:TRAINED].mean(axis=0)) / series[:TRAINED].std(axis=0)


def fitted(
    known: Any, ridge: float, units: int = UNITS, seed: int = SEED, noise: float = 0.0, **options: Any
) -> rb.RNN:
    """Return a reservoir with a readout that gives the next step of a series, with noise only while it is fitted."""
    rnn = rb.reservoir(known.shape[1], units, density=DENSITY, seed=seed, **options)
    rnn = rnn.replace(noise=rb.Noise(noise)) if noise else rnn
    return rnn.fit_readout(known[:-1], known[1:], ridge=ridge, washout=WASHOUT).replace(noise=None)


def free_runs(rnn: rb.RNN, series: Any, starts: Any, steps: int) -> Any:
    """Return what follows each of some last known steps, (steps, starts, features).

    The reservoir reads the series once; from the state at each start it goes on with its own outputs, all starts in one
    batch.
    """
    states, _ = rnn(series)
    return rb.to_numpy(rnn.roll_out(series[starts][None], steps, h_0=states[starts - 1][None]))


def following(series: Any, starts: Any, steps: int) -> Any:
    """Return what truly follows each of some steps of a series, (steps, starts, features)."""
    return series[np.arange(1, steps + 1)[:, None] + starts]


def valid_times(forecasts: Any, true: Any) -> Any:
    """Return how many steps of each forecast come before the first whose error is above THRESHOLD, (starts,).

    The error of a step is the root of the mean, over the features, of its squared error in standard deviations.
    """
    wrong = np.sqrt(np.mean(np.square(forecasts - true), axis=-1)) > THRESHOLD
    return np.where(wrong.any(axis=0), wrong.argmax(axis=0), len(wrong))


def starting_points(system: System, first: int, stop: int, count: int) -> Any:
    """Return last known steps of a part of a series, which leave room for the longest run."""
    return np.linspace(first + WASHOUT, stop - longest(system) - 2, count).astype(int)


def longest(system: System) -> int:
    return int(LONGEST * system.lyapunov_time / system.dt)


def main(count: int = 100) -> None:
    for system in SYSTEMS:
        series = standardised(system)
        rnn = fitted(series[:TRAINED], **CHOSEN[system.name])
        first = TRAINED + CHOSEN_ON
        starts = starting_points(system, first, len(series), count)
        forecasts = free_runs(rnn, series[first:], starts - first, longest(system))
        steps = valid_times(forecasts, following(series, starts, longest(system)))
        times = steps * system.dt / system.lyapunov_time
        low, high = np.quantile(times, (0.25, 0.75))
        print(
            f"{system.name}: {times.mean():.1f} Lyapunov times on average over {count} starts, "
            f"the middle half {low:.1f} to {high:.1f}"
        )


if __name__ == "__main__":
    main()
