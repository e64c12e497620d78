"""The command `bench` and the suite in tests/benchmarks: what is timed, how, and what is told of it."""

import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cold_start
import cpu
import cpu_page
import numpy as np
import pytest
from numpy.typing import NDArray
from thresholds import verdicts

import rnn_backends as rb
from rnn_backends.cli import bench
from rnn_backends.cli import main as cli
from rnn_backends.cli.benchmark import competitors, table, timing, worker
from rnn_backends.cli.benchmark.contestant import AbsentError, Contestant, check, ours
from rnn_backends.cli.benchmark.problem import COPIES, Drawn, Problem
from rnn_backends.cli.benchmark.timing import Quartiles, interleave, ratios
from rnn_backends.cli.parser import AGAINST, AGAINST_ON_GPU
from rnn_backends.testing import reference

SMALL = Problem(seq_len=5, batch=11, input_size=4, hidden_size=6)
VARIANTS = {
    "features": SMALL,
    "float64": replace(SMALL, dtype="float64"),
    "one sequence": replace(SMALL, batch=1),
    "tokens": replace(SMALL, tokens=True),
    "bidirectional": replace(SMALL, bidirectional=True),
    "tokens, bidirectional": replace(SMALL, tokens=True, bidirectional=True),
    "ragged": replace(SMALL, ragged=True),
    "ragged, bidirectional": replace(SMALL, ragged=True, bidirectional=True),
    "ragged, tokens": replace(SMALL, ragged=True, tokens=True),
    "step": replace(SMALL, step=True),
    "step, tokens": replace(SMALL, step=True, tokens=True),
    "leaky": replace(SMALL, batch=1, leak=0.25),
    "leaky, step": replace(SMALL, batch=1, leak=0.25, step=True),
}
INPUTS = [np.zeros(1)]


