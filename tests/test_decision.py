"""The network of examples/decision: what its README.md states, on every backend, its program, and its fixed points.

With --gallery FOLDER, that of a copy of the folder, in which the network was trained again.
"""

import re
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import rnn_backends as rb

SHIPPED = Path(__file__).parents[1] / "examples"
README = (SHIPPED / "decision" / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\d.]+) %.*? \| ([\d.]+) % \| ([\d.]+) % \|$", README, re.MULTILINE)
TABLE = {float(coherence): (float(right) / 100, float(ideal) / 100) for coherence, right, ideal in ROWS}
"""By the coherence in percent: the share of right choices of 1000 trials, and that of an ideal observer."""
TAU, DT, SIGMA_IN, SIGMA_REC = 100.0, 20.0, 0.1, 0.15
INPUTS = {"none but the baseline": (0.2, 0.2), "a stimulus of coherence 0": (0.7, 0.7)}


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--gallery") or SHIPPED).resolve() / "decision"


@pytest.fixture(scope="module")
def program(folder: Path) -> dict[str, Any]:
    """The names of decide.py."""
    return run_path(str(folder / "decide.py"))


@pytest.fixture(scope="module")
def held(folder: Path) -> dict[str, Any]:
    with np.load(folder / "decision.npz") as arrays:
        return dict(arrays)


def share(program: dict[str, Any], percent: float, count: int, dt: float = DT, backend: str = "numpy") -> float:
    """Return the share of right choices; of 1000 trials, those that train.py prints."""
    key = round(10 * percent)
    random = np.random.default_rng([99, key])
    side = random.choice((-1, 1), count)
    rnn, x = program["load"](dt=dt, seed=key, backend=backend), program["trials"](side * percent / 100, random, dt=dt)
    z = rb.to_numpy(rnn.logits(x))[-1]
    return float((np.sign(z[:, 0] - z[:, 1]) == side).mean())


def expected(percent: float, count: int, folder: Path) -> Any:
    """Return the stated share, as far as it may differ in other trials: by four standard deviations of both counts."""
    right = TABLE[percent][0]
    spread = np.sqrt((right * (1 - right) + 0.002) * (1 / count + 1 / 1000))
    return pytest.approx(right, abs=4 * spread + (0 if folder.parent == SHIPPED else 0.05))


def test_the_file_is_small_and_in_the_manner_of_psychrnn(folder: Path, held: dict[str, Any]) -> None:
    assert (folder / "decision.npz").stat().st_size < 300_000
    shapes = {
        "W_in": (100, 2), "W_rec": (100, 100), "W_out": (2, 100), "b_rec": (100,), "b_out": (2,),
        "init_state": (1, 100), "Dale_rec": (100, 100), "Dale_out": (100, 100), "rec_connectivity": (100, 100),
    }  # fmt: skip
    assert {name: array.shape for name, array in held.items()} == shapes
    assert {array.dtype.name for array in held.values()} == {"float32"}


def test_dales_law(program: dict[str, Any], held: dict[str, Any]) -> None:
    rnn = program["load"]()
    signs = rb.dale_signs(rnn.layers[0].forward)
    assert signs.tolist() == [1] * 80 + [-1] * 20
    np.testing.assert_array_equal(held["Dale_rec"], np.diag(signs))
    np.testing.assert_array_equal(rnn.layers[0].forward.weight_hh, held["W_rec"])
    assert not held["W_rec"].diagonal().any()
    assert (held["W_in"] >= 0).all()
    assert (held["W_out"] >= 0).all()
    assert not held["W_out"][:, signs < 0].any()


def test_the_figures_of_the_readme(program: dict[str, Any], folder: Path) -> None:
    """The same trials and the same noise: rounding may turn a few that end between the choices."""
    assert list(TABLE) == [3.2, 4.5, 6.4, 9.0, 12.8, 18.0, 25.6, 36.0, 51.2]
    for percent, (_, ideal) in TABLE.items():
        found = NormalDist().cdf(percent / 100 * np.sqrt(800 / TAU) / (2 * SIGMA_IN))
        assert round(100 * found, 1) == round(100 * ideal, 1)
    for percent in (3.2, 18.0):
        allowed = 0.004 if folder.parent == SHIPPED else 0.05
        assert share(program, percent, 1000) == pytest.approx(TABLE[percent][0], abs=allowed)


@pytest.mark.parametrize("percent", [4.5, 9.0, 12.8])
def test_decisions_on_a_backend(program: dict[str, Any], folder: Path, backend: str, percent: float) -> None:
    assert share(program, percent, 200, backend=backend) == expected(percent, 200, folder)


