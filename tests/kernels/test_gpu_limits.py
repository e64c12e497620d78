"""`gpu_first.py` without kernels: its usage, its limits, what a tool refuses, and what --wheels brings."""

import os
import sys
import time
import zipfile
from pathlib import Path

import gpu_first
import gpu_goals
import pytest
from gpu_calls import SANITIZER, jobs, run
from gpu_stages import names, needs
from gpu_stages.context import Context
from gpu_stages.findings import Findings
from gpu_stages.processes import Job
from gpu_stages.sizes import FULL
from gpu_stages.stages import STAGES, Stage
from gpu_stages.summary import kernel_rows, unrun

REFUSING = '#!/bin/sh\necho "$*" | grep -q "tool memcheck .*report-api-errors no" || exit 0\necho Device not supported; exit 255\n'
"""One of which memcheck does not run here."""
SLEEPER = "import subprocess, sys; subprocess.run(['sleep', '60'])"


def test_results_that_are_there_are_not_mixed_with_others(tmp_path: Path) -> None:
    (tmp_path / "findings.jsonl").write_text('{"stage": "about"}\n')
    done = run(tmp_path)
    assert done.returncode == 2
    assert "holds findings: go on with --from STAGE, or name another folder" in done.stderr


@pytest.mark.parametrize("words", [("--limit", "581"), ("--limit", "0"), ("--wheels", "nowhere"), ("--from", "end")])
def test_wrong_usage(words: tuple[str, str], tmp_path: Path) -> None:
    done = run(tmp_path / "out", *words)
    assert done.returncode == 2
    assert words[0] in done.stderr
    assert not (tmp_path / "out").exists()


