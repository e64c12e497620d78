"""What is made of the findings of `gpu_first.py`: tables and pages; and what is left to measure."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gpu_goals
import gpu_pages
import pytest
from gpu_stages import names, stages, tables, wheels
from gpu_stages.bench import Asked, against, left, shapes_of
from gpu_stages.context import WARM, Context
from gpu_stages.findings import Finding, Findings
from gpu_stages.sizes import FULL, QUICK
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


UNTIMED = {"seconds": {"cupy": [1.0]}, "failed": {"torch": "killed: no answer within 45 s"}, "excess": {"cupy": 0.25}}
"""What of a shape is found where torch hangs."""
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
    for one in both(SECOND, **UNTIMED):
        findings.add(**one)
    assert left(findings, "bench", FULL, ["block", "grid"]) == every[1:]
    for one in both(SECOND, **UNTIMED | {"failed": {}, "absent": {"torch": "not installed"}}):
        findings.add(**one)
    assert left(findings, "bench", FULL, ["block", "grid"]) == every[2:]
    assert len(shapes_of("more", FULL)) == sum(len(row.shapes) for row in gpu_goals.ROWS.values())
    assert set(every) <= set(shapes_of("more", FULL))


def test_a_package_that_few_have_is_measured_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "flashrnn" not in against(FULL)
    (tmp_path / "flashrnn.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert against(FULL) == list(FULL.against)
    assert "flashrnn" in FULL.against


def test_where_a_process_ends_another_goes_on(tmp_path: Path) -> None:
    context = Context(Findings(tmp_path / "findings.jsonl"), "quick", tmp_path, frozenset(), 1)
    some = shapes_of("more", QUICK)
    assert len(some) == 3
    batches = stages.more(context)
    prepared = next(batches)  # without kernels there is nothing to compile
    assert [job.name for job in prepared] == ["reference 0 of 1 for more, ", "torch 0 of 1 for more, "]
    assert all(job.again for job in prepared)
    (tmp_path / WARM).touch()
    assert [job.name for job in next(stages.more(context))] == ["reference 0 of 1 for more, "]
    (tmp_path / WARM).unlink()
    without_torch = replace(context, absent=frozenset({"torch"}))
    assert [job.name for job in next(stages.more(without_torch))] == ["reference 0 of 1 for more, "]
    (job,) = next(batches)
    assert (job.name, job.command[-1]) == ("more: 3 shapes, with no kernels", "0,1,2")
    (job,) = next(batches)  # for the first shape ended it
    assert (job.name, job.command[-1]) == ("more: 2 shapes, with no kernels", "1,2")
    for one in both(some[1]):
        context.findings.add(**one)
    (job,) = next(batches)
    assert (job.name, job.command[-1]) == ("more: 1 shapes, with no kernels", "2")
    for one in both(some[2], **UNTIMED):
        context.findings.add(**one)
    assert list(batches) == []  # though torch was not timed
    assert left(context.findings, "more", QUICK, []) == [some[0], some[2]]
    (job,) = list(stages.more(context))[1][:1]
    assert job.again
    assert (job.name, job.command[-1]) == ("more: 2 shapes, with no kernels", "0,2")


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