def test_steps_of_another_length(program: dict[str, Any], folder: Path) -> None:
    assert share(program, 9.0, 100, dt=5.0) == expected(9.0, 100, folder)


def test_outputs_on_a_backend(program: dict[str, Any], held: dict[str, Any], backend: str) -> None:
    """By the equation of the paper, with the draws that `Noise` promises."""
    x = program["trials"]([0.064, -0.256, 0.0], np.random.default_rng(1))
    state, outputs = held["init_state"].astype("float64"), []
    for t, u in enumerate(x):
        source = np.random.Philox(np.random.SeedSequence(7, spawn_key=(0,)))
        xi = [np.random.Generator(source.jumped(b * 2**64 + t)).standard_normal(100) for b in range(3)]
        rates = np.maximum(state, 0)
        change = -state + rates @ held["W_rec"].T + u @ held["W_in"].T + held["b_rec"]
        state = state + DT / TAU * change + np.sqrt(2 * DT / TAU) * SIGMA_REC * np.array(xi)
        outputs.append(np.maximum(state, 0) @ held["W_out"].T + held["b_out"])
    found = rb.to_numpy(program["load"](seed=7, backend=backend).logits(x))
    np.testing.assert_allclose(found, outputs, atol=2e-3)
    exact = program["load"](seed=7, backend=backend).to(dtype="float64")
    np.testing.assert_allclose(rb.to_numpy(exact.logits(x)), outputs, atol=1e-5)


@pytest.mark.parametrize("dt", [20.0, 5.0])
def test_trials(program: dict[str, Any], dt: float) -> None:
    x = program["trials"](np.full(400, 0.2), np.random.default_rng(2), stimulus=600, dt=dt)
    assert (x.shape, x.dtype.name) == ((1300 / dt, 400, 2), "float32")
    before, during, after = np.split(x, [round(200 / dt), round(800 / dt)])
    for part, wanted in ((before, (0.2, 0.2)), (during, (0.8, 0.6)), (after, (0.2, 0.2))):
        error = SIGMA_IN * np.sqrt(2 * TAU / (dt * len(part) * 400))  # of the mean, whatever the steps
        np.testing.assert_allclose(part.mean(axis=(0, 1)), wanted, atol=5 * error * np.sqrt(dt))
        error = SIGMA_IN * np.sqrt(2 * TAU / dt)
        np.testing.assert_allclose(part.std(axis=(0, 1)), error, rtol=0.05)


def test_times(program: dict[str, Any]) -> None:
    z = np.zeros((20, 3, 2))
    z[4, 0] = 9.0, 0.0  # in the fixation
    z[12:, 0] = 0.0, 0.6
    z[10, 1] = 0.6, 0.0
    assert program["times"](z).tolist() == pytest.approx([60.0, 20.0, np.nan], nan_ok=True)


def exactly(program: dict[str, Any]) -> tuple[rb.RNN, Any]:
    """Return the network without noise in float64, and its cell."""
    rnn = program["load"]().replace(noise=None).to(dtype="float64")
    return rnn, rnn.layers[0].forward


def field(cell: Any, x: Any, u: tuple[float, float]) -> Any:
    return (cell.step(cell.project(np.array([u])), x) - x) / cell.leak


def jacobian(cell: Any, x: Any) -> Any:
    return cell.weight_hh * (x > 0) - np.eye(100)


def fixed_point(cell: Any, u: tuple[float, float], x: Any) -> Any:
    """Return the fixed point that Newton's method, its steps halved until |F| falls, reaches from a state, or None."""
    for _ in range(20):
        (velocity,), on = field(cell, x[None], u), x > 0
        if np.linalg.norm(velocity) < 1e-10:
            return x
        # Silent units act on none: by the equations of the others, which are too small for threads.
        of_active = np.eye(on.sum()) - cell.weight_hh[np.ix_(on, on)]
        step = velocity + cell.weight_hh[:, on] @ np.linalg.solve(of_active, velocity[on])
        tried = x + 0.5 ** np.arange(8)[:, None] * step
        x = tried[np.linalg.norm(field(cell, tried, u), axis=1).argmin()]
    return None


def fixed_points(cell: Any, u: tuple[float, float], states: Any) -> Any:
    found: list[Any] = []
    for x in (fixed_point(cell, u, state) for state in states):
        if x is not None and all(abs(x - known).max() > 1e-6 for known in found):
            found.append(x)
    return np.array(found)


@pytest.fixture(scope="module")
def points(program: dict[str, Any]) -> dict[str, Any]:
    """The fixed points that are found from states of trials, by the input."""
    random = np.random.default_rng(3)
    x = program["trials"](np.repeat([-0.256, -0.064, 0.0, 0.064, 0.256], 40), random, fixation=400, stimulus=1000)
    visited = program["load"](seed=3).trace(x)["hidden_state_l0"].reshape(-1, 100).astype("float64")
    _, cell = exactly(program)
    starts = visited[random.choice(len(visited), 300, replace=False)]
    return {name: fixed_points(cell, u, starts) for name, u in INPUTS.items()}


