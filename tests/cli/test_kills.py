"""Writes that a signal ends at any moment: the old file or the new one is there, and of commands nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

import kills

NAMED = ("save .npz", "convert .npz", "run .csv")
"""The kinds that are tried where new files have names, too, as on systems that have none without."""


def has_unnamed_files(folder: Path) -> bool:
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError):
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "name"), [*((kind, "unnamed") for kind in kills.KINDS), *((kind, "named") for kind in NAMED)]
)
def test_a_signal_at_any_moment_of_a_write_damages_nothing(
    tmp_path: Path, pytestconfig: pytest.Config, kind: str, name: str
) -> None:
    if kind.endswith(".onnx"):
        pytest.importorskip("onnx")
    count = pytestconfig.getoption("--kills")
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "RNN_NUM_THREADS"), "1")  # others would not be there after a fork
    outside = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, kills.__file__, kind, name, str(count), "0"]
    done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(kind, name, done.stdout)
    found = json.loads(done.stdout)
    assert found["damaged"] == 0
    assert found["between"] >= count / 2
    codes = {key.split(" ended with ")[1] for key in found if " ended with " in key}
    assert codes <= {"0", "-9", "-15", "-1", *(() if kind.startswith("save") else ("143", "129"))}
    if not kind.startswith("save"):
        assert found["left by TERM"] == found["left by HUP"] == 0
    if name == "unnamed" and has_unnamed_files(tmp_path):
        assert not any(found[f"{number} between left"] for number in ("TERM", "HUP", "KILL"))
