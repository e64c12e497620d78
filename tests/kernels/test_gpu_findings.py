"""What is made of the findings of `gpu_first.py`: tables, constants that are fitted, pages; and what is left to measure."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gpu_goals
import gpu_pages
import pytest
from gpu_stages import fits, names, stages, tables, wheels
from gpu_stages.bench import Asked, left, shapes_of
from gpu_stages.findings import Finding, Findings
from gpu_stages.sizes import FULL, QUICK
from gpu_stages.stages import Context
from harness.problem import Problem


def cell(asked: Asked, clock: str = "device", **changed: Any) -> dict[str, Any]:
    """Return what bench finds of a shape: ours takes 1 s, torch 3 s, and block half as long as ours."""
    seq_len, batch, input_size, hidden_size = asked.shape
    problem = Problem(seq_len=seq_len, batch=batch, input_size=input_size, hidden_size=hidden_size, dtype=asked.dtype)
    seconds = {"cupy": [1.0, 1.0], "torch": [3.0, 3.0], "block": [0.5, 0.5]}
    return {
        "problem": asdict(problem), "clock": clock, "seconds": seconds, "excess": {"cupy": 0.25, "torch": 0.5},
        "asked": [*seconds, "grid"], "failed": {"grid": "crashed: SIGSEGV"}, "absent": {}, "launch_bound": [],
    } | changed  # fmt: skip


def both(asked: Asked, **changed: Any) -> list[Finding]:
    found = [cell(asked, clock, **changed) for clock in ("device", "call")]
    return [{"stage": "bench", "row": asked.row, "cell": one} for one in found]


FIRST, SECOND, *_ = shapes_of("bench", FULL)


# The tables


def test_speeds_are_in_units_of_the_best_other_kernel() -> None:
    three = {"seconds": {"cupy": [1.0], "block": [0.5], "sweep": [2.0], "step": [4.0]}}
    shape = "T=512 B=1 I=64 H=32 float32"
    assert tables.speeds(both(FIRST, **three)) == {
        "block": {shape: 4.0},
        "sweep": {shape: 0.25},
        "step": {shape: 0.125},
    }
    assert tables.speeds(both(FIRST)) == {}  # of block alone


def test_times_are_in_units_of_the_default() -> None:
    _, row, *_, failed = tables.speed_table(both(FIRST)).splitlines()
    assert row.split()[5:] == ["1.95e+03", "0.25", "3.00", "0.50", "FAILED"]
    assert failed == "FAILED: T=512 B=1 I=64 H=32 float32: grid: crashed: SIGSEGV"


def test_the_latest_figures_count() -> None:
    later = both(FIRST, seconds={"cupy": [1.0], "block": [4.0]}, failed={})
    table = tables.speed_table([*both(FIRST), *later])
    assert "FAILED" not in table
    assert table.splitlines()[1].split()[-2] == "4.00"


def test_the_goals_and_what_is_reached() -> None:
    less = {"seconds": {"cupy": [1.0], "torch": [0.5]}}
    wrong = {"seconds": {"torch": [1.0]}, "failed": {"cupy": "wrong: 3 times the bound"}, "excess": {"torch": 0.5}}
    third = next(asked for asked in shapes_of("bench", FULL) if asked.row == "float64")
    lines = tables.goals_table([*both(FIRST), *both(SECOND, **less), *both(third, **wrong)]).splitlines()
    rows = {name: line.removeprefix(name) for name in gpu_goals.ROWS for line in lines if line.startswith(f"{name}  ")}
    assert rows["H <= 64"].split()[5:] == ["3.00", "3.00", "1.5", "2.5", "yes", "0.25", "0.5"]
    assert "0.50    0.50    2     3    not aim, must, **as fast as torch**  " in rows["H = 128"]
    assert "-       -       4     8    not right " in rows["float64"]
    assert "not measured" in rows["H = 2048"]
    assert lines[-1].startswith("Of 3 shapes 1 reach what they must; torch is faster at 1. ")


# What is left to measure


def test_what_was_measured_with_all_kernels_is_not_left(tmp_path: Path) -> None:
    findings = Findings(tmp_path / "findings.jsonl")
    every = shapes_of("bench", FULL)
    assert left(findings, "bench", FULL, ["block", "grid"]) == every
    for one in both(FIRST):
        findings.add(**one)
    assert left(findings, "bench", FULL, ["block", "grid"]) == every[1:]
    assert left(findings, "bench", FULL, ["block", "step"]) == every
    assert len(shapes_of("more", FULL)) == sum(len(row.shapes) for row in gpu_goals.ROWS.values())
    assert set(every) <= set(shapes_of("more", FULL))


def test_where_a_process_ends_another_goes_on(tmp_path: Path) -> None:
    context = Context(Findings(tmp_path / "findings.jsonl"), "quick", tmp_path, frozenset(), 1)
    some = shapes_of("more", QUICK)
    assert len(some) == 2
    batches = stages.more(context)
    (prepared,) = next(batches)  # without kernels there is nothing to compile
    assert prepared.name == "reference 0 of 1 for more, "
    assert prepared.again
    (job,) = next(batches)
    assert job.name == "more: 2 shapes, 0 left out, with no kernels"
    (job,) = next(batches)  # for the first shape ended it
    assert job.name == "more: 2 shapes, 1 left out, with no kernels"
    for one in both(some[1]):
        context.findings.add(**one)
    assert list(batches) == []
    assert left(context.findings, "more", QUICK, []) == some[:1]


# The constants


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


def test_the_text_of_plan_gets_other_constants() -> None:
    some = [fits.Fit("PRODUCT", 1.0, 12_000.0, ""), fits.Fit("GRID_STEP", 1.0, 900.0, "")]
    text = names.PLAN.read_text(encoding="utf-8")
    before, after = (dict[str, Any](__name__="plan") for _ in range(2))
    for scope, source in ((before, text), (after, fits.replaced(text, some))):
        exec(compile(source, "plan.py", "exec"), scope)
    every = {*names.LAUNCHES, *(name for of_kernel in names.FITTED.values() for name in of_kernel)}
    assert {name: after[name] for name in every} == {name: before[name] for name in every} | {
        "PRODUCT": 12_000, "GRID_STEP": 900,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"^plan\.py has no line that sets ABSENT$"):
        fits.replaced(text, [fits.Fit("ABSENT", 1.0, 2.0, "")])


# The pages


def test_what_is_not_a_page_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_pages.main([str(tmp_path)]) == 1
    assert f"{tmp_path} holds no findings of a device" in capsys.readouterr().err
    with pytest.raises(
        ValueError, match=r"gpu\.md must hold <!-- gpu_pages\.py: begin --> and <!-- gpu_pages\.py: end -->"
    ):
        gpu_pages.between("# On a GPU", "more")


def test_a_part_is_written_again() -> None:
    text = f"before\n{gpu_pages.BEGIN}\nold\n{gpu_pages.END}\nafter\n"
    assert gpu_pages.between(text, "new") == text.replace("old", "new")
    assert gpu_pages.between(names.DOCUMENT.read_text(encoding="utf-8"), "new").count("new") >= 1


# The wheels


def test_wheels_are_of_what_a_machine_with_cupy_and_torch_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, int(command[-1] == "safetensors"))

    monkeypatch.setattr(subprocess, "run", run)
    assert wheels.main([str(tmp_path / "wheels"), "--python", "3.13", "--platform", "a", "b"]) == 1
    assert [command[-1] for command in commands] == wheels.wanted()
    assert "not fetched: safetensors; see above" in capsys.readouterr().err
    assert {"array-api-compat", "array-api-strict", "ml_dtypes", "pytest", "hypothesis"} <= set(wheels.wanted())
    assert not {"numpy", "torch"} & set(wheels.wanted())
    for command in commands:
        assert command[:5] == [sys.executable, "-m", "pip", "download", "--only-binary=:all:"]
        words = " ".join(command)
        assert (
            f"--python-version 3.13 --implementation cp --platform a --platform b --dest {tmp_path / 'wheels'}" in words
        )
        assert ("--no-deps" in command) == (command[-1] not in {"pytest", "hypothesis"})
    known = {*names.REQUIRED.values(), *(distribution for distribution, _ in names.OPTIONAL.values())}
    assert set(wheels.wanted()) <= known
