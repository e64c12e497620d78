"""Measure a new process until a network answers, against one that imports NumPy and one of ONNX Runtime.

python tests/benchmarks/cpu.py "cold start"
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
from harness.competitors import distribution_version
from harness.competitors.text import DIFFERENCE, MODEL, PROMPT, difference
from harness.processes import undisturbed

import rnn_backends as rb

NUMPY, IMPORT, OURS, ONNXRUNTIME = "import numpy", "import numpy, rnn_backends", "first output", "onnxruntime"


def measure(rounds: int) -> dict[str, Any]:
    """Return the seconds of each process by round, the absent ones, and the cost of the import."""
    with tempfile.TemporaryDirectory() as folder:
        scripts, absent = {NUMPY: NUMPY, IMPORT: IMPORT, OURS: _ours()}, {}
        missing = [name for name in ("onnx", "onnxruntime") if distribution_version(name) is None]
        if missing:
            absent[ONNXRUNTIME] = f"not installed: pip install {' '.join(missing)}"
            print(f"without {ONNXRUNTIME}: {absent[ONNXRUNTIME]}", file=sys.stderr)
        else:
            scripts[ONNXRUNTIME] = _onnxruntime(Path(folder) / "shakespeare.onnx")
            _require_equal(_answer(scripts[OURS]), _answer(scripts[ONNXRUNTIME]))
        seconds: dict[str, list[float]] = {name: [] for name in scripts}
        random, order = Random(0), list(scripts)
        for done in range(rounds + 1):
            random.shuffle(order)
            for name in order:
                taken = _seconds(scripts[name])
                if done:  # the first round writes byte code and fills the cache of files
                    seconds[name].append(taken)
    own = [ours - other for ours, other in zip(seconds[IMPORT], seconds[NUMPY], strict=True)]
    return {"seconds": seconds, "absent": absent, "import_seconds": float(np.median(own))}


def _ours() -> str:
    return f"import rnn_backends as rb; p = rb.load({str(MODEL)!r}, backend='numpy').probabilities({PROMPT!r})"


def _onnxruntime(path: Path) -> str:
    """Write the network as an ONNX model, and return a script that runs it."""
    rnn = rb.load(MODEL, backend="numpy")
    rnn.save(path)
    token = (rnn.vocabulary or "").index(PROMPT)
    return (
        "import numpy, onnxruntime; "
        f"s = onnxruntime.InferenceSession({str(path)!r}, providers=['CPUExecutionProvider']); "
        f"p = s.run(['probabilities'], {{'x': numpy.array([[{token}]])}})[0][:, 0]"
    )


def _seconds(script: str) -> float:
    start = perf_counter()
    _run(script)
    return perf_counter() - start


def _answer(script: str) -> Any:
    return np.array(json.loads(_run(f"{script}; import json; print(json.dumps(p.tolist()))")))


def _run(script: str) -> str:
    # With byte code written, without which this package would be compiled each time, unlike installed ones.
    command = [sys.executable, "-c", script]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=undisturbed()).stdout


def _require_equal(ours: Any, theirs: Any) -> None:
    found = difference(ours, theirs)
    if not found <= DIFFERENCE:
        msg = f"ONNX Runtime answers something else: probabilities differ by {found:.3g}; nothing is timed."
        raise rb.WrongResultError(msg)
