"""The forecasts of examples/reservoirs: the systems by their equations, and what README.md states, on every backend."""

import os
import re
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import forecast
import numpy as np
import pytest
from chaos import DELAY, LORENZ, MACKEY_GLASS, SYSTEMS, System
from compare import REGRESSIONS, Regression, order, persistence, plainer, valid
from forecast import CHOSEN, CHOSEN_ON, TRAINED, UNITS, fitted, free_runs, longest, standardised
from scipy.integrate import solve_ivp

import rnn_backends as rb

SHIPPED = Path(__file__).parents[1] / "examples" / "reservoirs"
README = (SHIPPED / "README.md").read_text(encoding="utf-8")
FIRST = TRAINED + CHOSEN_ON
"""The first step of the test."""
NAMES = [system.name for system in SYSTEMS]
SLACK = 0.6
"""Lyapunov times by which a mean of a hundred starts may be another on a processor that rounds otherwise."""

series_of = cache(standardised)


@cache
def fitted_to(system: System) -> rb.RNN:
    return fitted(series_of(system)[:TRAINED], **CHOSEN[system.name])


def of_test(run: Any, system: System, count: int = 100) -> Any:
    series = series_of(system)
    return valid(run, system, series, FIRST, len(series), count)


@pytest.fixture(params=SYSTEMS, ids=NAMES)
def system(request: pytest.FixtureRequest) -> System:
    found: System = request.param
    return found


def row_of(system: System) -> tuple[list[float], list[float]]:
    """Return what README.md states of a system: mean and quartiles of the reservoir, and the means of the others."""
    (row,) = re.findall(rf"^\| {system.name} \| ([\d.]+ \(.+) \|$", README, re.MULTILINE)
    ours, *others = row.split(" | ")
    return [float(number) for number in re.findall(r"\d+\.\d+", ours)], [float(number) for number in others]


