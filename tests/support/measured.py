"""What loading a file takes, in a process of its own: the peak of its memory, and the time of its processor."""

import atexit
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

MEASURED = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process's memory is read as on Linux"
)
MEMORY, SECONDS = 64, 5
SERVER = """
import json, os, sys, time
from pathlib import Path
import rnn_backends as rb

held = lambda key: int(Path("/proc/self/status").read_text().partition(key)[2].split()[0]) / 1024

def load(path, options):
    Path("/proc/self/clear_refs").write_text("5")
    before, begin, message = held("VmRSS:"), time.process_time(), ""
    try:
        rb.load(path, **options)
    except rb.RNNBackendError as error:
        message = str(error)
    return [held("VmHWM:") - before, time.process_time() - begin, message]

warm, options = json.loads(sys.argv[1])
rb.load(warm, **options)
for line in sys.stdin:
    if not (child := os.fork()):
        print(json.dumps(load(*json.loads(line))), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("null", flush=True)
"""


class Taken(NamedTuple):
    """MiB beyond the size of the file, seconds, and the refusal, which is empty where a network was loaded."""

    memory: float
    seconds: float
    message: str


@cache
def _server(warm: str) -> "subprocess.Popen[str]":
    """Return a process that loads each file in a copy of itself, after one that imports what is needed."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", SERVER, warm], stdin=pipe, stdout=pipe, text=True)
    atexit.register(process.communicate)
    return process


def taken(path: Path, warm: Path, warm_options: Mapping[str, Any] = {}, **options: Any) -> Taken:
    """Return what loading a file takes, after another was loaded."""
    process = _server(json.dumps([str(warm), dict(warm_options)]))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{json.dumps([str(path), options])}\n")
    process.stdin.flush()
    found = json.loads(process.stdout.readline())
    assert found is not None, "the process that loads it ended"
    memory, seconds, message = found
    return Taken(memory - path.stat().st_size / 2**20, seconds, message)


def require_little(found: Taken) -> str:
    """Check that memory and time are those that any file may take, and return the refusal."""
    assert found.memory < MEMORY, found
    assert found.seconds < SECONDS, found
    assert "\n" not in found.message
    return found.message