def growing(cell: Any, x: Any) -> Any:
    """Return the positive real parts of the eigenvalues of the Jacobian."""
    values = np.linalg.eigvals(jacobian(cell, x)).real
    return values[values > 0]


@pytest.mark.parametrize("name", INPUTS)
def test_fixed_points(program: dict[str, Any], points: dict[str, Any], folder: Path, name: str) -> None:
    rnn, cell = exactly(program)
    directions = [len(growing(cell, x)) for x in points[name]]
    attractors = points[name][np.array(directions) == 0]
    differences = (np.maximum(attractors, 0) @ rnn.readout.weight.T) @ (1, -1)
    assert differences.min() < -0.7 < 0.7 < differences.max()
    assert 1 in directions
    if folder.parent != SHIPPED:
        return
    (row,) = re.findall(rf"^\| {name} \| (\d) \| (\d) \| (\d) \| (.+) \|$", README, re.MULTILINE)
    assert [directions.count(number) for number in range(3)] == [int(cell) for cell in row[:3]]
    largest = sorted(growing(cell, x).max() for x, number in zip(points[name], directions, strict=True) if number == 1)
    assert [f"{value:.2f}" for value in largest] == row[3].split(", ")


@pytest.mark.parametrize("name", INPUTS)
def test_the_jacobian(program: dict[str, Any], points: dict[str, Any], name: str) -> None:
    """The field is linear where the same units are active."""
    _, cell = exactly(program)
    pushes = 1e-9 * np.random.default_rng(4).normal(size=(5, 100))
    for x in points[name]:
        assert ((x + pushes > 0) == (x > 0)).all()
        np.testing.assert_allclose(field(cell, x + pushes, INPUTS[name]), pushes @ jacobian(cell, x).T, atol=1e-12)


def test_the_saddle_parts_the_choices(program: dict[str, Any], points: dict[str, Any], folder: Path) -> None:
    """Run by the network itself: of two states beside it, one goes to either choice, as fast as its eigenvalue says."""
    rnn, cell = exactly(program)
    name = "a stimulus of coherence 0"
    saddle = next(x for x in points[name] if len(growing(cell, x)) == 1)
    values, vectors = np.linalg.eig(jacobian(cell, saddle))
    push = 1e-4 * vectors[:, values.real.argmax()].real
    h_0 = np.stack([saddle + push, saddle - push, saddle])[None]
    states = rnn.trace(np.full((4000, 3, 2), 0.7), h_0)["hidden_state_l0"]
    growth = np.linalg.norm(states[:10, 0] - saddle, axis=-1) / np.linalg.norm(push)
    np.testing.assert_allclose(growth, (1 + cell.leak * values.real.max()) ** np.arange(1, 11), rtol=1e-6)
    np.testing.assert_allclose(states[:10, 2], np.tile(saddle, (10, 1)), atol=1e-9)
    ends = [[np.linalg.norm(x - state) for x in points[name]] for state in states[-1, :2]]
    arrived = np.argmin(ends, axis=1)[np.min(ends, axis=1) < 1e-5]
    assert all(len(growing(cell, points[name][k])) == 0 for k in arrived)
    # Of networks trained from other seeds some go to one choice, or round an undecided point, as README.md says.
    assert len(set(arrived)) == 2 if folder.parent == SHIPPED else len(arrived) > 0


def printed(folder: Path, elsewhere: Path, *words: str) -> list[str]:
    """Run the program from another working directory and return the lines that it prints."""
    command = [sys.executable, "-W", "error", str(folder / "decide.py"), *words]
    run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def test_the_program(folder: Path, tmp_path: Path) -> None:
    head, *lines = printed(folder, tmp_path)
    assert head.split() == ["coherence", "right", "time", "to", "decide", "(median)"]
    rows = [re.fullmatch(r" *([\d.]+)% +([\d.]+)% +(\d+) ms", line) for line in lines]
    found = [tuple(map(float, row.groups())) for row in rows if row is not None]
    assert [percent for percent, *_ in found] == [3.2, 6.4, 12.8, 25.6, 51.2]
    for percent, right, _ in found:
        assert right / 100 == expected(percent, 200, folder)
    when = [milliseconds for *_, milliseconds in found]
    assert 700 > when[0] > when[-1] > 100
    assert when[2:] == sorted(when[2:], reverse=True)
    _, line = printed(folder, tmp_path, "18")
    assert line.startswith("    18.0%")
