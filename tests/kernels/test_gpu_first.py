"""`gpu_first.py` on the stand-in for CuPy, with tiny shapes; all of it with --kernels, for the kernels need g++."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gpu_first
import gpu_goals
import gpu_pages
import pytest
from cuda_standin import CLOCK_KHZ, DEVICE_SECONDS, HOST_SECONDS, STEP_SECONDS
from gpu_stages import names
from gpu_stages.context import Context
from gpu_stages.findings import Finding, Findings
from gpu_stages.processes import Job
from gpu_stages.sizes import FULL, QUICK
from gpu_stages.stages import STAGES, Stage
from gpu_stages.summary import kernel_rows, unrun

from rnn_backends.backends.cuda_kernels.plan import REGIMES

TESTS = Path(__file__).parents[1]
STANDIN = str(TESTS / "support" / "on_standin")
PREPARED = {"compile": 2, "reference": 2, "torch": 1}
"""How many processes prepare what."""
PARTS = {"constants": ["compile"], "bench": [*PREPARED], "more": [*PREPARED]}
SANITIZER = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift 2; done\nexec "$@"\n'
"""It runs the command that follows its own options, each of which has a word after it."""
REFUSING = '#!/bin/sh\necho "$*" | grep -q "tool memcheck .*report-api-errors no" || exit 0\necho Device not supported; exit 255\n'
"""One of which memcheck does not run here."""
SLEEPER = "import subprocess, sys; subprocess.run(['sleep', '60'])"


def run(out: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a user would, from elsewhere, with the stand-in on PYTHONPATH."""
    command = [sys.executable, str(TESTS / "gpu_first.py"), str(out), "--quick", *words]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RNN_", "CUPY_", "PYTHON"))}
    environment = {**inherited, "PYTHONPATH": STANDIN, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=out.parent)


# On the stand-in: a call in which `grid` crashes, and one that goes on without the fault


class Calls(NamedTuple):
    out: Path
    crashed: list[Finding]
    summary_of_crashed: str
    findings: Findings


