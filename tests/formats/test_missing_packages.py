"""Formats and peers whose packages are not there."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_onnx_without_its_package(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["onnx"] = None
import rnn_backends as rb
for attempt in (lambda: rb.load({str(tmp_path / "m.onnx")!r}), lambda: rb.RNN.init(2, 3).save({str(tmp_path / "n.onnx")!r})):
    try:
        attempt()
    except rb.FormatError as error:
        print(error)
"""
    (tmp_path / "m.onnx").write_bytes(b"0")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    message = (
        "ONNX models need the package 'onnx', which is not installed; install it: pip install 'rnn-backends[onnx]'."
    )
    assert first == f"{tmp_path / 'm.onnx'}: {message}"
    assert second == message


def test_a_peer_that_is_asked_for_must_be_there(request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "--peer", "no_such_package", __file__]
    command += ["--checkout"] if request.config.getoption("--checkout") else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--peer no_such_package: it cannot be imported" in done.stderr
