"""What `gpu_first.py` is made of: processes that are ended, findings that are kept, needs that are named, the verdict."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpu_stages import names, processes, trust
from gpu_stages.context import Context
from gpu_stages.findings import Findings
from gpu_stages.processes import Job, together
from gpu_stages.sizes import FULL
from gpu_stages.summary import state, verdict
from gpu_stages.tools import TOOLS, under

from rnn_backends.backends.cuda_kernels.plan import make_plan
from rnn_backends.backends.cuda_kernels.tile import Device, Problem


def test_whoever_is_left_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    started = f"import subprocess; p = subprocess.Popen(['sleep', '60']); open({str(tmp_path / 'pid')!r}, 'w').write(f'{{p.pid}} '); p.wait()"
    slow, quick = Job("slow", [sys.executable, "-c", started]), Job("quick", ["true"])
    ending = together([slow, quick, Job("absent", [str(tmp_path / "no program")])], 60, tmp_path, tmp_path)
    ended = [next(ending), next(ending)]
    assert sorted((one.job.name, str(one.code)) for one in ended) == [
        ("absent", f"not started: No such file or directory: {tmp_path / 'no program'}"), ("quick", "0"),
    ]  # fmt: skip
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith(" "):
        time.sleep(0.05)
    ending.close()  # type: ignore[attr-defined]
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    for _ in range(100):
        if not status.exists() or status.read_text().split(") ")[1].startswith("Z"):
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


def test_one_that_has_ended_does_not_keep_others_alive(tmp_path: Path) -> None:
    some = [processes.begin(Job(word, [word, "60"]), tmp_path / word, tmp_path) for word in ("false", "sleep")]
    ended, alive = (one for one in some if isinstance(one, processes.Running))
    ended.process.wait()
    processes.kill([ended, alive])
    assert alive.process.returncode == -9
    for one in (ended, alive):
        one.log.close()


def test_a_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    findings = Findings(tmp_path / "findings.jsonl")
    findings.add(stage="smoke", job="block", code=0)
    with findings.path.open("a") as file:
        file.write('{"stage": "smoke", "jo')
    findings.mend()
    findings.add(stage="smoke", job="grid", code="timeout")
    assert findings.codes("smoke") == {"block": 0, "grid": "timeout"}


PASSED = dict.fromkeys(("smoke", "features", "stress", "selfcheck", "memcheck", "racecheck"), "passed")


@pytest.mark.parametrize(
    ("kernel", "changed", "faster", "told"),
    [
        ("grid", {}, {"a": 1.4, "b": 1.2}, "TRUST: right, 1.40 times the speed of the best other kernel at a (1 of 2 shapes)"),
        ("grid", {}, {"a": 1.2}, "right; at best 1.20 times the speed of the best other kernel at a"),
        ("grid", {}, {}, "right; its speed was not measured"),
        ("grid", {"selfcheck": "FAILED 1/1"}, {"a": 2.0}, "DO NOT TRUST: selfcheck"),
        ("block", {"selfcheck": "-"}, {"a": 2.0}, "open: selfcheck not run"),
        ("block", {"racecheck": "-"}, {"a": 2.0}, "TRUST: right, 2.00 times the speed of the best other kernel at a (1 of 1 shapes)"),
        ("block", {"stress": "-"}, {"a": 2.0}, "open: stress not run"),
        ("block", {"stress": "cut short 1/1"}, {"a": 2.0}, "open: stress cut short"),
        ("block", {"stress": "cut short 1/1", "memcheck": "-"}, {}, "open: memcheck not run; stress cut short"),
        ("block", {"stress": "cut short 1/1", "smoke": "FAILED 1/1"}, {}, "DO NOT TRUST: smoke"),
        ("block", {"racecheck": "FAILED 1/1"}, {"a": 2.0}, "DO NOT TRUST: racecheck"),
        ("block", {"smoke": "refused"}, {}, "does not run here"),
        ("step", {"stress": "-"}, {"a": 1.0}, "right; at best 1.00 times the speed of the best other kernel at a"),
        ("step", {"features": "FAILED 1/4", "memcheck": "-"}, {"a": 1.0}, "DO NOT TRUST: features"),
    ],
)  # fmt: skip
def test_the_rule(kernel: str, changed: dict[str, str], faster: dict[str, float], told: str) -> None:
    assert verdict(kernel, PASSED | changed, faster) == told


def test_what_a_limit_has_ended_is_no_failure() -> None:
    assert state({"a": 0, "b": "timeout", "c": 3}) == "cut short 1/2"
    assert state({"a": 0, "b": "timeout", "c": -11}) == "FAILED 1/3"
    assert state({"a": 0, "c": 3}) == "passed"


@pytest.mark.parametrize(("refused", "code"), [("float64", 1), ("bfloat16", 0)])
def test_a_kernel_that_fails_its_own_check(
    refused: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = SimpleNamespace(dtypes=lambda: ["float32", "float64"], dtype=str)
    monkeypatch.setattr("rnn_backends.get_backend", lambda _: backend)
    monkeypatch.setattr(trust, "kernels", lambda _: SimpleNamespace(trusted=lambda _, dtype: dtype != refused))
    path = tmp_path / "findings.jsonl"
    monkeypatch.setattr(sys, "argv", ["trust", str(path), "grid", "float32", "float64", "bfloat16"])
    with pytest.raises(SystemExit) as end:
        trust.main()
    assert end.value.code == code
    assert capsys.readouterr().out == ("not used for: float64; see above\n" if code else "")
    found = [(one["dtype"], one["trusted"]) for one in Findings(path).read("selfcheck")]
    assert found == [("float32", True), ("float64", not code)]


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_the_wait_for_those_that_are_killed_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here nobody can be ended, as where a driver holds a process."""
    monkeypatch.setattr(processes, "KILL_SECONDS", 0.5)
    monkeypatch.setattr("os.killpg", lambda *_: None)
    begin = time.monotonic()
    ended = list(together([Job(str(number), ["sleep", "3"]) for number in range(5)], 0.1, tmp_path, tmp_path))
    assert [one.code for one in ended] == ["timeout"] * 5
    assert time.monotonic() - begin < 2.0
    time.sleep(2.0)  # which leaves none of them


# What runs under the tools, and what pytest chooses


MOST, FEW = (Device(90, count, 232448, 233472, 2048, cooperative=True) for count in (132, 12))
"""An H200, and the stand-in."""


@pytest.mark.parametrize(("sizes", "device"), [("full", MOST), ("quick", FEW)])
def test_the_tools_look_at_tensor_cores(sizes: str, device: Device, tmp_path: Path) -> None:
    context = Context(Findings(tmp_path / "findings.jsonl"), sizes, tmp_path, frozenset(), 1)
    for job in (under(context, "sanitizer", tool, "grid") for tool in TOOLS):
        words = list(job.command)
        seq_len, batch, inputs, size = map(int, words[words.index("--half-shape") + 1 :][:4])
        assert {"float16", "bfloat16"} & set(words[words.index("--dtype") :])
        plan = make_plan(Problem(seq_len, batch, inputs, size, itemsize=4, half=True), device, ("grid",))
        assert plan is not None
        assert plan.on_tensor_cores
    assert "--half-shape" not in under(context, "sanitizer", "memcheck", "block").command


def test_pytest_chooses_the_shapes_for_tensor_cores() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "--checkout",
        names.GPU_TESTS,
        "-k",
        FULL.waiting,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=names.ROOT)
    chosen = [line for line in done.stdout.splitlines() if "test_shapes_for_tensor_cores" in line]
    assert len(chosen) == 6
    assert all("grid" in line for line in chosen)
