"""Measure what README.md states of the forecasts, beside plainer ones and other reservoirs.

python compare.py systems          # the exponents of the systems, and how exact their series are
python compare.py choose           # the comparison that CHOSEN of forecast.py was chosen by; minutes
python compare.py forecasts        # beside plainer forecasts, of other seeds, sizes and noise
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import numpy as np
from chaos import SYSTEMS, System
from forecast import (
    CHOSEN,
    CHOSEN_ON,
    TRAINED,
    UNITS,
    fitted,
    following,
    free_runs,
    longest,
    standardised,
    starting_points,
    valid_times,
)

GRID = {
    "spectral_radius": (0.3, 0.6, 1.0),
    "input_scaling": (0.1, 0.2, 0.4),
    "bias_scaling": (0.3, 1.0),
    "leak": (0.5, 1.0),
    "ridge": (1e-10, 1e-8),
}
OTHER_SEEDS = (11, 12)
"""Of the reservoirs that CHOSEN was chosen by."""
REGRESSIONS = {"Lorenz": ((12, 1, 1e-8), (8, 2, 1e-9)), "Mackey-Glass": ((36, 1, 1e-7), (9, 2, 1e-6))}
"""Order, degree and ridge of the plainer forecasts, which `choose` prints too."""
ORDERS = {"Lorenz": (1, 2, 4, 8, 12), "Mackey-Glass": (4, 9, 18, 36)}


class Regression:
    """A ridge regression of the next step on the last `order` steps, of degree 1 or, with products of pairs, 2."""

    def __init__(self, known: Any, order: int, degree: int, ridge: float) -> None:
        self.order, self.degree = order, degree
        past = np.stack([known[k : len(known) - order + k] for k in range(order)], axis=1)
        x, y = self.products(past), known[order:]
        self.mean_x, self.mean_y = x.mean(axis=0), y.mean(axis=0)
        x = x - self.mean_x
        self.weight = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (y - self.mean_y))

    def products(self, past: Any) -> Any:
        """Return the values of steps (batch, order, features), and where the degree is 2 their products by pairs."""
        values = past.reshape(len(past), -1)
        if self.degree == 1:
            return values
        one, other = np.triu_indices(values.shape[1])
        return np.concatenate([values, values[:, one] * values[:, other]], axis=1)

    def free_runs(self, series: Any, starts: Any, steps: int) -> Any:
        """As of forecast.py."""
        past = np.stack([series[start + 1 - self.order : start + 1] for start in starts])
        run = []
        for _ in range(steps):
            run.append(np.clip((self.products(past) - self.mean_x) @ self.weight + self.mean_y, -1e3, 1e3))
            past = np.concatenate([past[:, 1:], run[-1][:, None]], axis=1)
        return np.array(run)


def persistence(series: Any, starts: Any, steps: int) -> Any:
    """Return the last known value for every step to come."""
    return np.broadcast_to(series[starts], (steps, *series[starts].shape))


def in_lyapunov_times(steps: Any, system: System) -> Any:
    return steps * system.dt / system.lyapunov_time


def worded(times: Any) -> str:
    low, high = np.quantile(times, (0.25, 0.75))
    return f"{np.mean(times):5.2f} Lyapunov times on average, the middle half {low:5.2f} to {high:5.2f}"


def valid(run: Callable[..., Any], system: System, series: Any, first: int, stop: int, count: int) -> Any:
    """Return the valid times of free runs from a part of a series, in Lyapunov times."""
    starts, steps = starting_points(system, first, stop, count), longest(system)
    forecasts = run(series[first:stop], starts - first, steps)
    return in_lyapunov_times(valid_times(forecasts, following(series, starts, steps)), system)


def systems() -> None:
    """Print the exponents, the order of the integration, and how far ahead the series itself can be trusted."""
    for system, spans in zip(SYSTEMS, (50_000, 100_000), strict=True):
        each = [system.exponent(spans, system.settled(spans=1000 * k)) for k in (1, 2, 3, 4)]
        print(f"{system.name}: exponent {np.mean(each):.5f}, of four runs {', '.join(f'{one:.5f}' for one in each)}")
        print(f"  the error falls as the step to the power {order(system):.2f}")
        print(f"  the series of half the step parts from this one after {worded(trusted(system))}")


def order(system: System) -> float:
    """Return the order of the integration, by what halving its step and halving it again change."""
    state = system.settled(4 * system.parts)
    rough, fine, finer = (system.series(20, k * system.parts, state) for k in (1, 2, 4))
    return float(np.log2(abs(rough - fine).max() / abs(fine - finer).max()))


def trusted(system: System, count: int = 20) -> Any:
    """Return after how many Lyapunov times a series and one of half its step part, from some states."""
    parts, steps = system.parts, 3 * longest(system)
    deviation, pairs = system.series(5000).std(axis=0), []
    for k in range(count):
        state = system.settled(2 * parts, 1000 + 200 * k)
        pairs.append([system.series(steps, each, state) / deviation for each in (parts, 2 * parts)])
    rough, fine = np.array(pairs).transpose(1, 2, 0, 3)
    return in_lyapunov_times(valid_times(rough, fine), system)


def choose() -> None:
    """Print the mean valid time of each choice on the steps after those that readouts are fitted to."""
    for system in SYSTEMS:
        series, found = standardised(system, TRAINED + CHOSEN_ON), []
        for values in product(*GRID.values()):
            options = dict(zip(GRID, values, strict=True))
            found.append((mean_of_seeds(system, series, options), options))
        found.sort(key=lambda each: -each[0])
        print(f"{system.name}: the best ten of {len(found)}, of each value its best, and the median of all")
        for mean, options in found[:10]:
            print(f"  {mean:5.2f}  {options}")
        for name, choices in GRID.items():
            best = {value: max(mean for mean, options in found if options[name] == value) for value in choices}
            print(f"  {name}: {', '.join(f'{value} {mean:.2f}' for value, mean in best.items())}")
        print(f"  median: {median(mean for mean, _ in found):.2f}", flush=True)
        for degree in (1, 2):
            print(f"  an autoregression of degree {degree}: {chosen_regression(system, series, degree)}", flush=True)


def chosen_regression(system: System, series: Any, degree: int) -> str:
    """Return the number of steps and the ridge of the autoregression that is valid longest, after those fitted to."""
    means = {}
    for order, ridge in product(ORDERS[system.name], (1e-9, 1e-8, 1e-7, 1e-6)):
        run = Regression(series[:TRAINED], order, degree, ridge).free_runs
        means[order, ridge] = valid(run, system, series, TRAINED, len(series), 25).mean()
    (steps, ridge), mean = max(means.items(), key=lambda each: each[1])
    return f"{steps} steps, ridge {ridge:g}: {mean:.2f}"


def mean_of_seeds(system: System, series: Any, options: dict[str, Any]) -> float:
    """Return the mean valid time of reservoirs of other seeds than that of the test."""
    means = []
    for seed in OTHER_SEEDS:
        rnn = fitted(series[:TRAINED], seed=seed, **options)
        means.append(valid(partial(free_runs, rnn), system, series, TRAINED, len(series), 25).mean())
    return float(np.mean(means))


def forecasts() -> None:
    """Print the valid times on the steps of the test, of plainer forecasts and of reservoirs of other options."""
    for system in SYSTEMS:
        series, first = standardised(system), TRAINED + CHOSEN_ON
        test = partial(valid, system=system, series=series, first=first, stop=len(series), count=100)
        known, chosen = series[:TRAINED], CHOSEN[system.name]
        for name, run in plainer(system, series):
            print(f"{system.name}, {name}: {worded(test(run))}", flush=True)
        for units in (100, 250, UNITS, 1000):
            print(f"{system.name}, {units} units: {worded(test(of(known, units=units, **chosen)))}", flush=True)
        for seed in range(2, 6):
            print(f"{system.name}, seed {seed}: {worded(test(of(known, seed=seed, **chosen)))}", flush=True)
        for std in (1e-7, 1e-5, 1e-3):
            print(f"{system.name}, noise {std}: {worded(test(of(known, noise=std, **chosen)))}", flush=True)
        for ridge in (1e-10, 1e-6):
            times = test(of_noisy(series, 1e-3, **{**chosen, "ridge": ridge}))
            print(f"{system.name}, measured with noise of 0.001, ridge {ridge:g}: {worded(times)}", flush=True)


def of(known: Any, **options: Any) -> Callable[..., Any]:
    return partial(free_runs, fitted(known, **options))


def of_noisy(series: Any, std: float, **options: Any) -> Callable[..., Any]:
    """Return free runs from the end of a series, all of which is measured with noise."""
    noise = np.random.default_rng(0).normal(0.0, std, series.shape)
    rnn = fitted((series + noise)[:TRAINED], **options)
    return lambda known, starts, steps: free_runs(rnn, known + noise[-len(known) :], starts, steps)


def plainer(system: System, series: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield forecasts that need no reservoir."""
    yield "persistence", persistence
    for name, options in zip(
        ("linear autoregression", "with products of pairs"), REGRESSIONS[system.name], strict=True
    ):
        yield f"{name}, {options[0]} steps", Regression(series[:TRAINED], *options).free_runs


COMMANDS = {each.__name__: each for each in (systems, choose, forecasts)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=COMMANDS, help="what to measure")
    COMMANDS[parser.parse_args().what]()


if __name__ == "__main__":
    main()
