"""Measure a new process until a network answers, against one that imports NumPy and one of ONNX Runtime.

python tests/benchmarks/cold_start.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
from harness.competitors import distribution_version
from harness.machine import about
from harness.timing import ratios

import rnn_backends as rb

MODEL = Path(__file__).parents[2] / "examples" / "shakespeare" / "shakespeare.safetensors"
NUMPY, IMPORT, OURS, ONNXRUNTIME = "import numpy", "import numpy, rnn_backends", "first output", "onnxruntime"
CHARACTER = "O"
ANSWER_DIFFERENCE = 64 * 2.0**-24  # as the conformance class allows probabilities in float32


def measure(rounds: int) -> dict[str, Any]:
    """Return the seconds of each process by round, the absent ones, and the cost of the import."""
    before = about()
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
    return {**before, "seconds": seconds, "absent": absent, "import_seconds": float(np.median(own))}


def _ours() -> str:
    return f"import rnn_backends as rb; p = rb.load({str(MODEL)!r}, backend='numpy').probabilities({CHARACTER!r})"


def _onnxruntime(path: Path) -> str:
    """Write the network as an ONNX model, and return a script that runs it."""
    rnn = rb.load(MODEL, backend="numpy")
    write_onnx(rnn, path)
    token = (rnn.vocabulary or "").index(CHARACTER)
    return (
        "import numpy, onnxruntime; "
        f"s = onnxruntime.InferenceSession({str(path)!r}, providers=['CPUExecutionProvider']); "
        f"p = s.run(['p'], {{'ids': numpy.array([[{token}]])}})[0][:, 0]"
    )


def write_onnx(rnn: rb.RNN, path: Path) -> None:
    """Write a network over tokens, of forward layers, to an ONNX file: ids (T, B) -> p (T, B, O)."""
    from harness.competitors.onnxruntime import as_model
    from onnx import TensorProto, helper

    cells = [layer.forward for layer in rnn.layers]
    stored = {
        "depth": np.array([len(rnn.vocabulary or "")]),
        "off_on": np.array([0, 1], np.float32),
        "one": np.array([1]),
    }
    nodes = [helper.make_node("OneHot", ["ids", "depth", "off_on"], ["x0"], axis=-1)]
    for index, cell in enumerate(cells):
        assert isinstance(cell, rb.Cell)
        bias = np.concatenate([cell.bias, np.zeros_like(cell.bias)])
        stored |= {f"W{index}": cell.weight_ih[None], f"R{index}": cell.weight_hh[None], f"B{index}": bias[None]}
        names = [f"x{index}", *(f"{letter}{index}" for letter in "WRB")]
        nodes += [
            helper.make_node("RNN", names, [f"Y{index}"], hidden_size=cell.hidden_size),
            helper.make_node("Squeeze", [f"Y{index}", "one"], [f"x{index + 1}"]),
        ]
    readout = rnn.readout
    assert readout is not None
    stored |= {"V": np.ascontiguousarray(readout.weight.T), "c": np.asarray(readout.bias)}
    nodes += [
        helper.make_node("MatMul", [f"x{len(cells)}", "V"], ["product"]),
        helper.make_node("Add", ["product", "c"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1),
    ]
    given: Any = {"ids": (TensorProto.INT64, ["T", "B"])}
    made: Any = {"p": (TensorProto.FLOAT, ["T", "B", readout.output_size])}
    path.write_bytes(as_model(nodes, given, made, stored).SerializeToString())


def _seconds(script: str) -> float:
    start = perf_counter()
    _run(script)
    return perf_counter() - start


def _answer(script: str) -> Any:
    return np.array(json.loads(_run(f"{script}; import json; print(json.dumps(p.tolist()))")))


def _run(script: str) -> str:
    # Without byte code this package is compiled each time; the others were compiled when they were installed.
    left_out = {"RNN_BACKEND", "PYTHONDONTWRITEBYTECODE"}
    outside = {name: value for name, value in os.environ.items() if name not in left_out}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=outside).stdout


def _require_equal(ours: Any, theirs: Any) -> None:
    difference = float(abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
    if not difference <= ANSWER_DIFFERENCE:
        msg = f"ONNX Runtime answers something else: probabilities differ by {difference:.3g}; nothing is timed."
        raise rb.WrongResultError(msg)


def main() -> None:
    found = measure(rounds=25)
    for name, quartiles in ratios(found["seconds"], OURS).items():
        print(f"{name} / {OURS}: {quartiles.median:.3f} [{quartiles.lower:.3f} {quartiles.upper:.3f}]")
    print(f"import of the package, beyond NumPy's: {found['import_seconds'] * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