def test_where_no_time_is_left(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--limit", "1")
    assert done.returncode == 1
    assert done.stdout.rstrip().endswith("--from about")
    found = Findings(tmp_path / "out" / "findings.jsonl").read("about")
    assert found[-1]["why"] == "no time is left"
    assert "versions" in found[-1]["skipped"]


def fake(name: str, seconds: float, *commands: str) -> Stage:
    jobs = [Job(f"{number}", [sys.executable, "-c", command]) for number, command in enumerate(commands)]
    return Stage(name, seconds, seconds, lambda _: iter([[*jobs]]))


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(gpu_first, "LEAST", 0.1)
    (tmp_path / "logs").mkdir()
    return Context(Findings(tmp_path / "findings.jsonl"), "quick", tmp_path / "logs", frozenset(), 1)


def test_a_stage_that_hangs_costs_its_own_time_alone(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = Stage("about", 30, 30, lambda _: iter([[Job("versions", ["true"])]]))
    stages = (about, fake("hangs", 1.5, SLEEPER, "print('well')"), fake("next", 30, "print('well, too')"))
    monkeypatch.setattr(gpu_first, "STAGES", stages)
    begin = time.monotonic()
    assert gpu_first.run(gpu_first.Call(tmp_path, 60), context, None) is None
    assert time.monotonic() - begin < 20
    assert dict(jobs(context.findings.read(), "hangs")) == {"0": "timeout", "1": 0}
    assert jobs(context.findings.read(), "next") == [("0", 0)]
    assert "well, too" in (tmp_path / "logs.txt").read_text()


def test_the_limit_of_a_call_is_kept(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = Stage("about", 30, 30, lambda _: iter([[Job("versions", ["true"])]]))
    monkeypatch.setattr(gpu_first, "STAGES", (about, fake("hangs", 30, SLEEPER), fake("next", 30, "pass")))
    begin = time.monotonic()
    assert gpu_first.run(gpu_first.Call(tmp_path, 1.5), context, None) == "hangs"
    assert time.monotonic() - begin < 10
    assert jobs(context.findings.read(), "hangs") == [("0", "timeout")]
    assert context.findings.read("next")[-1]["skipped"] == ["0"]


def test_a_tool_that_this_machine_refuses_says_nothing_of_a_kernel(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("block", "off"):
        context.findings.add(stage="smoke", job=name, code=0)
    sanitizer, tools = tmp_path / "compute-sanitizer", next(stage for stage in STAGES if stage.name == "tools")
    sanitizer.write_text(REFUSING)
    sanitizer.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpu_first.Call(tmp_path, 60).run(tools, context)
    ended = {"memcheck off": 255, "racecheck off": 0, "racecheck block": 0}
    assert dict(jobs(context.findings.read(), "tools")) == ended
    told = "not run: tools: memcheck: the equation as written ends with 255 under it: Device not supported"
    assert unrun(context.findings) == told
    (row,) = kernel_rows(context.findings)[1:]
    assert row[5:] == ["-", "passed", "open: features, stress, selfcheck, memcheck not run"]

    sanitizer.write_text(SANITIZER.replace('exec "$@"', "exit 0"))  # as on another machine
    assert gpu_first.Call(tmp_path, 60).run(tools, context)
    later = jobs(context.findings.read(), "tools")[len(ended) :]
    assert later == [("memcheck off", 0), ("memcheck block", 0)]
    assert unrun(context.findings) == ""


def call_in_stages(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Make a call of two stages, each of which runs a text of Python; the environment is then as it was."""
    stages = tuple(fake(name, 30, words) for name in ("about", "next"))
    monkeypatch.setattr(gpu_first, "STAGES", stages)
    monkeypatch.setattr(
        gpu_first, "run", lambda call, context, _: [call.run(stage, context) for stage in stages] and None
    )
    monkeypatch.setattr(sys, "argv", ["gpu_first.py", str(tmp_path / "out"), *options])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for name in ("RNN_CACHE_DIR", "PYTHONPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # which main changes
    gpu_first.main()


def test_all_processes_of_a_call_keep_their_verdicts_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / "found"
    monkeypatch.setattr(gpu_first, "prepare", lambda *_: frozenset())
    words = f"import os; open({str(found)!r}, 'a').write(os.environ['RNN_CACHE_DIR'] + ' ')"
    call_in_stages(words, tmp_path, monkeypatch)
    (folder,) = set(found.read_text().split())
    assert found.read_text().count(folder) == 2
    assert Path(folder).name == "cache"
    assert not Path(folder).parent.exists()


# What is missing, and --wheels


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a wheel of one of two needs, which depends on what is nowhere, as array-api-strict on NumPy."""
    monkeypatch.setattr(needs, "REQUIRED", {"standin_of_a_need": "standin-of-a-need"})
    monkeypatch.setattr(needs, "OPTIONAL", {"another_need": ("another-need", "bench is left out")})
    (folder := tmp_path / "wheels").mkdir()
    info, metadata = "standin_of_a_need-1.0.dist-info", "Metadata-Version: 2.1\nName: standin-of-a-need\nVersion: 1.0\n"
    with zipfile.ZipFile(folder / "standin_of_a_need-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("standin_of_a_need.py", "")
        wheel.writestr(f"{info}/METADATA", f"{metadata}Requires-Dist: what-is-nowhere\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def test_what_is_missing_is_named(wheels: Path) -> None:
    required, optional = needs.consequences(needs.missing())
    assert required == (
        "standin_of_a_need is missing: nothing runs without it; pip install 'standin-of-a-need', or give --wheels DIR "
        "with a wheel of it"
    )
    assert optional.startswith("another_need is missing: bench is left out; pip install 'another-need', or give")


def test_wheels_go_to_a_folder_of_the_call_for_all_its_processes(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to the environment of Python, which may be read-only."""
    found = tmp_path / "found"
    words = f"import standin_of_a_need as need; open({str(found)!r}, 'a').write(need.__file__ + ' ')"
    call_in_stages(words, tmp_path, monkeypatch, "--wheels", str(wheels))
    (file,) = set(found.read_text().split())
    assert found.read_text().count(file) == 2
    assert Path(file).parent.name == "site"
    assert not Path(file).parent.parent.exists()
    outcomes = {
        one["wheel"]: one["outcome"]
        for one in Findings(tmp_path / "out" / "findings.jsonl").read("about")
        if "wheel" in one
    }
    assert outcomes["standin-of-a-need"] == "installed"
    assert "No matching distribution found" in outcomes["another-need"]


def test_the_shapes_of_bench_are_those_of_the_goals() -> None:
    assert set(FULL.bench) == set(gpu_goals.ROWS)
    for row, shapes in FULL.bench.items():
        assert set(shapes) <= set(gpu_goals.ROWS[row].shapes)
    assert sum(map(len, FULL.bench.values())) == 15


def test_the_stages_end_in_time() -> None:
    """A first call of 8 minutes gives verdicts and the goals; both take 13, which leaves two for a machine to start."""
    *first, last = STAGES
    assert [stage.name for stage in first] == [
        "about", "smoke", "features", "stress", "selfcheck", "constants", "bench", "tools", "rest",
    ]  # fmt: skip
    planned = {stage.name: min(stage.planned, stage.seconds) for stage in first}
    limits = {stage.name: stage.seconds for stage in first}
    assert sum(planned.values()) <= gpu_first.LIMIT == 480
    assert [name for name, seconds in planned.items() if seconds < limits[name]] == ["about", "smoke"]
    assert sum(limits.values()) <= gpu_first.MOST
    assert gpu_first.LIMIT + last.seconds <= 13 * 60
    assert gpu_first.MOST < 600


def test_the_files_that_are_named_are_there() -> None:
    for file in (names.GPU_TESTS, names.CONFORMANCE_TESTS, names.PLAN, names.DOCUMENT):
        assert (names.ROOT / file).is_file()
