"""tests/benchmarks/shape.py: its options and the process that measures."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import shape
from harness import gpu_cells, table
from harness.machine import processors
from harness.problem import GRID, STEP_GRID
from harness.timing import Quartiles

import rnn_backends as rb

WORDS = ["--shape", "6", "3", "4", "5", "--against", "product", "--rounds", "2"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = shape.main(words)
    except SystemExit as end:  # argparse has printed the usage
        code = int(end.code or 0)
    return (code, *capsys.readouterr())


def test_numbers_are_worded_with_three_digits() -> None:
    assert table.worded(Quartiles(1.2345, 0.01234, 1234.5)) == "1.23 [0.0123 1234]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "6", "3", "4"], "argument --shape: expected 4 arguments"),
        (["--shape", "6", "0", "4", "5"], "--shape must be of positive integers T B I H"),
        (["--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["--against", "onnxruntime"], "argument --against: invalid choice: 'onnxruntime'"),
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
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_a_backend_that_is_unknown_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    code, out, err = run(capsys, *WORDS, "--backend", "nunpy", "--json", str(path))
    assert (code, out) == (1, "")
    assert "error: unknown backend 'nunpy'" in err
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape, "cells", lambda *_: pytest.fail("measured in vain"))
    code, _, err = run(capsys, *WORDS, "--json", "/no/such/folder/found.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "'/no/such/folder/found.json' cannot be written" in err


def test_processes_that_break_are_cells(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_cells, "CHILD", "harness.no_such_module")
    code, out, err = run(capsys, *WORDS)
    assert code == 0
    assert out.splitlines()[0] == "no contestant came to a GPU"
    assert "failed cupy: crashed: " in err
    assert out.count("No module named harness.no_such_module") == 4  # of two contestants, by two clocks


def given(*words: str) -> argparse.Namespace:
    return shape.make_parser().parse_args(words)


def test_defaults() -> None:
    task = shape.task(given("--dtype", "float32", "float64", "--against", "product", "product"), 1)
    assert len(task.problems) == 2 * len(GRID)
    assert task.against == ["product"]
    for name, grid in (("--tokens", shape.TOKEN_GRID), ("--step", STEP_GRID)):
        assert len(shape.problems(given(name))) == len(grid)
    assert all(problem.batch > 1 for problem in shape.problems(given("--ragged")))
    assert (task.backends, shape.task(given(), 1).against) == (["cupy"], ["torch", "off", "product", "copy"])


@pytest.mark.skipif(sys.platform != "linux", reason="processors are chosen on Linux only")
def test_a_process_has_as_many_processors_as_threads() -> None:
    script = """
import os, threading
from harness.machine import stay_on

stop = threading.Event()
other = threading.Thread(target=stop.wait)
other.start()
stay_on(1)
print([len(os.sched_getaffinity(thread)) for thread in (0, other.native_id)])
stop.set()
"""
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.check_output([sys.executable, "-c", script], text=True, env=outside).strip() == "[1, 1]"
    assert len(os.sched_getaffinity(0)) == processors()


def test_a_backend_with_the_name_of_a_competitor_is_refused() -> None:
    gpu_cells.require_names(["numpy", "torch:cpu"], ["torch", "jax"])
    with pytest.raises(rb.ArgumentError, match="'torch' is a backend and a competitor; write --backend torch:DEVICE"):
        gpu_cells.require_names(["numpy", "torch"], ["jax", "torch"])