class Clock:
    """A clock that stands still but for what is told to take time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(timing, "perf_counter", lambda: self.now)
        monkeypatch.setattr(timing, "wait_for_idle_threads", lambda: None)

    def takes(self, name: str, seconds: float, log: list[str] | None = None) -> Contestant:
        def call(_: Any) -> None:
            self.now += seconds
            if log is not None:
                log.append(name)

        return Contestant(name, call)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# Times and ratios


def test_ratios_are_of_the_times_of_a_round() -> None:
    seconds = {"ours": [1.0, 2.0, 4.0, 1.0, 1.0], "other": [3.0, 2.0, 2.0, 1.0, 5.0]}
    assert ratios(seconds, "ours") == {"other": Quartiles(median=1.0, lower=1.0, upper=3.0)}
    assert ratios(seconds, "other") == {"ours": Quartiles(1.0, 1 / 3, 1.0)}
    assert Quartiles.of([1.0, 2.0]) == (1.5, 1.25, 1.75)


def test_times_are_those_of_one_call(clock: Clock) -> None:
    contestants = [clock.takes("quick", 1e-6), clock.takes("slow", 3.0)]
    taken = interleave(contestants, INPUTS, seconds=1e9, rounds=7)
    assert taken == {"quick": pytest.approx([1e-6] * 7), "slow": pytest.approx([3.0] * 7)}


def test_samples_last_some_milliseconds_or_are_one_call(clock: Clock) -> None:
    calls: list[str] = []
    quick, slow = clock.takes("quick", 1e-4, calls), clock.takes("slow", 1.0, calls)
    interleave([quick], INPUTS, seconds=1e9, rounds=1)
    once = calls.count("quick")
    interleave([quick], INPUTS, seconds=1e9, rounds=2)
    a_round = calls.count("quick") - 2 * once  # both began with the same calls
    assert 50 + 13 <= a_round <= 60 + 16  # with the calls before a sample
    interleave([slow], INPUTS, seconds=1e9, rounds=2)
    assert calls.count("slow") == 2 + 2 * 2


def test_the_first_calls_are_not_counted(clock: Clock) -> None:
    """One that compiles for 100 s is timed by what comes afterwards, and by as many calls as others are."""
    calls = 0

    def call(_: Any) -> None:
        nonlocal calls
        calls += 1
        clock.now += 100.0 if calls == 1 else 1e-3

    taken = interleave([Contestant("compiled", call)], INPUTS, seconds=1e9, rounds=5)
    assert taken["compiled"] == pytest.approx([1e-3] * 5)
    assert calls > 5 * 5


def test_everybody_is_timed_in_every_round_in_changing_order(clock: Clock) -> None:
    calls: list[str] = []
    interleave([clock.takes(name, 1.0, calls) for name in "abc"], INPUTS, seconds=1e9, rounds=20)
    samples = calls[6::2]  # two calls each come first, and then one before each sample
    rounds = ["".join(samples[i : i + 3]) for i in range(0, len(samples), 3)]
    assert len(rounds) == 20
    assert {"".join(sorted(order)) for order in rounds} == {"abc"}
    assert len(set(rounds)) > 3


@pytest.mark.parametrize(("rounds", "done"), [(100, 8), (3, 3)])
def test_rounds_end_with_the_time(clock: Clock, rounds: int, done: int) -> None:
    taken = interleave([clock.takes("a", 0.5)], INPUTS, seconds=7.5, rounds=rounds)
    assert len(taken["a"]) == done
    assert len(interleave([clock.takes("a", 50.0)], INPUTS, seconds=1.0, rounds=rounds)["a"]) == min(5, rounds)


def test_inputs_are_handed_over_in_turn_and_nothing_is_collected() -> None:
    handed, collecting, entered = [], [], []

    class Context:
        def __enter__(self) -> None:
            entered.append(True)

        def __exit__(self, *_: object) -> None:
            entered.append(False)

    def call(x: Any) -> None:
        handed.append(id(x))
        collecting.append(gc.isenabled())
        assert entered[-1]

    drawn = Drawn.of(SMALL)
    interleave([Contestant("a", call, context=Context)], drawn.inputs, seconds=1e9, rounds=1)
    assert len(set(handed)) == COPIES == len({x.ctypes.data for x in drawn.inputs})
    assert not any(first == second for first, second in zip(handed[-9:], handed[-8:], strict=False))
    assert not any(collecting)
    assert gc.isenabled()


def test_nobody_is_timed_while_threads_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter([0.0, 0.002, 0.002, 0.0035, 0.0035, 0.0036, 0.0, 1.0])
    slept: list[float] = []
    monkeypatch.setattr(timing, "process_time", lambda: next(busy))
    monkeypatch.setattr(timing, "sleep", slept.append)
    timing.wait_for_idle_threads()
    assert len(slept) == 3


# Problems and their check


@pytest.mark.parametrize("problem", VARIANTS.values(), ids=VARIANTS)
def test_what_is_wanted_covers_the_batch(problem: Problem) -> None:
    drawn = Drawn.of(problem)
    value, _ = reference([drawn.layer], drawn.x, lengths=drawn.lengths, dtype=problem.dtype)
    np.testing.assert_allclose(drawn.wanted.value, value.value, rtol=1e-14, atol=1e-15)  # BLAS sums in another order
    np.testing.assert_allclose(drawn.wanted.error, value.error, rtol=1e-14)
    assert drawn.wanted.value.shape == (5, problem.batch, 6 * len(drawn.cells))
    for cell in drawn.cells:
        np.testing.assert_allclose(abs(np.asarray(cell.weight_hh)).sum(axis=1), 0.8, rtol=1e-6)
    assert drawn.lengths is None or (max(drawn.lengths), min(drawn.lengths)) == (5, 1)


@pytest.mark.parametrize("backend_name", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("problem", VARIANTS.values(), ids=VARIANTS)
def test_ours_is_right_on_host_and_device(problem: Problem, backend_name: str) -> None:
    drawn = Drawn.of(problem)
    assert check([ours(backend_name, drawn)], drawn)[backend_name] <= 1.0


def test_a_device_is_done_when_a_value_is_on_the_host() -> None:
    drawn = Drawn.of(SMALL)
    strict, plain = ours("array_api_strict", drawn), ours("numpy", drawn)
    placed = strict.place(drawn.x)
    assert rb.get_backend("array_api_strict").owns(strict.call(placed))
    assert plain.place(drawn.x) is drawn.x


@pytest.mark.parametrize("change", [1e-5, np.nan])
def test_a_competitor_that_differs_stops_the_run(change: float) -> None:
    drawn = Drawn.of(SMALL)
    right = ours("numpy", drawn)

    def call(x: Any) -> NDArray[Any]:
        output = np.array(right.call(x))
        output[-1, -1, -1] += change
        return output

    with pytest.raises(rb.WrongResultError, match=r"^hasty does not compute T=5 B=11 I=4 H=6 float32: it differs"):
        check([right, Contestant("hasty", call)], drawn)
    with pytest.raises(rb.WrongResultError, match="by inf times the error bound"):
        check([Contestant("misshapen", lambda x: right.call(x)[:-1])], drawn)


def test_a_limit_has_no_result_to_check() -> None:
    drawn = Drawn.of(VARIANTS["one sequence"])
    assert check([competitors.prepare(name, drawn, 1) for name in ("product", "recurrent")], drawn) == {}


@pytest.mark.parametrize(
    ("name", "problem", "reason"),
    [
        ("textbook", SMALL, "whole sequences of token ids"),
        ("textbook", VARIANTS["step, tokens"], "whole sequences of token ids"),
        ("recurrent", SMALL, "it is measured for one sequence"),
        ("product", VARIANTS["ragged"], "how much of a ragged batch"),
    ],
)
def test_who_does_not_run_a_problem_tells_why(name: str, problem: Problem, reason: str) -> None:
    with pytest.raises(AbsentError, match=reason):
        competitors.prepare(name, Drawn.of(problem), 1)


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "jax", "reservoirpy"])
def test_who_is_not_installed_is_absent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competitors, "distribution_version", lambda _: None)
    with pytest.raises(AbsentError, match=f"^not installed: pip install {name}"):
        competitors.prepare(name, Drawn.of(SMALL), 1)


def test_those_that_are_installed_compute_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    """All in one process of their own: they have settings that would stay."""
    task = worker.Task(
        problems=list(VARIANTS.values()),
        backends=["numpy"],
        against=list(competitors.LIBRARIES),
        threads=1,
        seconds=0.0,
        rounds=1,
    )
    cells = bench._measured(task)
    assert [Problem(**cell["problem"]) for cell in cells] == task.problems
    told = capfd.readouterr().err
    for cell in cells:
        assert set(cell["seconds"]) | set(cell["absent"]) == {"numpy", *competitors.LIBRARIES}
        assert not set(cell["seconds"]) & set(cell["absent"])
        assert all(f"without {name}: {reason}" in told for name, reason in cell["absent"].items())
        assert max(cell["excess"].values()) <= 1.0
        assert set(cell["excess"]) == set(cell["seconds"]) - set(competitors.LIMITS)
        assert cell["environment"] == worker.environment(1, {})
    assert "textbook" in cells[list(VARIANTS).index("tokens")]["excess"]


# The command

WORDS = ["bench", "--shape", "6", "3", "4", "5", "--backend", "numpy", "--against", "product", "--rounds", "2"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(words)
    return (code, *capsys.readouterr())


def test_the_table_and_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    code, out, err = run(capsys, *WORDS, "--dtype", "float32", "float64", "--json", str(path))
    assert (code, err) == (0, "")
    head, *rows = out.split("\n\n")[0].splitlines()
    assert head.split() == ["problem", "threads", "ours", "ms", "product"]
    assert [row[: head.index("threads")].strip() for row in rows] == [
        f"T=6 B=3 I=4 H=5 {d}" for d in ("float32", "float64")
    ]
    found = json.loads(path.read_text())
    assert found["cpu"]
    assert (found["rnn_backends"], found["processors"]) == (rb.__version__, bench.processors())
    for cell, row in zip(found["cells"], rows, strict=True):
        seconds = cell["seconds"]
        assert [len(times) for times in seconds.values()] == [2, 2]
        quartiles = ratios(seconds, "numpy")["product"]
        assert cell["ratios"] == {"numpy": {"product": quartiles._asdict()}}
        assert row.endswith(table.worded(quartiles))
        assert cell["versions"] == {"numpy": np.__version__}


def test_several_backends_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *WORDS, "--backend", "array_api_strict", "--ragged")
    head, first, second = out.split("\n\n")[0].splitlines()
    assert code == 0
    assert head.split() == ["problem", "threads", "ours", "ms", "numpy", "array_api_strict"]
    ours_at, theirs_at = head.index("ours"), head.index("numpy")
    assert first[ours_at:].startswith("numpy ")
    assert first[theirs_at] == "-"
    assert second[ours_at:].startswith("array_api_strict ")
    assert float(second[theirs_at:].split()[0]) > 0


def test_numbers_are_worded_with_three_digits() -> None:
    assert table.worded(Quartiles(1.2345, 0.01234, 1234.5)) == "1.23 [0.0123 1234]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "6", "3", "4"], "argument --shape: expected 4 arguments"),
        (["--shape", "6", "0", "4", "5"], "--shape must be of positive integers T B I H"),
        (["--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["--against", "numpy"], "argument --against: invalid choice: 'numpy'"),
        (["--threads", "0"], "--threads must be from 1 to"),
        (["--threads", "100000"], "the processors that this process may use"),
        (["--step", "--ragged"], "leave out --bidirectional and --ragged"),
        (["--step", "--bidirectional"], "leave out --bidirectional and --ragged"),
        (["--ragged", "--shape", "6", "1", "4", "5"], "--ragged is for batches of several sequences"),
        (["--leak", "1.5"], "--leak must be in 0 < leak <= 1; got 1.5"),
        (["--seconds", "0"], "--seconds and --rounds must be positive"),
        (["--rounds", "0"], "--seconds and --rounds must be positive"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    code, out, err = run(capsys, "bench", *words)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_a_backend_that_is_unknown_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    code, out, err = run(capsys, *WORDS, "--backend", "nunpy", "--json", str(path))
    assert (code, out) == (1, "")
    assert "rnn-backends: error: unknown backend 'nunpy'" in err
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "_measured", lambda _: pytest.fail("measured in vain"))
    code, _, err = run(capsys, *WORDS, "--json", "/no/such/folder/found.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "'/no/such/folder/found.json' cannot be written" in err


def test_a_process_that_breaks_is_an_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WORKER", "rnn_backends.no_such_module")
    code, _, err = run(capsys, *WORDS)
    assert code == 1
    assert err == "rnn-backends: error: the process that measures ended with code 1; what it wrote is above.\n"


def test_defaults() -> None:
    options: dict[str, Any] = {
        "shapes": None, "dtypes": ["float32", "float64"], "backends": None, "against": ["product"] * 2, "threads": [1],
        "tokens": False, "bidirectional": False, "ragged": False, "step": False, "leak": None, "seconds": 1.0,
        "rounds": 1, "json": None,
    }  # fmt: skip
    task = bench.Request(**options).task(1)
    assert len(task.problems) == 2 * len(bench.GRID)
    assert task.against == ["product"]
    assert worker.Task.of(json.loads(json.dumps(asdict(task)))) == task
    for name, grid in (("tokens", bench.TOKEN_GRID), ("step", bench.STEP_GRID)):
        assert len(bench.Request(**options | {name: True}).problems()) == 2 * len(grid)
    assert all(problem.batch > 1 for problem in bench.Request(**options | {"ragged": True}).problems())
    assert bench.Request(**options | {"against": None}).task(1).against is None
    assert tuple(competitors.LIBRARIES) == AGAINST
    assert tuple(competitors.ON_GPU) == AGAINST_ON_GPU


def test_libraries_are_told_their_threads() -> None:
    given = worker.environment(3, {"PATH": "here", "OMP_NUM_THREADS": "9"})
    assert given.pop("PATH") == "here"
    assert "multi_thread_eigen=true" in given["XLA_FLAGS"]
    assert given.pop("XLA_FLAGS").endswith("intra_op_parallelism_threads=3")
    assert given == dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC"), "3"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="processors are chosen on Linux only")
def test_a_process_has_as_many_processors_as_threads() -> None:
    script = """
