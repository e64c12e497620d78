"""The constants of plan.py and tensor.py: fitted to what `gpu_first.py` has found, and put into their text."""

import ast
from pathlib import Path
from typing import Any

import device_standin
import numpy as np
import pytest
import standin
from gpu_stages import constants, fits, names
from gpu_stages.findings import Finding
from gpu_stages.sizes import FULL, QUICK

import rnn_backends as rb
from rnn_backends.backends.cuda_kernels import plan
from rnn_backends.backends.cuda_kernels.tile import Device, Problem


def step(kernel: str, us: float, **changed: Any) -> Finding:
    constants = {"KERNEL": 1.0, "PRODUCT": 2.0, "GRID_TURN": 230.0, "GRID_STEP": 800.0}
    return {
        "kernel": kernel, "H": 1, "B": 1, "us_step": us, "host_us_step": us, "launch_bound": False, "slopes": {},
        "clocks_step_alone": 0.0, "constants": constants,
    } | changed  # fmt: skip


def grid(turns: int, clocks: float, **changed: Any) -> Finding:
    slopes = {"GRID_TURN": float(turns), "GRID_STEP": 1.0}
    given = {"slopes": slopes, "clocks_step_alone": 50.0 + 230.0 * turns + 800.0, "B": turns}
    return step("grid", clocks / 1e3, **given | changed)


CLOCK = {"clock_khz": 1_000_000}


def test_constants_are_those_that_give_what_was_measured() -> None:
    found = [
        CLOCK,
        *(grid(turns, 50.0 + 300.0 * turns + 1200.0) for turns in (1, 2, 5)),
        grid(7, 1.0, launch_bound=True),
    ]
    turn, exchange = fits.fits(found)
    assert (turn.name, turn.before, turn.now) == ("GRID_TURN", 230.0, 300.0)
    assert (exchange.name, exchange.before, exchange.now) == ("GRID_STEP", 800.0, 1200.0)
    assert exchange.of == "grid: 3 shapes, estimates then 1.00 to 1.00 of what was measured"
    text = fits.worded([turn, exchange])
    assert text.splitlines()[1].startswith("GRID_TURN = 300  # plan.py: 230; grid: 3 shapes")


def on_tensor_cores(turns: int, multiplied: float, waits: float) -> Finding:
    """Return what is found where a thousand multiplications take 0.8 clocks, by tensor.py 1, and a wait 40, by it 30."""
    slopes = {"GRID_TURN": float(turns), "GRID_STEP": 1.0, "RATES": multiplied, "LATENCY": waits}
    alone = 50.0 + 230.0 * turns + 800.0 + multiplied + 30.0 * waits
    clocks = 50.0 + 300.0 * turns + 1200.0 + 0.8 * multiplied + 40.0 * waits
    constants = {"GRID_TURN": 230.0, "GRID_STEP": 800.0, "RATES": 1.0, "LATENCY": 30.0}
    given = {"slopes": slopes, "clocks_step_alone": alone, "constants": constants, "capability": 90, "B": turns}
    return step(names.TENSOR_CORES, clocks / 1e3, H=int(multiplied), **given)


def test_constants_of_tensor_cores_are_fitted_with_those_of_grid_as_fitted() -> None:
    found = [CLOCK, *(grid(turns, 50.0 + 300.0 * turns + 1200.0) for turns in (1, 2, 5))]
    found += [on_tensor_cores(2, 500.0, 0.0), on_tensor_cores(1, 900.0, 0.0), on_tensor_cores(1, 0.0, 8.0)]
    *_, rate, latency = fits.fits(found)
    assert (rate.name, rate.before) == ("RATES[90]", 1000.0)
    assert rate.now == pytest.approx(1250.0, rel=0.05)
    assert (latency.name, latency.before, latency.now) == ("LATENCY", 30.0, 40.0)
    assert "RATES[90] = 1_200  # tensor.py: 1_000; grid, tensor cores: 3 shapes" in fits.worded([rate, latency])