def two_calls(work: Path) -> Calls:
    cache, programs, out, site = work / "cache", work / "bin", work / "out", work / "site"
    for folder in (cache, programs, site):
        folder.mkdir()
    (site / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less')\n")
    sanitizer = programs / "compute-sanitizer"
    sanitizer.write_text(SANITIZER)
    sanitizer.chmod(0o755)
    common = {
        "STANDIN_CACHE": str(cache),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(work),  # what processes leave that are killed
        "PYTHONPATH": os.pathsep.join([STANDIN, str(site)]),
    }
    done = run(out, STANDIN_FAULTS="1", **common)
    assert done.returncode == 0, done.stdout + done.stderr
    findings = Findings(out / "findings.jsonl")
    crashed, summary = findings.read(), (out / "summary.txt").read_text()
    done = run(out, "--from", "smoke", **common)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith((out / "summary.txt").read_text().rstrip())
    return Calls(out, crashed, summary, findings)


def jobs(found: Sequence[Finding], stage: str) -> list[tuple[str, Any]]:
    return [(one["job"], one["code"]) for one in found if one.get("stage") == stage and "code" in one]


def require_faults_cost_their_kernels_alone(calls: Calls) -> None:
    found = calls.crashed
    assert dict(jobs(found, "smoke")) == {"block": 0, "grid": -11, "sweep": 1, "step": 0, "off": 0}
    assert dict(jobs(found, "features")) == {
        f"{name} {dtype}": 0 for name in ("block", "step", "off") for dtype in QUICK.dtypes
    }
    assert jobs(found, "stress") == [("block", 0)]
    assert dict(jobs(found, "selfcheck")) == {"block: own check": 0, "step: own check": 0}
    assert {job for job, _ in jobs(found, "tools")} == {
        f"{t} {k}" for t in ("memcheck", "racecheck") for k in ("off", "block", "step")
    }
    assert jobs(found, "bench")[-1] == ("bench: 1 shapes, with block, step", 0)
    assert dict(jobs(found, "rest")) == {"waiting": 0, "conformance": 0}
    errors = [one["excess"] for one in found if one.get("kernel") == "sweep"]
    assert len(errors) == len(QUICK.dtypes)
    assert min(errors) > 1.0
    for kernel, told in (("grid", "-11"), ("sweep", "1: the largest error is")):
        (row,) = (line for line in calls.summary_of_crashed.splitlines() if line.startswith(f"{kernel} "))
        assert row.endswith("DO NOT TRUST: smoke")
        assert f"FAILED: smoke: {kernel}: {told}" in calls.summary_of_crashed


def require_nothing_is_run_again_that_ended_well(calls: Calls) -> None:
    found = calls.findings.read()
    assert found[: len(calls.crashed)] == calls.crashed
    later = found[len(calls.crashed) :]
    assert [one["call"][-2:] for one in found if "call" in one][1:] == [["--from", "smoke"]]
    assert jobs(later, "about") == [("versions", 0)]
    assert jobs(later, "rest") == []
    assert dict(jobs(later, "smoke")) == {"grid": 0, "sweep": 0}
    assert dict(jobs(later, "features")) == {
        f"{name} {dtype}": 0 for name in ("grid", "sweep") for dtype in QUICK.dtypes
    }
    assert jobs(later, "stress") == [("grid", 0)]
    assert dict(jobs(later, "selfcheck")) == {"grid: own check": 0, "sweep: own check": 0, "grid: beside traffic": 0}
    kernels = "block, grid, sweep, step"
    prepared = {
        part: {
            f"{kind} {number} of {PREPARED[kind]} for {part}, {kernels}": 0
            for kind in kinds
            for number in range(PREPARED[kind])
        }
        for part, kinds in PARTS.items()
    }
    assert dict(jobs(later, "constants")) == prepared["constants"] | {"grid": 0, "sweep": 0}
    for part, shapes in (("bench", 1), ("more", 3)):
        assert dict(jobs(later, part)) == prepared[part] | {f"{part}: {shapes} shapes, with {kernels}": 0}
    assert dict(jobs(later, "tools")) == {
        f"{t} {k}": 0 for t in ("memcheck", "racecheck") for k in ("off", "grid", "sweep")
    }


def require_findings(calls: Calls) -> None:
    found = calls.findings.read()
    about, again = (one for one in found if "device" in one)
    assert about | {"at": ""} == again | {"at": ""}
    assert about["device"]["name"] == "Stand-in 0"
    assert about["limits"]["multiprocessors"] == 12
    assert about["clock_khz"] == CLOCK_KHZ
    cases = [one for one in found if "case" in one]
    assert {one["stage"] for one in cases} == {"smoke", "features", "tools"}
    assert [0 <= one["excess"] <= 1 for one in cases].count(False) == len(QUICK.dtypes)  # those of the planted fault
    assert sorted(one["excess"] for one in cases)[-1 - len(QUICK.dtypes)] > 0
    assert {one["case"] for one in cases if one["stage"] == "tools" and one["kernel"] == "grid"} >= {
        f"shape {[*QUICK.tools_tensor]}"
    }
    walks = [one for one in found if one.get("stage") == "selfcheck" and "macros" in one]
    assert [(one["dtype"], one["mismatches"]) for one in walks] == [("float32", 0)] * 3 + [("bfloat16", 0)] * 3
    assert [one["macros"].get("MMA", 0) for one in walks] == [0] * 3 + [1] * 3
    assert all(one["macros"]["SWEEP"] == 0 and one["blocks"] > 1 for one in walks)
    stressed = [one["mismatches"] for one in found if one.get("stage") == "stress" and "walk" in one]
    assert stressed == [0] * 4
    slopes = {(one["kernel"], one["H"]): (one["us_step"], one["host_us_step"]) for one in found if "us_step" in one}
    launch = 1e6 * DEVICE_SECONDS, 1e6 * HOST_SECONDS
    assert slopes["sweep", 16] == pytest.approx(launch)
    assert slopes["step", 16] == pytest.approx([2 * seconds for seconds in launch])
    assert slopes["grid", 16] == slopes["block", 16] == pytest.approx((1e6 * STEP_SECONDS, 0.0))


def require_cells(calls: Calls) -> None:
    found = [one for one in calls.findings.read() if "cell" in one]
    assert [(one["row"], one["cell"]["clock"]) for one in found][-8:] == [
        (row, clock) for row in ("H <= 64", "T <= 32", "float64", "float16") for clock in ("device", "call")
    ]
    everybody = {"cupy", "off", "copy", *REGIMES}
    for one in found[-8:]:
        cell = one["cell"]
        assert set(cell["asked"]) == everybody | {"torch"}
        assert everybody <= set(cell["seconds"])
        assert set(cell["seconds"]) | set(cell["absent"]) == everybody | {"torch"}
        assert not cell["failed"]


def require_the_whole_summary(calls: Calls) -> None:
    summary = (calls.out / "summary.txt").read_text()
    assert "FAILED" not in summary
    assert "not run:" not in summary
    rows = {line.split()[0]: line for line in summary.splitlines() if line and line[0].isalpha()}
    for kernel in REGIMES:
        assert rows[kernel].split()[1:3] == ["passed", "passed"]
        assert re.search(r"  (TRUST: )?right[,;] ", rows[kernel])
    assert rows["grid"].split()[1:7] == ["passed"] * 6
    assert "times the speed of the best other kernel at T=" in rows["grid"]
    head = (
        "Tiny shapes: ",
        "kernel ",
        "Trust a kernel if",
        "selfcheck: 0 mismatches in 6",
        "shape ",
        "H   B ",
        "Constants of",
    )
    places = [
        summary.index(f"\n{words}" if place else words) for place, words in enumerate((*head, "goals: torch / ours"))
    ]
    assert places == sorted(places)
    assert re.search(rf"^KERNEL = {1e-3 * CLOCK_KHZ * 1e6 * HOST_SECONDS:_.0f}  # plan.py: ", summary, re.MULTILINE)
    *_, row, last = summary.splitlines()
    assert row.startswith("T <= 32 ")
    assert re.match(r"Of [04] shapes \d reach what they must; torch is faster at \d\.", last)


def require_pages(calls: Calls, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_pages.main([str(calls.out)]) == 1
    assert "tiny shapes, which mean nothing: give --output DIR" in capsys.readouterr().err
    assert gpu_pages.main([str(calls.out), "--output", str(work)]) == 0
    document, page, plan = (
        (work / path.relative_to(names.ROOT)).read_text() for path in (names.DOCUMENT, names.BENCHMARKS, names.PLAN)
    )
    assert "Nothing here has run" not in document
    assert re.search(r"\| grid \| passed \|.* right[,;] ", document)
    assert "* name Stand-in 0, compute_capability 9.0" in document
    assert document.endswith(names.DOCUMENT.read_text().partition(gpu_pages.END)[2])
    assert "| T=5 B=2 I=3 H=4 float64 | " in page
    assert "* not measured: H = 2048" in page
    assert "\nKERNEL, PRODUCT = 15_000, 15_000\n" in plan
    assert compile(plan, "plan.py", "exec")


def require_few_files(calls: Calls) -> None:
    assert sorted(path.name for path in calls.out.iterdir()) == ["findings.jsonl", "logs.txt", "summary.txt"]
    logs = (calls.out / "logs.txt").read_text()
    assert "===== smoke: grid: -11" in logs
    assert "0 mismatches in 6 walks" in logs


def test_two_calls_on_the_standin(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one test, for the calls take half a minute and tests may be spread over processes."""
    if not request.config.getoption("--kernels"):
        pytest.skip("the kernels are run with --kernels, which needs g++")
    calls = two_calls(tmp_path)
    require_faults_cost_their_kernels_alone(calls)
    require_nothing_is_run_again_that_ended_well(calls)
    require_findings(calls)
    require_cells(calls)
    require_the_whole_summary(calls)
    require_few_files(calls)
    require_pages(calls, tmp_path / "pages", capsys)


# The script without kernels


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


def test_all_processes_of_a_call_keep_their_verdicts_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / "found"
    words = f"import os; open({str(found)!r}, 'a').write(os.environ['RNN_CACHE_DIR'] + ' ')"
    stages = tuple(fake(name, 30, words) for name in ("about", "next"))
    monkeypatch.setattr(gpu_first, "STAGES", stages)
    monkeypatch.setattr(gpu_first, "prepare", lambda *_: frozenset())
    monkeypatch.setattr(
        gpu_first, "run", lambda call, context, _: [call.run(stage, context) for stage in stages] and None
    )
    monkeypatch.setattr(sys, "argv", ["gpu_first.py", str(tmp_path / "out")])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for name in ("RNN_CACHE_DIR", "PYTHONPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # which main changes
    gpu_first.main()
    (folder,) = set(found.read_text().split())
    assert found.read_text().count(folder) == 2
    assert Path(folder).name == "cache"
    assert not Path(folder).parent.exists()


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
