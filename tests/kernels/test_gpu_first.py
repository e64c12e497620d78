"""All of `gpu_first.py` on the stand-in for CuPy, with tiny shapes, where --kernels is given, for the kernels need g++.

A call in which `grid` crashes, and one that goes on without the fault.
"""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import gpu_pages
import pytest
from cuda_standin import CLOCK_KHZ, DEVICE_SECONDS, HOST_SECONDS, STEP_SECONDS
from gpu_calls import SANITIZER, STANDIN, jobs, run
from gpu_stages import names
from gpu_stages.findings import Finding, Findings
from gpu_stages.sizes import QUICK

from rnn_backends.backends.cuda_kernels.plan import REGIMES

PREPARED = {"compile": 2, "reference": 2, "torch": 1}
"""How many processes prepare what."""
BOTH = ["compile", "reference"]
PARTS = {"constants": ["compile"], "bench": [*BOTH, *["torch"] * bool(find_spec("torch"))], "more": BOTH}


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
    assert dict(jobs(found, "rest")) == {"sparse": 0, "waiting": 0, "conformance": 0}
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
    assert dict(jobs(later, "constants")) == prepared["constants"] | {"grid": 0, "sweep": 0, "half": 0}
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
    sparse = [one["sparse"] for one in found if "sparse" in one]
    errors = [one["error"] for one in sparse if "error" in one]
    assert len(errors) == 6
    assert 0 < max(errors) <= 1
    assert [one["waits"] for one in sparse if "waits" in one] == [False]
    assert [one["shape"] for one in sparse if "us_step_of" in one] == [list(shape) for shape, _ in QUICK.sparse]
    stressed = [one["mismatches"] for one in found if one.get("stage") == "stress" and "walk" in one]
    assert stressed == [0] * 4
    launched = {
        (one["kernel"], one["problem"].split()[-1]): one["host_us_call"] for one in found if "host_us_call" in one
    }
    assert launched == {
        (name, dtype): pytest.approx(1e6 * HOST_SECONDS * (1 + (name == "grid")))  # and its product
        for name in names.WHOLE
        for dtype in ("float32", "float16")
    }
    slopes = {(one["kernel"], one["H"]): (one["us_step"], one["host_us_step"]) for one in found if "us_step" in one}
    launch = 1e6 * DEVICE_SECONDS, 1e6 * HOST_SECONDS
    assert slopes["sweep", 16] == pytest.approx(launch)
    assert slopes["step", 16] == pytest.approx([2 * seconds for seconds in launch])
    for form in names.FORMS:
        assert slopes[form, 96] == pytest.approx((1e6 * STEP_SECONDS, 0.0))
    (tensor,) = (one for one in found if one.get("kernel") == names.TENSOR_CORES)
    assert set(tensor["slopes"]) == {"GRID_TURN", "GRID_STEP", "RATES", "LATENCY"}
    assert max(tensor["slopes"]["RATES"], tensor["slopes"]["LATENCY"]) > 0
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
    *_, row, last, _, host = summary.splitlines()
    assert host.startswith("The host's time of a short call, at most 15 us: block 10 us at T=2 B=1 I=2 H=8 float32, ")
    assert "grid 20 us (not) at T=2 B=1 I=2 H=8 float16" in host
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
    assert "host's time of a short call" in document


def require_few_files(calls: Calls) -> None:
    assert sorted(path.name for path in calls.out.iterdir()) == ["findings.jsonl", "logs.txt", "summary.txt"]
    logs = (calls.out / "logs.txt").read_text()
    assert "===== smoke: grid: -11" in logs
    assert "0 mismatches in 6 walks" in logs


def test_two_calls_on_the_standin(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one test, for the calls take up to a minute and tests may be spread over processes."""
    if not (request.config.getoption("--kernels") and request.config.getoption("--thorough")):
        pytest.skip("the kernels are run with --kernels, which needs g++, and for so long with --thorough")
    calls = two_calls(tmp_path)
    require_faults_cost_their_kernels_alone(calls)
    require_nothing_is_run_again_that_ended_well(calls)
    require_findings(calls)
    require_cells(calls)
    require_the_whole_summary(calls)
    require_few_files(calls)
    require_pages(calls, tmp_path / "pages", capsys)
