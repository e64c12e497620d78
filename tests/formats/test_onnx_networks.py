"""Random networks of all that ONNX can say: written, run by ONNX Runtime, and read back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import INPUT_SIZE, Drawn, assert_same, each_network

import rnn_backends as rb
from rnn_backends.backends.selection import parse
from rnn_backends.formats.assembly import plain_cells

IN_ONNX: dict[str, Any] = {
    "leak": (None,),
    "h_0": ("zeros", "of the model"),
    "lengths": (False,),
    "mask": (False,),
    "dtype": ("float32",),  # ONNX Runtime has no RNN of another
}


def test_random_networks_run_in_onnx_runtime_and_come_back(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    place, path = parse("numpy", "the test"), tmp_path / "model.onnx"

    def check(drawn: Drawn) -> None:
        rnn, x = rb.RNN.from_network(drawn.record.network, place), drawn.record.x
        if rnn.takes is None and x.ndim == 2:  # a graph takes one of the two
            x = np.eye(INPUT_SIZE, dtype=drawn.options["dtype"])[x]
        x = x.swapaxes(0, 1) if rnn.batch_first else x
        rnn.save(path)
        assert_same(rb.load(path), rnn)
        session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_outputs()]
        found = dict(zip(names, session.run(None, {"x": x}), strict=True))
        for name, wanted in results(rnn, x, names).items():
            np.testing.assert_allclose(found.pop(name), wanted, rtol=2e-5, atol=2e-5, err_msg=name)
        assert not found

    each_network(check, examples=1700, **IN_ONNX)


def results(rnn: rb.RNN, x: Any, names: list[str]) -> dict[str, Any]:
    """Return the results of a model by the names of a graph's outputs."""
    output, h_n = rnn(x)
    states = {f"h_n_{place}": h for place, h in zip(plain_cells(rnn.placed.network, "ONNX"), h_n, strict=True)}
    held = {"output": output, "logits": rnn.logits(x)} | ({"h_n": h_n} if "h_n" in names else states)
    return held | ({"probabilities": rnn.probabilities(x)} if "probabilities" in names else {})