@pytest.mark.usefixtures("all_trusted")
def test_the_form_of_grid_that_is_meant_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever was before, by one model."""
    monkeypatch.setenv("RNN_CUPY_KERNEL", "grid")
    rnn = rb.RNN.init(5, 96, backend="cupy").to(dtype="float16")
    for form in (*names.FORMS, *names.FORMS):
        with constants.forced(form):
            rnn(np.zeros((4, 32), np.int32))
        assert ("MMA" in standin.RawKernel.latest) == names.FORMS[form]


@pytest.mark.usefixtures("cupy")
def test_constants_of_a_card_whose_rate_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_standin.Device, "compute_capability", "89")
    names.kernels("device").properties.cache_clear()
    assert constants.constant("RATES") == 1000.0 / 256
    assert constants.estimate(
        "grid", ("RATES",), constants.problems(QUICK, 8, names.TENSOR_CORES)[0], (4, 8)
    )["constants"]["RATES"] == 1000.0 / 256  # fmt: skip
    names.kernels("device").properties.cache_clear()


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("form", names.FORMS)
def test_a_form_of_grid_is_measured_as_meant(form: str) -> None:
    """At each of the shapes, which both forms take, on an H200."""
    device = Device(90, 132, 232448, 233472, 2048, cooperative=True)
    for size, batch in FULL.half:
        problem = Problem(FULL.lengths[0], batch, 0, size, 4, half=True)
        before = plan.make_plan(problem, device, ("grid",))
        with constants.forced(form) as name:
            chosen = plan.make_plan(problem, device, (name,))
        assert chosen is not None
        assert chosen.on_tensor_cores == names.FORMS[form]
        assert plan.make_plan(problem, device, ("grid",)) == before


def test_no_constant_is_negative() -> None:
    turn, exchange = fits.fits([CLOCK, *(grid(turns, 50.0 + 1300.0 - 10.0 * turns) for turns in (1, 2, 3))])
    assert turn.now == 0.0
    assert exchange.now == pytest.approx(1300.0, rel=0.03)


def test_launches_take_what_the_host_or_the_device_takes() -> None:
    found = [
        CLOCK,
        *(step("sweep", 3.0, host_us_step=host, H=size) for size, host in enumerate((4.0, 5.0, 6.0))),
        *(step("step", us, host_us_step=9.0, H=size) for size, us in enumerate((12.0, 20.0))),
    ]
    assert [(fit.name, fit.before, fit.now) for fit in fits.fits(found)] == [
        ("KERNEL", 1.0, 5000.0), ("PRODUCT", 2.0, 7000.0),
    ]  # fmt: skip


def test_without_a_clock_or_steps_nothing_is_fitted() -> None:
    assert fits.fits([grid(1, 10.0), grid(2, 10.0)]) == []
    assert fits.fits([CLOCK, grid(1, 10.0)]) == []
    assert fits.worded([]) == ""


def assigned(text: str) -> dict[str, Any]:
    """Return the numbers, and the tables of numbers, that a module sets."""
    found: dict[str, Any] = {}
    for one in ast.parse(text).body:
        if isinstance(one, ast.Assign):
            names_set, value = ast.unparse(one.targets[0]).strip("()").split(", "), one.value
            values = value.elts if isinstance(value, ast.Tuple) and len(names_set) > 1 else [value]
            for name, of in zip(names_set, values, strict=True):
                found[name] = ast.unparse(of)
    return found


@pytest.mark.parametrize(
    ("file", "fitted", "wanted"),
    [
        (names.PLAN, {"PRODUCT": 12_000.0, "GRID_STEP": 900.0}, {"PRODUCT": "12000", "GRID_STEP": "900"}),
        (names.TENSOR, {"RATES[90]": 1500.0, "LATENCY": 40.0}, {"RATES": "{80: 1024, 90: 1500, 100: 1270}", "LATENCY": "40"}),
        (
            names.TENSOR,
            {"RATES[90]": 1270.0, "RATES[75]": 300.0, "LATENCY": 33.0},
            {"RATES": "{80: 1024, 90: 1270, 100: 1270, 75: 300}"},
        ),
    ],
)  # fmt: skip
def test_the_text_of_a_file_gets_other_constants(file: Path, fitted: dict[str, float], wanted: dict[str, str]) -> None:
    """Its own alone."""
    every = {"PRODUCT": 2.0, "GRID_STEP": 1.0, "RATES[90]": 3.0, "LATENCY": 4.0} | fitted
    text = file.read_text(encoding="utf-8")
    changed = fits.replaced(text, [fits.Fit(name, 1.0, value, "") for name, value in every.items()], file.name)
    assert assigned(changed) == assigned(text) | wanted
    compile(changed, file.name, "exec")


def test_a_constant_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"^plan\.py has no line that sets ABSENT$"):
        fits.replaced(names.PLAN.read_text(encoding="utf-8"), [fits.Fit("ABSENT", 1.0, 2.0, "")])


def test_all_that_is_fitted_stands_in_its_file() -> None:
    text = {**assigned(names.PLAN.read_text(encoding="utf-8")), **assigned(names.TENSOR.read_text(encoding="utf-8"))}
    assert set(text) >= {*names.LAUNCHES, *(name for of_kernel in names.FITTED.values() for name in of_kernel)}
