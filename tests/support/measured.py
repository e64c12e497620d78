"""What loading a file takes, in a process of its own: the peak of its memory, and the time of its processor."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

MEASURED = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process's memory is read as on Linux"
)
MEMORY, SECONDS = 64, 5
SCRIPT = """
import json, os, sys, time
from pathlib import Path
import rnn_backends as rb
status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
held = lambda key: int(status.read_text().partition(key)[2].split()[0]) / 1024
warm, path, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if warm:
    rb.load(warm, **json.loads(sys.argv[4]))
reset.write_text("5")
before, begin, message = held("VmRSS:"), time.process_time(), ""
try:
    rb.load(path, **options)
except rb.RNNBackendError as error:
    message = str(error)
print(json.dumps([held("VmHWM:") - before, time.process_time() - begin, message]))
"""


class Taken(NamedTuple):
    """MiB beyond the size of the file, seconds, and the refusal, which is empty where a network was loaded."""

    memory: float
    seconds: float
    message: str


def taken(path: Path, warm: Path | str = "", warm_options: Mapping[str, Any] = {}, **options: Any) -> Taken:
    """Return what loading a file takes, after another was loaded, which imports what is needed."""
    words = [str(warm), str(path), json.dumps(options), json.dumps(warm_options)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    memory, seconds, message = json.loads(done.stdout)
    return Taken(memory - path.stat().st_size / 2**20, seconds, message)


def require_little(found: Taken) -> str:
    """Check that memory and time are those that any file may take, and return the refusal."""
    assert found.memory < MEMORY, found
    assert found.seconds < SECONDS, found
    assert "\n" not in found.message
    return found.message