import os, threading
from rnn_backends.cli.benchmark.worker import _stay_on

stop = threading.Event()
other = threading.Thread(target=stop.wait)
other.start()
_stay_on(1)
print([len(os.sched_getaffinity(thread)) for thread in (0, other.native_id)])
stop.set()
"""
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[1, 1]"
    assert len(os.sched_getaffinity(0)) == bench.processors()


def test_backends_of_the_default_may_be_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DEFAULT_BACKENDS", ("numpy", "nunba"))
    assert worker._working(None) == ["numpy"]
    assert "without the backend nunba: unknown backend 'nunba'" in capsys.readouterr().err
    assert worker._working(["nunba"]) == ["nunba"]


# The suite and its page


def cell(shape: tuple[int, int, int, int], seconds: dict[str, float], *, step: bool = False) -> dict[str, Any]:
    seq_len, batch, input_size, hidden_size = shape
    problem = Problem(seq_len=seq_len, batch=batch, input_size=input_size, hidden_size=hidden_size, step=step)
    return {
        "problem": asdict(problem),
        "threads": 1,
        "ours": [name for name in seconds if name in {"numpy", "numba"}],
        "seconds": {name: [value] * 3 for name, value in seconds.items()},
        "absent": {"jax": "not installed: pip install jax"},
        "versions": {"numpy": "2.0"},
    }


@pytest.fixture
def parts() -> dict[str, Any]:
    times = {"numpy": 1.0, "numba": 0.125, "onnxruntime": 1.0, "torch": 1.25}
    found = {
        "sequences": [cell((1000, 1, 64, 32), times), cell((64, 64, 512, 1024), times | {"product": 0.85})],
        "step": [cell((100, 1, 128, 128), times | {"numba": 1.25}, step=True)],
    }
    made: dict[str, Any] = {name: {**bench.about(), "cells": cells, "command": name} for name, cells in found.items()}
    seconds = {
        cold_start.NUMPY: [1.0], cold_start.IMPORT: [1.1], cold_start.OURS: [1.35], cold_start.ONNXRUNTIME: [1.3],
    }  # fmt: skip
    made["cold start"] = {**bench.about(), "seconds": seconds, "absent": {}, "import_seconds": 0.03}
    return made


def test_verdicts_are_of_the_worst_cell(parts: dict[str, Any]) -> None:
    found = {verdict.what: verdict for verdict in verdicts(parts)}
    assert len(found) == 17
    assert found["numpy, against ONNX Runtime, everywhere"].is_met
    torch = found["numpy, against torch, everywhere"]
    assert (torch.is_met, torch.found) == (False, "1.25")
    assert torch.where == "T=1000 B=1 I=64 H=32 float32, 1 thread (3 of 3 below)"
    assert found["numpy, part of the matrix product's speed, (64, 64, 512, 1024)"].is_met
    assert found["numpy, part of the matrix product's speed, (64, 128, 256, 512)"].is_met is None
    assert found["numba, against ONNX Runtime, (1000, 1, 64, 32)"].is_met
    elsewhere = found["numba, against ONNX Runtime, elsewhere"]
    assert (elsewhere.is_met, elsewhere.found) == (False, "0.80")
    assert elsewhere.where == "T=100 B=1 I=128 H=128 float32 step, 1 thread (1 of 2 below)"
    slower = found["numba, against numpy, everywhere"]
    assert (slower.is_met, slower.found) == (False, "0.80")
    assert found["numpy, a step of B=1, H=128, against ONNX Runtime"].is_met
    assert found["numba, a step of B=1, H=128, against ONNX Runtime"].is_met is False
    assert (found["cold start, times ONNX Runtime's"].is_met, found["cold start, times ONNX Runtime's"].found) == (
        False,
        "1.04",
    )
    assert found["cold start, times that of `import numpy`"].is_met
    assert found["import, beyond NumPy's"] == ("import, beyond NumPy's", "<= 30 ms", "30.0 ms", "", True)
    assert all(verdict.is_met is None for verdict in verdicts({}))


def test_the_page_tells_what_was_measured(parts: dict[str, Any]) -> None:
    page = "\n".join(cpu_page.lines(parts, has_plot=False))
    assert "* without jax: not installed: pip install jax" in page
    assert "| numpy, against torch, everywhere | >= 1.3 | 1.25 | T=1000 B=1" in page
    assert "**no** |" in page
    assert "cpu.svg" not in page
    assert "| | threads | ours | numpy | onnxruntime | torch | product |" in page
    assert "| T=1000 B=1 I=64 H=32 float32 | 1 | numba | 8 [8 8] | 8 [8 8] | 10 [10 10] | - |" in page
    assert "| T=100 B=1 I=128 H=128 float32 step | 1 | numpy | - | 1 [1 1] | 1.25 [1.25 1.25] |" in page
    assert "| onnxruntime | 1.3 [1.3 1.3] |" in page
    assert bench.cpu_name() in page
    parts["sequences"]["load"] = 0.125
    assert "* load average 0.12 when the first part was begun" in cpu_page.lines(parts, has_plot=True)
    parts["sequences"]["load"] = None
    assert "load average" not in "\n".join(cpu_page.lines(parts, has_plot=True))


def test_the_suite_writes_its_page(tmp_path: Path) -> None:
    command = [sys.executable, cpu.__file__, "step", "--quick", "--work", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "cpu.md").read_text(encoding="utf-8")
    assert "## A stream, step by step" in page
    assert "| T=20 B=1 I=32 H=32 float32 step | 1 | numpy |" in page
    assert json.loads((tmp_path / "step.json").read_text())["command"].startswith("python -m rnn_backends bench --step")
    wrong = subprocess.run([*command[:2], "stop"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "there is no part stop; there are sequences, " in wrong.stderr


def test_the_cold_start_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_start, "distribution_version", lambda _: None)
    found = cold_start.measure(rounds=1)
    assert {name: len(times) for name, times in found["seconds"].items()} == {
        cold_start.NUMPY: 1, cold_start.IMPORT: 1, cold_start.OURS: 1,
    }  # fmt: skip
    assert found["absent"] == {"onnxruntime": "not installed: pip install onnx onnxruntime"}
    own = found["seconds"][cold_start.IMPORT][0] - found["seconds"][cold_start.NUMPY][0]
    assert found["import_seconds"] == own


def test_a_cold_start_with_another_answer_is_not_timed() -> None:
    p = cold_start._answer(cold_start._ours())
    assert p.shape == (1, 65)
    cold_start._require_equal(p, p + 1e-6)
    for wrong in (p + 1e-4, p[:, :-1], p * np.nan):
        with pytest.raises(rb.WrongResultError, match="ONNX Runtime answers something else"):
            cold_start._require_equal(p, wrong)
