"""The pages that tests/benchmarks writes of the CPU, and the cold start."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cold_start
import cpu
import cpu_page
import numpy as np
import pytest
from harness.machine import about, cpu_name
from harness.problem import Problem
from thresholds import verdicts

import rnn_backends as rb


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
    made: dict[str, Any] = {name: {**about(), "cells": cells, "command": name} for name, cells in found.items()}
    seconds = {
        cold_start.NUMPY: [1.0], cold_start.IMPORT: [1.1], cold_start.OURS: [1.35], cold_start.ONNXRUNTIME: [1.3],
    }  # fmt: skip
    made["cold start"] = {**about(), "seconds": seconds, "absent": {}, "import_seconds": 0.03}
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


def test_the_page_holds_the_measurements(parts: dict[str, Any]) -> None:
    page = "\n".join(cpu_page.lines(parts, has_plot=False))
    assert "* without jax: not installed: pip install jax" in page
    assert "| numpy, against torch, everywhere | >= 1.3 | 1.25 | T=1000 B=1" in page
    assert "**no** |" in page
    assert "cpu.svg" not in page
    assert "| | threads | ours | numpy | onnxruntime | torch | product |" in page
    assert "| T=1000 B=1 I=64 H=32 float32 | 1 | numba | 8 [8 8] | 8 [8 8] | 10 [10 10] | - |" in page
    assert "| T=100 B=1 I=128 H=128 float32 step | 1 | numpy | - | 1 [1 1] | 1.25 [1.25 1.25] |" in page
    assert "| onnxruntime | 1.3 [1.3 1.3] |" in page
    assert cpu_name() in page
    parts["sequences"]["load"] = 0.125
    assert "* load average 0.12 when the first part was begun" in cpu_page.lines(parts, has_plot=True)
    parts["sequences"]["load"] = None
    assert "load average" not in "\n".join(cpu_page.lines(parts, has_plot=True))


def test_the_suite_writes_its_page(tmp_path: Path) -> None:
    command = [sys.executable, cpu.__file__, "step", "--quick", "--work", "."]
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=outside)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "cpu.md").read_text(encoding="utf-8")
    assert "## A stream, step by step" in page
    assert "| T=20 B=1 I=32 H=32 float32 step | 1 | numpy |" in page
    assert json.loads((tmp_path / "step.json").read_text())["command"].startswith(
        "python tests/benchmarks/shape.py --step"
    )
    wrong = subprocess.run([*command[:2], "stop"], capture_output=True, text=True, check=False, env=outside)
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