def test_the_lorenz_series_is_that_of_another_integrator() -> None:
    state = LORENZ.settled()
    known = solve_ivp(
        lambda t, v: (10 * (v[1] - v[0]), v[0] * (28 - v[2]) - v[1], v[0] * v[1] - 8 / 3 * v[2]),
        (0, 1), state, "DOP853", np.arange(1, 51) * LORENZ.dt, rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(LORENZ.series(50, state=state), known.y.T, rtol=0, atol=1e-5)


def test_the_mackey_glass_series_fulfils_its_equation() -> None:
    parts = MACKEY_GLASS.parts
    past = MACKEY_GLASS.settled()
    x, h = MACKEY_GLASS.advance(past, parts), DELAY / parts
    slope = (x[:-4] - 8 * x[1:-3] + 8 * x[3:-1] - x[4:]) / (12 * h)
    delayed = past[2:-2]
    np.testing.assert_allclose(slope, 0.2 * delayed / (1 + delayed**10) - 0.1 * x[2:-2], rtol=0, atol=1e-6)
    assert x[0] == pytest.approx(past[-1], abs=1e-15)
    samples = MACKEY_GLASS.series(17, state=past)
    np.testing.assert_array_equal(samples[:, 0], x[10::10])


def test_the_integration_is_of_the_fourth_order(system: System) -> None:
    assert order(system) == pytest.approx(4, abs=0.15)


def test_the_lyapunov_time(system: System) -> None:
    exponent = system.exponent(6000)
    assert exponent * system.lyapunov_time == pytest.approx(1, abs=0.1)
    (stated,) = re.findall(rf"{system.name}\s+an\s+exponent\s+of\s+(\d\.\d+)", README)
    assert float(stated) * system.lyapunov_time == pytest.approx(1, abs=0.01)


def test_series_are_standardised_over_what_is_trained_on(system: System) -> None:
    known = series_of(system)[:TRAINED]
    np.testing.assert_allclose(known.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(known.std(axis=0), 1, atol=1e-9)


def test_the_valid_time_ends_before_the_first_wrong_step() -> None:
    true = np.zeros((6, 3, 2))
    found = true.copy()
    found[2, 0] = 0.51, 0.49  # the root of the mean of the squares is above 0.5
    found[2, 1] = 0.51, 0.48
    found[[0, 3], 2] = [[9, 9], [0, 0]]
    assert forecast.valid_times(found, true).tolist() == [2, 6, 0]


def test_following_begins_after_the_start() -> None:
    np.testing.assert_array_equal(forecast.following(np.arange(9), np.array([0, 4]), 3), [[1, 5], [2, 6], [3, 7]])


def test_the_reservoir_is_sparse(system: System) -> None:
    cell = fitted_to(system).layers[0].forward
    assert isinstance(cell, rb.Cell)
    assert isinstance(cell.weight_hh, rb.Sparse)
    assert cell.weight_hh.num_entries == 10 * UNITS


def test_the_reservoir_is_valid_for_as_long_as_stated(system: System) -> None:
    times = of_test(partial(free_runs, fitted_to(system)), system)
    found = [times.mean(), *np.quantile(times, (0.25, 0.75))]
    np.testing.assert_allclose(found, row_of(system)[0], rtol=0, atol=SLACK)
    assert np.mean(times >= longest(system) * system.dt / system.lyapunov_time) <= 0.03  # few are cut short


def test_plainer_forecasts_are_valid_for_as_long_as_stated(system: System) -> None:
    found = [of_test(run, system).mean() for _, run in plainer(system, series_of(system))]
    stated = row_of(system)[1]
    np.testing.assert_allclose(found[:2], stated[:2], rtol=0, atol=0.06)
    np.testing.assert_allclose(found[2], stated[2], rtol=0, atol=SLACK if stated[2] > 1 else 0.06)


def test_few_units_are_valid_for_as_long_as_stated(system: System) -> None:
    ((lorenz, mackey_glass),) = re.findall(
        r"^\| 100, [^|]+ units \| ([\d.]+), [^|]+ \| ([\d.]+), ", README, re.MULTILINE
    )
    stated = float(lorenz if system is LORENZ else mackey_glass)
    rnn = fitted(series_of(system)[:TRAINED], units=100, **CHOSEN[system.name])
    assert of_test(partial(free_runs, rnn), system, 50).mean() == pytest.approx(stated, abs=SLACK)


@pytest.mark.parametrize("degree", [1, 2])
def test_a_regression_finds_a_recurrence(degree: int) -> None:
    """Of two features and two steps: the later step is the last of the window."""
    known = np.zeros((60, 2))
    known[:2] = [[0.3, 0.1], [0.2, -0.4]]
    for k in range(2, 60):
        (a, b), (c, d) = known[k - 2 : k]
        known[k] = 0.4 * a - 0.7 * d + 0.1, (1.2 * b * c + 0.3) if degree == 2 else 0.9 * c - 0.2 * b
    found = Regression(known[:40], 2, degree, 1e-12).free_runs(known, np.array([30, 40]), 15)
    np.testing.assert_allclose(found, forecast.following(known, np.array([30, 40]), 15), rtol=0, atol=1e-3)


def test_persistence_goes_on_with_the_last_value() -> None:
    assert persistence(np.arange(8.0)[:, None], np.array([2, 5]), 3).tolist() == [[[2.0], [5.0]]] * 3


def test_the_noise_is_that_of_the_fit_alone() -> None:
    known = series_of(LORENZ)[:1000]
    plain, noisy = (fitted(known, 1e-8, units=20, noise=noise) for noise in (0.0, 0.1))
    assert noisy.noise is None
    assert abs(plain.logits(known) - noisy.logits(known)).max() > 1e-6


def test_a_backend_forecasts_the_same_until_chaos_parts_them(system: System, backend: str) -> None:
    """What is rounded otherwise grows e-fold in a Lyapunov time, and no faster."""
    rnn, series = fitted_to(system), series_of(system)[FIRST : FIRST + 300]
    placed = rnn.to(backend)
    np.testing.assert_allclose(rb.to_numpy(placed(series)[0]), rnn(series)[0], rtol=0, atol=1e-12)
    steps = round(3 * system.lyapunov_time / system.dt)
    here, there = rnn.roll_out(series, steps), rb.to_numpy(placed.roll_out(series, steps))
    assert abs(here - there)[0].max() < 1e-9
    assert abs(here - there).max() < 1e-6


def test_free_runs_part_as_the_system_does() -> None:
    """The free run has learned the exponent: it is what two of them part by."""
    rnn, series = fitted_to(LORENZ), series_of(LORENZ)[FIRST : FIRST + 9000]
    states, _ = rnn(series)
    starts = np.linspace(300, 8900, 40).astype(int)
    begun, nearby = series[starts][None], states[starts - 1][None]
    run, other = (rnn.roll_out(x, 500, h_0=nearby) for x in (begun, begun + 1e-9))
    growth = np.log(np.linalg.norm(run - other, axis=-1)).mean(axis=1)
    slope = np.polyfit(np.arange(100, 500) * LORENZ.dt, growth[100:], 1)[0]
    assert slope * LORENZ.lyapunov_time == pytest.approx(1, abs=0.2)


def test_the_free_run_stays_on_the_lorenz_attractor() -> None:
    """For 110 Lyapunov times, long after the forecast is lost: moments, quantiles and the map of the maxima of z."""
    series = series_of(LORENZ)
    run = fitted_to(LORENZ).roll_out(series[: FIRST + 1], 6000)
    true = series[FIRST:]
    np.testing.assert_allclose(run.std(axis=0), true.std(axis=0), rtol=0.06)
    levels = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(np.quantile(run[:, 2], levels), np.quantile(true[:, 2], levels), rtol=0, atol=0.12)
    peaks, known = maxima(run[:, 2]), maxima(true[:, 2])
    places = np.argsort(known[:-1])
    mapped = np.interp(peaks[:-1], known[:-1][places], known[1:][places])
    assert np.quantile(abs(mapped - peaks[1:]), 0.9) < 0.02


def maxima(z: Any) -> Any:
    before, at, after = z[:-2], z[1:-1], z[2:]
    peak = (at > before) & (at >= after)
    before, at, after = before[peak], at[peak], after[peak]
    return at - (after - before) ** 2 / (8 * (after - 2 * at + before))


def test_the_program_prints_what_the_readme_states(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-W", "error", str(SHIPPED / "forecast.py")]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    for system, line in zip(SYSTEMS, run.stdout.splitlines(), strict=True):
        name, _, rest = line.partition(": ")
        mean, starts, *quartiles = (float(number) for number in re.findall(r"\d+(?:\.\d+)?", rest))
        assert (name, starts) == (system.name, 100)
        np.testing.assert_allclose([mean, *quartiles], row_of(system)[0], rtol=0, atol=SLACK)


def test_what_was_chosen_is_what_the_readme_states(system: System) -> None:
    (row,) = re.findall(rf"^\| {system.name} \| ([\d.]+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", README, re.MULTILINE)
    assert [float(number) for number in row] == list(CHOSEN[system.name].values())
    assert REGRESSIONS.keys() == CHOSEN.keys() == {*NAMES}
