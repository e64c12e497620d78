"""tests/benchmarks/cpu.py: the page, the limits, the options, and the cold start."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cold_start
import cpu
import cpu_page
import numpy as np
import parts as of_cpu
import pytest
from harness.competitors import text
from harness.machine import about, cpu_name, processors
from harness.problem import GRID, Problem
from thresholds import verdicts

import rnn_backends as rb


def cell(shape: tuple[int, int, int, int], seconds: dict[str, float], **options: Any) -> dict[str, Any]:
    seq_len, batch, input_size, hidden_size = shape
    problem = Problem(seq_len=seq_len, batch=batch, input_size=input_size, hidden_size=hidden_size, **options)
    return {
        "problem": asdict(problem),
        "threads": 1,
        "seconds": {name: [value] * 3 for name, value in seconds.items()},
        "absent": {"jax": "not installed: pip install jax"},
        "versions": {"numpy": "2.0"},
        "kernel": "avx2",
    }


@pytest.fixture
def parts() -> dict[str, Any]:
    times = {"ours": 1.0, "onnxruntime": 6.5, "torch": 0.75}
    cells = {
        "sequences": [
            cell((1000, 1, 64, 32), times),
            cell((64, 64, 512, 1024), times | {"product": 0.85, "onnxruntime": 1.0}),
            cell((64, 64, 512, 1024), times | {"torch": 1.25}, dtype="float64"),
        ],
        "threads": [cell((256, 1, 512, 1024), {"ours": 1.0, "1 thread": 1.25})],
        "busy": [cell((50, 8, 16, 32), {"ours": 1.0, "1 thread": 0.96})],
        "calls": [cell((1, 1, 64, 32), times), cell((100, 1, 128, 128), times, step=True)],
        "generate": [{**cell((1, 1, 1, 1), {"ours": 1.5, "bare": 0.9}), "text": 500}],
    }
    del cells["generate"][0]["problem"]
    made: dict[str, Any] = {name: {**about(), "cells": each, "command": name} for name, each in cells.items()}
    seconds = {
        cold_start.NUMPY: [1.0], cold_start.IMPORT: [1.1], cold_start.OURS: [1.35], cold_start.ONNXRUNTIME: [1.3],
    }  # fmt: skip
    made["cold start"] = {**about(), "seconds": seconds, "absent": {}, "import_seconds": 0.03}
    made["memory"] = {
        **about(),
        "steps": 1000,
        "mib": {
            "predict": 200.0,
            "forward": 65.0,
            "converted": 33.0,
            "ragged": 11.0,
            "layers": 14.0,
            "directions": 65.0,
        },
    }
    ratios = {"tanh": {"rms": [0.5, 0.75, 1.5], "largest": [0.5, 1.0, 2.0]}}
    wrong = {"tanh": {"rms": [9.0], "largest": [9.0]}}
    made["accuracy"] = {**about(), "ratios": {"avx2": ratios, "off": wrong}, "absent": {}}
    return made


def test_limits_are_of_every_figure(parts: dict[str, Any]) -> None:
    found = {verdict.limit.what: verdict for verdict in verdicts(parts)}
    assert len(found) == len(verdicts(parts))
    assert found["against onnxruntime, float32"].worst == ("T=64 B=64 I=512 H=1024 float32, 1 thread", 1.0)
    assert not found["against onnxruntime, float32"].missed
    assert list(found["against onnxruntime, (1000, 1, 64, 32)"].lines()) == []
    assert len(found["against torch, float32"].missed) == 2
    assert len(found["against torch, float64"].found) == 1
    assert list(found["part of the product's speed, float32"].lines()) == [
        "part of the product's speed, float32: 0.85 instead of >= 0.9; T=64 B=64 I=512 H=1024 float32, 1 thread"
    ]
    missed = {what for what, verdict in found.items() if verdict.missed}
    assert missed == {
        "against torch, float32", "part of the product's speed, float32", "two threads against one, large",
        "generate, against the bare arithmetic", "cold start, times onnxruntime", "memory of a call",
        "error over torch's, rms, worst of the networks",
    }  # fmt: skip
    assert found["cold start, times `import numpy`"].worst == ("", 1.35)
    assert found["import beyond NumPy's"].found == [("", 30.0)]
    assert found["a call at T=1, H=32, against onnxruntime"].worst[1] == 6.5
    assert found["error over torch's, rms, median of the networks"].found == [("tanh, avx2", 0.75)]
    assert found["error over torch's, largest, median of the networks"].worst[1] == 1.0
    assert not found["without AVX-512, against torch, float32"].found
    assert not any(verdict.found for verdict in verdicts({}))


def test_a_figure_that_is_no_number_misses_its_limit(parts: dict[str, Any]) -> None:
    parts["memory"]["mib"]["predict"] = float("nan")
    assert {verdict.limit.what: len(verdict.missed) for verdict in verdicts(parts)}["memory of predict"] == 1


def test_the_page_holds_the_measurements(parts: dict[str, Any]) -> None:
    page = "\n".join(cpu_page.lines(parts, has_plot=False))
    assert "* without jax: not installed: pip install jax" in page
    assert "| against torch, float32 | >= 1 | 0.75 | T=1000 B=1 I=64 H=32 float32, 1 thread | **no**, 2 of 2 |" in page
    assert "| without AVX-512, against torch, float32 | >= 1 | | | not measured |" in page
    assert "cpu.svg" not in page
    assert "| | ours, us | onnxruntime | torch | product |" in page
    assert "| T=1000 B=1 I=64 H=32 float32, 1 thread | 1000000 | 6.5 [6.5 6.5] | 0.75 [0.75 0.75] | - |" in page
    assert "| 500 characters, 1 thread | 1500000 | 0.6 [0.6 0.6] |" in page
    assert "| onnxruntime | 1.3 [1.3 1.3] |" in page
    assert "| `rnn(x)`, I=8, H=64 | 65 |" in page
    assert "| avx2 | tanh | 3 | 0.75 | 1.5 | 1 | 2 |" in page
    assert "* the kernel of ours, in the order of the tables: avx2" in page
    assert "| NumPy walk | tanh | 1 | 9 | 9 | 9 | 9 |" in page
    assert cpu_name() in page
    parts["sequences"]["load"] = 0.125
    assert "* load average 0.12 when the first part was begun" in cpu_page.lines(parts, has_plot=True)
    parts["sequences"]["load"] = None
    assert "load average" not in "\n".join(cpu_page.lines(parts, has_plot=True))


def test_the_plot_is_small(parts: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    times = {"ours": 1.0, "NumPy walk": 3.0, "onnxruntime": 6.5, "torch": 0.75, "jax": 2.0, "textbook": 9.0}
    cells = [cell(shape, times | {"product": 0.5}) | {"threads": n} for n in (1, 2) for shape in GRID]
    cpu_page.write(parts | {"sequences": parts["sequences"] | {"cells": cells}}, tmp_path)
    drawn = (tmp_path / "cpu.svg").read_text(encoding="utf-8")
    assert len(drawn) < 100_000
    assert all(name in drawn for name in (*times, "product", "512, 1024") if name != "ours")
    assert "![" in (tmp_path / "cpu.md").read_text(encoding="utf-8")


# The command


def test_a_part_is_measured_and_its_page_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["threads", "--shape", "6", "3", "4", "5", "--dtype", "float32", "--threads", "1", "--rounds", "2"]
    assert cpu.main([*words, "--work", str(tmp_path)]) == 0
    row = "| T=6 B=3 I=4 H=5 float32, 1 thread |"
    assert row in capfd.readouterr().out
    assert row in (tmp_path / "cpu.md").read_text(encoding="utf-8")
    found = json.loads((tmp_path / "threads.json").read_text(encoding="utf-8"))
    assert found["command"] == (
        "python tests/benchmarks/cpu.py threads --dtype float32 --threads 1 --shape 6 3 4 5 --rounds 2"
    )
    assert [len(seconds) for seconds in found["cells"][0]["seconds"].values()] == [2, 2]


def test_what_was_measured_is_checked(parts: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--kept", "--work", str(tmp_path), "--output", str(tmp_path)]
    (tmp_path / "memory.json").write_text(json.dumps(parts["memory"]), encoding="utf-8")
    assert cpu.main(words) == 0
    capfd.readouterr()
    assert cpu.main([*words, "--check"]) == 1
    assert capfd.readouterr().out == "memory of a call: 65 MiB instead of <= 64 MiB; forward, 1000 steps\n"
    parts["memory"]["mib"]["forward"] = 64.0
    (tmp_path / "memory.json").write_text(json.dumps(parts["memory"]), encoding="utf-8")
    assert cpu.main([*words, "--check"]) == 0


def test_a_part_without_meaning_here_is_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_cpu, "instructions", lambda: ["X86_V3"])
    assert cpu.main(["avx2", "--quick", "--work", str(tmp_path)]) == 0
    assert "without avx2: this processor has no AVX-512" in capfd.readouterr().err
    assert not (tmp_path / "avx2.json").exists()
    monkeypatch.setattr(of_cpu, "instructions", lambda: ["X86_V3", "X86_V4"])
    assert of_cpu.ABSENT["avx2"]() is None
    kept_from = of_cpu.without_avx512(), of_cpu.without_avx2()
    assert [each["NPY_DISABLE_CPU_FEATURES"] for each in kept_from] == ["X86_V4", "X86_V3 X86_V4"]


def test_who_takes_part() -> None:
    found = {name: part.entrants(1) for name, part in of_cpu.PARTS.items()}
    kernels = {name: [one.variables.get("RNN_CPU_KERNEL") for one in each[:2]] for name, each in found.items()}
    assert kernels == {
        "sequences": [None, "off"], "avx2": ["avx2", "off"], "plain": ["plain", "off"], "threads": [None, None],
        "busy": [None, None], "calls": [None, "off"], "variants": [None, "off"], "generate": [None, None],
    }  # fmt: skip
    assert [one.threads for one in of_cpu.PARTS["threads"].entrants(2)] == [2, 1]
    assert len(of_cpu.PARTS["sequences"].questions) == 16
    assert all(len(of_cpu.quick(part).questions) == 1 for part in of_cpu.PARTS.values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stop"], "there is no part stop; there are sequences, avx2,"),
        (["--shape", "1", "2", "3", "4"], "--shape and --dtype are for sequences, avx2, plain, threads, busy; name"),
        (["calls", "--dtype", "float32"], "--shape and --dtype are for sequences, avx2, plain, threads, busy; name"),
        (["busy", "--shape", "1", "0", "3", "4"], "--shape must be of positive integers T B I H"),
        (["busy", "--threads", "0"], f"--threads must be from 1 to {processors()}"),
        (["busy", "--threads", "100000"], "the processors that this process may use"),
        (["--rounds", "0"], "--rounds and --seconds must be positive"),
        (["--seconds", "0"], "--rounds and --seconds must be positive"),
        (["--kept"], "--kept is for what --work DIR holds"),
        (["calls", "--kept", "--work", "."], "--kept is for what --work DIR holds; leave out the parts"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as end:
        cpu.main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


# The cold start


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
    rnn = rb.load(text.MODEL, backend="numpy")
    p = cold_start._answer(cold_start._ours())
    np.testing.assert_allclose(p, rnn.probabilities(text.PROMPT), atol=text.DIFFERENCE)
    cold_start._require_equal(p, p + 1e-6)
    for wrong in (p + 1e-4, p[:, :-1], p * np.nan):
        with pytest.raises(rb.WrongResultError, match="ONNX Runtime answers something else"):
            cold_start._require_equal(p, wrong)
